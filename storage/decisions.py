"""What a choice of method is made from, aggregated in the database: preferences, how
versions of prompts met on held-out examples, what searches brought, how hosts answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, Integer, case, cast, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.judgements import Which
from storage.tables import Candidate, Example, Host, Pair, Prompt, Response, RewardModel, Run, Vote

HELD_OUT = ("dev", "test")
RECENT = 2_000  # responses that latency is read from


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def decided_pairs(session: Session, which: Which) -> tuple[int, int]:
    """(pairs that at least one vote decided, those of them that only simulated votes did)."""
    by_pair = (
        select(func.min(cast(col(Vote.simulated), Integer)).label("simulated"))
        .where(*which.where(), col(Vote.outcome) == "win")
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    pairs, simulated = session.execute(
        select(func.count(), func.coalesce(func.sum(by_pair.c.simulated), 0)).select_from(by_pair)
    ).one()
    return int(pairs), int(simulated)


def labelled_examples(session: Session, project_id: str) -> int:
    """Examples with a reference answer."""
    query = select(func.count()).where(
        col(Example.project_id) == project_id,
        col(Example.reference).is_not(None),
        col(Example.reference) != "",
    )
    return int(session.execute(query).scalar_one())


@dataclass(frozen=True)
class Met:
    """Votes on pairs of two prompts, on held-out examples or on the others. A vote is 1 for
    `later`, 0 for `earlier`, ½ otherwise; S and m are the sum and the number of the votes
    on one pair. `wins` is the sum of S, then the sums of S², S·m and m²."""

    earlier: str
    later: str
    held_out: bool
    n: int
    wins: float
    pairs: int
    ss: float
    sm: float
    mm: float
    simulated: int


def met(session: Session, which: Which, prompt_ids: Sequence[str]) -> list[Met]:
    """How these prompts met each other, `earlier` and `later` by their place in the list."""
    if len(prompt_ids) < 2:
        return []
    a, b = aliased(Response), aliased(Response)
    place = {key: number for number, key in enumerate(prompt_ids)}
    place_a = case(place, value=col(a.prompt_id))
    place_b = case(place, value=col(b.prompt_id))
    pairs = (
        select(
            col(Pair.id).label("id"),
            case((place_a < place_b, place_a), else_=place_b).label("earlier"),
            case((place_a < place_b, place_b), else_=place_a).label("later"),
            case((place_a < place_b, col(Pair.response_b)), else_=col(Pair.response_a)).label("response"),
            case((col(Example.split).in_(HELD_OUT), 1), else_=0).label("held_out"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .where(
            col(Pair.project_id) == which.project_id,
            col(a.prompt_id).in_(prompt_ids),
            col(b.prompt_id).in_(prompt_ids),
            col(a.prompt_id) != col(b.prompt_id),
        )
        .subquery()
    )
    value = case((col(Vote.outcome) != "win", 0.5), (col(Vote.winner) == pairs.c.response, 1.0), else_=0.0)
    by_pair = (
        select(
            pairs.c.earlier, pairs.c.later, pairs.c.held_out,
            func.sum(cast(value, Float)).label("s"), func.count().label("m"),
            _count(col(Vote.simulated)).label("simulated"),
        )
        .join(pairs, pairs.c.id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(pairs.c.id, pairs.c.earlier, pairs.c.later, pairs.c.held_out)
        .subquery()
    )  # fmt: skip
    c = by_pair.c
    query = (
        select(
            c.earlier, c.later, c.held_out, func.sum(c.m), func.sum(c.s), func.count(),
            func.sum(c.s * c.s), func.sum(c.s * c.m), func.sum(c.m * c.m), func.sum(c.simulated),
        )
        .group_by(c.earlier, c.later, c.held_out)
        .order_by(c.earlier, c.later, c.held_out)
    )  # fmt: skip
    return [
        Met(
            prompt_ids[earlier], prompt_ids[later], bool(held), int(n), float(wins), int(k),
            float(ss), float(sm), float(mm), int(simulated),
        )
        for earlier, later, held, n, wins, k, ss, sm, mm, simulated in session.execute(query)
    ]  # fmt: skip


@dataclass(frozen=True)
class FoundOn:
    """Votes on prompts that searches found against written ones, by where the found one's
    response came from. `host_id` None: not recorded."""

    host_id: str | None
    wins: int
    even: int
    losses: int
    simulated: int

    @property
    def n(self) -> int:
        return self.wins + self.even + self.losses


def found_against_written(session: Session, which: Which) -> list[FoundOn]:
    """By host, most votes first."""
    a, b = aliased(Response), aliased(Response)
    prompt_a, prompt_b = aliased(Prompt), aliased(Prompt)
    a_found, b_found = col(prompt_a.run_id).is_not(None), col(prompt_b.run_id).is_not(None)
    pairs = (
        select(
            col(Pair.id).label("id"),
            case((a_found, col(Pair.response_a)), else_=col(Pair.response_b)).label("response"),
            case((a_found, col(a.host_id)), else_=col(b.host_id)).label("host_id"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .join(prompt_a, col(prompt_a.id) == col(a.prompt_id))
        .join(prompt_b, col(prompt_b.id) == col(b.prompt_id))
        .where(col(Pair.project_id) == which.project_id, a_found != b_found)
        .subquery()
    )
    won = col(Vote.outcome) == "win"
    mine = won & (col(Vote.winner) == pairs.c.response)
    query = (
        select(pairs.c.host_id, _count(mine), _count(~won), _count(won & ~mine), _count(col(Vote.simulated)))
        .select_from(Vote)
        .join(pairs, pairs.c.id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(pairs.c.host_id)
        .order_by(func.count().desc(), pairs.c.host_id)
    )
    return [FoundOn(host, *map(int, counts)) for host, *counts in session.execute(query)]


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
    each = (
        select(
            func.coalesce(_text(config, "method"), "grips").label("method"),
            func.coalesce(_text(config, "reward"), "reward_model").label("reward"),
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
