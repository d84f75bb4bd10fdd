"""Kill -9 of the web process in the middle of a run."""

import random
import subprocess
import sys
import time

import psutil
import pytest
from sqlmodel import select

from core.runs.service import events_after, get_run, run_folder, start_run
from storage.tables import Candidate, LedgerEntry, Prompt
from tests.conftest import ROOT


def lines(folder) -> int:
    return len(folder.read_events()[0])


def until(condition, what: str) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_run_outlives_the_web_process_with_nothing_missing_or_doubled(
    db, admin, project, supervisor, wait, settings
):
    steps = 100
    run = start_run(
        db, admin, project.id, "sum", {"steps": steps, "pause": 0.03, "effects": True, "seed": 11}
    )
    folder = run_folder(run.id)
    db.dispose()  # the file is the other process's now
    workers = set()
    for part in (1, 2):
        web = subprocess.Popen([sys.executable, "-m", "tests.runs.web_process"], cwd=ROOT)
        try:
            # It reads along while the worker writes; and is killed at any moment.
            until(lambda part=part: lines(folder) > part * 100, folder.log_tail())
            until(lambda: (settings.data_dir / "prefloop.duckdb.wal").exists(), "it wrote nothing")
            time.sleep(random.uniform(0.1, 0.6))
        finally:
            web.kill()
            web.wait()
        worker = folder.worker
        workers.add(worker["pid"])
        if part == 1:
            assert psutil.pid_exists(worker["pid"]) and folder.result is None
    after_kill = get_run(db, admin, run.id)
    assert after_kill.status == "running" and after_kill.last_event > 0
    done = wait(run, "succeeded", "failed", "interrupted")
    assert (done.status, done.attempt, len(workers)) == ("succeeded", 1, 1)
    events = events_after(db, admin, run.id, limit=10_000)
    assert [event.number for event in events] == list(range(1, 1 + 1 + 5 * steps))
    assert [event.data for event in events] == [event["data"] for event in folder.read_events()[0]]
    total = sum(random.Random(11 * 1000 + step).random() for step in range(1, steps + 1))
    assert done.result["total"] == pytest.approx(total, abs=1e-9)
    with db.read() as session:
        assert len(session.exec(select(Candidate.id)).all()) == steps
        assert len(session.exec(select(Prompt.id)).all()) == steps + 1
        assert session.exec(select(LedgerEntry.calls)).one() == 5 * steps
