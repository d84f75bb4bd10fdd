"""The whole loop in Chromium, on the embedded models: import, label, train, search, send
what was found to the annotators, label that, read the leaderboard. One journey, in order."""

import json
import re
import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.server import Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def api(server: Prefloop):
    with server.api() as client:
        yield client


@pytest.fixture(scope="module")
def demo_id(api: httpx.Client) -> str:
    [project] = api.get("/projects").json()
    return project["id"]


def go(page: Page, server: Prefloop, path: str) -> None:
    page.goto(f"{server.url}/{path}")
    page.get_by_role("heading", level=1).wait_for(timeout=30_000)


def wait_for_run(api: httpx.Client, project: str, kind: str) -> dict:
    """The newest run of a kind, at its end."""
    end = time.monotonic() + 420
    while time.monotonic() < end:
        runs = api.get(f"/projects/{project}/runs").json()
        run = next((run for run in runs if run["kind"] == kind), None)
        if run is not None and run["status"] not in ("queued", "running", "interrupted"):
            assert run["status"] == "succeeded", run
            return run
        time.sleep(1)
    raise AssertionError(f"no {kind} run ended: {run}")


def no_traceback(page: Page) -> None:
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in page.inner_text("body")


def test_1_the_overview_says_where_the_loop_stands(admin_page: Page, server: Prefloop, demo_id: str):
    go(admin_page, server, "overview")
    expect(admin_page.get_by_text("simulated", exact=False).first).to_be_visible()
    expect(admin_page.get_by_role("button", name="Train a reward model")).to_be_visible()
    no_traceback(admin_page)


def test_2_people_label_with_single_keys(admin_page: Page, server: Prefloop, api: httpx.Client, demo_id: str):
    before = api.get(f"/projects/{demo_id}/quality").json()["all_human_votes"]
    go(admin_page, server, "annotate")
    for done, key in enumerate("1234131", start=1):
        shown = admin_page.get_by_text("Response A").first
        shown.wait_for()
        admin_page.wait_for_timeout(400)  # a press within a quarter of a second of the display is not counted
        admin_page.keyboard.press(key)
        expect(admin_page.get_by_text(f"{done} done by you")).to_be_visible()
    admin_page.wait_for_timeout(400)
    admin_page.keyboard.press("u")
    expect(admin_page.get_by_text("6 done by you")).to_be_visible()
    admin_page.wait_for_timeout(400)
    admin_page.keyboard.press("2")
    expect(admin_page.get_by_text("7 done by you")).to_be_visible()
    quality = api.get(f"/projects/{demo_id}/quality").json()
    assert quality["all_human_votes"] == before + 7
    no_traceback(admin_page)


def test_3_a_reward_model_is_trained_from_the_page(
    admin_page: Page, server: Prefloop, api: httpx.Client, demo_id: str
):
    go(admin_page, server, "reward_models")
    admin_page.get_by_role("button", name="Quick").or_(
        admin_page.get_by_role("radio", name="Quick")
    ).first.click()
    also = admin_page.get_by_text("Also simulated votes").first
    also.click()
    train = admin_page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_enabled()
    train.click()
    run = wait_for_run(api, demo_id, "reward_model")
    result = run["result"]
    assert result["accuracy_low"] <= result["accuracy"] <= result["accuracy_high"]
    assert {"longer", "left"} <= set(result["baselines"])
    assert result["simulated_share"] > 0.9
    go(admin_page, server, "reward_models")
    expect(admin_page.get_by_text("Reward model 1").first).to_be_visible()
    no_traceback(admin_page)


def test_4_an_optimiser_searches_in_the_background(
    admin_page: Page, server: Prefloop, api: httpx.Client, demo_id: str
):
    go(admin_page, server, "optimize")
    admin_page.get_by_text("Own", exact=True).click()
    calls = admin_page.get_by_label("Calls", exact=True)
    calls.fill("48")
    calls.press("Enter")
    admin_page.wait_for_timeout(1500)
    admin_page.get_by_role("button", name="Start the search").click()
    run = wait_for_run(api, demo_id, "optimize")
    result = run["result"]
    assert result["calls"] <= 48 and result["finish_reason"]
    assert {"train", "dev", "test"} <= set(result["best"])
    go(admin_page, server, "optimize")
    expect(admin_page.get_by_role("heading", name="Candidates")).to_be_visible()
    expect(admin_page.get_by_text(re.compile(r"\d+ of 48 calls")).first).to_be_visible()
    no_traceback(admin_page)


def test_5_what_it_found_goes_to_the_annotators(
    admin_page: Page, server: Prefloop, api: httpx.Client, demo_id: str
):
    run = next(run for run in api.get(f"/projects/{demo_id}/runs").json() if run["kind"] == "optimize")
    go(admin_page, server, f"optimize?run={run['id']}")
    if run["result"]["improved"]:
        admin_page.get_by_role("button", name="Send the best to the annotators").click()
    else:  # so small a search may find nothing better; then a person may still name candidates
        numbers = [row["number"] for row in api.get(f"/runs/{run['id']}/candidates").json() if row["number"]][
            :1
        ]
        sent = api.post(f"/runs/{run['id']}/promote-candidates", json={"candidates": numbers})
        assert sent.status_code == 202, sent.text
    generated = wait_for_run(api, demo_id, "generate")
    assert generated["result"]["pairs"] > 0
    prompts = api.get(f"/projects/{demo_id}/prompts").json()
    found = [prompt for prompt in prompts if prompt["run_id"] == run["id"]]
    assert found and all(prompt["parent_id"] for prompt in found)


def test_6_they_are_labelled_blind_and_ranked(
    admin_page: Page, server: Prefloop, api: httpx.Client, demo_id: str
):
    names = {prompt["name"] for prompt in api.get(f"/projects/{demo_id}/prompts").json()}
    claimed = api.post(f"/projects/{demo_id}/pairs/claim").json()
    assert not names & set(claimed) and "prompt" not in json.dumps(sorted(claimed)).lower()
    go(admin_page, server, "annotate")
    for _ in range(3):
        admin_page.get_by_text("Response A").first.wait_for()
        admin_page.wait_for_timeout(400)
        admin_page.keyboard.press("3")
        admin_page.wait_for_timeout(600)
    go(admin_page, server, "leaderboard")
    expect(admin_page.get_by_text("Ranking").first).to_be_visible()
    rows = api.get(f"/projects/{demo_id}/leaderboard").json()["items"]
    assert rows and all(row["low"] <= row["rating"] <= row["high"] and row["n"] for row in rows)
    no_traceback(admin_page)


def test_7_comparisons_come_in_through_the_page(
    admin_page: Page, server: Prefloop, api: httpx.Client, tmp_path
):
    rows = [
        {
            "input": f"Question {i}",
            "response_a": f"A long answer to question {i}.",
            "response_b": f"Short {i}.",
            "prompt_a": "long",
            "prompt_b": "short",
            "annotator": "Ada",
            "choice": "a" if i % 3 else "b",
            "left": "a",
        }
        for i in range(30)
    ]
    rows.append({"input": "broken", "response_a": "x"})
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    project = api.post("/projects", json={"name": "Imported"}).json()["id"]
    for expected in (30, 0):
        go(admin_page, server, f"data?project={project}")
        admin_page.get_by_text("Import", exact=True).first.click()
        admin_page.locator("input[type=file]").set_input_files(str(path))
        button = admin_page.get_by_role("button", name=re.compile(r"^\S*\s*Import \d+ rows?|Import [\d,]+"))
        if expected:
            button.click()
            expect(admin_page.get_by_text("30", exact=False).first).to_be_visible(timeout=20_000)
            admin_page.wait_for_timeout(1500)
        else:
            admin_page.wait_for_timeout(2500)
        assert api.get(f"/projects/{project}/quality").json()["votes"] == 30
    no_traceback(admin_page)
