"""The queries of probes: pairs that are given to learn about the annotator.

A probe is open until it is answered or skipped (`answered_at`); a skipped one has no
outcome. Those of one attempt at the training set were made at the same moment
(`leased_at`) and are given one after the other, in the order of their ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, delete, exists, func, or_, update
from sqlalchemy import select as sa_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from storage.ids import now
from storage.project_documents import document_body
from storage.tables import Annotator, Example, Gold, Pair, Probe, Response, Skip, Slot, Vote, VoteHistory

HIDDEN = ("gold", "repeat")  # what an annotator must not tell from an ordinary pair
GOLD_SIDES = "gold"  # the document that says which gold pairs stand the other way round
KEPT_AS = "probe"  # in the history: what an answer said of the criteria, which a probe has no room for
_MOST_CHOICES = 200


def open_ones(session: Session, project_id: str, annotator_id: str) -> list[Probe]:
    """What this annotator holds, in the order it is to be shown; of a training set the next
    one only."""
    query = (
        select(Probe)
        .where(
            Probe.annotator_id == annotator_id,
            Probe.project_id == project_id,
            col(Probe.answered_at).is_(None),
        )
        .order_by(col(Probe.leased_at), col(Probe.id))
    )
    found, in_training = [], False
    for probe in session.exec(query):
        if probe.kind != "training" or not in_training:
            found.append(probe)
        in_training |= probe.kind == "training"
    return found


def open_of(session: Session, annotator_ids: Sequence[str]) -> dict[str, list[Probe]]:
    """What each of these annotators holds, in the order it is to be shown."""
    query = (
        select(Probe)
        .where(col(Probe.annotator_id).in_(annotator_ids), col(Probe.answered_at).is_(None))
        .order_by(col(Probe.leased_at), col(Probe.id))
    )
    found: dict[str, list[Probe]] = {}
    for probe in session.exec(query):
        found.setdefault(probe.annotator_id, []).append(probe)
    return found


def unanswered(session: Session, leases: Sequence[str]) -> dict[str, Probe]:
    """By lease, those of these that hold a probe."""
    query = select(Probe).where(col(Probe.lease).in_(leases), col(Probe.answered_at).is_(None))
    return {probe.lease: probe for probe in session.exec(query)}


def prolong(
    session: Session, project_id: str, annotator_id: str, until: datetime, leases: Sequence[str] | None = None
) -> None:
    which = [
        col(Probe.annotator_id) == annotator_id,
        col(Probe.project_id) == project_id,
        col(Probe.answered_at).is_(None),
    ]
    if leases is not None:
        which.append(col(Probe.lease).in_(leases))
    session.execute(
        update(Probe).where(*which).values(expires_at=until), execution_options={"synchronize_session": False}
    )


def prolong_of(session: Session, annotator_ids: Sequence[str], until: datetime) -> None:
    session.execute(
        update(Probe)
        .where(col(Probe.annotator_id).in_(annotator_ids), col(Probe.answered_at).is_(None))
        .values(expires_at=until),
        execution_options={"synchronize_session": False},
    )


def by_lease(session: Session, pair_id: str, annotator_id: str, lease: str) -> Probe | None:
    return session.exec(
        select(Probe).where(
            Probe.lease == lease, Probe.annotator_id == annotator_id, Probe.pair_id == pair_id
        )
    ).first()


def hidden_pairs_of(session: Session, user_id: str) -> list[tuple[str, str]]:
    """(annotator, pair) of every hidden probe this person was given, in any project."""
    query = (
        sa_select(col(Probe.annotator_id), col(Probe.pair_id))
        .join(Annotator, col(Annotator.id) == col(Probe.annotator_id))
        .where(col(Annotator.user_id) == user_id, col(Probe.kind).in_(HIDDEN))
    )
    return [(annotator_id, pair_id) for annotator_id, pair_id in session.execute(query)]


def answered_within(session: Session, since: datetime, until: datetime) -> list[Probe]:
    """Hidden probes that anybody answered from then to before then."""
    query = select(Probe).where(
        col(Probe.answered_at) >= since, col(Probe.answered_at) < until, col(Probe.kind).in_(HIDDEN)
    )
    return list(session.exec(query))


def first_leased(session: Session, project_id: str, annotator_id: str) -> datetime | None:
    """When the first of everything this annotator holds was leased."""
    slots = sa_select(func.min(col(Slot.leased_at))).where(
        col(Slot.project_id) == project_id,
        col(Slot.annotator_id) == annotator_id,
        col(Slot.status) == "leased",
    )
    probes = sa_select(func.min(col(Probe.leased_at))).where(
        col(Probe.annotator_id) == annotator_id,
        col(Probe.project_id) == project_id,
        col(Probe.answered_at).is_(None),
    )
    row = session.execute(sa_select(slots.scalar_subquery(), probes.scalar_subquery())).one()
    return min((moment for moment in row if moment is not None), default=None)


def leased_at(session: Session, slot_ids: Sequence[str]) -> dict[str, datetime]:
    query = sa_select(col(Slot.id), col(Slot.leased_at)).where(col(Slot.id).in_(slot_ids))
    return {row[0]: row[1] for row in session.execute(query)}


def put_before(session: Session, slot_id: str, moment: datetime) -> None:
    """Show the pair of this slot before what was leased at `moment`."""
    session.execute(
        update(Slot).where(col(Slot.id) == slot_id, col(Slot.status) == "leased").values(leased_at=moment),
        execution_options={"synchronize_session": False},
    )


def drop_open(
    session: Session,
    *,
    pair_ids: Sequence[str] | None = None,
    project_id: str | None = None,
    annotator_id: str | None = None,
    kind: str | None = None,
) -> int:
    """Take back probes that nobody has answered yet; answers how many there were."""
    which: list[Any] = [col(Probe.answered_at).is_(None)]
    if pair_ids is not None:
        which.append(col(Probe.pair_id).in_(pair_ids))
    for column, value in (
        (Probe.project_id, project_id),
        (Probe.annotator_id, annotator_id),
        (Probe.kind, kind),
    ):
        if value is not None:
            which.append(col(column) == value)
    return session.exec(delete(Probe).where(*which)).rowcount


def drop_skipped(session: Session, project_id: str, annotator_id: str) -> int:
    """Forget which probes were skipped, so that they may be given again."""
    return session.exec(
        delete(Probe).where(
            col(Probe.annotator_id) == annotator_id,
            col(Probe.project_id) == project_id,
            col(Probe.answered_at).is_not(None),
            col(Probe.outcome).is_(None),
        )
    ).rowcount


# --- what to give -------------------------------------------------------------------------


def something_left(
    session: Session, project_id: str, annotator_id: str, at: datetime, audiences: Sequence[str]
) -> bool:
    """Whether an ordinary pair could be claimed now. A probe takes the place of one: given
    when nothing else is left, it would be known for what it is."""
    free = or_(col(Slot.status) == "open", and_(col(Slot.status) == "leased", col(Slot.expires_at) < at))
    voted = select(Vote.pair_id).where(Vote.annotator_id == annotator_id)
    skipped = select(Skip.pair_id).where(Skip.annotator_id == annotator_id)
    query = (
        sa_select(col(Slot.id))
        .where(
            col(Slot.project_id) == project_id,
            free,
            or_(col(Slot.audience).is_(None), col(Slot.audience).in_(audiences)),
            col(Slot.pair_id).not_in(voted),
            col(Slot.pair_id).not_in(skipped),
        )
        .limit(1)
    )
    return session.execute(query).first() is not None


def checks_for(session: Session, project_id: str, annotator_id: str) -> list[Gold]:
    """Gold checks that this annotator was never given and never voted on."""
    given = select(Probe.pair_id).where(Probe.annotator_id == annotator_id)
    query = select(Gold).where(
        Gold.project_id == project_id,
        Gold.use == "check",
        col(Gold.retired_at).is_(None),
        col(Gold.pair_id).not_in(given),
        ~exists().where(col(Vote.pair_id) == col(Gold.pair_id), col(Vote.annotator_id) == annotator_id),
    )
    return list(session.exec(query.order_by(col(Gold.id)).limit(_MOST_CHOICES)))


def repeats_for(session: Session, annotator_id: str, after: int) -> list[str]:
    """Ids of votes of this annotator, cast on a claim at least `after` votes ago, whose pair
    was not given again yet: the newest of them."""
    given = select(Probe.pair_id).where(Probe.annotator_id == annotator_id)
    query = (
        sa_select(col(Vote.id))
        .where(
            col(Vote.annotator_id) == annotator_id,
            col(Vote.slot_id).is_not(None),
            col(Vote.left).is_not(None),
            col(Vote.pair_id).not_in(given),
        )
        .order_by(col(Vote.created_at).desc(), col(Vote.id).desc())
        .offset(after)
        .limit(_MOST_CHOICES)
    )
    return list(session.scalars(query))


def training_pool(session: Session, project_id: str, annotator_id: str) -> list[tuple[Gold, int]]:
    """Training pairs, each with how often this annotator was given it."""
    times = (
        sa_select(col(Probe.pair_id).label("pair_id"), func.count().label("times"))
        .where(col(Probe.annotator_id) == annotator_id, col(Probe.kind) == "training")
        .group_by(col(Probe.pair_id))
        .subquery()
    )
    query: Any = (
        sa_select(Gold, func.coalesce(times.c.times, 0))
        .outerjoin(times, times.c.pair_id == col(Gold.pair_id))
        .where(
            col(Gold.project_id) == project_id,
            col(Gold.use) == "training",
            col(Gold.retired_at).is_(None),
        )
        .order_by(col(Gold.id))
    )
    return [(gold, int(number)) for gold, number in session.execute(query)]


# --- what the desk counts and takes back ------------------------------------------------------------------------


@dataclass(frozen=True)
class Hidden:
    """Of one annotator: hidden probes answered, skipped, and on their desk."""

    answered: int
    skipped: int
    held: int


def hidden(session: Session, project_id: str, annotator_id: str, since: datetime | None = None) -> Hidden:
    """`since`: only those answered from then on."""
    done = col(Probe.answered_at).is_not(None)
    said = col(Probe.outcome).is_not(None)
    when = done if since is None else col(Probe.answered_at) >= since
    parts = (when & said, done & ~said, ~done)
    counts = [func.coalesce(func.sum(case((part, 1), else_=0)), 0) for part in parts]
    query = sa_select(*counts).where(
        col(Probe.annotator_id) == annotator_id,
        col(Probe.project_id) == project_id,
        col(Probe.kind).in_(HIDDEN),
    )
    return Hidden(*(int(value) for value in session.execute(query).one()))


def answered_hidden(
    session: Session, project_id: str, annotator_id: str, limit: int
) -> list[tuple[str, datetime]]:
    """(id, time) of the newest answers to hidden probes, newest first."""
    query = (
        sa_select(col(Probe.id), col(Probe.answered_at))
        .where(
            col(Probe.annotator_id) == annotator_id,
            col(Probe.project_id) == project_id,
            col(Probe.kind).in_(HIDDEN),
            col(Probe.outcome).is_not(None),
        )
        .order_by(col(Probe.answered_at).desc(), col(Probe.id).desc())
        .limit(limit)
    )
    return [(key, at) for key, at in session.execute(query)]


def skipped_hidden(
    session: Session, project_id: str, annotator_id: str, pair_id: str | None = None
) -> list[Probe]:
    """Hidden probes that this annotator skipped (of this pair), newest first."""
    which = [
        col(Probe.annotator_id) == annotator_id,
        col(Probe.project_id) == project_id,
        col(Probe.kind).in_(HIDDEN),
        col(Probe.answered_at).is_not(None),
        col(Probe.outcome).is_(None),
    ]
    if pair_id is not None:
        which.append(col(Probe.pair_id) == pair_id)
    return list(session.exec(select(Probe).where(*which).order_by(col(Probe.answered_at).desc())))


def criteria_said(session: Session, probe_id: str) -> dict[str, Any]:
    """The newest of what its answer said of the criteria."""
    kept = session.exec(
        select(VoteHistory)
        .where(VoteHistory.vote_id == probe_id, VoteHistory.what == KEPT_AS)
        .order_by(col(VoteHistory.at).desc(), col(VoteHistory.id).desc())
    ).first()
    return dict(kept.vote.get("criteria") or {}) if kept else {}


def as_vote(
    session: Session, probe: Probe, source: str = "page", criteria: dict[str, Any] | None = None
) -> Vote:
    """What its answer says, as a vote that is never added to a session."""
    pair = session.get(Pair, probe.pair_id)
    left = None if pair is None else pair.response_a if probe.a_left else pair.response_b
    return Vote(
        id=probe.id,
        project_id=probe.project_id,
        pair_id=probe.pair_id,
        annotator_id=probe.annotator_id,
        lease=probe.lease,
        outcome=probe.outcome or "",
        winner=probe.winner,
        left=left,
        strength=probe.strength,
        criteria=criteria_said(session, probe.id) if criteria is None else criteria,
        reason=probe.reason,
        duration_ms=probe.duration_ms,
        source=source,
        created_at=probe.answered_at or now(),
    )


def voted_before(session: Session, annotator_id: str, moment: datetime) -> bool:
    query = sa_select(col(Vote.id)).where(
        col(Vote.annotator_id) == annotator_id, col(Vote.created_at) < moment
    )
    return session.execute(query.limit(1)).first() is not None


# --- gold pairs and their slots -----------------------------------------------------------


def gold_among(session: Session, pair_ids: Sequence[str]) -> set[str]:
    """Of these pairs, those whose answer is known: they get no slots."""
    query = sa_select(col(Gold.pair_id)).where(
        col(Gold.pair_id).in_(pair_ids), col(Gold.retired_at).is_(None)
    )
    return set(session.scalars(query))


def swapped_gold(session: Session, project_id: str) -> set[str]:
    """Gold pairs of which response_b is shown as a: as in the row they were imported from, whose
    explanation may say "A" and "B"."""
    return set(document_body(session, project_id, GOLD_SIDES).get("swapped", []))


def close_slots(session: Session, pair_id: str) -> tuple[int, int]:
    """Close every slot of a pair that holds no vote; answers how many were open, and how
    many lay on somebody's desk."""
    counts = dict(
        session.execute(
            sa_select(col(Slot.status), func.count())
            .where(col(Slot.pair_id) == pair_id)
            .group_by(col(Slot.status))
        ).all()
    )
    session.execute(
        update(Slot)
        .where(col(Slot.pair_id) == pair_id, col(Slot.status).in_(("open", "leased")))
        .values(status="closed", front=None),
        execution_options={"synchronize_session": False},
    )
    return counts.get("open", 0), counts.get("leased", 0)


def gold_rows(
    session: Session, project_id: str, *, retired: bool
) -> list[tuple[Gold, Pair, tuple[str, str, str]]]:
    """(gold, its pair, (input, text of response_a, of response_b)), the newest first."""
    a: Any = aliased(Response)
    b: Any = aliased(Response)
    columns: tuple[Any, ...] = (Gold, Pair, Example.input, a.text, b.text)
    query: Any = (
        sa_select(*columns)
        .join(Pair, col(Pair.id) == col(Gold.pair_id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(col(Gold.project_id) == project_id)
        .order_by(col(Gold.created_at).desc(), col(Gold.id))
    )
    if not retired:
        query = query.where(col(Gold.retired_at).is_(None))
    return [(gold, pair, (text, x, y)) for gold, pair, text, x, y in session.execute(query)]


def merged_by_time(
    session: Session, vote_ids: Sequence[str], answered: Sequence[tuple[str, datetime]]
) -> list[str]:
    """Ids of these votes and of what else was done at these times, the newest first."""
    query = sa_select(col(Vote.id), col(Vote.created_at)).where(col(Vote.id).in_(vote_ids))
    both = [*((at, key) for key, at in session.execute(query)), *((at, key) for key, at in answered)]
    return [key for _, key in sorted(both, reverse=True)]
