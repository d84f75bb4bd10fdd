"""A lead in Chromium: opens the demo, sees proposed figures with their sources, changes one,
saves, compares two scenarios, and takes the brief along."""

import io
import re
import zipfile

import pytest
from playwright.sync_api import Page, expect

from tests.chromium import PASSWORD, go, open_tab
from tests.server import Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lead(server: Prefloop, browser) -> Page:
    """A lead's own browser: signed up by an invitation."""
    with server.api() as api:
        link = api.post("/invitations", json={"role": "lead", "name": "Lea"}).json()["link"]
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Name").fill("Lea")
    page.get_by_label("E-mail").fill("lea@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Overview").wait_for(timeout=60_000)
    yield page
    context.close()


def inputs_of(page: Page, group: str) -> None:
    open_tab(page, "Inputs")
    page.get_by_role("radio", name=re.compile(f"^{group}")).click()


def test_1_figures_are_proposed_with_their_sources(lead: Page, server: Prefloop):
    go(lead, server, "roi", "Return")
    expect(lead.get_by_text("Net present value", exact=True).filter(visible=True).first).to_be_visible(
        timeout=30_000
    )
    inputs_of(lead, "Uplift")
    expect(lead.get_by_role("radio", name="Uplift · 1 measured")).to_be_checked()
    expect(
        lead.get_by_text(re.compile(r"wins, .* even, .* losses \(all simulated\)")).filter(visible=True).first
    ).to_be_visible()
    inputs_of(lead, "Labels")
    expect(lead.get_by_text(re.compile("median time of .* votes")).filter(visible=True).first).to_be_visible()
    lead.get_by_role("button", name="Save version").click()
    expect(lead.get_by_text(re.compile("Version 1, saved by Lea"))).to_be_visible(timeout=30_000)


def test_2_a_copy_with_one_figure_changed_is_compared(lead: Page, server: Prefloop):
    lead.get_by_role("button", name="New scenario").click()
    lead.get_by_label("Name").fill("Higher value")
    lead.get_by_role("button", name="Duplicate this one").click()
    expect(lead.get_by_text(re.compile("copy of Base case"))).to_be_visible(timeout=30_000)
    before = lead.get_by_test_id("stMetricValue").first.inner_text()
    inputs_of(lead, "Volume and value")
    value = lead.get_by_label(re.compile("^Value of a success"))
    value.fill("3")
    value.press("Enter")
    expect(lead.get_by_text("You changed this scenario.")).to_be_visible(timeout=30_000)
    expect(lead.get_by_test_id("stMetricValue").first).not_to_have_text(before)
    lead.get_by_label("Note").fill("Sales counts calls, not chats")
    lead.get_by_role("button", name="Save version").click()
    expect(lead.get_by_text(re.compile("Version 2, saved by Lea.*Sales counts calls"))).to_be_visible(
        timeout=30_000
    )
    open_tab(lead, "Compare")
    expect(lead.get_by_text("Inputs that differ")).to_be_visible(timeout=30_000)
    expect(lead.get_by_text(re.compile("^Base case: "))).to_be_visible()
    expect(lead.get_by_text(re.compile("^Higher value: "))).to_be_visible()


def test_3_a_bad_figure_is_refused_at_its_field(lead: Page, server: Prefloop):
    inputs_of(lead, "Volume and value")
    volume = lead.get_by_label(re.compile("^Interactions"))
    volume.fill("-5")
    volume.press("Enter")
    expect(lead.get_by_text(re.compile("Must not be below 0|must lie within|not be below"))).to_be_visible(
        timeout=30_000
    )
    expect(lead.get_by_role("button", name="Save version")).to_be_disabled()
    lead.get_by_role("button", name="Discard changes").click()
    expect(lead.get_by_role("button", name="Save version")).to_have_count(0, timeout=30_000)


@pytest.mark.parametrize(
    ("path", "title", "says"),
    [
        ("decision", "Decision", "Recommendation"),
        ("milestones", "Milestones", "Plan and actual"),
        ("team", "Team", "Needed by phase and role"),
        ("sourcing", "Build or buy", "Points by factor"),
    ],
)
def test_4_the_other_rooms_answer(lead: Page, server: Prefloop, path: str, title: str, says: str):
    go(lead, server, path, title)
    expect(lead.get_by_text(says, exact=True).filter(visible=True).first).to_be_visible(timeout=30_000)


def test_5_the_brief_is_taken_along(lead: Page, server: Prefloop):
    go(lead, server, "plan", "Brief")
    files = {}
    for label in ("PDF, one page", "HTML", "Tables (CSV)"):
        with lead.expect_download(timeout=60_000) as download:
            lead.get_by_role("button", name=label).click()
        files[label] = download.value.path().read_bytes()
    assert files["PDF, one page"].startswith(b"%PDF-")
    text = files["HTML"].decode()
    assert "Kitchen help (demo)" in text and "<svg" in text and "<script" not in text
    names = zipfile.ZipFile(io.BytesIO(files["Tables (CSV)"])).namelist()
    assert any("return" in name or "roi" in name for name in names), names
