"""The queries of the claim and vote path.

A slot is room for one vote. It goes open -> leased (a claim) -> voted (a vote), back to
leased (an undo) or open (a skip, a release). Every step is one statement that names the
state it starts from, so of two that come at once one finds no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, update
from sqlalchemy import select as sa_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, delete, select

from storage.tables import Annotator, Example, Pair, Project, Response, Skip, Slot, Vote, VoteHistory
from storage.updating import update_one

COLUMNS: tuple[Any, ...] = (Slot.id, Slot.pair_id, Slot.lease, Slot.a_left, Slot.expires_at, Slot.audience)


@dataclass(frozen=True)
class Held:
    """A slot that an annotator holds. `a_left`: response_a of the pair stands left."""

    slot_id: str
    pair_id: str
    lease: str
    a_left: bool
    expires_at: datetime
    audience: str | None = None


def one_at_a_time(session: Session, annotator_id: str) -> None:
    """What one annotator does at the same moment in two windows happens one after the
    other. On DuckDB every write does already."""
    if session.get_bind().dialect.name == "postgresql":
        session.exec(select(Annotator.id).where(Annotator.id == annotator_id).with_for_update())


def held(session: Session, project_id: str, annotator_id: str, until: datetime) -> Held | None:
    """The slot this annotator already holds, its lease prolonged: after a reload the
    same pair stands there, and nobody hoards pairs. The oldest lease first: the pair on
    the desk before the one that was claimed ahead of it. A lease that has run out still
    counts as long as nobody else took the slot."""
    mine = _mine(project_id, annotator_id)
    oldest = select(Slot.id).where(*mine).order_by(col(Slot.leased_at), col(Slot.id)).limit(1)
    return _one(
        session,
        update(Slot).where(col(Slot.id) == oldest.scalar_subquery(), *mine).values(expires_at=until),
    )


def all_held(session: Session, project_id: str, annotator_id: str) -> list[Held]:
    """Every slot this annotator holds, in the order their pairs are to be shown."""
    query = sa_select(*COLUMNS).where(*_mine(project_id, annotator_id))
    return [Held(*row) for row in session.execute(query.order_by(col(Slot.leased_at), col(Slot.id)))]


def prolong(
    session: Session, project_id: str, annotator_id: str, until: datetime, leases: Sequence[str] | None = None
) -> None:
    """Let this annotator's leases (or only these) run until then."""
    which = _mine(project_id, annotator_id)
    if leases is not None:
        which = (*which, col(Slot.lease).in_(leases))
    session.execute(update(Slot).where(*which).values(expires_at=until))


def claim_next(
    session: Session,
    project_id: str,
    annotator_id: str,
    *,
    lease: str,
    a_left: bool,
    at: datetime,
    until: datetime,
    audiences: Sequence[str] = (),
) -> Held | None:
    """Lease the first slot this annotator may have, in ONE statement. None: there is
    none, or (on PostgreSQL) another claim took it meanwhile."""
    free = free_at(at)
    holds = select(Slot.pair_id).where(*_mine(project_id, annotator_id))
    first = (
        select(Slot.id)
        .where(
            Slot.project_id == project_id,
            free,
            _open_to(audiences),
            *_not_judged_by(session, annotator_id),
            col(Slot.pair_id).not_in(holds),
        )
        .order_by(col(Slot.front).asc().nulls_last(), col(Slot.position), col(Slot.id))
        .limit(1)
    )
    if session.get_bind().dialect.name == "postgresql":
        # Claims at the same moment each take a slot of their own instead of queueing.
        first = first.with_for_update(skip_locked=True)
    return _one(
        session,
        update(Slot)
        .where(col(Slot.id) == first.scalar_subquery(), free)
        .values(
            status="leased",
            annotator_id=annotator_id,
            lease=lease,
            a_left=a_left,
            leased_at=at,
            expires_at=until,
        ),
    )


def shown(session: Session, pair_id: str) -> tuple[Pair, Example, str, str] | None:
    """The pair, its example, and the texts of response_a and response_b."""
    a, b = aliased(Response), aliased(Response)
    query = (
        select(Pair, Example, a.text, b.text)
        .join(Example, col(Example.id) == Pair.example_id)
        .join(a, col(a.id) == Pair.response_a)
        .join(b, col(b.id) == Pair.response_b)
        .where(Pair.id == pair_id)
    )
    return session.exec(query).first()


def pair_and_project(session: Session, pair_id: str) -> tuple[Pair, Project] | None:
    """A pair of a project that was not put away."""
    query = select(Pair, Project).join(Project, col(Project.id) == Pair.project_id)
    return session.exec(query.where(Pair.id == pair_id, col(Project.archived_at).is_(None))).first()


def close_with_vote(session: Session, pair_id: str, annotator_id: str, lease: str) -> Held | None:
    """leased -> voted. None: this annotator's lease does not hold a slot of the pair."""
    return _one(session, update(Slot).where(*_holds(pair_id, annotator_id, lease)).values(status="voted"))


def a_left_of(session: Session, pair_id: str, annotator_id: str, lease: str) -> bool | None:
    """Whether response_a stands left; None: this annotator's lease holds no slot of the pair."""
    return session.exec(select(Slot.a_left).where(*_holds(pair_id, annotator_id, lease))).first()


def reopen(session: Session, pair_id: str, annotator_id: str, lease: str) -> bool:
    """leased -> open, for others. False: this annotator's lease holds no slot of the pair."""
    emptied = {"annotator_id": None, "lease": None, "a_left": None, "leased_at": None, "expires_at": None}
    statement = update(Slot).where(*_holds(pair_id, annotator_id, lease)).values(status="open", **emptied)
    return _returned(session, statement, col(Slot.id)) is not None


def lease_again(session: Session, vote: Vote, lease: str, at: datetime, until: datetime) -> bool:
    """voted -> leased, by the same annotator and with the same sides; to be shown before
    whatever else this annotator holds."""
    before_all = _before_all(session, vote.project_id, vote.annotator_id, at)
    statement = (
        update(Slot)
        .where(col(Slot.id) == vote.slot_id, col(Slot.status) == "voted")
        .values(status="leased", lease=lease, leased_at=before_all, expires_at=until)
    )
    return _returned(session, statement, col(Slot.id)) is not None


def claim_this(
    session: Session,
    pair: Pair,
    annotator_id: str,
    *,
    lease: str,
    a_left: bool,
    at: datetime,
    until: datetime,
    audiences: Sequence[str] = (),
) -> Held | None:
    """Lease a free slot of this pair, in ONE statement, to be shown before whatever else this
    annotator holds. None: the pair has none for them."""
    free = free_at(at)
    first = (
        select(Slot.id)
        .where(Slot.pair_id == pair.id, free, _open_to(audiences))
        .order_by(col(Slot.position), col(Slot.id))
        .limit(1)
    )
    if session.get_bind().dialect.name == "postgresql":
        first = first.with_for_update(skip_locked=True)
    values = {
        "annotator_id": annotator_id,
        "lease": lease,
        "a_left": a_left,
        "leased_at": _before_all(session, pair.project_id, annotator_id, at),
        "expires_at": until,
    }
    statement = update(Slot).where(col(Slot.id) == first.scalar_subquery(), free)
    return _one(session, statement.values(status="leased", **values))


def holds(session: Session, pair: Pair, annotator_id: str) -> bool:
    """Whether the pair lies on this annotator's desk."""
    mine = _mine(pair.project_id, annotator_id)
    return session.exec(select(Slot.id).where(*mine, Slot.pair_id == pair.id)).first() is not None


def vote_on(session: Session, pair_id: str, annotator_id: str) -> Vote | None:
    return session.exec(
        select(Vote).where(Vote.pair_id == pair_id, Vote.annotator_id == annotator_id)
    ).first()


def skip_of(session: Session, pair_id: str, annotator_id: str) -> Skip | None:
    return session.exec(
        select(Skip).where(Skip.pair_id == pair_id, Skip.annotator_id == annotator_id)
    ).first()


def remember_sides(session: Session, skip: Skip, a_left: bool | None) -> None:
    """How the pair stood that was skipped: its slot is somebody else's from now on."""
    body = {"pair_id": skip.pair_id, "annotator_id": skip.annotator_id, "a_left": a_left}
    session.add(VoteHistory(vote_id=skip.id, project_id=skip.project_id, what="skipped", vote=body))


def a_left_before(session: Session, skip: Skip) -> bool | None:
    """None for a skip of before this was remembered."""
    kept = session.exec(select(VoteHistory.vote).where(VoteHistory.vote_id == skip.id)).first()
    return kept["a_left"] if kept else None


def forget_skips(session: Session, project_id: str, annotator_id: str) -> int:
    """Offer the skipped pairs again; answers how many."""
    mine = (col(Skip.project_id) == project_id, col(Skip.annotator_id) == annotator_id)
    return session.exec(delete(Skip).where(*mine)).rowcount


def last_vote(session: Session, project_id: str, annotator_id: str) -> Vote | None:
    """The newest vote of this annotator that came from a claim."""
    return session.exec(
        select(Vote)
        .where(
            Vote.project_id == project_id,
            Vote.annotator_id == annotator_id,
            col(Vote.slot_id).is_not(None),
        )
        .order_by(col(Vote.created_at).desc(), col(Vote.id).desc())
        .limit(1)
    ).first()


@dataclass(frozen=True)
class Progress:
    """Where an annotator stands. `left`: pairs they could still vote on now; `votes`,
    `wanted`: of everybody, over all slots; `elsewhere`: pairs now with somebody else."""

    done: int
    left: int
    skipped: int
    elsewhere: int
    votes: int
    wanted: int
    median_ms: float | None


def progress(
    session: Session, project_id: str, annotator_id: str, at: datetime, audiences: Sequence[str] = ()
) -> Progress:
    mine = (col(Vote.project_id) == project_id, col(Vote.annotator_id) == annotator_id)
    recent = (
        select(Vote.duration_ms)
        .where(*mine, col(Vote.duration_ms).is_not(None))
        .order_by(col(Vote.created_at).desc())
        .limit(30)
        .subquery()
    )
    median = func.percentile_cont(0.5).within_group(recent.c.duration_ms.asc())
    of_project = col(Slot.project_id) == project_id
    unjudged = _not_judged_by(session, annotator_id)
    pairs = func.count(func.distinct(Slot.pair_id))
    for_me = or_(free_at(at), (col(Slot.annotator_id) == annotator_id) & (col(Slot.status) == "leased"))
    with_others = (
        col(Slot.status) == "leased",
        col(Slot.annotator_id) != annotator_id,
        col(Slot.expires_at) >= at,
    )
    skips = (col(Skip.project_id) == project_id, col(Skip.annotator_id) == annotator_id)
    one_row = (
        sa_select(func.count()).select_from(Vote).where(*mine),
        sa_select(pairs).where(of_project, for_me, _open_to(audiences), *unjudged),
        sa_select(func.count()).select_from(Skip).where(*skips),
        sa_select(pairs).where(of_project, *with_others, *unjudged),
        sa_select(func.count()).select_from(Slot).where(of_project, col(Slot.status) == "voted"),
        sa_select(func.count()).select_from(Slot).where(of_project, col(Slot.status) != "closed"),
        sa_select(median),
    )
    return Progress(*session.execute(sa_select(*(item.scalar_subquery() for item in one_row))).one())


def _mine(project_id: str, annotator_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Slot.project_id) == project_id,
        col(Slot.annotator_id) == annotator_id,
        col(Slot.status) == "leased",
    )


def _before_all(session: Session, project_id: str, annotator_id: str, at: datetime) -> datetime:
    """When a slot must count as leased, so that its pair is shown before what this annotator holds."""
    mine = _mine(project_id, annotator_id)
    first = session.execute(sa_select(func.min(col(Slot.leased_at))).where(*mine)).scalar()
    return at if first is None else min(at, first - timedelta(milliseconds=1))


def free_at(at: datetime) -> ColumnElement[bool]:
    return or_(col(Slot.status) == "open", (col(Slot.status) == "leased") & (col(Slot.expires_at) < at))


def _open_to(audiences: Sequence[str]) -> ColumnElement[bool]:
    """Slots without an audience, and those of these audiences."""
    return or_(col(Slot.audience).is_(None), col(Slot.audience).in_(audiences))


def _not_judged_by(session: Session, annotator_id: str) -> tuple[ColumnElement[bool], ...]:
    """Not of a pair this annotator voted on or skipped."""
    voted, skipped = (
        select(table.pair_id).where(table.annotator_id == annotator_id) for table in (Vote, Skip)
    )
    if session.get_bind().dialect.name != "postgresql":
        return (col(Slot.pair_id).not_in(voted), col(Slot.pair_id).not_in(skipped))
    # PostgreSQL goes through a NOT IN that is larger than its work_mem (some 80,000 votes of one
    # annotator) from the start for every slot; this it looks up in the index of the pair.
    return (
        ~voted.where(Vote.pair_id == Slot.pair_id).correlate(Slot).exists(),
        ~skipped.where(Skip.pair_id == Slot.pair_id).correlate(Slot).exists(),
    )


def _holds(pair_id: str, annotator_id: str, lease: str) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Slot.pair_id) == pair_id,
        col(Slot.annotator_id) == annotator_id,
        col(Slot.lease) == lease,
        col(Slot.status) == "leased",
    )


def _one(session: Session, statement: Any) -> Held | None:
    row = _returned(session, statement, *COLUMNS)
    return Held(*row) if row else None


def _returned(session: Session, statement: Any, *columns: Any) -> Any:
    return update_one(session, statement, *columns)
