"""What the votes on each pair add up to, for exports: one response is preferred, neither
is, or both are bad. Decided in the database, so that votes do not travel.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, case, cast, func, literal, select
from sqlmodel import Session, col

from storage.adjudicated import decides, independent
from storage.counting import by_machine, counted, machines_left_out
from storage.rows import MARGINS
from storage.tables import Example, Pair, Vote

TIES = ("drop", "both")  # both: once each way round, or, unpaired, both as good ones
BOTH_BAD = ("ignore", "drop", "reject")  # reject: both as bad ones (unpaired formats only)


@dataclass(frozen=True)
class Policy:
    """What becomes of pairs without a preferred response.

    `ties`: pairs of which neither response has more wins (ties, and votes that are even).
    `both_bad`: "ignore" counts the other votes only, so that a pair is bad when every vote
    says so; "drop" and "reject" call it bad when more than half of its votes say so, and
    leave it out, or take both responses as bad ones.
    """

    ties: str = "drop"
    both_bad: str = "ignore"


@dataclass
class Tally:
    """Pairs by verdict, and the votes that count. `unheard`: pairs whose only votes do not
    count (simulated ones, or of annotators that were left out); `waiting`: pairs without any
    vote; `adjudicated`: pairs whose verdict is an adjudicator's. `machine_votes`: of the votes
    that count, those that language models cast as judges, and how many of them there are among
    the annotators."""

    decided: int = 0
    even: int = 0
    bad: int = 0
    unheard: int = 0
    waiting: int = 0
    votes: int = 0
    simulated_votes: int = 0
    annotators: int = 0
    simulated_annotators: int = 0
    machine_votes: int = 0
    machine_annotators: int = 0
    adjudicated: int = 0


def verdicts(project_id: str, policy: Policy, include_simulated: bool, split: str | None) -> Any:
    """A subquery with a row for each pair that has votes which count: pair_id, verdict (a,
    b, even, bad), n (votes that compare), q (their share for response a, a tie counting
    half), margin (mean signed strength for a, from -1 to 1), votes, simulated (votes), machine
    (votes), adjudicated (votes). Of a pair that an adjudicator decided their vote speaks alone.
    n is 0, and q is null, where every vote says "both bad"."""
    wins_a = col(Vote.winner) == col(Pair.response_a)
    wins_b = col(Vote.winner) == col(Pair.response_b)
    strength = case(MARGINS, value=col(Vote.strength), else_=0.0)
    counts: Any = (
        select(
            col(Pair.id).label("pair_id"),
            _sum(wins_a).label("a"),
            _sum(wins_b).label("b"),
            _sum(col(Vote.outcome) == "tie").label("ties"),
            _sum(col(Vote.outcome) == "both_bad").label("bad"),
            _sum(col(Vote.simulated)).label("simulated"),
            _sum(by_machine(project_id)).label("machine"),
            _sum(~independent()).label("adjudicated"),
            func.sum(case((wins_a, strength), (wins_b, -strength), else_=0.0)).label("margin"),
        )
        .select_from(Pair)
        .join(Vote, col(Vote.pair_id) == col(Pair.id))
        .where(col(Pair.project_id) == project_id, decides(project_id))
        .group_by(col(Pair.id))
    )
    if not include_simulated:
        counts = counts.where(col(Vote.simulated).is_(False))
    if split:
        counts = counts.join(Example, col(Example.id) == col(Pair.example_id)).where(
            col(Example.split) == split
        )
    c = counts.subquery().c
    n = c.a + c.b + c.ties
    bad = n == 0 if policy.both_bad == "ignore" else c.bad > n
    verdict = case((bad | (n == 0), "bad"), (c.a > c.b, "a"), (c.b > c.a, "b"), else_="even")
    share = (c.a + 0.5 * c.ties) / cast(func.nullif(n, 0), Float)
    return select(
        c.pair_id,
        verdict.label("verdict"),
        n.label("n"),
        share.label("q"),
        (c.margin / cast(func.nullif(n, 0), Float)).label("margin"),
        (n + c.bad).label("votes"),
        c.simulated,
        c.machine,
        c.adjudicated,
    ).subquery()


def tally(
    session: Session, project_id: str, policy: Policy, include_simulated: bool, split: str | None
) -> Tally:
    """How many pairs came out how, and how many votes and annotators are behind them."""
    v = verdicts(project_id, policy, include_simulated, split)
    found = Tally()
    rows = session.execute(
        select(
            v.c.verdict,
            func.count(),
            func.sum(v.c.votes),
            func.sum(v.c.simulated),
            func.sum(v.c.machine),
            _sum(v.c.adjudicated > 0),
        ).group_by(v.c.verdict)
    )
    for verdict, pairs, votes, simulated, machine, adjudicated in rows:
        name = {"a": "decided", "b": "decided"}.get(verdict, verdict)
        setattr(found, name, getattr(found, name) + pairs)
        found.votes += int(votes)
        found.simulated_votes += int(simulated)
        found.machine_votes += int(machine)
        found.adjudicated += int(adjudicated)
    pairs = session.execute(_of_split(select(func.count(col(Pair.id))).select_from(Pair), project_id, split))
    heard = session.execute(
        _of_split(
            select(func.count(func.distinct(col(Vote.pair_id))))
            .select_from(Pair)
            .join(Vote, col(Vote.pair_id) == col(Pair.id))
            .where(col(Vote.annotator_id).not_in(machines_left_out(project_id))),
            project_id,
            split,
        )
    ).scalar_one()
    found.waiting = pairs.scalar_one() - heard
    found.unheard = heard - found.decided - found.even - found.bad
    judges = (
        select(col(Vote.simulated), func.count(func.distinct(col(Vote.annotator_id))))
        .select_from(Pair)
        .join(Vote, col(Vote.pair_id) == col(Pair.id))
        .where(counted(project_id))
        .group_by(col(Vote.simulated))
    )
    number = {bool(simulated): n for simulated, n in session.execute(_of_split(judges, project_id, split))}
    found.annotators = number.get(False, 0)
    if found.machine_votes:
        machines = judges.where(by_machine(project_id))
        found.machine_annotators = sum(n for _, n in session.execute(_of_split(machines, project_id, split)))
    found.simulated_annotators = number.get(True, 0) if include_simulated else 0
    return found


def _of_split(query: Any, project_id: str, split: str | None) -> Any:
    query = query.where(col(Pair.project_id) == project_id)
    if split is None:
        return query
    return query.join(Example, col(Example.id) == col(Pair.example_id)).where(col(Example.split) == split)


def _sum(condition: Any) -> Any:
    return func.sum(case((condition, literal(1)), else_=literal(0)))
