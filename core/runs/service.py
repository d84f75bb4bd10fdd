"""What people and programs do with runs: start, look, pause, cancel, resume, repeat."""

import json
import secrets
import shutil
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.projects import find_project
from core.runs import locks
from core.runs.folder import RunFolder
from core.runs.freeze import freeze
from core.runs.kinds import kind_of
from core.runs.states import ACTIVE, RESUMABLE, STATUSES, append_state, move, requeued
from core.settings import get_settings
from storage.database import Database
from storage.ids import new_id, now
from storage.tables import Run, RunEvent, User

MAX_SEED = 2**31 - 1


def run_folder(run_id: str) -> RunFolder:
    return RunFolder(get_settings().runs_dir.resolve() / run_id)


def start_run(db: Database, who: Principal, project_id: str, kind: str, config: dict[str, Any]) -> Run:
    """Freeze a run and queue it. Raises Invalid naming the field of the config that is
    wrong; then neither a row nor a folder is left. Without `seed` the kind's own is
    taken, or one is drawn, and kept."""
    require(who, "run.start")
    chosen = kind_of(kind)
    asked = _checked(config, chosen.seed)
    prepare = chosen.web("prepare")
    if prepare is None:
        raise Invalid(f"kind: “{kind}” cannot be started.")
    # prepare only reads, possibly a lot: not under the write lock.
    with db.read() as session:
        project = find_project(session, project_id)
        prepared = prepare(session, project, json.loads(json.dumps(asked)), asked["seed"])
    run = Run(
        project_id=project_id,
        kind=kind,
        name=prepared.name or chosen.title,
        config={**prepared.config, "seed": asked["seed"]},
        seed=asked["seed"],
        created_by=who.user_id,
        id=new_id(),
    )
    folder = run_folder(run.id)
    spec = {
        "run_id": run.id,
        "project_id": project_id,
        "kind": kind,
        "worker": chosen.worker,  # with this, the folder is all that a worker needs
        "name": run.name,
        "config": run.config,
        "asked": asked,
        "seed": run.seed,
        "models_dir": str(get_settings().models_dir.resolve()),
    }
    freeze(folder, spec, prepared)

    def work(session: Session) -> Run:
        find_project(session, project_id)
        if prepared.store is not None:
            prepared.store(session)
        session.add(run)
        audit.record(session, who, "run.start", "run", run.id, project_id, kind=kind, name=run.name)
        return run

    try:
        return db.write(work)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _checked(config: dict[str, Any], default_seed: int | None) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise Invalid("config: an object of settings, such as {}.")
    try:
        asked: dict[str, Any] = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Invalid(f"config: only what JSON can hold ({error}).") from error
    seed = default_seed if asked.get("seed") is None else asked["seed"]
    if seed is None:
        seed = secrets.randbelow(MAX_SEED + 1)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise Invalid(f"seed: a whole number from 0 to {MAX_SEED:,}.")
    return {**asked, "seed": seed}


def find_run(session: Session, run_id: str) -> Run:
    """The run, or NotFound: for use inside a unit of work."""
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    return run


def get_run(db: Database, who: Principal, run_id: str) -> Run:
    require(who, "run.view")
    with db.read() as session:
        return find_run(session, run_id)


def list_runs(
    db: Database,
    who: Principal,
    project_id: str,
    kind: str | None = None,
    limit: int = 50,
    offset: int = 0,
    *,
    statuses: list[str] | None = None,
) -> list[Run]:
    """The runs of a project, newest first."""
    require(who, "run.view")
    with db.read() as session:
        find_project(session, project_id)
        query = select(Run).where(*_wanted(project_id, kind, statuses))
        return list(session.exec(query.order_by(col(Run.id).desc()).limit(limit).offset(offset)))


def count_runs(
    db: Database,
    who: Principal,
    project_id: str,
    kind: str | None = None,
    statuses: list[str] | None = None,
) -> int:
    require(who, "run.view")
    with db.read() as session:
        return session.exec(select(func.count()).where(*_wanted(project_id, kind, statuses))).one()


def _wanted(project_id: str, kind: str | None, statuses: list[str] | None) -> list[Any]:
    for status in statuses or ():
        if status not in STATUSES:
            raise Invalid(f"status: “{status}” is not one of {', '.join(STATUSES)}.")
    conditions: list[Any] = [col(Run.project_id) == project_id]
    if kind:
        conditions.append(col(Run.kind) == kind)
    if statuses:
        conditions.append(col(Run.status).in_(statuses))
    return conditions


def starters(db: Database, who: Principal, runs: list[Run]) -> dict[str, str]:
    """The names of those who started these runs, by user id."""
    require(who, "run.view")
    ids = {run.created_by for run in runs if run.created_by}
    with db.read() as session:
        return {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(ids)))}


def events_after(
    db: Database,
    who: Principal,
    run_id: str,
    after: int = 0,
    limit: int = 1000,
    types: list[str] | None = None,
) -> list[RunEvent]:
    """Events with a number above `after`, in order."""
    require(who, "run.view")
    with db.read() as session:
        find_run(session, run_id)
        query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.number > after)
        if types:
            query = query.where(col(RunEvent.type).in_(types))
        return list(session.exec(query.order_by(col(RunEvent.number)).limit(limit)))


def latest_events(
    db: Database, who: Principal, run_id: str, limit: int = 200, types: list[str] | None = None
) -> list[RunEvent]:
    """The newest events, oldest of them first."""
    require(who, "run.view")
    with db.read() as session:
        query = select(RunEvent).where(RunEvent.run_id == run_id)
        if types:
            query = query.where(col(RunEvent.type).in_(types))
        return list(session.exec(query.order_by(col(RunEvent.number).desc()).limit(limit)))[::-1]


def sampled_events(
    db: Database, who: Principal, run_id: str, type: str, at_most: int = 600
) -> tuple[list[RunEvent], int]:
    """Events of one type from the whole run, evenly thinned out to `at_most` or fewer,
    and how many there are in all."""
    require(who, "run.view")
    mine = (col(RunEvent.run_id) == run_id, col(RunEvent.type) == type)
    with db.read() as session:
        total = session.exec(select(func.count()).select_from(RunEvent).where(*mine)).one()
        place = func.row_number().over(order_by=col(RunEvent.number))
        places = select(col(RunEvent.number), place.label("place")).where(*mine).subquery()
        every = max(1, -(-total // at_most))
        kept = select(places.c.number).where((places.c.place - 1) % every == 0)
        query = select(RunEvent).where(*mine, col(RunEvent.number).in_(kept)).order_by(col(RunEvent.number))
        return list(session.exec(query)), total


def run_log(db: Database, who: Principal, run_id: str, at_most: int = 64_000) -> str:
    """The end of what the worker printed, at most so many bytes of it."""
    return run_folder(get_run(db, who, run_id).id).log_tail(at_most)


def cancel_run(db: Database, who: Principal, run_id: str) -> Run:
    """Stop a run: a queued or paused one at once; a running one is asked to, and ends as
    cancelled with what it has; one that was interrupted is not taken up again by itself."""
    require(who, "run.control")

    def work(session: Session) -> Run:
        run = find_run(session, run_id)
        ended = {"status": "cancelled", "finished_at": now(), "message": "", "eta_s": None}
        if not (
            move(session, run_id, ("queued", "interrupted", "paused"), **ended)
            or move(session, run_id, ("running",), cancel_requested=True)
        ):
            raise Conflict(f"This run has ended already ({run.status}).")
        audit.record(session, who, "run.cancel", "run", run_id, run.project_id, name=run.name)
        session.refresh(run)
        return run

    run = db.write(work)
    if run.status == "running":
        run_folder(run_id).request_cancel()
    return run


def pause_run(db: Database, who: Principal, run_id: str) -> Run:
    """Set a run aside: a queued one at once; a running one ends after the step in hand, keeps
    its state, and gives its slot to others. It waits until a person resumes or cancels it.
    Raises Conflict when it is not under way, or is being cancelled, or its kind cannot pause."""
    require(who, "run.control")

    def work(session: Session) -> Run:
        run = find_run(session, run_id)
        if not kind_of(run.kind).pauses:
            raise Conflict(f"A run of the kind “{run.kind}” cannot pause.", "Cancel it, and resume it later.")
        if not move(session, run_id, ("queued",), status="paused", message="", eta_s=None):
            if run.status != "running":
                raise Conflict(f"This run is not under way ({run.status}).")
            if run.cancel_requested:
                raise Conflict("This run is being cancelled.", "It can be resumed once it has ended.")
        audit.record(session, who, "run.pause", "run", run_id, run.project_id, name=run.name)
        session.refresh(run)
        return run

    run = db.write(work)
    if run.status == "running":
        run_folder(run_id).request_pause()
    return run


def pausing(run: Run) -> bool:
    """Whether a running one was asked to pause, and finishes the step in hand."""
    return run.status == "running" and run_folder(run.id).pause_requested


def resume_run(db: Database, who: Principal, run_id: str) -> Run:
    """Queue a run again that was paused, failed, was cancelled or interrupted. It goes on from
    its last checkpoint. Raises Conflict when it is not at an end, or its folder is gone."""
    require(who, "run.control")
    run = get_run(db, who, run_id)
    if run.status not in RESUMABLE:
        what = "It is at work." if run.status in ACTIVE else "It is done."
        raise Conflict(f"This run cannot be resumed: it is {run.status}.", what)
    folder = run_folder(run_id)
    if not (folder.path / "spec.json").exists():
        raise Conflict("This run's folder is gone, so it cannot go on.", "Start it again with its settings.")

    def work(session: Session) -> Run:
        run = find_run(session, run_id)
        if not move(session, run_id, RESUMABLE, **requeued()):
            raise Conflict("This run was resumed already.")
        audit.record(session, who, "run.resume", "run", run_id, run.project_id, name=run.name)
        session.refresh(run)
        return run

    lock = locks.take(folder.lock)  # so that no worker is there while the folder is made ready
    if lock is None:
        raise Conflict("This run's worker is still stopping.", "Try again in a few seconds.")
    with lock:
        run = get_run(db, who, run_id)
        if run.status in RESUMABLE:
            append_state(folder, run.last_event, status="queued", by=who.name)
            folder.clear_end()
        return db.write(work)


def repeat_run(db: Database, who: Principal, run_id: str) -> Run:
    """Start a new run with the settings and the seed of this one, on the data as it is now."""
    run = get_run(db, who, run_id)
    try:
        asked = run_folder(run_id).spec["asked"]
    except (FileNotFoundError, KeyError):
        asked = run.config
    return start_run(db, who, run.project_id, run.kind, asked)
