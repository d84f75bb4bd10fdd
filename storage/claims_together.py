"""The claim and vote path for many people at once, on DuckDB: the steps of `storage.claims`,
each as one statement for all of them. For use inside `Database.write`, whose lock keeps
what was read true until it is written."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import func, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col

from storage.claims import COLUMNS, Held, free_at
from storage.scan import scanned
from storage.tables import Example, Pair, Response, Skip, Slot, Vote


class Stale(Exception):
    """Somebody changed what was to be written here, after it was read."""


@dataclass(frozen=True)
class Waiting:
    """A slot that can be claimed."""

    slot_id: str
    pair_id: str
    audience: str | None
    front: float | None
    position: float

    @property
    def place(self) -> tuple[bool, float, float, str]:
        """What is claimed first is smaller."""
        return self.front is None, self.front or 0.0, self.position, self.slot_id


@dataclass(frozen=True)
class Leased:
    """A slot under a lease, and whose it is."""

    project_id: str
    annotator_id: str
    held: Held


@dataclass(frozen=True)
class Lease:
    """A slot that is to be leased, at that moment."""

    slot_id: str
    annotator_id: str
    lease: str
    a_left: bool
    at: datetime


@dataclass(frozen=True)
class Content:
    """What a pair shows, and the ids of its responses. None of it ever changes."""

    pair_id: str
    project_id: str
    response_a: str
    response_b: str
    input: str
    messages: list[dict[str, str]] | None
    fields: dict[str, Any]
    text_a: str
    text_b: str


def waiting(
    session: Session, project_id: str, at: datetime, audience: str | None, most: int
) -> list[Waiting]:
    """The slots for this audience (None: for everybody) that would be claimed first, in that
    order."""
    theirs = col(Slot.audience).is_(None) if audience is None else col(Slot.audience) == audience
    query = (
        sa_select(col(Slot.id), col(Slot.pair_id), col(Slot.audience), col(Slot.front), col(Slot.position))
        .where(scanned(col(Slot.project_id)) == project_id, free_at(at), theirs)
        .order_by(col(Slot.front).asc().nulls_last(), col(Slot.position), col(Slot.id))
        .limit(most)
    )
    return [Waiting(*row) for row in session.execute(query)]


def leased(session: Session, leases: Collection[str]) -> dict[str, Leased]:
    """What each of these leases holds; those that hold nothing are left out."""
    query = sa_select(col(Slot.project_id), col(Slot.annotator_id), *COLUMNS).where(
        col(Slot.status) == "leased", col(Slot.lease).in_(leases)
    )
    found = [Leased(project, annotator, Held(*rest)) for project, annotator, *rest in session.execute(query)]
    return {item.held.lease: item for item in found}


def held_by(session: Session, annotators: Collection[str]) -> dict[str, list[Held]]:
    """What each annotator holds, in the order it is to be shown."""
    query = (
        sa_select(col(Slot.annotator_id), *COLUMNS)
        .where(col(Slot.status) == "leased", col(Slot.annotator_id).in_(annotators))
        .order_by(col(Slot.leased_at), col(Slot.id))
    )
    found: dict[str, list[Held]] = defaultdict(list)
    for annotator_id, *rest in session.execute(query):
        found[annotator_id].append(Held(*rest))
    return found


def judged(session: Session, pairs: Collection[str]) -> set[tuple[str, str]]:
    """(annotator, pair) where the one voted on the other, or skipped it."""
    found: set[tuple[str, str]] = set()
    for table in (Vote, Skip):
        query = sa_select(col(table.annotator_id), col(table.pair_id)).where(col(table.pair_id).in_(pairs))
        found |= {(annotator, pair) for annotator, pair in session.execute(query)}
    return found


def next_to_run_out(session: Session, project_id: str, at: datetime) -> datetime | None:
    """When the first of the leases that still run will have run out."""
    query = sa_select(func.min(col(Slot.expires_at))).where(
        col(Slot.status) == "leased", scanned(col(Slot.project_id)) == project_id, col(Slot.expires_at) >= at
    )
    return session.execute(query).scalar()


# A slot is looked at before it is changed, in a statement of its own: with another condition
# beside the ids, DuckDB reads all slots instead of finding these by their index (17 ms for a
# million slots, against 2 and 5 ms). Nobody else writes in between.


def lease(session: Session, leases: Sequence[Lease], at: datetime, until: datetime) -> None:
    """free -> leased. Raises Stale when one of them is not free."""
    for status, _, expires_at in _as_they_are(session, [item.slot_id for item in leases]):
        if status != "open" and not (status == "leased" and expires_at is not None and expires_at < at):
            raise Stale
    data = pa.table(
        {
            "id": [item.slot_id for item in leases],
            "annotator_id": [item.annotator_id for item in leases],
            "lease": [item.lease for item in leases],
            "a_left": [item.a_left for item in leases],
            "leased_at": pa.array([item.at for item in leases], pa.timestamp("us", tz="UTC")),
            "expires_at": pa.array([until] * len(leases), pa.timestamp("us", tz="UTC")),
        }
    )
    connection = session.connection()
    raw: Any = connection.connection.driver_connection
    raw.register("leases_given", data)
    try:
        connection.exec_driver_sql(
            "UPDATE slot SET status = 'leased', annotator_id = given.annotator_id, lease = given.lease, "
            "a_left = given.a_left, leased_at = given.leased_at, expires_at = given.expires_at "
            "FROM leases_given AS given WHERE slot.id = given.id"
        )
    finally:
        raw.unregister("leases_given")


def prolong(session: Session, held: Collection[Held], until: datetime) -> None:
    """Let these leases run until then. Raises Stale when one does not hold."""
    _set(session, held, expires_at=until)


def close(session: Session, held: Collection[Held]) -> None:
    """leased -> voted. Raises Stale when one does not hold."""
    _set(session, held, status="voted")


def _set(session: Session, held: Collection[Held], **values: Any) -> None:
    slots = {item.slot_id: item.lease for item in held}
    found = {lease for status, lease, _ in _as_they_are(session, list(slots)) if status == "leased"}
    if found != set(slots.values()):
        raise Stale
    statement = update(Slot).where(col(Slot.id).in_(slots)).values(**values)
    session.execute(statement, execution_options={"synchronize_session": False})


def _as_they_are(session: Session, slots: Sequence[str]) -> list[tuple[str, str | None, datetime | None]]:
    """Status, lease and end of each. Raises Stale when one is gone."""
    query = sa_select(col(Slot.status), col(Slot.lease), col(Slot.expires_at)).where(col(Slot.id).in_(slots))
    found = session.execute(query).tuples().all()
    if len(found) != len(slots):
        raise Stale
    return list(found)


def contents(session: Session, pairs: Collection[str]) -> dict[str, Content]:
    """What these pairs show; those whose example or responses are gone are left out."""
    # Three lookups by id: a join would read every response there is.
    columns: tuple[Any, ...] = (Pair.id, Pair.project_id, Pair.example_id, Pair.response_a, Pair.response_b)
    found = session.execute(sa_select(*columns).where(col(Pair.id).in_(pairs))).all()
    texts: dict[str, str] = dict(
        session.execute(
            sa_select(col(Response.id), col(Response.text)).where(
                col(Response.id).in_({i for pair in found for i in (pair.response_a, pair.response_b)})
            )
        )
        .tuples()
        .all()
    )
    of_example: tuple[Any, ...] = (Example.id, Example.input, Example.messages, Example.fields)
    wanted = {pair.example_id for pair in found}
    examples = {
        row.id: row for row in session.execute(sa_select(*of_example).where(col(Example.id).in_(wanted)))
    }
    shown = {}
    for pair in found:
        example = examples.get(pair.example_id)
        if example is not None and pair.response_a in texts and pair.response_b in texts:
            shown[pair.id] = Content(
                pair.id, pair.project_id, pair.response_a, pair.response_b,
                example.input, example.messages, example.fields,
                texts[pair.response_a], texts[pair.response_b],
            )  # fmt: skip
    return shown
