"""An engineer in Chromium, with a tiny random backbone: a preference data set, two trainings,
their comparison, a promotion that is warned of, the worst mistakes read and five of them sent
back; an annotator then gets such a pair. One journey, in order."""

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import first_admin
from tests.reward.tiny import BAD, GOOD, PLAIN, tiny_backbone
from tests.server import Prefloop

NAME = "Engineer"
EXAMPLES = 240

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Prefloop]:
    """A Prefloop whose reward models start from the tiny backbone."""
    base = tmp_path_factory.mktemp("engineer")
    prefloop = Prefloop(
        base / "data",
        PREFLOOP_MODELS=str(models_dir),
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
def api(server: Prefloop) -> Iterator[httpx.Client]:
    with server.api() as client:
        yield client


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


def go(page: Page, server: Prefloop, path: str) -> None:
    page.goto(f"{server.url}/{path}")
    page.get_by_role("heading", level=1).wait_for(timeout=30_000)


def open_tab(page: Page, name: str) -> None:
    """A click on a tab while the page is still being drawn is lost."""
    tab = page.get_by_role("tab", name=name, exact=True)
    expect(tab).to_be_visible(timeout=30_000)
    for _ in range(20):
        tab.click()
        page.wait_for_timeout(400)
        if tab.get_attribute("aria-selected") == "true":
            return
    raise AssertionError(f"the tab {name} did not open")


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


def test_1_two_presets_are_trained_from_a_data_set(
    page: Page, server: Prefloop, api: httpx.Client, project: str
):
    go(page, server, f"reward_models?project={project}")
    for many, preset in ((1, "Quick"), (2, "Standard")):
        page.get_by_text(preset, exact=True).first.click()
        page.wait_for_timeout(600)
        train = page.get_by_role("button", name="Train", exact=True)
        expect(train).to_be_enabled(timeout=15_000)
        train.click()
        models = trained(api, project, many)
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible(timeout=20_000)
    assert [model["metrics"]["preset"] for model in models] == ["quick", "standard"]
    assert [model["active"] for model in models] == [True, False]
    no_traceback(page)


def test_2_the_two_are_compared_on_the_same_pairs(
    page: Page, server: Prefloop, api: httpx.Client, project: str
):
    first, second = api.get(f"/projects/{project}/reward-models").json()[::-1]
    told = api.get(f"/reward-models/{first['id']}/compare/{second['id']}").json()
    assert told["n"] > 10 and told["accuracy"]["low"] <= told["accuracy"]["value"] <= told["accuracy"]["high"]
    go(page, server, f"reward_models?project={project}")
    open_tab(page, "Compare")
    expect(page.get_by_text("Accuracy on the same pairs")).to_be_visible(timeout=20_000)
    expect(page.get_by_text(re.compile(rf"on {told['n']} held-out pairs")).first).to_be_visible()
    no_traceback(page)
