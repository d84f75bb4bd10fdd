"""Chromium as the journeys, the key-press benchmark and the screenshots start it."""

import re
import time

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as TooLate

from tests.server import Prefloop

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "correct horse battery"


def first_admin(page: Page, server: Prefloop) -> None:
    """Make the first admin by the link the server printed; ends on the overview."""
    page.goto(server.first_admin_link)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Overview").wait_for(timeout=60_000)


def drawn(page: Page, timeout: float = 30_000) -> None:
    """The page's script has run to its end: what is pressed before may be lost in a redraw."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=timeout)


def go(page: Page, server: Prefloop, path: str, title: str | None = None) -> None:
    """Open a page of the app, until it is drawn. `title`: its heading, if it matters."""
    page.goto(f"{server.url}/{path}")
    heading = page.get_by_role("heading", level=1)
    if title:
        heading = page.get_by_role("heading", name=title, level=1)
    heading.first.wait_for(timeout=30_000)
    drawn(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def open_tab(page: Page, name: str) -> None:
    """A press on a tab is lost while the page is being drawn: press until it opens."""
    tab = page.get_by_role("tab", name=name, exact=True)
    expect(tab).to_be_visible(timeout=30_000)
    for _ in range(20):
        tab.click()
        page.wait_for_timeout(400)
        if tab.get_attribute("aria-selected") == "true":
            return
    raise AssertionError(f"the tab {name} did not open")


def choose(page: Page, field: Locator, option: str) -> None:
    """Type into a list that opens as one types, and take what it offers that begins so. A
    redraw may close the list; then a person types again, and so does this."""
    offered = page.get_by_role("option", name=re.compile(f"^{re.escape(option)}"))
    for last in (False, False, True):
        drawn(page)
        field.fill("")
        field.fill(option)
        try:
            return offered.click(timeout=10_000)
        except TooLate:
            if last:
                raise


def stored(page: Page, votes: int) -> None:
    """The page says so many, and nothing waits in the browser any more."""
    expect(page.get_by_text(f"{votes} done by you")).to_be_visible()
    # Asked again and again from here: the page's own policy forbids `wait_for_function`.
    kept = "Object.keys(localStorage).filter(key => /^prefloop\\.desk\\..*\\.deed\\./.test(key)).length"
    until = time.monotonic() + 15
    while page.evaluate(kept):
        assert time.monotonic() < until, "something still waits in the browser"
        page.wait_for_timeout(30)
