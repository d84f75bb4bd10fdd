"""Chromium, and a Prefloop of the session's own with the demo in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Prefloop]:
    prefloop = Prefloop(tmp_path_factory.mktemp("prefloop") / "data", PREFLOOP_MODELS=str(models_dir))
    prefloop.start()
    yield prefloop
    prefloop.stop()


@pytest.fixture(scope="module")
def admin_page(server: Prefloop, browser: Browser) -> Iterator[Page]:
    """A browser in which the first admin has just signed in by the printed link."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(server.first_admin_link)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.get_by_role("heading", name="Overview").wait_for(timeout=30_000)
    yield page
    context.close()
