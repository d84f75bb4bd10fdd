"""From key press to next pair painted, in Chromium, on a whole Prefloop of its own.

Imports synthetic pairs through the API, opens the annotate page as the signed-in admin, and
presses vote keys. The time runs from the browser's own keydown event to the first frame
after both responses have been replaced. It then presses keys faster than anybody reads,
and checks that no vote was counted for a pair not seen.

    python benchmarks/keypress.py [--presses 60] [--pairs 2000]

Writes benchmarks/results/keypress.json.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from tests.chromium import CHROMIUM, FLAGS, first_admin  # noqa: E402
from tests.server import Prefloop  # noqa: E402

TARGET_MS = 100  # median
TARGET_P95_MS = 200
WARM_UP = 5
HURRIED = 40  # presses, four at a time, 20 ms apart
TEXT = (
    "The sky looks blue because **air scatters blue light** more than red.\n\n1. Sunlight is a mix of colours.\n"
    "2. Small molecules send the blue part everywhere.\n\n```python\nratio = (700 / 450) ** 4\n```\n\n"
)

# Before the desk's own listener, which keeps its keys to itself.
WATCH_KEYS = "addEventListener('keydown', event => { window.pressed ??= event.timeStamp; }, {capture: true});"

# Resolves to the milliseconds from the next keydown to the frame in which neither
# response is one of those shown before.
NEXT_PAIR = """
() => {
  const desk = [...document.querySelectorAll('*')].find(item => item.shadowRoot?.querySelector('#desk')).shadowRoot;
  const responses = () => [...desk.querySelectorAll('.pair .text')].map(item => item.textContent);
  const before = new Set(responses());
  window.nextPair = new Promise(resolve => {
    window.pressed = null;
    const watch = new MutationObserver(() => {
      const found = responses();
      if (window.pressed === null || found.length !== 2 || found.some(text => before.has(text))) return;
      watch.disconnect();
      requestAnimationFrame(() => resolve(performance.now() - window.pressed));
    });
    watch.observe(desk, {childList: true, subtree: true, characterData: true});
  });
}
"""


def fill(api: httpx.Client, pairs: int) -> str:
    """A project with pairs that want three votes each; answers its id."""
    body = {"name": "Key press", "criteria": ["helpful", "accurate"], "votes_per_pair": 3}
    project = api.post("/projects", json=body).json()["id"]
    rows = [
        {
            "input": f"Explain why the sky is blue to a ten-year-old, in at most six sentences ({i}).",
            "response_a": f"{TEXT * 3}Answer one to {i}",
            "response_b": f"{TEXT * 3}Answer two to {i}",
            "prompt_a": "one",
            "prompt_b": "two",
        }
        for i in range(pairs)
    ]
    answer = api.post(f"/projects/{project}/comparisons", json=rows).json()
    assert answer["imported"] == pairs, answer
    return project


def measure(server: Prefloop, project: str, presses: int) -> list[float]:
    """Milliseconds of each press after the warm-up; then the hurried presses."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(WATCH_KEYS)
        first_admin(page, server)
        page.goto(f"{server.url}/annotate?project={project}")
        page.get_by_text("Response B").wait_for(timeout=30_000)
        times = []
        for number in range(presses + WARM_UP):
            page.wait_for_timeout(400)
            page.evaluate(NEXT_PAIR)
            page.keyboard.press("1234"[number % 4])
            times.append(float(page.evaluate("window.nextPair")))
        for _ in range(HURRIED // 4):
            page.wait_for_timeout(500)
            for _ in range(4):
                page.keyboard.press("1")
                page.wait_for_timeout(20)
        page.wait_for_timeout(1_500)
        browser.close()
    return times[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = Prefloop(Path(name) / "data", PREFLOOP_DEMO="false").start()
        try:
            with server.api() as api:
                project = fill(api, options.pairs)
                times = measure(server, project, options.presses)
                rows = api.get(f"/projects/{project}/export", params={"format": "comparisons"}).json()
        finally:
            server.stop()
    looks = [row["duration_ms"] for row in rows if row.get("annotator")]
    in_hurry = len(looks) - options.presses - WARM_UP
    result = {
        "presses": len(times),
        "pairs": options.pairs,
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "max_ms": round(max(times), 1),
        "target_median_ms": TARGET_MS,
        "target_p95_ms": TARGET_P95_MS,
        "hurried_presses": HURRIED,
        "hurried_votes": in_hurry,
        "shortest_look_ms": min(looks),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
        "measured": datetime.now(UTC).date().isoformat(),
    }
    print("| key press -> next pair painted | median | p95 | max |\n|---|---|---|---|")
    print(f"| {result['presses']} presses, {result['pairs']:,} pairs | {result['median_ms']} ms | "
          f"{result['p95_ms']} ms | {result['max_ms']} ms |")  # fmt: skip
    print(f"{HURRIED} presses 20 ms apart, in fours: {in_hurry} votes; shortest look at a pair that was voted on: "
          f"{result['shortest_look_ms']} ms; load {result['load']}")  # fmt: skip
    target = ROOT / "benchmarks" / "results" / "keypress.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    too_slow = result["median_ms"] >= TARGET_MS or result["p95_ms"] >= TARGET_P95_MS
    if too_slow or result["shortest_look_ms"] < 250:
        raise SystemExit("slower than it must be, or votes for pairs that nobody saw")


if __name__ == "__main__":
    main()
