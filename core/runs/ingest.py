"""From the folder into the database: events and what they mean, then the end.

A batch of events, their effects and the new place in the file are one transaction. So
the web process may die at any moment: the next one goes on from the place that was kept,
and reading from an older place adds nothing, because an event is known by its number.
"""

import logging
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session, select

from core.errors import PrefloopError
from core.runs.folder import RunFolder
from core.runs.kinds import kind_of
from core.runs.states import move
from storage.bulk import insert_many
from storage.database import Database
from storage.ids import id_of, now
from storage.tables import Candidate, LedgerEntry, Run, RunEvent

log = logging.getLogger(__name__)

BATCH = 500
_HINT = "The log below has the details. The work itself is kept: Resume goes on from its checkpoint."


class CannotTake(Exception):
    """Something the worker said cannot be taken into the project. `index`: the place of
    the event in its batch."""

    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index, self.message, self.hint = index, message, hint


def ingest(db: Database, run_id: str, folder: RunFolder, limit: int = BATCH) -> int:
    """Take in up to `limit` lines that were not read yet; answers how many it read, 0
    when there is nothing new. Raises CannotTake after what stands before the culprit is
    stored."""
    with db.read() as session:
        place = session.exec(select(Run.event_offset, Run.last_event).where(Run.id == run_id)).first()
    if place is None:
        return 0
    offset, last = place
    if _size(folder.events) < offset:  # lost with the machine's power: numbers tell what is new
        offset = 0
    lines = folder.events_from(offset, limit)
    if not lines:
        return 0
    try:
        db.write(lambda session: take(session, run_id, folder, lines, last))
    except CannotTake as problem:
        before = lines[: problem.index]
        if before:
            db.write(lambda session: take(session, run_id, folder, before, last))
        raise
    return len(lines)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def take(
    session: Session,
    run_id: str,
    folder: RunFolder,
    lines: list[tuple[dict[str, Any] | None, int]],
    expected: int | None = None,
) -> None:
    """Store the events with a number above the last one, apply their effects, and move
    the place in the file, in the transaction of `session`. Does nothing when the run is
    gone, or another has taken events since (`expected`: the last number known)."""
    run = session.get(Run, run_id)
    if run is None or (expected is not None and run.last_event != expected):
        return
    effects = Effects(session, run, folder)
    rows: list[dict[str, Any]] = []
    newest = run.last_event
    for index, (event, _) in enumerate(lines):
        if event is None or event["n"] <= newest:
            continue
        newest = event["n"]
        rows.append(
            {
                "run_id": run_id,
                "number": newest,
                "at": _time(event.get("at")),
                "type": str(event.get("type", "log")),
                "data": event["data"] if isinstance(event.get("data"), dict) else {},
            }
        )
        try:
            effects.apply(rows[-1]["type"], rows[-1]["data"])
        except (OperationalError, InterfaceError):
            raise  # the database's trouble, not the event's: tried again later
        except Exception as error:
            raise _cannot(index, folder, f"event {newest} ({rows[-1]['type']})", error) from error
    try:
        effects.flush()
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        raise _cannot(0, folder, f"events up to {newest}", error) from error
    insert_many(session, RunEvent, rows, ignore_existing=False)
    run.last_event = newest
    run.event_offset = lines[-1][1]
    session.add(run)


def _cannot(index: int, folder: RunFolder, what: str, error: Exception) -> CannotTake:
    if isinstance(error, PrefloopError):
        return CannotTake(index, error.message, error.hint or _HINT)
    log.exception("run %s: %s could not be taken in", folder.path.name, what)
    with (folder.path / "worker.log").open("a", encoding="utf-8") as file:
        file.write(f"\n[prefloop] {what} could not be taken into the project:\n")
        file.writelines(traceback.format_exception(error))
    said = str(error).strip().splitlines()
    detail = f"{type(error).__name__}: {said[0][:300]}" if said else type(error).__name__
    return CannotTake(index, f"The run's {what} could not be taken into the project ({detail}).", _HINT)


def _time(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return now()


class Effects:
    """What events mean beyond themselves. Candidates and ledger lines are gathered, since
    a batch may say the same one many times; artifacts are handed on at once."""

    def __init__(self, session: Session, run: Run, folder: RunFolder) -> None:
        self.session, self.run, self.folder = session, run, folder
        self.candidates: dict[int, dict[str, Any]] = {}
        self.ledger: dict[tuple[str, str], dict[str, Any]] = {}

    def apply(self, type: str, data: dict[str, Any]) -> None:
        if type == "progress":
            self.run.progress = min(max(float(data.get("fraction") or 0.0), 0.0), 1.0)
            self.run.message = str(data.get("message") or "")[:500]
            self.run.eta_s = None if data.get("eta_s") is None else float(data["eta_s"])
        elif type == "candidate":
            self.candidates.setdefault(int(data["number"]), {}).update(_candidate_values(data))
        elif type == "ledger":
            self.ledger[str(data["host"]), str(data["purpose"])] = _ledger_values(data)
        elif type == "artifact":
            self.flush()
            self._artifact(data)

    def _artifact(self, data: dict[str, Any]) -> None:
        path = (self.folder.path / str(data["path"])).resolve()
        if not path.is_relative_to(self.folder.path.resolve()):
            raise ValueError(f"the artifact {data['path']} lies outside the run's folder")
        on_artifact = kind_of(self.run.kind).web("on_artifact")
        if on_artifact is not None:
            on_artifact(self.session, self.run, path, data)
            self.session.flush()

    def flush(self) -> None:
        """Write what was gathered: upserts, by ids that follow from the run."""
        for number, data in self.candidates.items():
            self._candidate(number, data)
        for (host, purpose), data in self.ledger.items():
            self._ledger(host, purpose, data)
        self.candidates.clear()
        self.ledger.clear()
        self.session.flush()

    def _candidate(self, number: int, data: dict[str, Any]) -> None:
        key = id_of("candidate", self.run.id, str(number))
        row = self.session.get(Candidate, key) or Candidate(
            id=key, project_id=self.run.project_id, run_id=self.run.id, number=number
        )
        for name, value in data.items():
            setattr(row, name, value)
        self.session.add(row)

    def _ledger(self, host: str, purpose: str, data: dict[str, Any]) -> None:
        row = self.session.exec(
            select(LedgerEntry).where(
                LedgerEntry.run_id == self.run.id, LedgerEntry.host == host, LedgerEntry.purpose == purpose
            )
        ).first() or LedgerEntry(
            id=id_of("ledger", self.run.id, host, purpose),
            project_id=self.run.project_id,
            run_id=self.run.id,
            host=host,
            purpose=purpose,
        )
        for name, value in data.items():
            setattr(row, name, value)
        row.updated_at = now()
        self.session.add(row)


def _candidate_values(data: dict[str, Any]) -> dict[str, Any]:
    """What an event says of a candidate; a later one may say only what has changed."""
    types: dict[str, Any] = {
        "parent": int, "operation": str, "text": str, "accepted": bool, "scores": dict, "calls": int,
    }  # fmt: skip
    return {name: types[name](value) for name, value in data.items() if name in types and value is not None}


def _ledger_values(data: dict[str, Any]) -> dict[str, Any]:
    whole = {name: int(data.get(name) or 0) for name in ("calls", "cached", "tokens_in", "tokens_out")}
    return {**whole, "cost": float(data.get("cost") or 0.0)}


def finish(db: Database, run_id: str, folder: RunFolder, outcome: dict[str, Any]) -> None:
    """End a run as its result.json says; all its events must have been taken in. What the
    result means for the project is written in the same transaction. If that fails the run
    ends as failed, and nothing of the result is kept in the database."""

    def work(session: Session) -> None:
        run = session.get(Run, run_id)
        if run is None or run.status != "running":
            return
        result = outcome.get("result")  # of a paused run, the best so far: nothing follows from it yet
        if result is not None and outcome["status"] in ("succeeded", "cancelled"):
            on_finish = kind_of(run.kind).web("finish")
            if on_finish is not None:
                try:
                    on_finish(session, run, folder, result)
                    session.flush()
                except (OperationalError, InterfaceError):
                    raise
                except Exception as error:
                    raise _cannot(0, folder, "result", error) from error
        run.status = outcome["status"]
        run.result = result
        run.error, run.hint = outcome.get("error"), outcome.get("hint")
        run.finished_at, run.eta_s, run.message = now(), None, ""
        run.pid = run.pid_started = None
        if run.status == "succeeded":
            run.progress = 1.0
        session.add(run)

    try:
        db.write(work)
    except CannotTake as problem:
        fail(db, run_id, problem.message, problem.hint)


def fail(db: Database, run_id: str, message: str, hint: str) -> None:
    """End a running run as failed, for a reason that lies on this side of the folder."""
    ended = {"status": "failed", "error": message, "hint": hint, "eta_s": None, "message": ""}
    db.write(
        lambda session: move(session, run_id, ("running", "queued"), **ended, finished_at=now(), pid=None)
    )
