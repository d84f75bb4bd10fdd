"""What votes add up to: the counts that agreement, bias and ratings are computed from.
Aggregated in the database, so that a million votes do not travel."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, case, cast, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import by_machine, counted
from storage.scan import scanned
from storage.tables import Annotator, Pair, Prompt, Response, Skip, Slot, Vote


@dataclass(frozen=True)
class Which:
    """Which votes count. `annotators`: ids, None for all; `since` inclusive, `until`
    exclusive; `simulated`: exclude, include or only; `independent`: without those of
    adjudicators, who knew what others had said (for agreement, skill, bias). Never those of
    annotators whose votes were left out (`storage.counting`)."""

    project_id: str
    simulated: str = "include"
    annotators: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    independent: bool = False

    def where(self) -> list[ColumnElement[bool]]:
        clauses: list[ColumnElement[bool]] = [scanned(col(Vote.project_id)) == self.project_id]
        if self.simulated != "include":
            clauses.append(col(Vote.simulated).is_(self.simulated == "only"))
        clauses.append(counted(self.project_id))
        if self.independent:
            clauses.append(independent())
        if self.annotators is not None:
            clauses.append(col(Vote.annotator_id).in_(self.annotators))
        if self.since is not None:
            clauses.append(col(Vote.created_at) >= self.since)
        if self.until is not None:
            clauses.append(col(Vote.created_at) < self.until)
        return clauses


def _sum(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


_WIN = col(Vote.outcome) == "win"
_TIE = col(Vote.outcome) == "tie"
_BAD = col(Vote.outcome) == "both_bad"
_SIDED = col(Vote.left).is_not(None) & _WIN  # decisive, and it is known what stood left


def people_and_simulated(session: Session, project_id: str) -> tuple[int, int]:
    """How many votes people gave, and how many were simulated."""
    query = select(func.count(), func.coalesce(_sum(col(Vote.simulated).is_(True)), 0)).where(
        scanned(col(Vote.project_id)) == project_id, counted(project_id)
    )
    votes, simulated = session.execute(query).one()
    return votes - simulated, simulated


def by_pair(session: Session, which: Which) -> list[tuple[str, str, int, int, int, int]]:
    """A row for each pair that has votes: prompt of response_a, prompt of response_b,
    votes for a, for b, ties, both bad. Sorted by pair."""
    a, b = aliased(Response), aliased(Response)
    counts = (
        select(
            col(Vote.pair_id).label("pair_id"),
            _sum(_WIN & (col(Vote.winner) == col(Pair.response_a))).label("a"),
            _sum(_WIN & (col(Vote.winner) == col(Pair.response_b))).label("b"),
            _sum(_TIE).label("tie"),
            _sum(_BAD).label("bad"),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    query = (
        select(col(a.prompt_id), col(b.prompt_id), counts.c.a, counts.c.b, counts.c.tie, counts.c.bad)
        .select_from(counts)
        .join(Pair, col(Pair.id) == counts.c.pair_id)
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .order_by(counts.c.pair_id)
    )
    return [tuple(row) for row in session.execute(query)]


@dataclass(frozen=True)
class Totals:
    """`sided`: decisive votes of which the left response is known; `left`: those for it.
    `machine`: those that language models cast as judges."""

    votes: int
    annotators: int
    simulated: int
    ties: int
    both_bad: int
    sided: int
    left: int
    median_ms: float | None
    timed: int
    machine: int


def totals(session: Session, which: Which) -> Totals:
    query = select(
        func.count(),
        func.count(func.distinct(col(Vote.annotator_id))),
        *(_zero(_sum(item)) for item in (col(Vote.simulated).is_(True), _TIE, _BAD, _SIDED, _left_won())),
        _median(),
        func.count(col(Vote.duration_ms)),
        _zero(_sum(by_machine(which.project_id))),
    ).where(*which.where())
    return Totals(*session.execute(query).one())


@dataclass(frozen=True)
class Judge:
    """An annotator's votes. `compared`: votes on pairs that others voted on too;
    `agreed`: of these, the mean share of the others who chose the same, summed."""

    id: str
    name: str
    simulated: bool
    votes: int
    ties: int
    both_bad: int
    sided: int
    left: int
    compared: int
    agreed: float
    median_ms: float | None
    first: datetime
    last: datetime
    machine: bool


def by_annotator(session: Session, which: Which) -> list[Judge]:
    """A row for each annotator with votes, most votes first."""
    same = func.count().over(partition_by=[col(Vote.pair_id), col(Vote.outcome), col(Vote.winner)])
    everyone = func.count().over(partition_by=col(Vote.pair_id))
    voted = (
        select(col(Vote.id).label("id"), same.label("same"), everyone.label("everyone"))
        .where(*which.where())
        .subquery()
    )
    shared = voted.c.everyone > 1
    share = cast(voted.c.same - 1, Float) / func.nullif(voted.c.everyone - 1, 0)
    query = (
        select(
            col(Annotator.id),
            col(Annotator.name),
            col(Annotator.simulated),
            func.count(),
            *(_sum(item) for item in (_TIE, _BAD, _SIDED, _left_won(), shared)),
            func.coalesce(func.sum(case((shared, share), else_=0.0)), 0.0),
            _median(),
            func.min(col(Vote.created_at)),
            func.max(col(Vote.created_at)),
            func.coalesce(col(Annotator.machine), False),
        )
        .select_from(Vote)
        .join(voted, voted.c.id == col(Vote.id))
        .join(Annotator, col(Annotator.id) == col(Vote.annotator_id))
        .group_by(col(Annotator.id), col(Annotator.name), col(Annotator.simulated), col(Annotator.machine))
        .order_by(func.count().desc(), col(Annotator.name))
    )
    return [Judge(*row) for row in session.execute(query)]


def by_day(session: Session, which: Which) -> list[tuple[datetime, bool, int, int, int]]:
    """(day, simulated, votes, sided, left), in order of time."""
    day = func.date_trunc("day", col(Vote.created_at))
    query = (
        select(day, col(Vote.simulated), func.count(), _sum(_SIDED), _sum(_left_won()))
        .where(*which.where())
        .group_by(day, col(Vote.simulated))
        .order_by(day, col(Vote.simulated))
    )
    return [tuple(row) for row in session.execute(query)]


def pairs_and_slots(session: Session, project_id: str) -> tuple[int, int, int, int]:
    """Pairs of the project, slots that want a vote, slots voted, skips."""
    pairs = session.execute(
        select(func.count()).select_from(Pair).where(col(Pair.project_id) == project_id)
    ).scalar_one()
    wanted, voted = session.execute(
        select(func.count(), _zero(_sum(col(Slot.status) == "voted"))).where(
            col(Slot.project_id) == project_id, col(Slot.status) != "closed"
        )
    ).one()
    skips = session.execute(
        select(func.count()).select_from(Skip).where(col(Skip.project_id) == project_id)
    ).scalar_one()
    return pairs, wanted, voted, skips


def prompts_named(session: Session, ids: set[str]) -> dict[str, Prompt]:
    return {item.id: item for item in session.scalars(select(Prompt).where(col(Prompt.id).in_(ids)))}


def annotators_with_votes(session: Session, project_id: str) -> list[tuple[str, str, bool, int]]:
    """(id, name, simulated, votes), by name: what a filter offers."""
    query = (
        select(col(Annotator.id), col(Annotator.name), col(Annotator.simulated), func.count())
        .select_from(Vote)
        .join(Annotator, col(Annotator.id) == col(Vote.annotator_id))
        .where(col(Vote.project_id) == project_id, counted(project_id))
        .group_by(col(Annotator.id), col(Annotator.name), col(Annotator.simulated))
        .order_by(col(Annotator.name))
    )
    return [tuple(row) for row in session.execute(query)]


def _left_won() -> Any:
    return _WIN & (col(Vote.winner) == col(Vote.left))


def _median() -> Any:
    return func.percentile_cont(0.5).within_group(col(Vote.duration_ms).asc())


def _zero(value: Any) -> Any:
    return func.coalesce(value, 0)
