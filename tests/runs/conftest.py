"""A kind of run made for the tests, and a supervisor whose looks the test takes itself."""

import time

import pytest

from core.runs import kinds
from core.runs.service import get_run, run_folder
from core.runs.supervisor import Supervisor

SUM = kinds.Kind("Add up", "tests.runs.kind", "tests.runs.work", pauses=True)


@pytest.fixture(autouse=True)
def sum_kind(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "sum", SUM)


@pytest.fixture
def supervisor(db, settings):
    """Not started: a test looks with `tick()`. Workers left over are ended."""
    made = Supervisor(db, settings, interval=0.05, resume_after=0.0, grace=0.3, kill_after=0.3)
    yield made
    for folder in settings.runs_dir.glob("*"):
        run = run_folder(folder.name)
        made.executor.stop(run, None, hard=True)


@pytest.fixture
def wait(db, admin, supervisor):
    """Look until the run is in one of these states: `wait(run, "failed")`."""

    def until(run, *statuses, timeout=30.0, look=supervisor.tick):
        deadline = time.monotonic() + timeout
        while True:
            look()
            found = get_run(db, admin, run.id)
            if found.status in statuses:
                return found
            assert time.monotonic() < deadline, (found, run_folder(run.id).log_tail())
            time.sleep(0.02)

    return until
