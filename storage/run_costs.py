"""How long runs take and what their language-model calls cost, with what an interval needs.
Aggregated in the database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Float, cast, func, select
from sqlmodel import Session, col

from storage.tables import LedgerEntry, Run


@dataclass(frozen=True)
class RunTime:
    """Succeeded runs of a kind: how many, their mean time and its spread in seconds, and when
    the first and the last were made."""

    kind: str
    runs: int
    mean_s: float
    sd_s: float
    first: datetime
    last: datetime


def run_times(session: Session, project_id: str) -> dict[str, RunTime]:
    seconds = cast(
        func.extract("epoch", col(Run.finished_at)) - func.extract("epoch", col(Run.started_at)), Float
    )
    query = (
        select(
            col(Run.kind),
            func.count(),
            func.avg(seconds),
            func.coalesce(func.stddev_samp(seconds), 0.0),
            func.min(col(Run.created_at)),
            func.max(col(Run.created_at)),
        )
        .where(
            col(Run.project_id) == project_id,
            col(Run.status) == "succeeded",
            col(Run.started_at).is_not(None),
            col(Run.finished_at).is_not(None),
        )
        .group_by(col(Run.kind))
    )
    return {
        kind: RunTime(kind, int(n), float(mean), float(sd), first, last)
        for kind, n, mean, sd, first, last in session.execute(query)
    }


@dataclass(frozen=True)
class CallSums:
    """Sums over runs of calls (c), tokens (t) and cost (m), and of their products: what the
    ratios cost per call and their variance are made from. `first` and `last`: of the runs."""

    runs: int
    calls: float
    tokens: float
    cost: float
    calls_calls: float
    calls_cost: float
    cost_cost: float
    first: datetime | None
    last: datetime | None


def call_sums(session: Session, project_id: str) -> CallSums:
    total = lambda column: func.sum(cast(col(column), Float))  # noqa: E731
    by_run = (
        select(
            total(LedgerEntry.calls).label("calls"),
            (total(LedgerEntry.tokens_in) + total(LedgerEntry.tokens_out)).label("tokens"),
            total(LedgerEntry.cost).label("cost"),
            func.min(col(Run.created_at)).label("at"),
        )
        .join(Run, col(Run.id) == col(LedgerEntry.run_id))
        .where(col(LedgerEntry.project_id) == project_id)
        .group_by(col(LedgerEntry.run_id))
        .subquery()
    )
    c = by_run.c
    sums = [c.calls, c.tokens, c.cost, c.calls * c.calls, c.calls * c.cost, c.cost * c.cost]
    query = select(
        func.count(), *(func.coalesce(func.sum(item), 0.0) for item in sums), func.min(c.at), func.max(c.at)
    )
    runs, calls, tokens, cost, calls_calls, calls_cost, cost_cost, first, last = session.execute(query).one()
    return CallSums(
        int(runs), float(calls), float(tokens), float(cost),
        float(calls_calls), float(calls_cost), float(cost_cost), first, last,
    )  # fmt: skip
