"""Three searches in Chromium, by methods that ask different things of a model: text only
(OPRO), the likelihood of labels (GrIPS), gradients (AutoPrompt). On a tiny random model; then
a host that gives text only is refused for the last with the reason, and all are compared."""

import random
import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import choose, drawn, first_admin, go
from tests.llm.tiny import build
from tests.server import Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(240)]
CALLS = {"opro": 60, "grips": 60, "autoprompt": 200}  # AutoPrompt's first step takes more than 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefloop]:
    prefloop = Prefloop(tmp_path_factory.mktemp("optimizers") / "data", PREFLOOP_DEMO="0")
    prefloop.start()
    yield prefloop
    prefloop.stop()


@pytest.fixture(scope="module")
def project(api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reviews with labels, a prompt, a tiny model in process and a text-only host."""
    made = str(api.post("/projects", json={"name": "Reviews"}).json()["id"])
    draw, rows = random.Random(2), []
    for i in range(60):
        word, label = (("good", "positive"), ("bad", "negative"))[i % 2]
        text = " ".join(draw.choice(["the", "film", "was", "very", "it", word]) for _ in range(5))
        rows.append({"input": f"{text} {word} {i}", "reference": label})
    assert api.post(f"/projects/{made}/examples", json=rows).is_success
    prompt = {"name": "judge", "system": "tell me is the film good or not", "user": "{{input}}"}
    assert api.post(f"/projects/{made}/prompts", json=prompt).is_success
    model = build(tmp_path_factory.mktemp("tiny") / "model", context=2_048)
    tiny = {"name": "tiny", "kind": "local", "model": str(model), "params": {"dtype": "float32"}}
    far = {"name": "far", "kind": "openai", "model": "far", "base_url": "http://127.0.0.1:9/v1"}
    for host in (tiny, far):
        answer = api.post("/hosts", json=host)
        assert answer.is_success, answer.text
    return made


@pytest.fixture(scope="module")
def page(server: Prefloop, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1200})
    page = context.new_page()
    first_admin(page, server)
    yield page
    context.close()


def ended(api: httpx.Client, project: str, many: int) -> dict:
    """The newest of so many searches, at its end."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        runs = [run for run in api.get(f"/projects/{project}/runs").json() if run["kind"] == "optimize"]
        if len(runs) == many and runs[0]["status"] not in ("queued", "running", "interrupted"):
            assert runs[0]["status"] == "succeeded", runs[0]
            return runs[0]
        time.sleep(0.3)
    raise AssertionError(f"{many} searches did not end: {runs}")


def fill_form(page: Page, host: str, method: str) -> None:
    choose(page, page.get_by_role("combobox", name="Host", exact=True), host)
    choose(page, page.get_by_role("combobox", name="Method", exact=True), method)
    drawn(page)


@pytest.mark.parametrize(
    ("many", "key", "method"), [(1, "opro", "OPRO"), (2, "grips", "GrIPS"), (3, "autoprompt", "AutoPrompt")]
)
def test_1_a_method_searches(
    page: Page, server: Prefloop, api: httpx.Client, project: str, many: int, key: str, method: str
):
    go(page, server, f"optimize?project={project}")
    if many > 1:
        page.get_by_role("button", name="New search").click()
    fill_form(page, "tiny", method)
    page.get_by_text("Own", exact=True).click()
    calls = page.get_by_label("Calls", exact=True)
    calls.fill(str(CALLS[key]))
    calls.press("Enter")
    drawn(page)
    start = page.get_by_role("button", name="Start the search")
    expect(start).to_be_enabled(timeout=20_000)
    page.wait_for_timeout(800)
    start.click()
    run = ended(api, project, many)
    assert run["config"]["method"] == key
    assert run["config"]["budget"]["calls"] == CALLS[key] >= run["result"]["calls"]
    assert run["result"]["best"]["test"]["n"] and run["result"]["finish_words"]
    go(page, server, f"optimize?project={project}&run={run['id']}")
    expect(page.get_by_role("heading", name="Candidates")).to_be_visible(timeout=20_000)
    expect(
        page.get_by_text(re.compile(rf"\d+ of {CALLS[key]} calls")).filter(visible=True).first
    ).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_2_a_host_that_gives_text_only_is_refused_with_the_reason(page: Page, server: Prefloop, project: str):
    go(page, server, f"optimize?project={project}")
    page.get_by_role("button", name="New search").click()
    fill_form(page, "far", "AutoPrompt")
    expect(page.get_by_text("“far” gives only generated text").filter(visible=True).first).to_be_visible(
        timeout=20_000
    )
    expect(page.get_by_role("button", name="Start the search")).to_be_disabled()


def test_3_all_are_compared_at_equal_calls(page: Page, server: Prefloop, api: httpx.Client, project: str):
    """What the table says is what the candidates of each search say."""
    runs = [run for run in api.get(f"/projects/{project}/runs").json() if run["kind"] == "optimize"]
    found = {run["id"]: api.get(f"/runs/{run['id']}/candidates").json() for run in runs}
    equal = min(max(one["calls"] for one in of) for of in found.values())
    go(page, server, f"optimize?project={project}")
    page.get_by_role("button", name="Compare").click()
    chart = page.get_by_test_id("stVegaLiteChart").filter(visible=True).first
    expect(chart).to_be_visible(timeout=20_000)
    table = page.get_by_test_id("stDataFrame").filter(visible=True).first
    expect(table.locator("th", has_text=f"Train, at {equal} calls")).to_be_attached(timeout=20_000)
    labels = chart.evaluate(
        "e => [...e.querySelectorAll('[aria-label]')].map(x => x.getAttribute('aria-label'))"
    )
    drawn_at = [re.search(r"best: ([\d.]+); search: (.+?); calls: (\d+)", label) for label in labels]
    names = {"opro": "OPRO", "grips": "GrIPS", "autoprompt": "AutoPrompt"}
    for run in runs:
        name = f"{names[run['config']['method']]}, seed {run['seed']}"
        row = table.locator("tbody tr", has_text=name)
        expect(row).to_have_count(1)
        expect(row.locator("td").nth(1)).to_have_text(best_at(found[run["id"]], equal))
        line = {(int(point[3]), float(point[1])) for point in drawn_at if point and point[2] == name}
        last = max(one["calls"] for one in found[run["id"]])
        assert max(line)[0] == last and max(best for _, best in line) == pytest.approx(
            best_of(found[run["id"]], last)["score"]
        )
    assert f"calls: {equal}" in labels  # the dashed line
    expect(page.get_by_test_id("stException")).to_have_count(0)


def best_of(candidates: list[dict], calls: int) -> dict:
    """The best of those on all train examples that was known by then."""
    n = max(one["scores"]["train"]["n"] for one in candidates)
    known = [one["scores"]["train"] for one in candidates if one["calls"] <= calls]
    return max((of for of in known if of["n"] == n), key=lambda of: of["score"])


def best_at(candidates: list[dict], calls: int) -> str:
    """As the table says it."""
    best = best_of(candidates, calls)
    return f"{best['score']:.3g} ({best['low']:.3g} to {best['high']:.3g}, n {best['n']})"


def test_4_its_log_is_on_the_page_and_leads_to_the_whole(page: Page, server: Prefloop, api: httpx.Client, project: str):  # fmt: skip
    run = next(run for run in api.get(f"/projects/{project}/runs").json() if run["kind"] == "optimize")
    go(page, server, f"optimize?project={project}&run={run['id']}")
    said = (
        page.get_by_test_id("stExpander")
        .get_by_test_id("stCode")
        .filter(has_text=run["result"]["finish_words"])
    )
    expect(said).to_have_count(0)
    page.get_by_text("Log", exact=True).click()
    expect(said).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="The whole log, on Runs").click()
    expect(page.get_by_role("heading", name="Runs", level=1)).to_be_visible(timeout=20_000)
    assert f"run={run['id']}" in page.url
    expect(page.get_by_test_id("stException")).to_have_count(0)
