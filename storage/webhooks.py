"""Webhooks and their deliveries.

A delivery is written in the unit of work that it tells of, so it is there if and only if
that is (the outbox pattern). It goes waiting -> delivered or given_up. Who sends it claims
it first: `next_at` is put a while ahead, and is the claim's mark. What a sender that died
had claimed becomes due again by itself, and of two at once one gets it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, exists, func, update
from sqlalchemy import select as sa_select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, delete, select

from storage.ids import new_id, now
from storage.scan import scanned
from storage.tables import Delivery, Pair, Project, Slot, Webhook

_KNOWN = "webhooks"  # in a session: what it found already, by project


@dataclass(frozen=True)
class Waiting:
    """A delivery that this process has claimed until `until`."""

    id: str
    event: str
    body: dict[str, Any]
    attempts: int
    until: datetime


@dataclass(frozen=True)
class Tally:
    waiting: int = 0
    delivered: int = 0
    given_up: int = 0
    delivered_at: datetime | None = None


# --- writing, within the unit of work that is told of --------------------------------------


def listening(session: Session, project_id: str, event: str) -> list[str]:
    """Ids of the project's active webhooks that want the event. One query by an index for
    each project and session: a batch of votes in one transaction asks once."""
    known: dict[str, list[tuple[str, list[str]]]] = session.info.setdefault(_KNOWN, {})
    if project_id not in known:
        query = select(Webhook.id, Webhook.events).where(Webhook.project_id == project_id, *_live())
        known[project_id] = [(row[0], list(row[1])) for row in session.exec(query)]
    return [webhook_id for webhook_id, events in known[project_id] if event in events]


def add(
    session: Session,
    webhook_ids: Sequence[str],
    project_id: str,
    event: str,
    entity_id: str,
    body: dict[str, Any],
    at: datetime,
) -> None:
    """One delivery for each webhook; one that is there already (the same webhook, event and
    entity) stays as it is."""
    rows = [
        {
            "id": new_id(), "webhook_id": webhook_id, "project_id": project_id, "event": event,
            "entity_id": entity_id, "body": body, "status": "waiting", "attempts": 0, "next_at": at,
            "created_at": at,
        }
        for webhook_id in webhook_ids
    ]  # fmt: skip
    if rows:
        session.execute(insert(Delivery).on_conflict_do_nothing(), rows)


def votes_when_complete(session: Session, pair_id: str) -> int:
    """How many votes fill the pair's slots; 0 while one is open or leased. On PostgreSQL,
    of two last votes at the same moment the second waits here for the first: otherwise
    neither would see the other's."""
    if session.get_bind().dialect.name == "postgresql":
        session.exec(select(Pair.id).where(Pair.id == pair_id).with_for_update())
    query = select(
        func.sum(case((col(Slot.status) == "voted", 1), else_=0)),
        func.sum(case((col(Slot.status).in_(("open", "leased")), 1), else_=0)),
    ).where(Slot.pair_id == pair_id)
    voted, missing = session.exec(query).one()
    return 0 if missing else int(voted or 0)


def project_votes_when_complete(session: Session, project_id: str) -> int:
    """The same for a whole project."""
    if session.get_bind().dialect.name == "postgresql":
        session.exec(select(Project.id).where(Project.id == project_id).with_for_update())
    missing = select(Slot.id).where(
        scanned(Slot.project_id) == project_id, col(Slot.status).in_(("open", "leased"))
    )
    if session.exec(missing.limit(1)).first() is not None:
        return 0
    voted = select(func.count()).where(scanned(Slot.project_id) == project_id, col(Slot.status) == "voted")
    return int(session.exec(voted).one())


# --- sending -------------------------------------------------------------------------------


def due(session: Session, at: datetime, limit: int, without: Sequence[str] = ()) -> list[str]:
    """Webhooks with something to send, the one that has waited longest first; but for some."""
    query = (
        select(Delivery.webhook_id)
        .join(Webhook, col(Webhook.id) == col(Delivery.webhook_id))
        .where(*_due(at), *_live(), col(Webhook.id).not_in(without))
        .group_by(Delivery.webhook_id)
        .order_by(func.min(Delivery.created_at))
        .limit(limit)
    )
    return list(session.exec(query))


def claim(session: Session, webhook_id: str, at: datetime, until: datetime, limit: int) -> list[Waiting]:
    """Take the webhook's oldest due deliveries; nobody else gets them before `until`."""
    query: Any = (
        select(Delivery)
        .where(Delivery.webhook_id == webhook_id, *_due(at))
        .order_by(col(Delivery.created_at), col(Delivery.id))
        .limit(limit)
    )
    if session.get_bind().dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    found = [Waiting(row.id, row.event, row.body, row.attempts, until) for row in session.exec(query)]
    if found:
        ids = [item.id for item in found]
        session.execute(
            update(Delivery).where(col(Delivery.id).in_(ids), *_due(at)).values(next_at=until),
            execution_options={"synchronize_session": False},
        )
    return found


def settle(session: Session, claimed: Waiting, **values: Any) -> bool:
    """Write down what became of a claimed delivery. False: the claim had run out, and
    somebody else has it, or it was settled meanwhile."""
    mine = (
        col(Delivery.id) == claimed.id,
        col(Delivery.status) == "waiting",
        col(Delivery.next_at) == claimed.until,
    )
    statement = update(Delivery).where(*mine).values(**values)
    done = session.execute(statement, execution_options={"synchronize_session": False})
    return bool(done.rowcount)  # type: ignore[attr-defined]


def give_up_all(session: Session, webhook_id: str, why: str) -> None:
    statement = update(Delivery).where(
        col(Delivery.webhook_id) == webhook_id, col(Delivery.status) == "waiting"
    )
    session.execute(
        statement.values(status="given_up", next_at=None, error=why),
        execution_options={"synchronize_session": False},
    )


def forget(session: Session, before: datetime) -> int:
    """Delete what was settled before then."""
    settled = (col(Delivery.status) != "waiting", col(Delivery.created_at) < before)
    return int(session.exec(delete(Delivery).where(*settled)).rowcount)


# --- looking -------------------------------------------------------------------------------


def of_project(session: Session, project_id: str) -> list[Webhook]:
    query = select(Webhook).where(Webhook.project_id == project_id, col(Webhook.deleted_at).is_(None))
    return list(session.exec(query.order_by(col(Webhook.created_at), col(Webhook.id))))


def tallies(session: Session, project_id: str) -> dict[str, Tally]:
    """By webhook."""
    one = [
        func.sum(case((col(Delivery.status) == name, 1), else_=0))
        for name in ("waiting", "delivered", "given_up")
    ]
    query = (
        sa_select(col(Delivery.webhook_id), *one, func.max(Delivery.delivered_at))
        .where(col(Delivery.project_id) == project_id)
        .group_by(col(Delivery.webhook_id))
    )
    return {row[0]: Tally(int(row[1]), int(row[2]), int(row[3]), row[4]) for row in session.execute(query)}


def deliveries(
    session: Session, webhook_id: str, status: str | None, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """The newest first, and how many there are in all."""
    which = [col(Delivery.webhook_id) == webhook_id]
    if status:
        which.append(col(Delivery.status) == status)
    total = session.exec(select(func.count()).select_from(Delivery).where(*which)).one()
    query = select(Delivery).where(*which).order_by(col(Delivery.created_at).desc(), col(Delivery.id).desc())
    return list(session.exec(query.limit(limit).offset(offset))), int(total)


def _live() -> tuple[Any, ...]:
    return (col(Webhook.active).is_(True), col(Webhook.deleted_at).is_(None))


def _due(at: datetime) -> tuple[Any, ...]:
    return (col(Delivery.status) == "waiting", col(Delivery.next_at) <= at)


def any_live(session: Session) -> bool:
    return bool(session.exec(select(exists().where(*_live()))).one())


def clear_known(session: Session) -> None:
    """The session made or changed a webhook: ask anew."""
    session.info.pop(_KNOWN, None)


def redo(session: Session, webhook_id: str, delivery_id: str | None = None) -> int:
    """Send a delivery again, with all its tries before it; without one, all that were given
    up. Answers how many."""
    which = [col(Delivery.webhook_id) == webhook_id]
    which.append(col(Delivery.id) == delivery_id if delivery_id else col(Delivery.status) == "given_up")
    done = session.execute(
        update(Delivery)
        .where(*which)
        .values(status="waiting", attempts=0, next_at=now(), error=None, http_status=None, delivered_at=None),
        execution_options={"synchronize_session": False},
    )
    return int(done.rowcount)  # type: ignore[attr-defined]
