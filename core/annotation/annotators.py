"""What a lead can do about an annotator: pause and resume them, leave their votes out and
take them back in. Nothing is deleted: each can be undone, and each is in the audit log.

A paused annotator is told so at the next claim and gets no pairs; a pair they have open
may still be voted on, so that no work is lost. Votes that are left out count nowhere
(`storage.counting`): leaderboard, quality, reward data, plans and exports follow at once, and
the pairs ask others for as many votes (`storage.reopening`).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.access import Principal, require
from core.annotation import room
from core.errors import Forbidden, Invalid, NotFound
from core.projects import find_project
from storage.database import Database
from storage.ids import now
from storage.tables import Annotator, User, Vote

MAX_REASON = 500


@dataclass(frozen=True)
class State:
    """How an annotator stands; times are None while it is not so. `votes`: all they cast.
    `slots_opened`, `slots_closed`: by what was just done, because their votes do or do not
    count."""

    id: str
    name: str
    simulated: bool
    votes: int
    paused_at: datetime | None
    paused_reason: str
    excluded_at: datetime | None
    excluded_by: str
    excluded_reason: str
    machine: bool = False
    slots_opened: int = 0
    slots_closed: int = 0


def states(db: Database, who: Principal, project_id: str) -> list[State]:
    """Every annotator of a project, by name."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        return states_of(session, project_id)


def states_of(session: Session, project_id: str) -> list[State]:
    voted = (
        select(col(Vote.annotator_id).label("id"), func.count().label("votes"))
        .where(Vote.project_id == project_id)
        .group_by(col(Vote.annotator_id))
        .subquery()
    )
    query: Any = (
        select(Annotator, func.coalesce(voted.c.votes, 0), User.name)
        .outerjoin(voted, voted.c.id == col(Annotator.id))
        .outerjoin(User, col(User.id) == col(Annotator.excluded_by))
        .where(Annotator.project_id == project_id)
        .order_by(col(Annotator.name))
    )
    return [_state(annotator, votes, by) for annotator, votes, by in session.exec(query)]


def pause(db: Database, who: Principal, project_id: str, annotator_id: str, reason: str = "") -> State:
    """No more pairs for this annotator, who is shown the reason. Again is the same as once,
    but for the reason."""
    return _change(
        db, who, project_id, annotator_id, "annotator.pause", reason,
        lambda found, text: {"paused_at": found.paused_at or now(), "paused_reason": text},
    )  # fmt: skip


def resume(db: Database, who: Principal, project_id: str, annotator_id: str) -> State:
    return _change(
        db, who, project_id, annotator_id, "annotator.resume", "",
        lambda _found, _text: {"paused_at": None, "paused_reason": None},
    )  # fmt: skip


def leave_out(db: Database, who: Principal, project_id: str, annotator_id: str, reason: str = "") -> State:
    """Count none of this annotator's votes, those to come included, until they are taken
    back in. Their pairs are open for others again, as far as they want votes."""
    return _change(
        db, who, project_id, annotator_id, "annotator.exclude", reason,
        lambda found, text: {
            "excluded_at": found.excluded_at or now(),
            "excluded_by": found.excluded_by or who.user_id,
            "excluded_reason": text,
        },
    )  # fmt: skip


def take_back(db: Database, who: Principal, project_id: str, annotator_id: str) -> State:
    """Count this annotator's votes again. What was opened for others meanwhile is closed, as
    far as nobody has it."""
    return _change(
        db, who, project_id, annotator_id, "annotator.include", "",
        lambda _found, _text: {"excluded_at": None, "excluded_by": None, "excluded_reason": None},
    )  # fmt: skip


def check_not_paused(annotator: Annotator) -> None:
    """Raises Forbidden, saying why, for one who is paused."""
    if annotator.paused_at is None:
        return
    reason = f" The reason given: “{annotator.paused_reason}”." if annotator.paused_reason else ""
    raise Forbidden(
        "You are paused in this project and get no pairs for now." + reason,
        "Your votes are kept. Ask the project's lead to go on.",
    )


def _change(
    db: Database, who: Principal, project_id: str, annotator_id: str, action: str, reason: str, values: Any
) -> State:
    require(who, "annotator.manage")
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON} characters.")

    def work(session: Session) -> State:
        find_project(session, project_id)
        found = session.get(Annotator, annotator_id)
        if found is None or found.project_id != project_id:
            raise NotFound(f"There is no annotator {annotator_id} in this project.")
        before = found.model_dump()
        for name, value in values(found, reason).items():
            setattr(found, name, value)
        session.add(found)
        opened, closed = room.after_change(session, found, before["excluded_at"])
        votes = session.exec(
            select(func.count()).where(Vote.project_id == project_id, Vote.annotator_id == annotator_id)
        ).one()
        if found.model_dump() != before:
            slots = {"slots_opened": opened, "slots_closed": closed} if opened or closed else {}
            audit.record(
                session, who, action, "annotator", found.id, project_id,
                name=found.name, reason=reason, votes=votes, **slots,
            )  # fmt: skip
        by = session.get(User, found.excluded_by) if found.excluded_by else None
        state = _state(found, votes, by.name if by else None)
        return replace(state, slots_opened=opened, slots_closed=closed)

    return db.write(work)


def _state(found: Annotator, votes: int, by: str | None) -> State:
    return State(
        found.id, found.name, found.simulated, votes, found.paused_at, found.paused_reason or "",
        found.excluded_at, by or "", found.excluded_reason or "", bool(found.machine),
    )  # fmt: skip
