"""An engineer in Chromium, with a tiny random backbone: a preference data set, two trainings,
their comparison, a promotion that is warned of, the worst mistakes read and five of them sent
back; an annotator then gets such a pair. One journey, in order."""

import random
import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import first_admin, go, open_tab
from tests.reward.tiny import BAD, GOOD, PLAIN, tiny_backbone
from tests.server import Prefloop

NAME = "Engineer"
EXAMPLES = 240

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefloop]:
    """A Prefloop without the demo, whose reward models start from the tiny backbone."""
    base = tmp_path_factory.mktemp("engineer")
    prefloop = Prefloop(
        base / "data",
        PREFLOOP_DEMO="0",
        PREFLOOP_REWARD_BACKBONE=str(tiny_backbone(base / "backbone")),
    )
    prefloop.start()
    yield prefloop
    prefloop.stop()


@pytest.fixture(scope="module")
def page(server: Prefloop, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1100})
    page = context.new_page()
    first_admin(page, server)
    yield page
    context.close()


@pytest.fixture(scope="module")
def project(api: httpx.Client) -> str:
    """Two people who prefer kind words, mostly."""
    made = api.post("/projects", json={"name": NAME, "guidelines": "Be kind.", "votes_per_pair": 2}).json()
    imported = api.post(f"/projects/{made['id']}/comparisons", json=comparisons()).json()
    assert imported["imported"] == 2 * EXAMPLES
    return str(made["id"])


def comparisons() -> list[dict]:
    draw, rows = random.Random(4), []
    for i in range(EXAMPLES):
        filler = " ".join(draw.choice(PLAIN) for _ in range(draw.randint(4, 12)))
        row = {
            "input": f"question {i} " + " ".join(draw.choice(PLAIN) for _ in range(8)),
            "response_a": f"{filler} {draw.choice(GOOD)}",
            "response_b": f"{filler} {draw.choice(BAD)}",
            "prompt_a": "kind",
            "prompt_b": "rude",
        }
        wrong = draw.random() < 0.2
        for person in ("Ann", "Ben"):
            rows.append(
                {**row, "annotator": person, "choice": "b" if wrong else "a", "left": draw.choice("ab")}
            )
    return rows


def no_traceback(page: Page) -> None:
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in page.inner_text("body")


def trained(api: httpx.Client, project: str, many: int) -> list[dict]:
    """So many models, oldest first."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        runs = [run for run in api.get(f"/projects/{project}/runs").json() if run["kind"] == "reward_model"]
        assert not [run for run in runs if run["status"] == "failed"], runs
        models = api.get(f"/projects/{project}/reward-models").json()
        if len(models) == many:
            return models[::-1]
        time.sleep(0.5)
    raise AssertionError(f"{many} models were not trained: {runs}")


def test_1_a_data_set_is_made(page: Page, server: Prefloop, api: httpx.Client, project: str):
    go(page, server, f"snapshots?project={project}")
    name = page.get_by_label("Name", exact=True).last
    expect(name).to_be_visible(timeout=20_000)
    name.fill("First votes")
    name.press("Enter")
    make = page.get_by_role("button", name="Freeze it")
    expect(make).to_be_enabled(timeout=20_000)
    make.click()
    expect(page.get_by_text("First votes").filter(visible=True).first).to_be_visible(timeout=20_000)
    no_traceback(page)
    [made] = api.get(f"/projects/{project}/snapshots").json()
    assert made["name"] == "First votes"


def test_2_two_presets_are_trained(page: Page, server: Prefloop, api: httpx.Client, project: str):
    [data] = api.get(f"/projects/{project}/snapshots").json()
    go(page, server, f"reward_models?project={project}&snapshot={data['id']}")
    for many, preset in ((1, "Quick"), (2, "Standard")):
        train = page.get_by_role("button", name="Train", exact=True)
        expect(train).to_be_visible(timeout=30_000)
        page.get_by_text(preset, exact=True).first.click()
        page.wait_for_timeout(800)
        expect(train).to_be_enabled(timeout=15_000)
        train.click()
        models = trained(api, project, many)
    assert [model["metrics"]["preset"] for model in models] == ["quick", "standard"]
    assert [model["active"] for model in models] == [True, False]
    runs = [run for run in api.get(f"/projects/{project}/runs").json() if run["kind"] == "reward_model"]
    assert [run["config"]["snapshot"] for run in runs] == [data["id"]] * 2
    no_traceback(page)


def look_at(page: Page, server: Prefloop, project: str, model: dict) -> None:
    go(page, server, f"reward_models?project={project}&model={model['id']}")
    expect(
        page.get_by_role("heading", name=model["name"], exact=True).filter(visible=True).first
    ).to_be_visible(timeout=30_000)


def test_3_the_two_are_compared_on_the_same_pairs(
    page: Page, server: Prefloop, api: httpx.Client, project: str
):
    second, first = api.get(f"/projects/{project}/reward-models").json()
    told = api.get(f"/reward-models/{first['id']}/compare/{second['id']}").json()
    assert told["n"] > 10 and told["accuracy"]["low"] <= told["accuracy"]["value"] <= told["accuracy"]["high"]
    look_at(page, server, project, second)
    open_tab(page, "Compare")
    expect(page.get_by_text("Accuracy on the same pairs")).to_be_visible(timeout=20_000)
    expect(page.get_by_text(f"on {told['n']} held-out pairs").filter(visible=True).first).to_be_visible()
    no_traceback(page)


def test_4_the_promotion_says_what_it_changes(page: Page, server: Prefloop, api: httpx.Client, project: str):
    second = api.get(f"/projects/{project}/reward-models").json()[0]
    warning = api.get(f"/reward-models/{second['id']}/change").json()["warning"]
    look_at(page, server, project, second)
    page.get_by_role("button", name="Make it the active one").click()
    dialog = page.get_by_role("dialog")
    expect(
        dialog.get_by_text("What changes", exact=True).or_(dialog.get_by_test_id("stDataFrame"))
    ).to_be_visible(timeout=20_000)
    button = dialog.get_by_role("button", name=re.compile("Make it active"))
    if warning:  # of so small a difference there always is one
        expect(
            dialog.get_by_text("not shown to be better").or_(dialog.get_by_text("is worse than"))
        ).to_be_visible()
        button.click()
        expect(dialog.get_by_text("Give a reason")).to_be_visible(timeout=15_000)
        reason = dialog.get_by_role("textbox", name="Reason")
        reason.fill("It reads longer responses")
        reason.press("Enter")
        page.wait_for_timeout(500)
    button.click()
    expect(dialog).to_be_hidden(timeout=15_000)
    models = api.get(f"/projects/{project}/reward-models").json()
    assert models[0]["active"], models
    no_traceback(page)


def test_5_five_mistakes_go_back_and_an_annotator_gets_one(
    page: Page, server: Prefloop, api: httpx.Client, project: str
):
    model = api.get(f"/projects/{project}/reward-models").json()[0]
    mistakes = api.get(f"/reward-models/{model['id']}/mistakes").json()
    assert len(mistakes) >= 5
    look_at(page, server, project, model)
    open_tab(page, "Mistakes")
    expect(page.get_by_text("people prefer").filter(visible=True).first).to_be_visible(timeout=20_000)
    expect(page.get_by_text(re.compile("prefers [AB]")).filter(visible=True).first).to_be_visible()
    page.get_by_role("button", name="Choose the worst five").click()
    send = page.get_by_role("button", name="Send 5 back to the annotators")
    expect(send).to_be_enabled(timeout=15_000)
    send.click()
    expect(page.get_by_text("5 on their way to annotators")).to_be_visible(timeout=20_000)
    no_traceback(page)
    sent = [item for item in api.get(f"/reward-models/{model['id']}/mistakes").json() if item["waiting"]]
    assert [item["pair_id"] for item in sent] == [item["pair_id"] for item in mistakes[:5]]

    go(page, server, f"annotate?project={project}")
    page.get_by_text("Response A").first.wait_for(timeout=30_000)
    questions = [re.match(r"question \d+", item["text"]["input"]).group() for item in sent]  # type: ignore[union-attr]
    shown = page.get_by_text(re.compile("|".join(rf"{question}\b" for question in questions)))
    expect(shown.filter(visible=True).first).to_be_visible(timeout=15_000)
    page.wait_for_timeout(500)
    page.keyboard.press("1")
    expect(page.get_by_text("1 done by you")).to_be_visible(timeout=15_000)
    end = time.monotonic() + 15
    while not (back := [m for m in api.get(f"/reward-models/{model['id']}/mistakes").json() if m["verdict"]]):
        assert time.monotonic() < end, "the new vote is not told"
        time.sleep(0.3)
    assert len(back) == 1 and back[0]["pair_id"] in [item["pair_id"] for item in sent]
