"""How fast the pages of planning answer on a large project: 1,000,000 votes, 10,000 runs.

Makes the project in DuckDB by SQL (tests/planning/large.py), then opens each page through
the real navigation with Streamlit's AppTest, which runs the page's script as the server
does, without a browser:

- first: with every cache of ours empty, as after a start (imports are done before);
- again: the page opened again, nothing changed;
- after a vote: opened again after one more vote came in, so that everything that is
  counted from votes is counted anew.

    python benchmarks/planning_pages.py [--votes 1000000] [--runs 10000] [--all-pages]

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
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
LIMIT_MS = 500


def clear_caches() -> None:
    """Whatever functions of ours keep between calls, and Streamlit's own."""
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()
    for module in [value for name, value in sys.modules.items() if name.startswith("core.planning")]:
        for value in vars(module).values():
            for name in ("cache_clear", "clear"):
                if callable(value) and hasattr(value, "cache_info") and hasattr(value, name):
                    getattr(value, name)()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--again", type=int, default=7)
    parser.add_argument("--all-pages", action="store_true", help="not only those of planning")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFLOOP_DATA_DIR"] = folder
        rows = measure(options)
    result = {
        "votes": options.votes,
        "runs": options.runs,
        "limit_ms": LIMIT_MS,
        "pages": rows,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
        "measured": time.strftime("%Y-%m-%d"),
    }
    out = ROOT / "benchmarks" / "results" / "planning_pages.json"
    if not options.all_pages and options.votes >= 1_000_000:
        out.write_text(json.dumps(result, indent=1) + "\n")
    slow = [row["page"] for row in rows if max(row["again_ms"], row["after_a_vote_ms"]) > LIMIT_MS]
    print(f"over {LIMIT_MS} ms: {', '.join(slow) or 'none'} (load {result['load']})")


def measure(options: argparse.Namespace) -> list[dict]:
    from streamlit.testing.v1 import AppTest

    from core import services
    from core.access import PAGES
    from storage.database import Database
    from storage.ids import new_id, now
    from storage.tables import SignIn, User, Vote
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

    def one_more_vote() -> None:
        from sqlmodel import select

        from storage.tables import Pair, Slot

        with db.read() as session:
            pair = session.exec(
                select(Pair).join(Slot, Slot.pair_id == Pair.id).where(Slot.status == "open").limit(1)
            ).one()
        vote = Vote(
            project_id=PROJECT, pair_id=pair.id, annotator_id=new_id(), outcome="win",
            winner=pair.response_a, left=pair.response_a, duration_ms=8000,
        )  # fmt: skip
        db.write(lambda session: session.add(vote))

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

    files = [page.file for page in PAGES if options.all_pages or page.group == "Plan"]
    for page in files:
        run(page)  # what is imported on the way is imported now
    rows = []
    for page in files:
        clear_caches()
        one_more_vote()
        first = run(page)
        again = [run(page) for _ in range(options.again)]
        after = []
        for _ in range(3):
            one_more_vote()
            after.append(run(page))
        row = {
            "page": page,
            "first_ms": round(first),
            "again_ms": round(statistics.median(again)),
            "again_max_ms": round(max(again)),
            "after_a_vote_ms": round(statistics.median(after)),
        }
        rows.append(row)
        print(
            f"{page:<18} first {row['first_ms']:>6} ms   again {row['again_ms']:>5} ms (at most "
            f"{row['again_max_ms']})   after a vote {row['after_a_vote_ms']:>6} ms",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    main()
