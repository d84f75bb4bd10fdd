"""A disputed pair in Chromium: a lead names a senior annotator and sends the pair; she sees the
reasons that others gave, not who gave them, and decides; exports read her vote."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import PASSWORD, choose, drawn, first_admin, stored
from tests.server import Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(120)]
READ_MS = 270


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    prefloop = Prefloop(tmp_path_factory.mktemp("disputed") / "data", PREFLOOP_DEMO="false").start()
    yield prefloop
    prefloop.stop()


def judged(pair: int, who: str, choice: str, reason: str = "") -> dict:
    return {
        "input": f"Question {pair}", "response_a": f"First {pair}", "response_b": f"Second {pair}",
        "annotator": who, "choice": choice, "left": "a", "reason": reason,
    }  # fmt: skip


def joined(server: Prefloop, browser: Browser, api, role: str, name: str) -> Page:
    link = api.post("/invitations", json={"role": role, "name": name}).json()["link"]
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(link)
    page.get_by_label("Name").fill(name)
    page.get_by_label("E-mail").fill(f"{name.lower()}@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Annotate").first.wait_for(timeout=30_000)
    return page


def test_a_disputed_pair_goes_to_a_senior_annotator_who_decides_it(server: Prefloop, browser: Browser):
    lead = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    first_admin(lead, server)
    with server.api() as api:
        project = api.post("/projects", json={"name": "Disputed", "votes_per_pair": 2}).json()["id"]
        rows = [
            judged(1, "Ann", "a", "It answers what was asked."),
            judged(1, "Bob", "b", "It is kinder."),
            judged(2, "Ann", "a"),
            judged(2, "Bob", "a"),
        ]
        assert api.post(f"/projects/{project}/comparisons", json=rows).json()["imported"] == 4
        trl = f"/projects/{project}/export?format=trl"
        assert [row["chosen"] for row in api.get(trl).json()] == ["First 2"]
        senior = joined(server, browser, api, "annotator", "Sue")

        lead.goto(f"{server.url}/assignment?project={project}")
        lead.get_by_text("1 disputed and not sent").wait_for(timeout=30_000)
        drawn(lead)
        lead.get_by_text("Who decides, and what counts as disputed").click()
        choose(lead, lead.get_by_label("Adjudicators", exact=True), "Sue")
        lead.keyboard.press("Escape")
        lead.get_by_test_id("stButton").get_by_role("button", name="Save").click()
        expect(lead.get_by_text("All saved.")).to_be_visible(timeout=15_000)
        lead.get_by_role("button", name="Send 1 pair").click()
        expect(lead.get_by_text(re.compile("1 pair in the queue"))).to_be_visible(timeout=15_000)

        senior.goto(f"{server.url}/annotate?project={project}")
        senior.get_by_text("Disputed: your vote decides").wait_for(timeout=30_000)
        reasons = senior.get_by_label("What others said")
        expect(reasons).to_contain_text("It answers what was asked.")
        expect(reasons).to_contain_text("It is kinder.")
        assert "Ann" not in reasons.inner_text() and "Bob" not in reasons.inner_text()
        # The reason for A stands by the response that is on the left here.
        left = senior.locator("#desk .pair .text").first.inner_text()
        for_a = reasons.get_by_role("listitem").filter(has_text="A is better").inner_text()
        assert ("It answers what was asked." in for_a) == (left == "First 1")
        senior.wait_for_timeout(READ_MS)
        senior.keyboard.press("3" if left == "First 1" else "1")  # for the second
        stored(senior, 1)

        assert sorted(row["chosen"] for row in api.get(trl).json()) == ["First 2", "Second 1"]
        margin = api.get(f"/projects/{project}/export?format=trl-margin").json()
        decided = next(row for row in margin if row["chosen"] == "Second 1")
        assert (decided["q"], decided["n"]) == (1.0, 1)  # her vote alone
        cast = api.get(f"/projects/{project}/export?format=comparisons").json()
        assert [row["annotator"] for row in cast if row.get("adjudication")] == ["Sue"]
    lead.reload()
    expect(lead.get_by_text(re.compile("0 pairs in the queue · 1 decided"))).to_be_visible(timeout=30_000)
    expect(lead.get_by_text(re.compile("Of 1 decided pair the others had no majority"))).to_be_visible()
