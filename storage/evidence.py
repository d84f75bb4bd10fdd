"""What a project measured, aggregated in the database: for plans, which must answer at once
on a million votes and ten thousand runs."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import case, func, literal_column, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import left_out_state
from storage.judgements import Which
from storage.scan import scanned
from storage.tables import Interaction, LedgerEntry, Pair, Prompt, Response, Run, Signal, Vote, VoteHistory

_SIMULATED = func.coalesce(func.sum(case((col(Vote.simulated), 1), else_=0)), 0)


MANY = 100_000  # votes, from which a thousandth more or fewer changes no figure that is shown


def votes_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes when the votes of a project do, and costs next to nothing: what is computed
    from them can be kept until then. Of more than MANY, only by a thousandth and more."""
    here = scanned(col(Vote.project_id)) == project_id
    left_out = left_out_state(session, project_id)
    n, simulated, newest = session.execute(
        select(func.count(), _SIMULATED, func.max(col(Vote.created_at))).where(here)
    ).one()
    if n >= MANY:
        step = 10 ** (len(str(n)) - 4)
        return n // step, simulated // step, left_out
    # A vote that is undone and given anew leaves a line of history.
    undone = select(func.count()).select_from(VoteHistory).where(col(VoteHistory.project_id) == project_id)
    return n, simulated, newest, session.execute(undone).scalar_one(), left_out


def is_large(votes: tuple[Any, ...]) -> bool:
    """Whether this `votes_state` is that of a project with more than MANY votes."""
    return len(votes) == 3


def uses_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """The same for uses in production and their signals."""
    return tuple(
        tuple(session.execute(
            select(func.count(), func.max(col(table.created_at))).where(scanned(col(table.project_id)) == project_id)
        ).one())
        for table in (Interaction, Signal)
    )  # fmt: skip


@dataclass(frozen=True)
class Meeting:
    """Votes on pairs of one prompt with another. `even`: ties and "both bad"."""

    prompt_id: str
    other_id: str
    wins: int
    even: int
    losses: int
    simulated: int

    @property
    def n(self) -> int:
        return self.wins + self.even + self.losses


def meetings(session: Session, which: Which, prompt_id: str) -> list[Meeting]:
    """How one prompt did against each other that it met, most votes first."""
    a, b = aliased(Response), aliased(Response)
    is_a = col(a.prompt_id) == prompt_id
    other = case((is_a, col(b.prompt_id)), else_=col(a.prompt_id))
    mine = case((is_a, col(Pair.response_a)), else_=col(Pair.response_b))
    met = (
        select(col(Pair.id).label("pair_id"), other.label("other"), mine.label("mine"))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(
            scanned(col(Pair.project_id)) == which.project_id,
            or_(is_a, col(b.prompt_id) == prompt_id),
            col(a.prompt_id) != col(b.prompt_id),
        )
        .subquery()
    )
    won = col(Vote.outcome) == "win"
    mine_won = won & (col(Vote.winner) == met.c.mine)
    count = lambda condition: func.coalesce(func.sum(case((condition, 1), else_=0)), 0)  # noqa: E731
    query = (
        select(met.c.other, count(mine_won), count(~won), count(won & ~mine_won), _SIMULATED)
        .select_from(Vote)
        .join(met, met.c.pair_id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(met.c.other)
        .order_by(func.count().desc(), met.c.other)
    )
    return [Meeting(prompt_id, *row) for row in session.execute(query)]


def agreement_blocks(session: Session, which: Which) -> list[tuple[int, float, int, int, int]]:
    """Pairs with two votes and more in up to 16 blocks (by the last digit of their id):
    (votes, agreement, for a or b, ties, both bad), where agreement sums, over pairs,
    n_c (n_c - 1) / (n - 1) over the four choices c."""
    a, b, tie, bad = (
        func.sum(case((condition, 1), else_=0))
        for condition in (
            (col(Vote.outcome) == "win") & (col(Vote.winner) == col(Pair.response_a)),
            (col(Vote.outcome) == "win") & (col(Vote.winner) == col(Pair.response_b)),
            col(Vote.outcome) == "tie",
            col(Vote.outcome) == "both_bad",
        )
    )
    counts = (
        select(
            func.right(col(Vote.pair_id), 1).label("block"),
            func.count().label("n"),
            a.label("a"),
            b.label("b"),
            tie.label("tie"),
            bad.label("bad"),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where(), independent())
        .group_by(col(Vote.pair_id))
        .having(func.count() > 1)
        .subquery()
    )
    c = counts.c
    same = sum((x * (x - 1) for x in (c.b, c.tie, c.bad)), c.a * (c.a - 1))
    query = (
        select(
            func.sum(c.n),
            func.sum(same * 1.0 / (c.n - 1)),
            func.sum(c.a + c.b),
            func.sum(c.tie),
            func.sum(c.bad),
        )
        .group_by(c.block)
        .order_by(c.block)
    )
    return [
        (int(n), float(agreed), int(ab), int(ties), int(bads))
        for n, agreed, ab, ties, bads in session.execute(query)
    ]


@dataclass(frozen=True)
class Pace:
    """Of votes: how many, how many with a time, the median of it in seconds with the
    order statistics around it (95 %), days on which there were any, first and last."""

    votes: int
    simulated: int
    timed: int
    median_s: float | None
    low_s: float | None
    high_s: float | None
    days: int
    first: datetime | None
    last: datetime | None


def pace(session: Session, which: Which) -> Pace:
    """The interval of a median: order statistics at n/2 ± 1.96 · sqrt(n)/2 (Conover 1999,
    Practical Nonparametric Statistics, 3.2)."""
    time = col(Vote.duration_ms)
    # By seconds since 1970: date_trunc of a time with a zone costs DuckDB six times as much.
    day = func.floor(func.extract("epoch", col(Vote.created_at)) / 86400)
    votes, simulated, timed, days, first, last = session.execute(
        select(
            func.count(), _SIMULATED, func.count(time), func.count(func.distinct(day)),
            func.min(col(Vote.created_at)), func.max(col(Vote.created_at)),
        ).where(*which.where())
    ).one()  # fmt: skip
    if not timed:
        return Pace(votes, simulated, 0, None, None, None, days, first, last)
    half = 0.98 / timed**0.5
    # All three from one sort.
    at: Any = literal_column(f"ARRAY[{max(0.0, 0.5 - half):.9f}, 0.5, {min(1.0, 0.5 + half):.9f}]")
    low, median, high = session.execute(
        select(func.percentile_cont(at).within_group(time.asc())).where(*which.where())
    ).scalar_one()
    return Pace(votes, simulated, timed, median / 1000, low / 1000, high / 1000, days, first, last)


@dataclass(frozen=True)
class RunTotals:
    """Runs of a kind with one status. Seconds are from start to end; `timed` have both."""

    kind: str
    status: str
    runs: int
    timed: int
    seconds: float
    median_s: float | None


def run_totals(session: Session, project_id: str) -> list[RunTotals]:
    """Aggregated in the database; by kind and status."""
    seconds = func.extract("epoch", col(Run.finished_at)) - func.extract("epoch", col(Run.started_at))
    query = (
        select(
            col(Run.kind),
            col(Run.status),
            func.count(),
            func.count(seconds),
            func.coalesce(func.sum(seconds), 0.0),
            func.percentile_cont(0.5).within_group(seconds.asc()),
        )
        .where(col(Run.project_id) == project_id)
        .group_by(col(Run.kind), col(Run.status))
        .order_by(col(Run.kind), col(Run.status))
    )
    return [
        RunTotals(kind, status, runs, timed, float(total), None if median is None else float(median))
        for kind, status, runs, timed, total, median in session.execute(query)
    ]


@dataclass(frozen=True)
class Spent:
    """Language-model calls of one host for one purpose, over all runs of a project."""

    host: str
    purpose: str
    runs: int
    calls: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float


def spent(session: Session, project_id: str) -> list[Spent]:
    total = lambda column: func.coalesce(func.sum(col(column)), 0)  # noqa: E731
    query = (
        select(
            col(LedgerEntry.host), col(LedgerEntry.purpose), func.count(), total(LedgerEntry.calls),
            total(LedgerEntry.cached), total(LedgerEntry.tokens_in), total(LedgerEntry.tokens_out),
            total(LedgerEntry.cost),
        )
        .where(col(LedgerEntry.project_id) == project_id)
        .group_by(col(LedgerEntry.host), col(LedgerEntry.purpose))
        .order_by(col(LedgerEntry.host), col(LedgerEntry.purpose))
    )  # fmt: skip
    return [
        Spent(host, purpose, runs, int(calls), int(cached), int(t_in), int(t_out), float(cost))
        for host, purpose, runs, calls, cached, t_in, t_out, cost in session.execute(query)
    ]


def interactions_by_month(session: Session, project_id: str) -> list[tuple[datetime, int]]:
    """Uses in production, by calendar month (UTC)."""
    day = func.floor(func.extract("epoch", col(Interaction.created_at)) / 86400)
    query = select(day, func.count()).where(scanned(col(Interaction.project_id)) == project_id).group_by(day)
    months: Counter[datetime] = Counter()
    for number, uses in session.execute(query):
        at = datetime.fromtimestamp(int(number) * 86400, UTC)
        months[datetime(at.year, at.month, 1, tzinfo=UTC)] += uses
    return sorted(months.items())


def successes(session: Session, project_id: str) -> dict[str, tuple[int, int]]:
    """prompt id -> (successes, interactions that have a signal), in production. One
    interaction counts once: a success when the mean of its signals is above zero."""
    per_use = (
        select(col(Interaction.prompt_id).label("prompt_id"), func.avg(col(Signal.value)).label("value"))
        .join(Signal, col(Signal.interaction_id) == col(Interaction.id))
        .where(scanned(col(Interaction.project_id)) == project_id, col(Signal.value).is_not(None))
        .group_by(col(Interaction.id), col(Interaction.prompt_id))
        .subquery()
    )
    query = select(
        per_use.c.prompt_id, func.sum(case((per_use.c.value > 0, 1), else_=0)), func.count()
    ).group_by(per_use.c.prompt_id)
    return {prompt: (int(good), int(n)) for prompt, good, n in session.execute(query) if prompt}


def prompts(session: Session, project_id: str) -> dict[str, Prompt]:
    """Every version of every prompt of the project, archived ones too, by id."""
    found: Any = session.scalars(select(Prompt).where(col(Prompt.project_id) == project_id))
    return {prompt.id: prompt for prompt in found}
