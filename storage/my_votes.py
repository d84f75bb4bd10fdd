"""One annotator's own votes: the history they look through, and what it adds up to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, and_, case, cast, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import not_by_machine
from storage.tables import Example, Pair, Response, Vote, VoteHistory


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
    """A vote with what was compared. `versions`: how often it was changed."""

    vote: Vote
    input: str
    left: str
    right: str
    versions: int


def _where(annotator_id: str, which: Filter) -> list[Any]:
    clauses: list[Any] = [col(Vote.annotator_id) == annotator_id]
    if which.choice in ("tie", "both_bad"):
        clauses.append(col(Vote.outcome) == which.choice)
    elif which.choice is not None:
        on_left = col(Vote.winner) == col(Vote.left)
        clauses += [col(Vote.outcome) == "win", on_left if which.choice == "left" else ~on_left]
    if which.strength is not None:
        clauses.append(col(Vote.strength) == which.strength)
    if which.since is not None:
        clauses.append(col(Vote.created_at) >= which.since)
    if which.until is not None:
        clauses.append(col(Vote.created_at) < which.until)
    if which.contains.strip():
        text = which.contains.strip().lower()
        inside = func.lower(col(Example.input)).contains(text, autoescape=True)
        clauses.append(inside | func.lower(col(Vote.reason)).contains(text, autoescape=True))
    return clauses


def _of(which: Filter, *columns: Any) -> Any:
    """A query over votes; over the examples too only where their text is asked for."""
    query: Any = select(*columns).select_from(Vote)
    if which.contains.strip():
        query = query.join(Pair, col(Pair.id) == col(Vote.pair_id))
        query = query.join(Example, col(Example.id) == col(Pair.example_id))
    return query


def count(session: Session, annotator_id: str, which: Filter) -> int:
    query = _of(which, func.count()).where(*_where(annotator_id, which))
    return int(session.execute(query).scalar_one())


def page(
    session: Session, annotator_id: str, which: Filter, limit: int, offset: int
) -> tuple[int, list[Past]]:
    """How many there are, and those of this page, the newest first. One pass over the votes
    for both; the texts are fetched for the rows of this page only."""
    rows = (
        _of(which, col(Vote.id), func.count().over().label("total"))
        .where(*_where(annotator_id, which))
        .order_by(col(Vote.created_at).desc(), col(Vote.id).desc())
        .limit(limit)
        .offset(offset)
        .subquery()
    )
    a, b = aliased(Response), aliased(Response)
    b_left = col(Vote.left) == col(Pair.response_b)
    query: Any = (
        select(
            Vote,
            col(Example.input),
            case((b_left, b.text), else_=a.text),
            case((b_left, a.text), else_=b.text),
            rows.c.total,
        )
        .join(rows, rows.c.id == col(Vote.id))
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .order_by(col(Vote.created_at).desc(), col(Vote.id).desc())
    )
    found = list(session.execute(query))
    if not found:
        return (count(session, annotator_id, which) if offset else 0), []
    # Apart, because DuckDB takes `vote.id` beside vote_history for a part of its column `vote`.
    changed = (
        select(col(VoteHistory.vote_id), func.count())
        .where(
            col(VoteHistory.vote_id).in_([row[0].id for row in found]), col(VoteHistory.what) == "replaced"
        )
        .group_by(col(VoteHistory.vote_id))
    )
    versions = {row[0]: int(row[1]) for row in session.execute(changed)}
    past = [Past(vote, input, left, right, versions.get(vote.id, 0)) for vote, input, left, right, _ in found]
    return int(found[0][4]), past


def by_day(session: Session, annotator_id: str) -> list[tuple[datetime, int, float | None]]:
    """(day in UTC, votes, median milliseconds) in order of time."""
    day = func.date_trunc("day", col(Vote.created_at))
    median = func.percentile_cont(0.5).within_group(col(Vote.duration_ms).asc())
    query = select(day, func.count(), median).where(col(Vote.annotator_id) == annotator_id)
    return [tuple(row) for row in session.execute(query.group_by(day).order_by(day))]


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
    share = cast(func.sum(case((same, 1), else_=0)), Float) / func.count()
    pairs = (
        select(share.label("share"))
        .select_from(mine)
        .join(other, and_(col(other.pair_id) == col(mine.pair_id), col(other.id) != col(mine.id)))
        .where(
            col(mine.project_id) == project_id,
            col(mine.annotator_id) == annotator_id,
            col(other.simulated).is_(False),
            not_by_machine(project_id, other.annotator_id),
            independent(mine),
            independent(other),
        )
        .group_by(col(mine.id))
        .subquery()
    )
    compared, agreed = session.execute(
        select(func.count(), func.coalesce(func.sum(pairs.c.share), 0.0)).select_from(pairs)
    ).one()
    return Agreed(int(compared), float(agreed))
