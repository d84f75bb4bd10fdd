"""How fast the pages of planning answer on a large project: 1,000,000 votes, 10,000 runs.

Makes the project in DuckDB by SQL (tests/planning/large.py), then opens each page through
the real navigation with Streamlit's AppTest, which runs the page's script as the server
does, without a browser:

- first: with every cache of ours empty. The server counts large projects by itself after a start
  (core/warm.py), so that is what somebody waits who comes before that;
- again: the page opened again, nothing changed;
- after votes: opened right after a hundred votes more than it takes to count anew. What was
  counted before is shown while a thread counts (core/kept.py), so this is the time of a
  page that competes with it.

Then it asks the API for the same over real HTTP, with everything counted.

    python benchmarks/planning_pages.py [--votes 1000000] [--runs 10000]

Writes benchmarks/results/planning_pages.json.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
LIMIT_MS = 500
KEPT_THREAD = "kept"
GROUPS = ("Plan", "Understand")
WHOLE = ("overview.py", "data.py", "prompts.py", "runs.py")  # the other pages that count everything


def quiet() -> None:
    """Until no thread counts anew."""
    while any(thread.name == KEPT_THREAD for thread in threading.enumerate()):
        time.sleep(0.05)


def clear_caches() -> None:
    """Whatever functions of ours keep between calls, and Streamlit's own."""
    import streamlit as st

    from core.kept import Kept

    st.cache_data.clear()
    st.cache_resource.clear()
    for module in [value for name, value in sys.modules.items() if name.startswith("core.")]:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
            elif isinstance(value, Kept):
                value.forget()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--again", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFLOOP_DATA_DIR"] = folder
        rows, calls = measure(options)
    result = {
        "votes": options.votes,
        "runs": options.runs,
        "limit_ms": LIMIT_MS,
        "pages": rows,
        "api": calls,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
        "measured": time.strftime("%Y-%m-%d"),
    }
    out = ROOT / "benchmarks" / "results" / "planning_pages.json"
    if options.votes >= 1_000_000:
        out.write_text(json.dumps(result, indent=1) + "\n")
    slow = [row["page"] for row in rows if max(row["again_ms"], row["after_votes_ms"]) > LIMIT_MS]
    slow += [row["call"] for row in calls if row["median_ms"] > LIMIT_MS]
    print(f"over {LIMIT_MS} ms: {', '.join(slow) or 'none'} (load {result['load']})")


CALLS = (
    "documents", "roi/proposals", "roi/results", "roi/improvements", "decision/proposals", "decision/results",
    "decision/plateau", "milestones/status", "milestones/metrics", "milestones/moved", "team/coverage",
    "team/cost", "sourcing/results", "brief", "brief.html", "brief.pdf", "brief/tables.zip",
    "brief/tables/roi/figures.csv",
)  # fmt: skip


def measure_api(db, user_id: str, project_id: str, times: int) -> list[dict]:
    """Each call several times over HTTP, on a server in this process; the first one is not
    counted."""
    import httpx
    import uvicorn

    from api.app import create_api
    from core.access import Scope
    from core.accounts import new_token

    server = uvicorn.Server(uvicorn.Config(create_api(), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {new_token(db, user_id, scope=Scope.FULL)[1]}"}
    rows = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
        for call in CALLS:
            taken = []
            for _ in range(times + 1):
                begun = time.perf_counter()
                answer = client.get(f"/projects/{project_id}/plan/{call}")
                taken.append(1000 * (time.perf_counter() - begun))
                assert answer.status_code == 200, f"{call}: {answer.text}"
                quiet()
            del taken[0]
            p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
            rows.append({"call": call, "median_ms": round(statistics.median(taken)), "p95_ms": round(p95)})
            print(
                f"GET …/plan/{call:<30} {rows[-1]['median_ms']:>5} ms (95 %: {rows[-1]['p95_ms']})",
                flush=True,
            )
    server.should_exit = True
    thread.join(10)
    return rows


def measure(options: argparse.Namespace) -> tuple[list[dict], list[dict]]:
    from streamlit.testing.v1 import AppTest

    from core import services
    from core.access import PAGES
    from storage.database import Database
    from storage.ids import now
    from storage.tables import SignIn, User
    from tests.planning.large import PROJECT, Size, fill

    db = Database(f"duckdb:///{Path(os.environ['PREFLOOP_DATA_DIR']) / 'prefloop.duckdb'}")
    db.migrate()
    services.use_database(db)
    started = time.monotonic()
    fill(db, Size(votes=options.votes, runs=options.runs))
    print(f"made in {time.monotonic() - started:.0f} s", flush=True)
    user = User(name="Lead", role="admin")
    sign_in = SignIn(user_id=user.id, expires_at=now() + timedelta(hours=1))

    def people(session) -> None:
        session.add(user)
        session.add(sign_in)

    db.write(people)

    def more_votes() -> None:
        """So many that what is kept is out of date."""
        from sqlalchemy import text

        n = options.votes // 1000 + 100
        db.write(
            lambda session: session.execute(
                text(
                    "INSERT INTO vote SELECT * REPLACE (uuid()::VARCHAR AS id, uuid()::VARCHAR AS annotator_id,"
                    f" NULL AS lease) FROM vote LIMIT {n}"
                )
            )
        )

    def run(page: str) -> float:
        test = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=120)
        test.user = {"sign_in_id": sign_in.id}
        test.session_state["project_id"] = PROJECT
        test.switch_page("account.py").run()  # sets the session up, and reads nothing large
        gc.collect()
        begun = time.perf_counter()
        test.switch_page(page).run()
        taken = 1000 * (time.perf_counter() - begun)
        assert not test.exception, f"{page}: {test.exception}"
        return taken

    files = [page.file for page in PAGES if page.group in GROUPS or page.file in WHOLE]
    for page in files:
        run(page)  # what is imported on the way is imported now
    rows = []
    for page in files:
        clear_caches()
        more_votes()
        first = run(page)
        quiet()
        again = [run(page) for _ in range(options.again)]
        after = []
        for _ in range(3):
            more_votes()
            after.append(run(page))
            quiet()
        row = {
            "page": page,
            "first_ms": round(first),
            "again_ms": round(statistics.median(again)),
            "again_max_ms": round(max(again)),
            "after_votes_ms": round(statistics.median(after)),
        }
        rows.append(row)
        print(
            f"{page:<18} first {row['first_ms']:>6} ms   again {row['again_ms']:>5} ms (at most "
            f"{row['again_max_ms']})   after votes {row['after_votes_ms']:>6} ms",
            flush=True,
        )
    calls = measure_api(db, user.id, PROJECT, options.again)
    db.dispose()
    return rows, calls


if __name__ == "__main__":
    main()
