"""What a choice of method is made from, aggregated in the database: preferences, how
versions of prompts met on held-out examples, what searches brought, how hosts answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, case, cast, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.counting import left_out_state
from storage.judgements import Which
from storage.tables import (
    Candidate,
    Example,
    Host,
    Pair,
    Project,
    Prompt,
    Response,
    RewardModel,
    Run,
    Signal,
    Vote,
)

HELD_OUT = ("dev", "test")
RECENT = 2_000  # responses that latency is read from


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


@dataclass(frozen=True)
class Meeting:
    """Votes on pairs of responses of two prompts that are alike in everything else named
    here. A vote is 1 for `a`, 0 for `b`, ½ otherwise; S and m are the sum and the number
    of the votes on one pair. `s` is the sum of S, then the sums of S², S·m and m²: with
    them, votes on one pair need not be independent. `decided`: pairs with a vote that
    chose one; `decided_simulated`: those of them that only simulated votes did."""

    a: str
    b: str
    host_a: str | None
    host_b: str | None
    held_out: bool
    pairs: int
    n: int
    s: float
    ss: float
    sm: float
    mm: float
    wins_a: int
    wins_b: int
    simulated: int
    decided: int
    decided_simulated: int


def meetings(session: Session, which: Which) -> list[Meeting]:
    """How prompts met, in one pass over the votes; pairs of one prompt with itself too."""
    won = col(Vote.outcome) == "win"
    for_a = won & (col(Vote.winner) == col(Pair.response_a))
    value = case((~won, 0.5), (col(Vote.winner) == col(Pair.response_a), 1.0), else_=0.0)
    by_pair = (
        select(
            col(Pair.example_id).label("example_id"),
            col(Pair.response_a).label("a"),
            col(Pair.response_b).label("b"),
            func.sum(cast(value, Float)).label("s"),
            func.count().label("m"),
            _count(for_a).label("wins_a"),
            _count(won & ~for_a).label("wins_b"),
            _count(col(Vote.simulated)).label("simulated"),
            _count(won & ~col(Vote.simulated)).label("human_wins"),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Pair.id), col(Pair.example_id), col(Pair.response_a), col(Pair.response_b))
        .subquery()
    )
    a, b = aliased(Response), aliased(Response)
    held_out = case((col(Example.split).in_(HELD_OUT), 1), else_=0).label("held_out")
    c = by_pair.c
    decided = c.wins_a + c.wins_b > 0
    of = (col(a.prompt_id), col(b.prompt_id), col(a.host_id), col(b.host_id), held_out)
    query = (
        select(
            *of, func.count(), func.sum(c.m), func.sum(c.s), func.sum(c.s * c.s), func.sum(c.s * c.m),
            func.sum(c.m * c.m), func.sum(c.wins_a), func.sum(c.wins_b), func.sum(c.simulated),
            _count(decided), _count(decided & (c.human_wins == 0)),
        )
        .select_from(by_pair)
        .join(a, col(a.id) == c.a)
        .join(b, col(b.id) == c.b)
        .join(Example, col(Example.id) == c.example_id)
        .group_by(*of)
    )  # fmt: skip
    return [
        Meeting(
            a_id, b_id, host_a, host_b, bool(held), int(pairs), int(n), float(s), float(ss), float(sm),
            float(mm), int(wins_a), int(wins_b), int(simulated), int(sure), int(sure_simulated),
        )
        for a_id, b_id, host_a, host_b, held, pairs, n, s, ss, sm, mm, wins_a, wins_b, simulated, sure,
        sure_simulated in session.execute(query)
    ]  # fmt: skip


def labelled_examples(session: Session, project_id: str) -> int:
    """Examples with a reference answer."""
    query = select(func.count()).where(
        col(Example.project_id) == project_id,
        col(Example.reference).is_not(None),
        col(Example.reference) != "",
    )
    return int(session.execute(query).scalar_one())


def _text(column: Any, *path: str) -> Any:
    """A value inside a JSON column, as text, on both databases; null when it is not there."""
    for name in path[:-1]:
        column = func.json_extract_path(column, name)
    return func.json_extract_path_text(column, path[-1])


@dataclass(frozen=True)
class Searches:
    """Finished searches of one method and one kind of reward. `reported`: those that
    compared start and best on the test split; `better`: those of them whose gain has an
    interval above zero. `gain`: mean of these gains, in the reward's own units."""

    method: str
    reward: str
    runs: int
    reported: int
    better: int
    gain: float | None
    median_s: float | None


def searches(session: Session, project_id: str) -> list[Searches]:
    result, config = col(Run.result), col(Run.config)
    seconds = func.extract("epoch", col(Run.finished_at)) - func.extract("epoch", col(Run.started_at))
    reward = func.coalesce(_text(config, "reward"), "reward_model")  # a composed one is an object
    each = (
        select(
            func.coalesce(_text(config, "method"), "grips").label("method"),
            case((reward.like("{%"), "composed"), else_=reward).label("reward"),
            cast(_text(result, "gain", "score"), Float).label("gain"),
            cast(_text(result, "gain", "low"), Float).label("low"),
            seconds.label("seconds"),
        )
        .where(
            col(Run.project_id) == project_id,
            col(Run.kind) == "optimize",
            col(Run.status) == "succeeded",
        )
        .subquery()
    )
    c = each.c
    query = (
        select(
            c.method, c.reward, func.count(), func.count(c.gain), _count(c.low > 0), func.avg(c.gain),
            func.percentile_cont(0.5).within_group(c.seconds.asc()),
        )
        .group_by(c.method, c.reward)
        .order_by(func.count().desc(), c.method, c.reward)
    )  # fmt: skip
    return [
        Searches(
            method, reward, int(runs), int(reported), int(better),
            None if gain is None else float(gain), None if median is None else float(median),
        )
        for method, reward, runs, reported, better, gain, median in session.execute(query)
    ]  # fmt: skip


def label_scores(session: Session, project_id: str, prompt_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """prompt id -> the score of that version on the test split in the newest search that
    started from it, where the task has labels (`core.optimize.objectives.LabelScore`)."""
    if not prompt_ids:
        return {}
    start = _text(col(Run.config), "start", "prompt_id")
    newest = (
        select(start.label("prompt_id"), func.max(col(Run.id)).label("run_id"))
        .join(Candidate, (col(Candidate.run_id) == col(Run.id)) & (col(Candidate.number) == 0))
        .where(
            col(Run.project_id) == project_id,
            col(Run.kind) == "optimize",
            col(Run.status) == "succeeded",
            _text(col(Run.config), "reward") == "labels",
            _text(col(Candidate.scores), "test", "accuracy").is_not(None),
            start.in_(prompt_ids),
        )
        .group_by(start)
        .subquery()
    )
    query = select(newest.c.prompt_id, Candidate).join(
        newest, (col(Candidate.run_id) == newest.c.run_id) & (col(Candidate.number) == 0)
    )
    return {prompt: candidate.scores["test"] for prompt, candidate in session.execute(query)}


@dataclass(frozen=True)
class Answered:
    """Of the newest `RECENT` responses: how many this host gave (None: not recorded), and
    their median latency with the order statistics around it (95 %, Conover 1999, 3.2)."""

    host_id: str | None
    responses: int
    timed: int
    median_ms: float | None
    low_ms: float | None
    high_ms: float | None


def answered(session: Session, project_id: str) -> list[Answered]:
    """By host, most responses first."""
    recent = (
        select(col(Response.host_id).label("host_id"), col(Response.latency_ms).label("ms"))
        .where(col(Response.project_id) == project_id)
        .order_by(col(Response.id).desc())
        .limit(RECENT)
        .subquery()
    )
    times = (
        select(
            recent.c.host_id, recent.c.ms,
            func.row_number().over(partition_by=recent.c.host_id, order_by=recent.c.ms).label("rank"),
            func.count(recent.c.ms).over(partition_by=recent.c.host_id).label("timed"),
        ).subquery()
    )  # fmt: skip
    t = times.c
    half = 0.98 * func.sqrt(cast(t.timed, Float))
    least, most = t.timed * 0.5 - half, t.timed * 0.5 + half + 1
    inside = (t.rank >= least) & (t.rank <= most)
    query = (
        select(
            t.host_id, func.count(), func.count(t.ms),
            func.percentile_cont(0.5).within_group(t.ms.asc()),
            func.min(case((inside, t.ms))), func.max(case((inside, t.ms))),
        )
        .group_by(t.host_id)
        .order_by(func.count().desc(), t.host_id)
    )  # fmt: skip
    return [Answered(*row) for row in session.execute(query)]


def hosts(session: Session) -> list[Host]:
    found: Any = session.scalars(select(Host).where(col(Host.archived_at).is_(None)).order_by(col(Host.name)))
    return list(found)


def reward_model(session: Session, model_id: str | None) -> RewardModel | None:
    return session.get(RewardModel, model_id) if model_id else None


def fingerprint(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever something does that these queries read beside votes (those have
    `storage.evidence.votes_state`); cheap on ten thousand runs."""
    of = lambda table: col(table.project_id) == project_id  # noqa: E731
    queries = (
        select(func.count(), func.max(col(Run.finished_at))).where(of(Run)),
        select(func.count(), func.max(col(Prompt.created_at))).where(of(Prompt)),
        select(func.count(), func.count(col(Example.reference))).where(of(Example)),
        select(func.count(), func.max(col(Signal.created_at))).where(of(Signal)),
        select(func.count()).where(of(Response)),
        select(func.count(), func.max(col(Host.created_at)), func.max(col(Host.archived_at))),
        select(col(Project.champion_prompt_id), col(Project.reward_model_id)).where(
            col(Project.id) == project_id
        ),
    )
    states = (tuple(session.execute(query).one()) for query in queries)
    return (*states, left_out_state(session, project_id))
