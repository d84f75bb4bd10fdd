"""What a project measured, over time: series by day or week, aggregated in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import case, func, literal, literal_column, select, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import counted, left_out_state, not_by_machine
from storage.judgements import Which
from storage.scan import scanned
from storage.tables import Interaction, Pair, Response, RewardModel, Run, Signal, Vote

EPOCH = date(1970, 1, 1)
MONDAY = date(1969, 12, 29)  # of the week of the epoch


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _number(moment: Any, period: str) -> Any:
    """Days since the epoch, or weeks (from Monday) since the week of the epoch. On DuckDB a
    tenth of the time of `date_trunc`, which asks for the time zone of each row."""
    days = func.extract("epoch", moment) / literal_column("86400.0")
    if period == "week":
        days = (days + literal_column("3.0")) / literal_column("7.0")
    return func.floor(days)


def _day(number: Any, period: str = "day") -> date:
    """First day of a period."""
    return MONDAY + timedelta(weeks=int(number)) if period == "week" else EPOCH + timedelta(days=int(number))


def votes_by_day(session: Session, project_id: str) -> list[tuple[date, int, int]]:
    """(day, votes of people, simulated votes), in order of time. Votes that were left out do
    not count, nor do those of machine judges."""
    day = _number(col(Vote.created_at), "day")
    query = (
        select(day, _count(~col(Vote.simulated)), _count(col(Vote.simulated)))
        .where(scanned(col(Vote.project_id)) == project_id, counted(project_id), not_by_machine(project_id))
        .group_by(day)
        .order_by(day)
    )
    return [(_day(at), int(people), int(machine)) for at, people, machine in session.execute(query)]


Block = tuple[int, float, int, int, int]


def agreement_by_period(session: Session, which: Which, period: str) -> list[tuple[date, str, Block]]:
    """(first day of the period, block, figures as in `storage.evidence.agreement_blocks`),
    in order of time. A pair belongs to the period of its last vote. `period`: day or week."""
    won = col(Vote.outcome) == "win"
    counts = (
        select(
            func.right(col(Vote.pair_id), 1).label("block"),
            _number(func.max(col(Vote.created_at)), period).label("period"),
            func.count().label("n"),
            _count(won & (col(Vote.winner) == col(Pair.response_a))).label("a"),
            _count(won & (col(Vote.winner) == col(Pair.response_b))).label("b"),
            _count(col(Vote.outcome) == "tie").label("tie"),
            _count(col(Vote.outcome) == "both_bad").label("bad"),
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
            c.period, c.block, func.sum(c.n), func.sum(same * 1.0 / (c.n - 1)), func.sum(c.a + c.b),
            func.sum(c.tie), func.sum(c.bad),
        )
        .group_by(c.period, c.block)
        .order_by(c.period, c.block)
    )  # fmt: skip
    return [
        (_day(at, period), str(block), (int(n), float(agreed), int(ab), int(tie), int(bad)))
        for at, block, n, agreed, ab, tie, bad in session.execute(query)
    ]


@dataclass(frozen=True)
class Met:
    """Votes of one period on pairs of a prompt with another; `even`: ties and "both bad"."""

    day: date
    other_id: str
    wins: int
    even: int
    losses: int
    simulated: int


def meetings_by_period(session: Session, which: Which, prompt_id: str, period: str) -> list[Met]:
    """How one prompt did against each other that it met, in order of time."""
    a, b = aliased(Response), aliased(Response)
    is_a = col(a.prompt_id) == prompt_id
    met = (
        select(
            col(Pair.id).label("pair_id"),
            case((is_a, col(b.prompt_id)), else_=col(a.prompt_id)).label("other"),
            case((is_a, col(Pair.response_a)), else_=col(Pair.response_b)).label("mine"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(
            scanned(col(Pair.project_id)) == which.project_id,
            is_a | (col(b.prompt_id) == prompt_id),
            col(a.prompt_id) != col(b.prompt_id),
        )
        .subquery()
    )
    won = col(Vote.outcome) == "win"
    mine = won & (col(Vote.winner) == met.c.mine)
    at = _number(col(Vote.created_at), period)
    query = (
        select(at, met.c.other, _count(mine), _count(~won), _count(won & ~mine), _count(col(Vote.simulated)))
        .select_from(Vote)
        .join(met, met.c.pair_id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(at, met.c.other)
        .order_by(at, met.c.other)
    )
    return [
        Met(_day(day, period), other, int(wins), int(even), int(losses), int(simulated))
        for day, other, wins, even, losses, simulated in session.execute(query)
    ]


@dataclass(frozen=True)
class Gain:
    """A search that beat every one before it, with its paired interval."""

    day: date
    score: float
    low: float | None
    high: float | None
    n: int | None


def best_gains(session: Session, project_id: str) -> tuple[str, int, list[Gain]]:
    """(kind of reward, searches with a gain, the record-setting ones in order of time) of
    succeeded searches, for the kind of reward that the newest of them used."""
    result = col(Run.result)
    score = result[("gain", "score")].as_float()
    reward = func.coalesce(result["reward"].as_string(), "")
    done = (
        select(
            col(Run.id).label("id"),
            col(Run.finished_at).label("at"),
            reward.label("reward"),
            score.label("score"),
            result[("gain", "low")].as_float().label("low"),
            result[("gain", "high")].as_float().label("high"),
            result[("gain", "n")].as_integer().label("n"),
        )
        .where(
            scanned(col(Run.project_id)) == project_id,
            col(Run.kind) == "optimize",
            col(Run.status) == "succeeded",
            col(Run.finished_at).is_not(None),
            score.is_not(None),
        )
        .cte("done")
    )
    newest = select(done.c.reward).order_by(done.c.at.desc(), done.c.id.desc()).limit(1).scalar_subquery()
    earlier = func.max(done.c.score).over(order_by=[done.c.at, done.c.id], rows=(None, -1))
    ranked = select(
        done, earlier.label("earlier"), func.count().over().label("runs")
    ).where(done.c.reward == newest).subquery()  # fmt: skip
    r = ranked.c
    query = (
        select(r.reward, r.runs, r.at, r.score, r.low, r.high, r.n)
        .where(r.earlier.is_(None) | (r.score > r.earlier))
        .order_by(r.at, r.id)
    )
    rows = session.execute(query).all()
    gains = [Gain(at.date(), score, low, high, n) for _, _, at, score, low, high, n in rows]
    return (rows[0][0], int(rows[0][1]), gains) if rows else ("", 0, [])


@dataclass(frozen=True)
class Speed:
    """Of the runs of a time: mean and standard deviation (0 for one run) of the natural
    logarithm of their training pairs per second."""

    day: date
    runs: int
    mean_log: float
    sd_log: float


def training_speed(session: Session, project_id: str) -> list[Speed]:
    """Training pairs times epochs by seconds, of succeeded reward-model runs, by day."""
    result = col(Run.result)
    pairs = result["n_train"].as_float() * func.coalesce(result[("settings", "epochs")].as_float(), 1.0)
    seconds = result["seconds"].as_float()
    at = _number(col(Run.finished_at), "day")
    each = (
        select(at.label("at"), pairs.label("pairs"), seconds.label("seconds"))
        .where(
            scanned(col(Run.project_id)) == project_id,
            col(Run.kind) == "reward_model",
            col(Run.status) == "succeeded",
            col(Run.finished_at).is_not(None),
        )
        .subquery()
    )
    log = func.ln(each.c.pairs / each.c.seconds)
    query = (
        select(each.c.at, func.count(), func.avg(log), func.stddev_samp(log))
        .where(each.c.pairs > 0, each.c.seconds > 0)
        .group_by(each.c.at)
        .order_by(each.c.at)
    )
    return [
        Speed(_day(day), int(runs), float(mean), float(sd or 0))
        for day, runs, mean, sd in session.execute(query)
    ]


@dataclass(frozen=True)
class Accuracy:
    day: date
    model_id: str
    value: float
    low: float | None
    high: float | None
    n: int
    simulated_share: float


def reward_accuracy(session: Session, project_id: str) -> list[Accuracy]:
    """The newest whole reward model of each day, in order of time."""
    m = col(RewardModel.metrics)
    at = _number(col(RewardModel.created_at), "day")
    place = func.row_number().over(
        partition_by=at, order_by=[col(RewardModel.created_at).desc(), col(RewardModel.id).desc()]
    )
    value = m["accuracy"].as_float()
    rows = (
        select(
            at.label("at"), col(RewardModel.id).label("id"), value.label("value"),
            m["accuracy_low"].as_float().label("low"), m["accuracy_high"].as_float().label("high"),
            m["n_test"].as_integer().label("n"), col(RewardModel.simulated_share).label("simulated"),
            place.label("place"),
        )
        .where(
            scanned(col(RewardModel.project_id)) == project_id,
            col(RewardModel.archived_at).is_(None),
            value.is_not(None),
            func.coalesce(m["partial"].as_string(), "false") != "true",
        )
        .subquery()
    )  # fmt: skip
    r = rows.c
    query = select(r.at, r.id, r.value, r.low, r.high, r.n, r.simulated).where(r.place == 1).order_by(r.at)
    return [
        Accuracy(_day(day), model, float(value), low, high, int(n or 0), float(simulated))
        for day, model, value, low, high, n, simulated in session.execute(query)
    ]


def uses_by_day(session: Session, project_id: str) -> list[tuple[date, int, int]]:
    """(day, uses in production with a good signal, uses with a signal). A use is good when
    the mean of its signals is above zero."""
    at = _number(col(Interaction.created_at), "day")
    per_use = (
        select(
            at.label("at"),
            func.avg(col(Signal.value)).label("value"),
        )
        .join(Signal, col(Signal.interaction_id) == col(Interaction.id))
        .where(scanned(col(Interaction.project_id)) == project_id, col(Signal.value).is_not(None))
        .group_by(col(Interaction.id), at)
        .subquery()
    )
    u = per_use.c
    query = select(u.at, _count(u.value > 0), func.count()).group_by(u.at).order_by(u.at)
    return [(_day(at), int(good), int(n)) for at, good, n in session.execute(query)]


def runs_by_day(session: Session, project_id: str) -> list[tuple[date, int, int]]:
    """(day, runs that succeeded, runs that succeeded or failed), by the day they ended."""
    at = _number(col(Run.finished_at), "day")
    query = (
        select(at, _count(col(Run.status) == "succeeded"), func.count())
        .where(
            scanned(col(Run.project_id)) == project_id,
            col(Run.status).in_(("succeeded", "failed")),
            col(Run.finished_at).is_not(None),
        )
        .group_by(at)
        .order_by(at)
    )
    return [(_day(day), int(good), int(n)) for day, good, n in session.execute(query)]


def activity(session: Session, project_id: str) -> dict[str, tuple[date, date]]:
    """First and last day on which something was done: votes, reward models trained,
    searches run, uses in production. What never happened is left out."""
    parts = [
        _span("votes", Vote.created_at, [scanned(col(Vote.project_id)) == project_id]),
        _span("training", Run.created_at, _kind(project_id, "reward_model")),
        _span("searches", Run.created_at, _kind(project_id, "optimize")),
        _span("uses", Interaction.created_at, [scanned(col(Interaction.project_id)) == project_id]),
    ]
    rows = session.execute(union_all(*parts))
    return {key: (first.date(), last.date()) for key, first, last in rows if first is not None}


def _kind(project_id: str, kind: str) -> list[Any]:
    return [scanned(col(Run.project_id)) == project_id, col(Run.kind) == kind]


def _span(key: str, at: Any, where: Sequence[Any]) -> Any:
    return select(literal(key), func.min(at), func.max(at)).where(*where)


def days_from(first: date, last: date) -> list[date]:
    """Every day, both ends included."""
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def fingerprint(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever a run, reward model, use or signal is added, ended or put away, or an
    annotator's votes are left out or taken back in. Votes have `storage.evidence.votes_state`."""
    run = select(func.count(), func.max(col(Run.finished_at))).where(
        scanned(col(Run.project_id)) == project_id
    )
    model = select(func.count(), func.count(col(RewardModel.archived_at))).where(
        scanned(col(RewardModel.project_id)) == project_id
    )
    use = select(func.count(), func.max(col(Interaction.created_at))).where(
        scanned(col(Interaction.project_id)) == project_id
    )
    signal = select(func.count(), func.max(col(Signal.created_at))).where(
        scanned(col(Signal.project_id)) == project_id
    )
    states = (tuple(session.execute(query).one()) for query in (run, model, use, signal))
    return (*states, left_out_state(session, project_id))
