"""Runs from queue to end, with real worker processes."""

import os
import signal as signals
import time
from dataclasses import replace

import psutil
import pytest
from sqlmodel import select

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.runs import kinds
from core.runs.folder import RunFolder
from core.runs.service import (
    cancel_run,
    events_after,
    get_run,
    list_runs,
    pause_run,
    repeat_run,
    resume_run,
    run_folder,
    run_log,
    start_run,
)
from core.runs.supervisor import Supervisor
from storage.tables import AuditEntry, Candidate, LedgerEntry, Prompt, Run


def numbers(db, admin, run):
    return [event.number for event in events_after(db, admin, run.id)]


def prompts(db):
    with db.read() as session:
        return sorted(session.exec(select(Prompt.name)))


def expected_total(db, admin, run):
    """What the run's work adds up to when nothing happens on the way."""
    import random

    return sum(random.Random(run.seed * 1000 + step).random() for step in range(1, run.config["steps"] + 1))


def test_a_run_goes_from_queue_to_result(db, admin, project, supervisor, wait):
    run = start_run(db, admin, project.id, "sum", {"seed": 7, "effects": True})
    assert (run.status, run.seed, run.config) == ("queued", 7, {"steps": 3, "effects": True, "seed": 7})
    spec = run_folder(run.id).spec
    assert spec["worker"] == "tests.runs.work" and spec["versions"]["torch"]
    assert spec["inputs"]["rows.parquet"]["rows"] == 5
    done = wait(run, "succeeded", "failed")
    assert done.status == "succeeded" and done.progress == 1 and done.attempt == 1
    assert done.result == {"total": pytest.approx(expected_total(db, admin, run)), "steps": 3}
    assert done.started_at <= done.finished_at
    events = events_after(db, admin, run.id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    kinds = [event.type for event in events]
    assert kinds == ["state"] + ["metric", "candidate", "ledger", "artifact", "progress"] * 3
    assert events_after(db, admin, run.id, after=2, limit=1, types=["progress"])[0].data["fraction"] == 0.3333
    assert prompts(db) == ["artifact 1", "artifact 2", "artifact 3", "finished"]
    with db.read() as session:
        found = session.exec(select(Candidate).order_by(Candidate.number)).all()
        assert [(c.number, c.parent, c.accepted) for c in found] == [
            (1, 0, True),
            (2, 1, False),
            (3, 2, True),
        ]
        assert found[2].scores["train"]["n"] == 5 and found[2].calls == 15
        ledger = session.exec(select(LedgerEntry)).one()
        assert (ledger.calls, ledger.cached, ledger.tokens_in, ledger.cost) == (15, 3, 300, 1.5)
    assert "work begins" in run_log(db, admin, run.id)
    with pytest.raises(Conflict, match="ended already"):
        cancel_run(db, admin, run.id)
    with pytest.raises(Conflict, match="cannot be resumed"):
        resume_run(db, admin, run.id)


def test_nothing_is_left_of_a_run_that_could_not_be_queued(db, admin, person, project, settings, monkeypatch):
    for config, message in [
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"x": {1, 2}}, "JSON"),
        ([], "config"),
    ]:
        with pytest.raises(Invalid, match=message):
            start_run(db, admin, project.id, "sum", config)
    with pytest.raises(Invalid, match="Kinds: generate"):
        start_run(db, admin, project.id, "unknown", {})
    with pytest.raises(NotFound):
        start_run(db, admin, "unknown", "sum", {})
    with pytest.raises(Forbidden):
        start_run(db, person("annotator"), project.id, "sum", {})
    monkeypatch.setattr("core.runs.service.audit.record", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        start_run(db, admin, project.id, "sum", {})
    assert list_runs(db, admin, project.id) == []
    assert list(settings.runs_dir.glob("*")) == []


@pytest.mark.parametrize(
    ("what", "error", "hint"),
    [
        ("work_error", "The key was refused.", "Set another key."),
        ("error", "ZeroDivisionError: a secret detail", "log"),
    ],
)
def test_a_failure_says_why_and_resumes(what, error, hint, db, admin, project, wait):
    run = start_run(db, admin, project.id, "sum", {"at": {"2": what}, "seed": 1})
    failed = wait(run, "failed")
    assert error in failed.error and hint in failed.hint and failed.result is None
    assert prompts(db) == []
    assert ("Traceback" in run_log(db, admin, run.id)) and "Traceback" not in failed.error
    assert resume_run(db, admin, run.id).status == "queued"
    done = wait(run, "succeeded")
    assert (done.attempt, done.error, done.hint) == (2, None, None)
    assert done.result["total"] == pytest.approx(expected_total(db, admin, run))
    steps = [event.data["step"] for event in events_after(db, admin, run.id, types=["metric"])]
    assert steps == [1, 2, 3]  # what was done was not done again


def test_cancel(db, admin, project, supervisor, wait):
    queued = start_run(db, admin, project.id, "sum", {})
    assert cancel_run(db, admin, queued.id).status == "cancelled"
    run = start_run(db, admin, project.id, "sum", {"steps": 500, "pause": 0.02, "keep_partial": True})
    bare = start_run(db, admin, project.id, "sum", {"steps": 500, "pause": 0.02})
    wait(run, "running")
    while not get_run(db, admin, run.id).progress:
        supervisor.tick()
    assert get_run(db, admin, bare.id).status == "queued"  # one slot
    assert cancel_run(db, admin, run.id).cancel_requested
    done = wait(run, "cancelled")
    assert done.result["partial"] and 0 < done.result["steps"] < 500 and done.error is None
    assert "finished" in prompts(db)  # what it had is kept
    wait(bare, "running")
    cancel_run(db, admin, bare.id)
    assert wait(bare, "cancelled").result is None
    assert resume_run(db, admin, queued.id).status == "queued"
    assert wait(queued, "succeeded").attempt == 1


def test_pause_sets_a_run_aside_and_resume_goes_on_to_the_same_end(db, admin, project, supervisor, wait):
    run = start_run(db, admin, project.id, "sum", {"steps": 12, "seed": 3, "at": {"3": "wait"}})
    behind = start_run(db, admin, project.id, "sum", {"steps": 1})
    wait(run, "running")
    waits = run_folder(run.id).state / "did_3"  # asked before that step, it would wait in it after the resume
    while not waits.exists():
        supervisor.tick()
    assert pause_run(db, admin, run.id).status == "running"  # until the step in hand is done
    seen = wait(run, "paused")
    assert seen.result["partial"] and seen.result["steps"] == 3 and seen.pid is None
    assert prompts(db) == []  # nothing follows from it yet
    wait(behind, "succeeded")  # its slot is free
    for _ in range(3):
        supervisor.tick()
    assert get_run(db, admin, run.id).status == "paused"  # not by itself
    with pytest.raises(Conflict, match="not under way"):
        pause_run(db, admin, run.id)
    resume_run(db, admin, run.id)
    done = wait(run, "succeeded")
    assert done.result == {"total": pytest.approx(expected_total(db, admin, run), abs=0), "steps": 12}
    steps = [event.data["step"] for event in events_after(db, admin, run.id, types=["metric"])]
    assert steps == list(range(1, 13))
    states = [event.data["status"] for event in events_after(db, admin, run.id, types=["state"])]
    assert states == ["running", "queued", "running"]


def test_a_queued_run_pauses_at_once_and_a_paused_one_can_be_cancelled(db, admin, project, wait, monkeypatch):
    run = start_run(db, admin, project.id, "sum", {})
    assert pause_run(db, admin, run.id).status == "paused"
    assert cancel_run(db, admin, run.id).status == "cancelled"
    resume_run(db, admin, run.id)
    assert wait(run, "succeeded").attempt == 1
    other = start_run(db, admin, project.id, "sum", {})
    monkeypatch.setitem(kinds.KINDS, "sum", replace(kinds.KINDS["sum"], pauses=False))
    with pytest.raises(Conflict, match="cannot pause"):
        pause_run(db, admin, other.id)


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_killed_while_it_was_to_pause_it_stays_paused(signal, db, admin, project, supervisor, wait):
    """Also when the server dies meanwhile: what was asked stands in the folder."""
    run = start_run(db, admin, project.id, "sum", {"steps": 12, "seed": 3, "at": {"3": "hang"}})
    wait(run, "running")
    while "hangs" not in str([event.data for event in events_after(db, admin, run.id)]):
        supervisor.tick()
    worker = run_folder(run.id).worker
    pause_run(db, admin, run.id)
    os.kill(worker["pid"], getattr(signals, signal))
    again = Supervisor(db, supervisor.settings, resume_after=0.0)
    seen = wait(run, "paused", look=again.tick)
    assert seen.error is None
    for _ in range(3):
        again.tick()
    assert get_run(db, admin, run.id).status == "paused"
    resume_run(db, admin, run.id)
    done = wait(run, "succeeded", look=again.tick)
    assert done.result["total"] == pytest.approx(expected_total(db, admin, run), abs=0)


def test_a_worker_that_does_not_listen_is_ended(db, admin, project, supervisor, wait):
    run = start_run(db, admin, project.id, "sum", {"at": {"1": "deaf"}})
    wait(run, "running")
    while "deaf" not in str([event.data for event in events_after(db, admin, run.id)]):
        supervisor.tick()
    began = time.monotonic()
    cancel_run(db, admin, run.id)
    done = wait(run, "cancelled")
    assert 0.5 < time.monotonic() - began < 20
    assert "did not stop by itself" in done.hint


@pytest.mark.parametrize("what", ["kill", "orphan", "stop"])
def test_a_killed_worker_is_shown_as_interrupted_and_goes_on_to_the_same_result(
    what, db, admin, project, supervisor, wait
):
    run = start_run(db, admin, project.id, "sum", {"steps": 6, "at": {"3": what}, "effects": True, "seed": 5})
    seen = wait(run, "interrupted")
    assert ("told to stop" if what == "stop" else "killed") in seen.error and "by itself" in seen.hint
    done = wait(run, "succeeded")
    assert done.attempt == 2
    assert done.result["total"] == pytest.approx(expected_total(db, admin, run), abs=0)
    events = events_after(db, admin, run.id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    states = [event.data["status"] for event in events if event.type == "state"]
    assert states == ["running", "interrupted", "running"]
    assert prompts(db) == sorted([*(f"artifact {i}" for i in range(1, 7)), "finished"])


def test_it_goes_on_by_itself_twice_then_waits_for_a_person(db, admin, project, supervisor, wait):
    at = {str(step): "kill" for step in (1, 2, 3, 4)}
    run = start_run(db, admin, project.id, "sum", {"steps": 5, "at": at})
    for attempt in (1, 2, 3):
        seen = wait(run, "interrupted", "succeeded")
        assert (seen.status, seen.attempt) == ("interrupted", attempt)
        if attempt < 3:
            wait(run, "running")
    for _ in range(5):
        supervisor.tick()
    waiting = get_run(db, admin, run.id)
    assert waiting.status == "interrupted" and "press Resume" in waiting.hint
    resume_run(db, admin, run.id)
    assert wait(run, "succeeded").attempt == 5  # killed once more, and taken up once more
    said = [event.data["status"] for event in events_after(db, admin, run.id, types=["state"])]
    assert said.count("interrupted") == 4 and said.count("queued") == 1


def test_what_cannot_be_taken_in_fails_the_run_and_leaves_nothing_half_written(
    db, admin, project, supervisor, wait
):
    config = {"steps": 400, "pause": 0.02, "effects": True, "bad_artifact": 2}
    run = start_run(db, admin, project.id, "sum", config)
    failed = wait(run, "failed")
    assert "artifact" in failed.error and "not readable" in failed.error
    assert prompts(db) == ["artifact 1"]
    assert numbers(db, admin, run) == list(range(1, len(numbers(db, admin, run)) + 1))
    while supervisor._doomed:
        supervisor.tick()
    assert supervisor.executor.alive(run_folder(run.id), None) is False
    other = start_run(db, admin, project.id, "sum", {"finish_fails": True})
    failed = wait(other, "failed")
    assert "makes no sense" in failed.error and failed.result is None and "finished" not in prompts(db)
    assert "makes no sense" in run_log(db, admin, other.id)


def test_a_missing_folder_is_a_reason(db, admin, project, supervisor, wait):
    import shutil

    run = start_run(db, admin, project.id, "sum", {})
    shutil.rmtree(run_folder(run.id).path)
    assert "folder is gone" in wait(run, "failed").error
    with pytest.raises(Conflict, match="folder is gone"):
        resume_run(db, admin, run.id)


def test_slots_oldest_first_and_repeat(db, admin, project, settings, wait):
    settings.worker_slots = 2
    runs = [start_run(db, admin, project.id, "sum", {"steps": 5, "pause": 0.02}) for _ in range(3)]
    two = Supervisor(db, settings, resume_after=0)
    two.tick()
    assert [get_run(db, admin, run.id).status for run in runs] == ["running", "running", "queued"]
    assert sorted(two._slots.values()) == [0, 1]
    for run in runs:
        wait(run, "succeeded", look=two.tick)
    again = repeat_run(db, admin, runs[0].id)
    assert (again.seed, again.config) == (runs[0].seed, runs[0].config)
    assert wait(again, "succeeded", look=two.tick).result == get_run(db, admin, runs[0].id).result


def test_a_worker_of_a_run_that_was_deleted_is_ended(db, admin, project, supervisor, wait):
    run = start_run(db, admin, project.id, "sum", {"steps": 1000, "pause": 0.05})
    wait(run, "running")
    while (worker := run_folder(run.id).worker) is None:
        time.sleep(0.02)
    db.write(lambda session: session.delete(session.get(Run, run.id)))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and psutil.pid_exists(worker["pid"]):
        supervisor.tick()
        time.sleep(0.02)
    assert not psutil.pid_exists(worker["pid"])


def test_only_one_supervises_and_another_takes_over(db, settings):
    first, second = (Supervisor(db, settings, interval=0.02) for _ in range(2))
    first.start()
    while not first.supervising:
        time.sleep(0.01)
    second.start()
    time.sleep(0.2)
    assert first.supervising and not second.supervising
    first.stop()
    deadline = time.monotonic() + 5
    while not second.supervising and time.monotonic() < deadline:
        time.sleep(0.01)
    assert second.supervising
    second.stop()


def test_who_did_it_is_in_the_audit_log(db, admin, project):
    run = start_run(db, admin, project.id, "sum", {})
    cancel_run(db, admin, run.id)
    resume_run(db, admin, run.id)
    with db.read() as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.entity_id == run.id)).all()
    assert [entry.action for entry in entries] == ["run.start", "run.cancel", "run.resume"]


def test_roles(db, admin, person, project):
    run = start_run(db, admin, project.id, "sum", {})
    lead, annotator = person("lead"), person("annotator")
    assert get_run(db, lead, run.id).id == run.id
    for forbidden in (cancel_run, pause_run, resume_run, repeat_run):
        with pytest.raises(Forbidden):
            forbidden(db, lead, run.id)
    for forbidden in (get_run, events_after, run_log):
        with pytest.raises(Forbidden):
            forbidden(db, annotator, run.id)


def test_the_tail_of_a_log_is_readable(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.log_tail() == ""
    (tmp_path / "worker.log").write_bytes(b"one\r\n 1%\r 50%\r100%\n\x1b[31mred\x1b[0m \xff\n 3%\r 7%\r")
    assert folder.log_tail() == "one\n100%\nred �\n 7%"
    (tmp_path / "worker.log").write_bytes(b"line\n" * 1000)
    assert folder.log_tail(52) == "\n".join(["line"] * 10)
