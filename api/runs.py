"""Runs: start, follow, pause, cancel, resume."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.runs import service

router = APIRouter(tags=["runs"])


class RunCreate(BaseModel):
    kind: str
    config: dict[str, Any] = {}


class RunPublic(BaseModel):
    """`progress` is 0 to 1, `eta_s` seconds left; `error` and `hint` say why a run has
    failed and what to do; `last_event` is the number of the newest event."""

    id: str
    project_id: str
    kind: str
    name: str
    status: str
    progress: float
    message: str
    eta_s: float | None
    result: dict[str, Any] | None
    error: str | None
    hint: str | None
    config: dict[str, Any]
    seed: int
    attempt: int
    cancel_requested: bool
    last_event: int
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EventPublic(BaseModel):
    number: int
    at: datetime
    type: str
    data: dict[str, Any]


Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0)]


@router.post("/projects/{project_id}/runs", status_code=202)
def start(project_id: str, values: RunCreate, db: DatabaseDep, who: CurrentUser) -> RunPublic:
    """Queue a run. Kinds: generate, reward_model, optimize, transfer, judge, score, reward_bench; `config` needs
    only what its kind requires. The answer comes at once; follow the run with `GET /runs/{id}`."""
    run = service.start_run(db, who, project_id, values.kind, values.config)
    return RunPublic.model_validate(run, from_attributes=True)


@router.get("/projects/{project_id}/runs")
def list_(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    kind: str | None = None,
    status: Annotated[list[str] | None, Query()] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[RunPublic]:
    """Newest first; `status` may be given several times."""
    found = service.list_runs(db, who, project_id, kind, limit, offset, statuses=status)
    return [RunPublic.model_validate(run, from_attributes=True) for run in found]


@router.get("/runs/{run_id}")
def get(run_id: str, db: DatabaseDep, who: CurrentUser) -> RunPublic:
    return RunPublic.model_validate(service.get_run(db, who, run_id), from_attributes=True)


@router.get("/runs/{run_id}/events")
def events(
    run_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    after: Offset = 0,
    limit: Limit = 1000,
    type: Annotated[list[str] | None, Query()] = None,
) -> list[EventPublic]:
    """Events with a number above `after`, in order: call again with the last number seen.
    Types: state, progress, metric, candidate, ledger, artifact, log."""
    found = service.events_after(db, who, run_id, after, limit, type)
    return [EventPublic.model_validate(event, from_attributes=True) for event in found]


@router.get("/runs/{run_id}/log", response_class=PlainTextResponse)
def log(
    run_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    bytes: Annotated[int, Query(ge=1, le=1_000_000)] = 64_000,
) -> str:
    """The end of what the worker printed, as plain text."""
    return service.run_log(db, who, run_id, bytes)


@router.post("/runs/{run_id}/cancel")
def cancel(run_id: str, db: DatabaseDep, who: CurrentUser) -> RunPublic:
    """Stop a run. A running one ends as cancelled with what it has."""
    return RunPublic.model_validate(service.cancel_run(db, who, run_id), from_attributes=True)


@router.post("/runs/{run_id}/pause", status_code=202)
def pause(run_id: str, db: DatabaseDep, who: CurrentUser) -> RunPublic:
    """Set an optimisation aside: a running one ends as `paused` after the step in hand, with its
    state, and goes on from there when it is resumed."""
    return RunPublic.model_validate(service.pause_run(db, who, run_id), from_attributes=True)


@router.post("/runs/{run_id}/resume", status_code=202)
def resume(run_id: str, db: DatabaseDep, who: CurrentUser) -> RunPublic:
    """Queue a paused, failed, cancelled or interrupted run again; it goes on from its checkpoint."""
    return RunPublic.model_validate(service.resume_run(db, who, run_id), from_attributes=True)
