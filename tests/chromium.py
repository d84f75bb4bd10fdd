"""Chromium as the journeys, the key-press benchmark and the screenshots start it."""

import time

from playwright.sync_api import Page, expect

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


def stored(page: Page, votes: int) -> None:
    """The page says so many, and nothing waits in the browser any more."""
    expect(page.get_by_text(f"{votes} done by you")).to_be_visible()
    # Asked again and again from here: the page's own policy forbids `wait_for_function`.
    kept = "Object.keys(localStorage).filter(key => /^prefloop\\.desk\\..*\\.deed\\./.test(key)).length"
    until = time.monotonic() + 15
    while page.evaluate(kept):
        assert time.monotonic() < until, "something still waits in the browser"
        page.wait_for_timeout(30)
