"""How a run moves from state to state, safely under several writers.

queued ──> running ──> succeeded
   │          ├──────> failed
   ├──────────┼──────> cancelled
   └──────────┼──────> paused
              └──────> interrupted ──> queued     (by itself, twice at most)
failed, cancelled, interrupted, paused ──> queued (a person resumes it)
"""

from typing import Any

from sqlmodel import Session, col, select, update

from core.runs.context import RunContext
from core.runs.folder import RunFolder
from storage.tables import Run, RunEvent
from storage.updating import update_one

ACTIVE = ("queued", "running")
RESUMABLE = ("failed", "cancelled", "interrupted", "paused")
STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "interrupted", "paused")
AUTOMATIC_RESUMES = 2


def move(session: Session, run_id: str, out_of: tuple[str, ...], **values: Any) -> bool:
    """Change a run if it is still in one of these states; False if it is not any more.
    One statement, so that of two writers only one moves it."""
    statement = update(Run).where(col(Run.id) == run_id, col(Run.status).in_(out_of)).values(**values)
    return update_one(session, statement, col(Run.id)) is not None


def requeued() -> dict[str, Any]:
    """The values of a run that waits to go on: what its last end said is taken off."""
    return {
        "status": "queued",
        "message": "",
        "eta_s": None,
        "error": None,
        "hint": None,
        "result": None,
        "pid": None,
        "pid_started": None,
        "cancel_requested": False,
        "finished_at": None,
    }


def append_state(folder: RunFolder, after: int, **data: Any) -> None:
    """Append a `state` event in place of the worker; the caller holds the folder's lock.
    The same one twice is written once (its writer may have died before it was stored).
    `after`: the newest number stored. A machine that lost power may have lost lines that
    were read already, and their numbers are not given out again."""
    events, _ = folder.read_events()
    if events and events[-1]["n"] > after and events[-1]["data"].get("status") == data["status"]:
        return
    context = RunContext(folder)
    context.number = max(context.number, after)
    context.emit("state", **data)
    context.close()


def interruptions(session: Session, run_id: str) -> int:
    """How often the run was interrupted since it was queued or a person resumed it."""
    events = session.exec(
        select(RunEvent)
        .where(RunEvent.run_id == run_id, RunEvent.type == "state")
        .order_by(col(RunEvent.number))
    )
    count = 0
    for event in events:
        if event.data.get("status") == "interrupted":
            count += 1
        elif event.data.get("status") == "queued":
            count = 0
    return count
