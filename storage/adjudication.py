"""Disputed pairs, and the slots in which an adjudicator decides them.

A pair is disputed when people's votes on it, cast without knowing each other, disagree by
the lead's measure (`Measure`) and none is waited for. Then one extra slot with the audience
ADJUDICATOR is opened. Its id follows from the pair, so that there are never two at once.
Everything is counted in the database.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from storage.adjudicated import ADJUDICATION, independent
from storage.bulk import chunks, insert_many
from storage.counting import by_people, counted
from storage.groups import ADJUDICATOR
from storage.ids import id_of
from storage.probes import gold_among
from storage.scan import scanned
from storage.tables import Annotator, Gold, Pair, Slot, Vote

FIRST = -1_000_000.0  # adjudicators get disputed pairs before all others
_WAITING = ("open", "leased")


@dataclass(frozen=True)
class Measure:
    """Disputed: at least `at_least` decisive votes, of which the share of the response with
    fewer is at least `minority` (0 to 0.5); or, with `opposite`, one vote says that the one
    is significantly better and another that the other is."""

    at_least: int
    minority: float
    opposite: bool


@dataclass(frozen=True)
class Split:
    """`pairs` whose decisive votes are split `more` to `fewer`. `opposite`: "significantly" on
    both sides. `waiting`: pairs of them that still want votes; `queued`: that are in the queue;
    `decided`: that an adjudicator voted on; `to_send`: none of these."""

    more: int
    fewer: int
    opposite: bool
    pairs: int
    waiting: int
    queued: int
    decided: int
    to_send: int


@dataclass(frozen=True)
class Outcomes:
    """Of the `pairs` that were adjudicated: on `compared` both the other votes and the
    adjudicator prefer one response, on `sided` the same one. `even`: the others had no
    majority; `neither`: the adjudicator said tie or both bad."""

    pairs: int
    compared: int
    sided: int
    even: int
    neither: int


@dataclass(frozen=True)
class Said:
    """What somebody said of a pair; `winner` is a response id."""

    outcome: str
    winner: str | None
    strength: str | None
    reason: str


def _tallies(project_id: str, which: ColumnElement[bool]) -> Any:
    """pair_id, a, b (decisive votes), strong_a, strong_b, of pairs with people's votes that
    count and are independent, and `which` says. Without pairs of known answer: nobody needs to
    decide them."""
    wins_a = col(Vote.winner) == col(Pair.response_a)
    wins_b = col(Vote.winner) == col(Pair.response_b)
    strong = col(Vote.strength) == "significantly"
    gold = sa_select(col(Gold.pair_id)).where(
        col(Gold.project_id) == project_id, col(Gold.retired_at).is_(None)
    )
    return (
        sa_select(
            col(Vote.pair_id).label("pair_id"),
            _count(wins_a).label("a"),
            _count(wins_b).label("b"),
            _count(wins_a & strong).label("strong_a"),
            _count(wins_b & strong).label("strong_b"),
        )
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(which, by_people(project_id), independent(), col(Vote.pair_id).not_in(gold))
        .group_by(col(Vote.pair_id))
        .subquery()
    )


def _disputed(tally: Any, measure: Measure) -> ColumnElement[bool]:
    c = tally.c
    split = and_(c.a + c.b >= measure.at_least, func.least(c.a, c.b) >= measure.minority * (c.a + c.b) - 1e-9)
    opposite = and_(c.strong_a > 0, c.strong_b > 0)
    return or_(split, opposite) if measure.opposite else split


def _pairs_with(project_id: str, *conditions: Any) -> Any:
    """Ids of the project's pairs with such a slot."""
    return sa_select(col(Slot.pair_id)).where(scanned(col(Slot.project_id)) == project_id, *conditions)


_ORDINARY = col(Slot.audience).is_distinct_from(ADJUDICATOR)
_ADJUDICATORS = col(Slot.audience) == ADJUDICATOR


def to_send(session: Session, project_id: str, measure: Measure) -> list[str]:
    """Ids of the disputed pairs that wait for no vote, have no adjudicators' slot open, and
    were not decided."""
    tally = _tallies(project_id, scanned(col(Vote.project_id)) == project_id)
    waits = _pairs_with(project_id, col(Slot.status).in_(_WAITING))
    query = sa_select(tally.c.pair_id).where(
        _disputed(tally, measure),
        tally.c.pair_id.not_in(waits),
        tally.c.pair_id.not_in(_adjudicated(project_id)),
    )
    return list(session.scalars(query.order_by(tally.c.pair_id)))


def open_disputed(session: Session, project_id: str, measure: Measure, pair_ids: Collection[str]) -> int:
    """Open an adjudicators' slot for those of these pairs that are to be sent (`to_send`);
    answers how many. Beside a vote this takes a few look-ups: most votes complete no pair, and
    of the others' votes are found by the leases of its slots."""
    slots: dict[str, list[Slot]] = defaultdict(list)
    for slot in session.exec(select(Slot).where(col(Slot.pair_id).in_(pair_ids))):
        slots[slot.pair_id].append(slot)
    complete = [
        pair_id for pair_id in pair_ids if not any(slot.status in _WAITING for slot in slots[pair_id])
    ]
    if not complete:
        return 0
    imported = set(
        session.exec(select(Pair.id).where(col(Pair.id).in_(complete), col(Pair.source) == "import"))
    )
    # Votes that were imported fill no slot: they stand on imported pairs, or on closed slots.
    loose = [
        pair_id
        for pair_id in complete
        if pair_id in imported
        or any(slot.status != "voted" and slot.audience != ADJUDICATOR for slot in slots[pair_id])
    ]
    leases = [slot.lease for pair_id in set(complete) - set(loose) for slot in slots[pair_id] if slot.lease]
    votes = list(session.exec(select(Vote).where(col(Vote.lease).in_(leases))))
    if loose:
        votes += session.exec(select(Vote).where(col(Vote.pair_id).in_(loose)))
    found = _disputed_among(session, project_id, measure, votes)
    if not found:
        return 0
    found -= set(session.scalars(_adjudicated(project_id)))
    again: set[str] = set()
    rows: list[dict[str, Any]] = []
    for pair_id in sorted(found):
        theirs = [slot for slot in slots[pair_id] if slot.audience == ADJUDICATOR]
        closed = next((slot.id for slot in theirs if slot.status == "closed"), None)
        if closed is not None:
            again.add(closed)
            continue
        # After a decision that was left out, the pair gets another slot.
        slot_id = id_of("slot", pair_id, ADJUDICATION, str(len(theirs)))
        position = FIRST + int(slot_id[-4:], 16) / 65_536
        rows.append(
            {
                "id": slot_id, "project_id": project_id, "pair_id": pair_id, "audience": ADJUDICATOR,
                "position": position, "front": -1.0,
            }
        )  # fmt: skip
    return _set_status(session, again, "closed", "open") + insert_many(session, Slot, rows)


def _disputed_among(session: Session, project_id: str, measure: Measure, votes: Sequence[Vote]) -> set[str]:
    """The pairs of these few votes that are disputed: as `_tallies` and `_disputed` have it,
    without a join, for which DuckDB would read every pair there is."""
    pair_ids = {vote.pair_id for vote in votes}
    in_vain = set(
        session.exec(
            select(Annotator.id).where(
                Annotator.project_id == project_id,
                or_(col(Annotator.excluded_at).is_not(None), col(Annotator.machine).is_(True)),
            )
        )
    )
    known = gold_among(session, sorted(pair_ids))
    said: dict[str, dict[str, list[bool]]] = defaultdict(
        lambda: defaultdict(list)
    )  # pair -> winner -> strong
    for vote in votes:
        counts = not vote.simulated and vote.source != ADJUDICATION and vote.annotator_id not in in_vain
        if counts and vote.winner is not None and vote.pair_id not in known:
            said[vote.pair_id][vote.winner].append(vote.strength == "significantly")
    return {pair_id for pair_id, sides in said.items() if _is_disputed(list(sides.values()), measure)}


def _is_disputed(sides: list[list[bool]], measure: Measure) -> bool:
    """`sides`: for each response that was chosen, whether "significantly", of each vote."""
    if len(sides) < 2:
        return False
    n = sum(map(len, sides))
    split = n >= measure.at_least and min(map(len, sides)) >= measure.minority * n - 1e-9
    return split or (measure.opposite and all(map(any, sides)))


def close_undisputed(session: Session, project_id: str, measure: Measure) -> int:
    """Close the adjudicators' open slots of pairs that are not disputed (any more), or that
    were decided."""
    tally = _tallies(project_id, scanned(col(Vote.project_id)) == project_id)
    disputed = sa_select(tally.c.pair_id).where(_disputed(tally, measure))
    found = session.scalars(
        sa_select(col(Slot.id)).where(
            scanned(col(Slot.project_id)) == project_id,
            _ADJUDICATORS,
            col(Slot.status) == "open",
            or_(col(Slot.pair_id).not_in(disputed), col(Slot.pair_id).in_(_adjudicated(project_id))),
        )
    ).all()
    return _set_status(session, found, "open", "closed")


def _set_status(session: Session, slots: Collection[str], before: str, after: str) -> int:
    for part in chunks(slots):
        session.execute(
            update(Slot)
            .where(col(Slot.id).in_(part), col(Slot.status) == before)
            .values(status=after)
            .execution_options(synchronize_session=False)
        )
    return len(slots)


def splits(session: Session, project_id: str) -> list[Split]:
    """Pairs by how their decisive votes are split, the most even first; pairs with one
    decisive vote or none have nothing to split."""
    tally = _tallies(project_id, scanned(col(Vote.project_id)) == project_id)
    c = tally.c
    waits = _pairs_with(project_id, _ORDINARY, col(Slot.status).in_(_WAITING))
    queued = _pairs_with(project_id, _ADJUDICATORS, col(Slot.status).in_(_WAITING))
    decided = _adjudicated(project_id)
    more, fewer = func.greatest(c.a, c.b), func.least(c.a, c.b)
    opposite = and_(c.strong_a > 0, c.strong_b > 0)
    rows = (
        sa_select(
            more.label("more"),
            fewer.label("fewer"),
            opposite.label("opposite"),
            c.pair_id.in_(waits).label("waiting"),
            c.pair_id.in_(queued).label("queued"),
            c.pair_id.in_(decided).label("decided"),
        )
        .where(c.a + c.b > 1)
        .subquery()
    )
    r = rows.c
    query = sa_select(
        r.more,
        r.fewer,
        r.opposite,
        func.count(),
        _count(r.waiting),
        _count(r.queued),
        _count(r.decided),
        _count(~(r.waiting | r.queued | r.decided)),
    ).group_by(r.more, r.fewer, r.opposite)
    found = [
        Split(int(more), int(fewer), bool(opposite), *(int(x) for x in counts))
        for more, fewer, opposite, *counts in session.execute(query)
    ]
    return sorted(found, key=lambda one: (-one.fewer / (one.more + one.fewer), -one.more, one.opposite))


def _adjudicated(project_id: str) -> Any:
    return sa_select(col(Vote.pair_id)).where(
        scanned(col(Vote.project_id)) == project_id, col(Vote.source) == ADJUDICATION, counted(project_id)
    )


def outcomes(session: Session, project_id: str) -> Outcomes:
    tally = _tallies(project_id, scanned(col(Vote.project_id)) == project_id)
    decisions = (
        sa_select(
            col(Vote.pair_id).label("pair_id"),
            _count(col(Vote.winner) == col(Pair.response_a)).label("a"),
            _count(col(Vote.winner) == col(Pair.response_b)).label("b"),
        )
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(
            scanned(col(Vote.project_id)) == project_id,
            col(Vote.source) == ADJUDICATION,
            counted(project_id),
        )
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    theirs, others = decisions.c, tally.c
    a, b = func.coalesce(others.a, 0), func.coalesce(others.b, 0)
    neither = theirs.a == theirs.b
    query = (
        sa_select(
            func.count(),
            _count(and_(~neither, a != b)),
            _count(or_(and_(theirs.a > theirs.b, a > b), and_(theirs.b > theirs.a, b > a))),
            _count(and_(~neither, a == b)),
            _count(neither),
        )
        .select_from(decisions)
        .outerjoin(tally, others.pair_id == theirs.pair_id)
    )
    return Outcomes(*(int(x) for x in session.execute(query).one()))


def said_of(session: Session, project_id: str, pair_id: str) -> list[Said]:
    """What people said of a pair, in an order that says nothing about who or when."""
    query = select(Vote).where(Vote.pair_id == pair_id, by_people(project_id), independent())
    votes = sorted(session.exec(query), key=lambda vote: id_of("said", vote.id))
    return [Said(vote.outcome, vote.winner, vote.strength, vote.reason) for vote in votes]


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
