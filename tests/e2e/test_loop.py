"""The whole loop in Chromium, on the embedded models: a project, comparisons from a file,
labelling, a prompt, a reward model, a search, what it found back to the annotators, the
leaderboard. One journey, in order, on a project small enough for two cores."""

import json
import re
import time
from itertools import combinations

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.chromium import go, open_tab, stored
from tests.server import Prefloop

NAME = "Journey"
QUESTIONS = [
    f"How do I {verb} {thing}?"
    for verb in ("cook", "store")
    for thing in ("rice", "beans", "eggs", "fish", "bread", "soup", "kale")
]
WORDS = {"terse": 4, "short": 12, "long": 30, "endless": 60}  # prompt: words of its answers

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(api: httpx.Client):
    """The id of the journey's project, which the browser makes in its second step."""

    def find() -> str:
        return next(row["id"] for row in api.get("/projects").json() if row["name"] == NAME)

    return find


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


def answer(prompt: str, question: str) -> str:
    return f"{prompt}: " + " ".join(
        f"{question.split()[-1][:-1]} step {i}" for i in range(WORDS[prompt] // 2)
    )


def comparisons() -> list[dict]:
    """Two people who prefer the shorter answer, mostly; and pairs that wait for votes."""
    rows = []
    for place, question in enumerate(QUESTIONS):
        for a, b in combinations(WORDS, 2):
            row = {"input": question, "prompt_a": a, "prompt_b": b}
            row |= {"response_a": answer(a, question), "response_b": answer(b, question)}
            if (a, b) == ("terse", "endless") and place < 10:
                rows.append(row)
                continue
            for person in ("Ada", "Bob"):
                choice = "b" if person == "Bob" and place % 5 == 0 else "a"
                rows.append({**row, "annotator": person, "choice": choice, "left": "ab"[place % 2]})
    return rows


def no_traceback(page: Page) -> None:
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in page.inner_text("body")


def test_1_the_demo_says_where_its_loop_stands(admin_page: Page, server: Prefloop):
    go(admin_page, server, "overview")
    expect(admin_page.get_by_text("simulated", exact=False).filter(visible=True).first).to_be_visible()
    expect(admin_page.get_by_role("button", name="Train a reward model")).to_be_visible()
    no_traceback(admin_page)


def test_2_comparisons_come_in_through_the_page(
    admin_page: Page, server: Prefloop, api: httpx.Client, project, tmp_path
):
    go(admin_page, server, "project")
    name = admin_page.get_by_label("Name", exact=True).last
    open_tab(admin_page, "New project")
    name.fill(NAME)
    admin_page.get_by_role("button", name="Create project").click()
    expect(admin_page.get_by_role("combobox", name="Project")).to_have_value(NAME, timeout=15_000)

    rows = [*comparisons(), {"input": "broken", "response_a": "x"}]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    for time_ in ("first", "again"):
        go(admin_page, server, f"data?project={project()}")
        admin_page.get_by_text("Import", exact=True).first.click()
        admin_page.locator("input[type=file]").set_input_files(str(path))
        button = admin_page.get_by_role("button", name=re.compile(r"Import [\d,]+ row"))
        button.wait_for(timeout=30_000)
        if time_ == "first":
            before = api.get(f"/projects/{project()}/quality").json()["votes"]
            assert before == 0, "nothing is written before the button"
            button.click()
            admin_page.get_by_role("button", name="Import another file").wait_for(timeout=30_000)
        else:
            expect(button).to_be_disabled()
        quality = api.get(f"/projects/{project()}/quality").json()
        assert quality["votes"] == len(rows) - 11 and quality["annotators"] == 2
    no_traceback(admin_page)


def test_3_people_label_with_single_keys(admin_page: Page, server: Prefloop, api: httpx.Client, project):
    before = api.get(f"/projects/{project()}/quality").json()["votes"]
    go(admin_page, server, f"annotate?project={project()}")
    for done, key in enumerate("123413", start=1):
        admin_page.get_by_text("Response A").first.wait_for()
        admin_page.wait_for_timeout(400)  # a press within a quarter of a second of the display is not counted
        admin_page.keyboard.press(key)
        expect(admin_page.get_by_text(f"{done} done by you")).to_be_visible()
    admin_page.wait_for_timeout(400)
    admin_page.keyboard.press("u")
    expect(admin_page.get_by_text("5 done by you")).to_be_visible()
    admin_page.wait_for_timeout(400)
    admin_page.keyboard.press("2")
    stored(admin_page, 6)
    assert api.get(f"/projects/{project()}/quality").json()["votes"] == before + 6
    no_traceback(admin_page)


def test_4_a_prompt_is_written_and_made_the_champion(
    admin_page: Page, server: Prefloop, api: httpx.Client, project
):
    go(admin_page, server, f"prompts?project={project()}")
    admin_page.get_by_text("Write", exact=True).first.click()
    admin_page.get_by_role("textbox", name="Name").fill("helper")
    admin_page.get_by_role("textbox", name="System message").fill(
        "You help people in the kitchen. Answer the question in two short sentences."
    )
    admin_page.get_by_role("textbox", name="User message").fill("{{input}}")
    admin_page.keyboard.press("Tab")
    save = admin_page.get_by_role("button", name=re.compile("Save"))
    expect(save).to_be_enabled()
    save.click()
    expect(admin_page.get_by_text("helper v1").filter(visible=True).first).to_be_visible(timeout=15_000)
    [made] = [row for row in api.get(f"/projects/{project()}/prompts").json() if row["name"] == "helper"]
    assert api.post(f"/prompts/{made['id']}/promote").status_code == 200
    no_traceback(admin_page)


def test_5_a_reward_model_is_trained_from_the_page(
    admin_page: Page, server: Prefloop, api: httpx.Client, project
):
    go(admin_page, server, f"reward_models?project={project()}")
    admin_page.get_by_text("Quick", exact=True).first.click()
    train = admin_page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_enabled()
    train.click()
    result = wait_for_run(api, project(), "reward_model")["result"]
    assert result["accuracy_low"] <= result["accuracy"] <= result["accuracy_high"]
    assert {"longer", "left"} <= set(result["baselines"])
    assert result["n_test"] > 0 and result["simulated_share"] == 0
    go(admin_page, server, f"reward_models?project={project()}")
    expect(admin_page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    no_traceback(admin_page)


def test_6_an_optimiser_searches_in_the_background(
    admin_page: Page, server: Prefloop, api: httpx.Client, project
):
    go(admin_page, server, f"optimize?project={project()}")
    admin_page.get_by_text("Own", exact=True).click()
    calls = admin_page.get_by_label("Calls", exact=True)
    calls.fill("20")
    calls.press("Enter")
    admin_page.wait_for_timeout(1500)
    admin_page.get_by_role("button", name="Start the search").click()
    result = wait_for_run(api, project(), "optimize")["result"]
    assert result["calls"] <= 20 and result["finish_reason"]
    assert {"train", "dev", "test"} <= set(result["best"])
    go(admin_page, server, f"optimize?project={project()}")
    expect(admin_page.get_by_role("heading", name="Candidates")).to_be_visible()
    expect(admin_page.get_by_text(re.compile(r"\d+ of 20 calls")).filter(visible=True).first).to_be_visible()
    no_traceback(admin_page)


def test_7_what_it_found_goes_to_the_annotators(
    admin_page: Page, server: Prefloop, api: httpx.Client, project
):
    run = next(run for run in api.get(f"/projects/{project()}/runs").json() if run["kind"] == "optimize")
    go(admin_page, server, f"optimize?project={project()}&run={run['id']}")
    send = admin_page.get_by_role("button", name="Send the best to the annotators")
    if send.count():
        send.click()
    else:  # so small a search may find nothing better; a person may still name a candidate
        answer_ = api.get(f"/runs/{run['id']}/candidates").json()
        rows = answer_ if isinstance(answer_, list) else answer_["items"]
        numbers = [row["number"] for row in rows if row["number"]][:1]
        sent = api.post(f"/runs/{run['id']}/promote-candidates", json={"candidates": numbers})
        assert sent.status_code == 202, sent.text
    generated = wait_for_run(api, project(), "generate")
    assert generated["result"]["pairs"] > 0
    found = [row for row in api.get(f"/projects/{project()}/prompts").json() if row["run_id"] == run["id"]]
    assert found and all(row["parent_id"] for row in found)


def test_8_it_is_labelled_blind_and_ranked(admin_page: Page, server: Prefloop, api: httpx.Client, project):
    names = {row["name"] for row in api.get(f"/projects/{project()}/prompts").json()}
    shown = api.post(f"/projects/{project()}/pairs/claim").json()
    assert not names & set(map(str, shown.values())) and not [key for key in shown if "prompt" in key]
    go(admin_page, server, f"annotate?project={project()}")
    for done in (7, 8, 9):
        admin_page.get_by_text("Response A").first.wait_for()
        admin_page.wait_for_timeout(400)
        admin_page.keyboard.press("3")
        expect(admin_page.get_by_text(f"{done} done by you")).to_be_visible()
    # Pairs come in random order: a program votes on all that wait, so that each prompt is among them.
    while (claim := api.post(f"/projects/{project()}/pairs/claim")).status_code == 200:
        given = claim.json()
        body = {"lease": given["lease"], "choice": "left"}
        api.post(f"/pairs/{given['pair_id']}/votes", json=body).raise_for_status()
    go(admin_page, server, f"leaderboard?project={project()}")
    expect(admin_page.get_by_text("Ranking").filter(visible=True).first).to_be_visible()
    rows = api.get(f"/projects/{project()}/leaderboard").json()["items"]
    assert {"helper"} <= {row["name"] for row in rows}
    assert all(row["low"] <= row["rating"] <= row["high"] and row["n"] for row in rows)
    go(admin_page, server, f"overview?project={project()}")
    no_traceback(admin_page)


def test_9_on_a_phone_every_choice_is_in_sight(admin_page: Page, server: Prefloop, project):
    """Choices in a row do not scroll out of sight, and no page is wider than the phone."""
    admin_page.set_viewport_size({"width": 400, "height": 900})
    for path in ("optimize", "runs", "prompts", "leaderboard", "annotate"):
        go(admin_page, server, f"{path}?project={project()}")
        if path == "optimize":
            admin_page.get_by_text("New search", exact=True).first.click()
            expect(admin_page.get_by_text("Start the search")).to_be_visible()
        shown = admin_page.evaluate(
            """() => [document.documentElement.scrollWidth,
                      ...[...document.querySelectorAll('[data-testid=stButtonGroup] > div')]
                        .filter(row => row.scrollWidth > row.clientWidth + 1).map(row => row.innerText)]"""
        )
        assert shown == [400], (path, shown)
    no_traceback(admin_page)
