"""Take the README's pictures from the running app: `make screenshots`.

Starts a Prefloop of its own with the demo project, goes once round the loop through the
REST API (a reward model, a search, its best candidates sent to the annotators), then
opens every page in Chromium: wide and narrow, light and dark.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.access import PAGES  # noqa: E402
from tests.chromium import CHROMIUM, FLAGS, drawn, first_admin  # noqa: E402
from tests.server import Prefloop  # noqa: E402

OUT = ROOT / "docs" / "screenshots"
LOOKS = {  # suffix: (width, height, colour scheme)
    "": (1440, 900, "light"),
    "-dark": (1440, 900, "dark"),
    "-narrow": (400, 860, "light"),
    "-narrow-dark": (400, 860, "dark"),
}

# Charts and tables in sight (not in a closed tab) that have no picture yet.
UNDRAWN = """[...document.querySelectorAll("[data-testid=stVegaLiteChart], [data-testid=stDataFrame]")]
    .filter(chart => chart.offsetParent && !chart.querySelector("canvas, svg")).length"""


def once_round_the_loop(server: Prefloop) -> None:
    with server.api() as api:
        project = api.get("/projects").json()[0]["id"]
        # The training makes a data set of its own; this one is to be held against it.
        filters = {"simulated": "include", "method": "skill", "ties": "drop"}
        api.post(f"/projects/{project}/snapshots", json={"name": "Weighed by skill", "filters": filters})
        wait(
            api,
            api.post(f"/projects/{project}/runs", json={"kind": "reward_model", "config": {}}).json()["id"],
        )
        scores = {"kind": "score", "config": {"scope": "all"}}
        wait(api, api.post(f"/projects/{project}/runs", json=scores).json()["id"])
        config = {"method": "grips", "reward": "reward_model", "budget": {"calls": 120}, "seed": 7}
        run = api.post(f"/projects/{project}/runs", json={"kind": "optimize", "config": config}).json()["id"]
        wait(api, run)
        # Left running while the pictures are taken, so that some show work in progress.
        api.post(f"/runs/{run}/promote-candidates", json={})


def wait(api, run: str) -> None:
    while (state := api.get(f"/runs/{run}").json())["status"] in ("queued", "running", "interrupted"):
        print(f"  {state['kind']}: {state['status']} {100 * state['progress']:.0f} %", flush=True)
        time.sleep(5)
    print(f"  {state['kind']}: {state['status']} {state['error'] or ''}", flush=True)


def sign_up(browser: Browser, server: Prefloop) -> dict:
    """The first admin, by the printed link; answers the browser's cookies."""
    page = browser.new_page()
    first_admin(page, server)
    return page.context.storage_state()


def settle(page: Page) -> None:
    """Until nothing runs and charts are drawn."""
    page.wait_for_load_state("networkidle")
    drawn(page)
    until = time.monotonic() + 20
    while page.evaluate(UNDRAWN):
        if time.monotonic() > until:
            raise RuntimeError(f"{page.url}: a chart or table was not drawn.")
        page.wait_for_timeout(100)
    page.wait_for_timeout(1200)  # transitions


def save(picture: bytes, path: Path) -> None:
    """As a palette image: a page has few colours, and the repository stays small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(colors=160, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def take(browser: Browser, server: Prefloop, state: dict) -> None:
    for suffix, (width, height, scheme) in LOOKS.items():
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, storage_state=state
        )
        page = context.new_page()
        for entry in PAGES:
            name = entry.file.removesuffix(".py")
            page.goto(f"{server.url}/{name}")
            page.get_by_test_id("stMain").wait_for(timeout=30_000)
            settle(page)
            save(page.screenshot(), OUT / f"{name}{suffix}.png")
            print(f"  {name}{suffix}.png", flush=True)
        context.close()
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server.url}/auth/sign-in")
    save(page.screenshot(), OUT / "sign_in.png")


def write_index() -> None:
    lines = ["# Every page", "", "Taken from the running app by `make screenshots`.", ""]
    for entry in PAGES:
        name = entry.file.removesuffix(".py")
        lines += [f"## {entry.title}", "", entry.help, ""]
        lines += [f"![{entry.title}](screenshots/{name}.png)", ""]
        others = [f"[{what}](screenshots/{name}{suffix}.png)" for suffix, what in
                  (("-dark", "dark"), ("-narrow", "narrow"), ("-narrow-dark", "narrow and dark"))]  # fmt: skip
        lines += [" · ".join(others), ""]
    (ROOT / "docs" / "screenshots.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        server = Prefloop(Path(folder) / "data").start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            once_round_the_loop(server)
            take(browser, server, sign_up(browser, server))
        finally:
            browser.close()
            server.stop()
    write_index()


if __name__ == "__main__":
    main()
