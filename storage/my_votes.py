"""One annotator's own votes: the history they look through, and what it adds up to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, and_, case, cast, func, select, true
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import not_by_machine
from storage.probes import HIDDEN, as_vote
from storage.tables import Example, Pair, Probe, Response, Skip, Vote, VoteHistory


@dataclass(frozen=True)
class Filter:
    """Which of one's votes: `choice` left, right, tie or both_bad, as they were shown;
    `contains` in the input or the reason, whatever the case."""

    choice: str | None = None
    strength: str | None = None
    contains: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Past:
    """A vote with what was compared. `versions`: how often it was changed. `hidden`: it is the
    answer to a hidden probe, which its annotator must not be told."""

    vote: Vote
    input: str
    left: str
    right: str
    versions: int
    hidden: bool = False


def _cast(annotator_id: str, hidden: bool) -> Any:
    """What this annotator said: their votes and, where probes are given (`hidden`), their answers
    to those they must not tell from pairs."""
    columns = ("pair_id", "outcome", "winner", "strength", "reason", "duration_ms")
    votes = select(
        col(Vote.id), *(getattr(Vote, name) for name in columns), col(Vote.left).label("left_id"),
        col(Vote.created_at).label("at"),
    ).where(col(Vote.annotator_id) == annotator_id)  # fmt: skip
    if not hidden:
        return votes.subquery("said")
    left = case((col(Probe.a_left), col(Pair.response_a)), else_=col(Pair.response_b))
    answers = (
        select(
            col(Probe.id), *(getattr(Probe, name) for name in columns), left, col(Probe.answered_at),
        )
        .join(Pair, col(Pair.id) == col(Probe.pair_id))
        .where(
            col(Probe.annotator_id) == annotator_id,
            col(Probe.kind).in_(HIDDEN),
            col(Probe.outcome).is_not(None),
        )
    )  # fmt: skip
    return votes.union_all(answers).subquery("said")


def _where(said: Any, which: Filter) -> list[Any]:
    c = said.c
    clauses: list[Any] = []
    if which.choice in ("tie", "both_bad"):
        clauses.append(c.outcome == which.choice)
    elif which.choice is not None:
        on_left = c.winner == c.left_id
        clauses += [c.outcome == "win", on_left if which.choice == "left" else ~on_left]
    if which.strength is not None:
        clauses.append(c.strength == which.strength)
    if which.since is not None:
        clauses.append(c.at >= which.since)
    if which.until is not None:
        clauses.append(c.at < which.until)
    if which.contains.strip():
        text = which.contains.strip().lower()
        inside = func.lower(col(Example.input)).contains(text, autoescape=True)
        clauses.append(inside | func.lower(c.reason).contains(text, autoescape=True))
    return clauses


def _of(said: Any, which: Filter, *columns: Any) -> Any:
    """A query over what was said; over the examples too only where their text is asked for."""
    query: Any = select(*columns).select_from(said)
    if which.contains.strip():
        query = query.join(Pair, col(Pair.id) == said.c.pair_id)
        query = query.join(Example, col(Example.id) == col(Pair.example_id))
    return query.where(*_where(said, which))


def count(session: Session, annotator_id: str, which: Filter, hidden: bool = False) -> int:
    said = _cast(annotator_id, hidden)
    return int(session.execute(_of(said, which, func.count())).scalar_one())


def page(
    session: Session, annotator_id: str, which: Filter, limit: int, offset: int, hidden: bool = False
) -> tuple[int, list[Past]]:
    """How many there are, and those of this page, the newest first. One pass over the votes
    for both; the texts are fetched for the rows of this page only. An answer to a hidden probe
    is given as a vote that is not stored."""
    said = _cast(annotator_id, hidden)
    rows: Any = (
        _of(said, which, said.c.id, said.c.pair_id, said.c.left_id, func.count().over())
        .order_by(said.c.at.desc(), said.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    found = list(session.execute(rows))
    if not found:
        return (count(session, annotator_id, which, hidden) if offset else 0), []
    ids = [row[0] for row in found]
    votes = {vote.id: vote for vote in session.scalars(select(Vote).where(col(Vote.id).in_(ids)))}
    probes = session.scalars(select(Probe).where(col(Probe.id).in_(ids))) if hidden else ()
    answers = {probe.id: as_vote(session, probe) for probe in probes}
    votes |= answers
    texts = _texts(session, {row[1] for row in found})
    # Apart, because DuckDB takes `vote.id` beside vote_history for a part of its column `vote`.
    changed = (
        select(col(VoteHistory.vote_id), func.count())
        .where(col(VoteHistory.vote_id).in_(ids), col(VoteHistory.what) == "replaced")
        .group_by(col(VoteHistory.vote_id))
    )
    versions = {row[0]: int(row[1]) for row in session.execute(changed)}
    past = []
    for key, pair_id, left, _ in found:
        input, text_a, b, text_b = texts[pair_id]
        shown = (text_b, text_a) if left == b else (text_a, text_b)
        past.append(Past(votes[key], input, *shown, versions.get(key, 0), key in answers))
    return int(found[0][3]), past


def _texts(session: Session, pairs: Collection[str]) -> dict[str, tuple[str, str, str, str]]:
    """pair -> (input, text of response_a, response_b, its text)"""
    a, b = aliased(Response), aliased(Response)
    columns: Any = (col(Pair.id), col(Example.input), a.text, b.id, b.text)
    query: Any = (
        select(*columns)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(col(Pair.id).in_(pairs))
    )
    return {key: (input, text_a, b_id, text_b) for key, input, text_a, b_id, text_b in session.execute(query)}


def by_day(
    session: Session, annotator_id: str, hidden: bool = False
) -> list[tuple[datetime, int, float | None]]:
    """(day in UTC, votes, median milliseconds) in order of time."""
    said = _cast(annotator_id, hidden)
    day = func.date_trunc("day", said.c.at)
    median = func.percentile_cont(0.5).within_group(said.c.duration_ms.asc())
    query: Any = select(day, func.count(), median).group_by(day).order_by(day)
    return [tuple(row) for row in session.execute(query)]


def newest(session: Session, project_id: str, annotator_id: str, limit: int) -> list[str]:
    """Ids of the newest votes that came from a claim: what undo takes back, in order."""
    query = (
        select(col(Vote.id))
        .where(
            col(Vote.project_id) == project_id,
            col(Vote.annotator_id) == annotator_id,
            col(Vote.slot_id).is_not(None),
        )
        .order_by(col(Vote.created_at).desc(), col(Vote.id).desc())
        .limit(limit)
    )
    return list(session.scalars(query))


def skips(session: Session, project_id: str, annotator_id: str, limit: int) -> list[tuple[str, datetime]]:
    """(pair, time) of what this annotator skipped last, newest first."""
    query = (
        select(col(Skip.pair_id), col(Skip.created_at))
        .where(col(Skip.project_id) == project_id, col(Skip.annotator_id) == annotator_id)
        .order_by(col(Skip.created_at).desc(), col(Skip.id).desc())
        .limit(limit)
    )
    return [(pair_id, at) for pair_id, at in session.execute(query)]


@dataclass(frozen=True)
class Agreed:
    """Votes on pairs that others judged too, and the summed share of the others (in each
    pair) who said the same. Simulated votes and those of machine judges are left out."""

    compared: int
    agreed: float


def agreement(session: Session, project_id: str, annotator_id: str) -> Agreed:
    mine, other = aliased(Vote), aliased(Vote)
    same = and_(
        col(other.outcome) == col(mine.outcome),
        func.coalesce(col(other.winner), "") == func.coalesce(col(mine.winner), ""),
    )
    share = (cast(func.sum(case((same, 1), else_=0)), Float) / func.nullif(func.count(), 0)).label("share")
    of_mine = (
        col(mine.project_id) == project_id,
        col(mine.annotator_id) == annotator_id,
        independent(mine),
    )
    of_other = (
        col(other.pair_id) == col(mine.pair_id),
        col(other.id) != col(mine.id),
        col(other.simulated).is_(False),
        not_by_machine(project_id, other.annotator_id),
        independent(other),
    )
    query: Any
    if session.get_bind().dialect.name == "postgresql":
        # For a join PostgreSQL reads every vote there is; this it looks up by the index of the
        # pair, for each vote of one's own.
        beside = select(share).select_from(other).where(*of_other).correlate(mine).lateral()
        query = select(beside.c.share).select_from(mine).join(beside, true()).where(*of_mine)
    else:
        query = (
            select(share)
            .select_from(mine)
            .join(other, and_(*of_other))
            .where(*of_mine)
            .group_by(col(mine.id))
        )
    shares = query.subquery()
    compared, agreed = session.execute(
        select(func.count(shares.c.share), func.coalesce(func.sum(shares.c.share), 0.0))
    ).one()
    return Agreed(int(compared), float(agreed))
