"""Chromium, and a Prefloop of the session's own with the demo in it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.chromium import CHROMIUM, FLAGS, first_admin
from tests.server import Prefloop


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while Playwright runs, no other test of this process can run an
    event loop of its own."""
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
def api(server: Prefloop) -> Iterator[httpx.Client]:
    """The REST API as an admin's program."""
    with server.api() as client:
        yield client


@pytest.fixture(scope="module")
def admin_page(server: Prefloop, browser: Browser) -> Iterator[Page]:
    """A browser in which the first admin has just signed in by the printed link."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    first_admin(page, server)
    yield page
    context.close()
