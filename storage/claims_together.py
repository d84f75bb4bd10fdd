"""The claim and vote path for many people at once, on DuckDB: the steps of `storage.claims`,
each as one statement for all of them. For use inside `Database.write`, whose lock keeps
what was read true until it is written."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import select as sa_select
from sqlalchemy import update
from sqlmodel import Session, col, select

from storage.claims import COLUMNS, Held, free_at
from storage.scan import scanned
from storage.tables import Example, Pair, Response, Skip, Slot, Vote


@dataclass(frozen=True)
class Waiting:
    """A slot that can be claimed."""

    slot_id: str
    pair_id: str
    audience: str | None


@dataclass(frozen=True)
class Leased:
    """A slot under a lease."""

    slot_id: str
    project_id: str
    pair_id: str
    annotator_id: str
    a_left: bool
    audience: str | None


@dataclass(frozen=True)
class Lease:
    """A slot that is to be leased."""

    slot_id: str
    annotator_id: str
    lease: str
    a_left: bool


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


def waiting(session: Session, project_id: str, at: datetime, most: int) -> list[Waiting]:
    """The slots that would be claimed first, in that order."""
    query = (
        sa_select(col(Slot.id), col(Slot.pair_id), col(Slot.audience))
        .where(scanned(col(Slot.project_id)) == project_id, free_at(at))
        .order_by(col(Slot.front).asc().nulls_last(), col(Slot.position), col(Slot.id))
        .limit(most)
    )
    return [Waiting(*row) for row in session.execute(query)]


def leased(session: Session, leases: Collection[str]) -> dict[str, Leased]:
    """What each of these leases holds; those that hold nothing are left out."""
    columns: tuple[Any, ...] = (
        Slot.lease, Slot.id, Slot.project_id, Slot.pair_id, Slot.annotator_id, Slot.a_left, Slot.audience,
    )  # fmt: skip
    query = sa_select(*columns).where(col(Slot.status) == "leased", col(Slot.lease).in_(leases))
    return {row[0]: Leased(*row[1:]) for row in session.execute(query)}


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


def still_free(session: Session, slots: Collection[str], at: datetime) -> set[str]:
    query = select(Slot.id).where(col(Slot.id).in_(slots), free_at(at))
    return set(session.exec(query))


def lease(session: Session, leases: Sequence[Lease], at: datetime, until: datetime) -> None:
    """free -> leased, of slots that are known to be free."""
    data = pa.table(
        {
            "id": [item.slot_id for item in leases],
            "annotator_id": [item.annotator_id for item in leases],
            "lease": [item.lease for item in leases],
            "a_left": [item.a_left for item in leases],
            "leased_at": pa.array([at] * len(leases), pa.timestamp("us", tz="UTC")),
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


def prolong(session: Session, slots: Collection[str], until: datetime) -> None:
    session.execute(_of(slots).values(expires_at=until))


def close(session: Session, slots: Collection[str]) -> None:
    """leased -> voted, of slots whose lease is known to hold."""
    session.execute(_of(slots).values(status="voted"))


def contents(session: Session, pairs: Collection[str]) -> dict[str, Content]:
    """What these pairs show; those whose example or responses are gone are left out."""
    # Three lookups by id: a join would read every response there is.
    found = session.exec(select(Pair).where(col(Pair.id).in_(pairs))).all()
    texts = dict(
        session.execute(
            sa_select(col(Response.id), col(Response.text)).where(
                col(Response.id).in_({i for pair in found for i in (pair.response_a, pair.response_b)})
            )
        )
        .tuples()
        .all()
    )
    wanted = {pair.example_id for pair in found}
    examples = {item.id: item for item in session.exec(select(Example).where(col(Example.id).in_(wanted)))}
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


def _of(slots: Collection[str]) -> Any:
    return update(Slot).where(col(Slot.id).in_(slots)).execution_options(synchronize_session=False)
