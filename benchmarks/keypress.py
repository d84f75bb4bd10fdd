"""From key press to next pair painted, in Chromium, on a server of its own.

Makes a data folder with synthetic pairs, starts Streamlit on it, opens the annotate page
as an annotator, and presses vote keys. The time runs from the browser's own keydown
event to the first frame after both responses have been replaced. It then presses keys
faster than anybody reads, and checks that no vote was counted for a pair not seen.

    python benchmarks/keypress.py [--presses 60] [--pairs 2000]

Writes benchmarks/results/keypress.json.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from storage.database import Database  # noqa: E402
from storage.ids import id_of, now  # noqa: E402
from storage.pairs import NewPair, add_pairs  # noqa: E402
from storage.tables import Example, Project, Prompt, Response, SignIn, User, Vote  # noqa: E402

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
TARGET_MS = 300
TEXT = (
    "The sky looks blue because **air scatters blue light** more than red.\n\n1. Sunlight is a mix of colours.\n"
    "2. Small molecules send the blue part everywhere.\n\n```python\nratio = (700 / 450) ** 4\n```\n\n"
)

# Resolves to the milliseconds from the next keydown to the frame in which neither
# response is one of those shown before.
NEXT_PAIR = """
() => {
  const responses = () => [...document.querySelectorAll('[data-testid="stColumn"] [data-testid="stHtml"]')]
    .map(item => item.textContent);
  const before = new Set(responses());
  window.nextPair = new Promise(resolve => {
    let pressed = null;
    addEventListener('keydown', () => { pressed ??= performance.now(); }, {capture: true, once: true});
    const watch = new MutationObserver(() => {
      const found = responses();
      if (pressed === null || found.length !== 2 || found.some(text => before.has(text))) return;
      watch.disconnect();
      requestAnimationFrame(() => resolve(performance.now() - pressed));
    });
    watch.observe(document.body, {childList: true, subtree: true, characterData: true});
  });
}
"""


def fill(db: Database, pairs: int) -> tuple[str, str, str]:
    """A project with pairs that want three votes, and an annotator; (project, sign-in, user)."""
    user = User(name="Bench", role="annotator")
    sign_in = SignIn(user_id=user.id, expires_at=now() + timedelta(hours=2))
    project = Project(
        name="Key press", criteria=["helpful", "accurate"], votes_per_pair=3, guidelines="Be fair."
    )
    prompts = [Prompt(project_id=project.id, name=name) for name in ("one", "two")]

    def work(session) -> None:  # type: ignore[no-untyped-def]
        session.add_all([user, sign_in, project, *prompts])
        wanted = []
        for i in range(pairs):
            example = Example(id=id_of("example", str(i)), project_id=project.id, content_hash=str(i))
            example.input = f"Explain why the sky is blue to a ten-year-old, in at most six sentences ({i})."
            session.add(example)
            ids = [id_of("response", str(i), prompt.name) for prompt in prompts]
            for key, prompt in zip(ids, prompts, strict=True):
                text = f"{TEXT * 3}Answer {i} {key}"
                session.add(
                    Response(
                        id=key, project_id=project.id, example_id=example.id, prompt_id=prompt.id,
                        cache_key=key, text=text,
                    )
                )  # fmt: skip
            wanted.append(NewPair(example.id, *ids))
        add_pairs(session, project, wanted)

    db.write(work)
    return project.id, sign_in.id, user.id


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            str(ROOT / "pages" / "main.py"),
            "--server.port",
            str(port),
        ],
        cwd=ROOT,
        env={**os.environ, "PREFLOOP_DATA_DIR": str(folder), "PREFLOOP_DATABASE_URL": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
            return server
        except OSError:
            time.sleep(0.1)
    server.terminate()
    raise SystemExit("the server did not start")


def measure(port: int, project: str, sign_in: str, presses: int) -> tuple[list[float], int]:
    """Milliseconds of each press, and how many presses the hurried part made."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = os.environ.get("PREFLOOP_TEST_CHROMIUM") or "/usr/bin/chromium"
        browser = play.chromium.launch(
            executable_path=chromium if Path(chromium).exists() else None, args=FLAGS.split()
        )
        page = browser.new_page(
            viewport={"width": 1440, "height": 900}, extra_http_headers={"X-Prefloop-Sign-In": sign_in}
        )
        page.goto(f"http://127.0.0.1:{port}/?project={project}")
        page.get_by_text("Response B").wait_for(timeout=30_000)
        times = []
        for number in range(presses + 5):
            page.wait_for_timeout(400)
            page.evaluate(NEXT_PAIR)
            page.keyboard.press("1234"[number % 4])
            times.append(float(page.evaluate("window.nextPair")))
        for _ in range(10):
            page.wait_for_timeout(500)
            for _ in range(4):
                page.keyboard.press("1")
                page.wait_for_timeout(20)
        page.wait_for_timeout(1_500)
        browser.close()
    return times[5:], 40  # the first ones warm up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"duckdb:///{folder / 'prefloop.duckdb'}"
        db = Database(url)
        db.migrate()
        project, sign_in, _ = fill(db, options.pairs)
        db.dispose()
        port = free_port()
        server = serve(folder, port)
        try:
            times, hurried = measure(port, project, sign_in, options.presses)
        finally:
            server.terminate()
            server.wait(20)
        db = Database(url)
        with db.read() as session:
            from sqlmodel import select

            counted = list(session.exec(select(Vote.duration_ms).order_by(Vote.created_at)))  # type: ignore[arg-type]
        db.dispose()
    in_hurry = len(counted) - options.presses - 5
    result = {
        "presses": len(times),
        "pairs": options.pairs,
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "max_ms": round(max(times), 1),
        "target_median_ms": TARGET_MS,
        "hurried_presses": hurried,
        "hurried_votes": in_hurry,
        "shortest_look_ms": min(counted),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
        "measured": now().date().isoformat(),
    }
    print("| key press -> next pair painted | median | p95 | max |\n|---|---|---|---|")
    print(f"| {result['presses']} presses, {result['pairs']:,} pairs | {result['median_ms']} ms | "
          f"{result['p95_ms']} ms | {result['max_ms']} ms |")  # fmt: skip
    print(f"{hurried} presses 20 ms apart, in fours: {in_hurry} votes; shortest look at a pair that was voted on: "
          f"{result['shortest_look_ms']} ms; load {result['load']}")  # fmt: skip
    target = ROOT / "benchmarks" / "results" / "keypress.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    if result["median_ms"] >= TARGET_MS or result["shortest_look_ms"] < 250:
        raise SystemExit("slower than it must be, or votes for pairs that nobody saw")


if __name__ == "__main__":
    main()
