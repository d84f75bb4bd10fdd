"""What lies between one champion and the next: votes, machine time and money, and how the
two did against each other. Aggregated in the database, a row for each period."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.counting import not_by_machine
from storage.judgements import Which
from storage.scan import scanned
from storage.tables import AuditEntry, LedgerEntry, Pair, Project, Response, Run, Vote


@dataclass(frozen=True)
class Promotion:
    """A prompt became the champion; `before` was it until then, if any was. `detail`: all that
    the audit log says of it."""

    at: datetime
    prompt_id: str
    before: str | None
    by: str
    detail: dict[str, Any] = field(default_factory=dict, compare=False)


def promotions(session: Session, project_id: str, newest: int) -> list[Promotion]:
    """The newest promotions of a project, oldest first."""
    entry = AuditEntry
    query = (
        select(col(entry.at), col(entry.entity_id), col(entry.detail), col(entry.user_name))
        .where(col(entry.project_id) == project_id, col(entry.action) == "prompt.promote")
        .order_by(col(entry.at).desc(), col(entry.id).desc())
        .limit(newest)
    )
    rows = session.execute(query).all()
    found = [
        Promotion(at, prompt, (said or {}).get("before"), by, said or {}) for at, prompt, said, by in rows
    ]
    return found[::-1]


def was_champion(session: Session, project_id: str, prompt_id: str) -> bool:
    """Whether it is, or has been promoted before."""
    project = session.get(Project, project_id)
    if project is not None and project.champion_prompt_id == prompt_id:
        return True
    entry = AuditEntry
    query = select(col(entry.id)).where(
        col(entry.project_id) == project_id,
        col(entry.action) == "prompt.promote",
        col(entry.entity_id) == prompt_id,
    )
    return session.execute(query.limit(1)).first() is not None


def _period(when: Any, ends: list[datetime]) -> ColumnElement[int]:
    """0 up to and with the first end, 1 up to the second, …, len(ends) after the last."""
    if not ends:
        return case((when.is_(None), 0), else_=0)
    return case(*((when <= end, i) for i, end in enumerate(ends)), else_=len(ends))


@dataclass(frozen=True)
class Labels:
    """Votes of a period: of people, simulated, and the seconds that people took; `timed`
    are the people's votes that have a time. Votes of machine judges are in neither: what those
    cost is in the ledger."""

    people: int
    simulated: int
    timed: int
    seconds: float


def labels_by_period(session: Session, project_id: str, ends: list[datetime]) -> dict[int, Labels]:
    by_person = col(Vote.simulated).is_(False)
    time = case((by_person, col(Vote.duration_ms)), else_=None)
    period = _period(col(Vote.created_at), ends).label("period")
    rows = (
        select(
            period,
            func.sum(case((by_person, 1), else_=0)),
            func.sum(case((by_person, 0), else_=1)),
            func.count(time),
            func.coalesce(func.sum(time), 0),
        )
        .where(scanned(col(Vote.project_id)) == project_id, not_by_machine(project_id))
        .group_by(period)
    )
    return {
        int(i): Labels(int(people), int(machine), int(timed), float(ms) / 1000)
        for i, people, machine, timed, ms in session.execute(rows)
    }


def seconds_by_period(
    session: Session, project_id: str, ends: list[datetime]
) -> dict[int, tuple[int, float]]:
    """period -> (runs, seconds from their start to their end), whatever came of them."""
    seconds = func.extract("epoch", col(Run.finished_at)) - func.extract("epoch", col(Run.started_at))
    period = _period(col(Run.finished_at), ends).label("period")
    rows = (
        select(period, func.count(), func.coalesce(func.sum(seconds), 0.0))
        .where(
            col(Run.project_id) == project_id,
            col(Run.finished_at).is_not(None),
            col(Run.started_at).is_not(None),
        )
        .group_by(period)
    )
    return {int(i): (int(runs), float(total)) for i, runs, total in session.execute(rows)}


def calls_by_period(session: Session, project_id: str, ends: list[datetime]) -> dict[int, tuple[int, float]]:
    """period -> (language-model calls, what they cost by the ledger)."""
    period = _period(func.coalesce(col(Run.finished_at), col(LedgerEntry.updated_at)), ends).label("period")
    rows = (
        select(period, func.sum(col(LedgerEntry.calls)), func.sum(col(LedgerEntry.cost)))
        .join(Run, col(Run.id) == col(LedgerEntry.run_id))
        .where(col(LedgerEntry.project_id) == project_id)
        .group_by(period)
    )
    return {int(i): (int(calls), float(cost)) for i, calls, cost in session.execute(rows)}


def head_to_head(
    session: Session, which: Which, couples: set[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """(prompt, other) -> (wins, even, losses, simulated) of votes on pairs of the two, for
    each of these couples of prompts that met."""
    if not couples:
        return {}
    both_ways = sorted(couples | {(other, prompt) for prompt, other in couples})
    a, b = aliased(Response), aliased(Response)
    met = (
        select(
            col(Pair.id).label("pair_id"),
            col(Pair.response_a).label("response_a"),
            col(a.prompt_id).label("left"),
            col(b.prompt_id).label("right"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(
            scanned(col(Pair.project_id)) == which.project_id,
            tuple_(col(a.prompt_id), col(b.prompt_id)).in_(both_ways),
        )
        .subquery()
    )
    won = col(Vote.outcome) == "win"
    count = lambda condition: func.sum(case((condition, 1), else_=0))  # noqa: E731
    query = (
        select(
            met.c.left,
            met.c.right,
            count(won & (col(Vote.winner) == met.c.response_a)),
            count(~won),
            count(won & (col(Vote.winner) != met.c.response_a)),
            count(col(Vote.simulated)),
        )
        .select_from(Vote)
        .join(met, met.c.pair_id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(met.c.left, met.c.right)
    )
    found: dict[tuple[str, str], tuple[int, int, int, int]] = {}
    for left, right, *counts in session.execute(query):
        wins, even, losses, simulated = (int(value) for value in counts)
        for key, row in (
            ((left, right), (wins, even, losses, simulated)),
            ((right, left), (losses, even, wins, simulated)),
        ):
            if key in couples:
                w, e, lost, s = found.get(key, (0, 0, 0, 0))
                found[key] = (w + row[0], e + row[1], lost + row[2], s + row[3])
    return found
