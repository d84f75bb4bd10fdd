"""What a project's votes add up to right now, pair by pair. What a model is trained on is a
frozen data set (`core.reward.snapshots`), which also keeps near-duplicates in one split.

A pair's soft label q is, by majority, the share of its votes for response a, a tie counting
half (a vote "both bad" says nothing about which is better, and is left out); the lead may
choose another way for the project (`core.annotation.aggregation`). A pair that an adjudicator
decided is worth what they said (`storage.adjudicated`). Where people voted on a pair, only
their votes count; simulated votes speak where nobody else did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from core.access import Principal
from core.annotation.aggregation import MAJORITY, method_of, soft_labels
from core.reward.snapshots.quick import preview_both
from core.reward.text import input_text
from storage.adjudicated import decides, independent
from storage.counting import by_machine, counted
from storage.database import Database
from storage.judgements import Which
from storage.rows import MARGINS
from storage.tables import Example, Pair, Project, Prompt, Response, Vote


@dataclass
class Votes:
    """Votes of one kind (people's, or simulated) on one pair."""

    a: int = 0
    b: int = 0
    ties: int = 0
    both_bad: int = 0
    left_known: int = 0  # decisive votes of which the side is known
    left_won: int = 0
    margin: float = 0.0  # sum over the votes for a, less those for b
    soft: float | None = None  # the label, where it is not the share
    machine: int = 0  # of them all, those by language models as judges
    adjudicated: int = 0  # votes of adjudicators: then there are no others

    @property
    def n(self) -> int:
        return self.a + self.b + self.ties

    @property
    def q(self) -> float:
        return (self.a + 0.5 * self.ties) / self.n if self.soft is None else self.soft


@dataclass
class VotedPair:
    pair_id: str
    split: str
    identical: bool
    people: Votes = field(default_factory=Votes)
    simulated: Votes = field(default_factory=Votes)
    text: dict[str, str] = field(default_factory=dict)

    def votes(self, include_simulated: bool) -> Votes | None:
        """The votes that count, or None when the pair is of no use."""
        if self.identical:
            return None
        if self.people.n:
            return self.people
        return self.simulated if include_simulated and self.simulated.n else None


@dataclass
class Counts:
    """What one split holds."""

    pairs: int = 0  # of use
    decided: int = 0  # of these: one side is preferred
    ties: int = 0
    votes: int = 0
    simulated_votes: int = 0
    machine_votes: int = 0
    both_bad: int = 0  # pairs of which all votes say so
    identical: int = 0  # pairs whose responses are the same text


@dataclass
class Summary:
    """What there is to train on. `splits` by name; `characters` is the mean of a pair's."""

    splits: dict[str, Counts]
    characters: float

    @property
    def decided(self) -> int:
        return sum(counts.decided for counts in self.splits.values())

    @property
    def votes(self) -> int:
        return sum(counts.votes for counts in self.splits.values())

    @property
    def machine_votes(self) -> int:
        return sum(counts.machine_votes for counts in self.splits.values())

    @property
    def simulated_share(self) -> float:
        return sum(counts.simulated_votes for counts in self.splits.values()) / max(1, self.votes)


def voted_pairs(session: Session, project_id: str, *, with_text: bool) -> Iterator[VotedPair]:
    """Every pair of the project with a vote, in the order of ids."""
    tally = _tally(session, project_id)
    if not tally:
        return
    _label(session, project_id, tally)
    left, right = aliased(Response), aliased(Response)
    columns: list[Any] = [
        Pair.id,
        Example.split,
        func.trim(left.text) == func.trim(right.text),
    ]
    if with_text:
        columns += [
            Pair.example_id, Example.input, Example.messages,
            left.text, right.text, left.prompt_id, right.prompt_id,
        ]  # fmt: skip
    voted = select(Vote.pair_id).where(Vote.project_id == project_id, counted(project_id))
    query = (
        select(*columns)
        .select_from(Pair)
        .join(Example, col(Example.id) == Pair.example_id)
        .join(left, left.id == Pair.response_a)
        .join(right, right.id == Pair.response_b)
        .where(Pair.project_id == project_id, col(Pair.id).in_(voted))
        .order_by(col(Pair.id))
    )
    names = _prompt_names(session, project_id) if with_text else {}
    for row in session.exec(query):
        people, simulated = tally[row[0]]
        pair = VotedPair(row[0], row[1], bool(row[2]), people, simulated)
        if with_text:
            pair.text = {
                "example_id": row[3],
                "input": input_text(row[4], row[5]),
                "response_a": row[6],
                "response_b": row[7],
                "prompt_a": names.get(row[8], ""),
                "prompt_b": names.get(row[9], ""),
            }
        yield pair


def _tally(session: Session, project_id: str) -> dict[str, tuple[Votes, Votes]]:
    """pair id -> (people's votes, simulated votes), counted by the database. Where an
    adjudicator decided, their vote alone."""
    win = col(Vote.outcome) == "win"
    for_a = win & (col(Vote.winner) == col(Pair.response_a))
    for_b = win & (col(Vote.winner) == col(Pair.response_b))
    known = win & col(Vote.left).is_not(None)
    strength = case(MARGINS, value=col(Vote.strength), else_=0.0)

    def count(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    columns: list[Any] = [
        Vote.pair_id, Vote.simulated, count(for_a), count(for_b),
        count(col(Vote.outcome) == "tie"), count(col(Vote.outcome) == "both_bad"),
        count(known), count(known & (col(Vote.winner) == col(Vote.left))),
        count(by_machine(project_id)), count(~independent()),
        func.sum(case((for_a, strength), (for_b, -strength), else_=0.0)),
    ]  # fmt: skip
    query = (
        select(*columns)
        .join(Pair, col(Pair.id) == Vote.pair_id)
        .where(Vote.project_id == project_id, decides(project_id))
        .group_by(col(Vote.pair_id), col(Vote.simulated))
    )
    found: dict[str, tuple[Votes, Votes]] = {}
    for pair_id, simulated, *counts, margin in session.exec(query):
        both = found.setdefault(pair_id, (Votes(), Votes()))
        kind = both[1] if simulated else both[0]
        kind.a, kind.b, kind.ties, kind.both_bad, kind.left_known, kind.left_won, *more = map(int, counts)
        kind.machine, kind.adjudicated = more
        kind.margin = float(margin)
    return found


def _label(session: Session, project_id: str, tally: dict[str, tuple[Votes, Votes]]) -> None:
    """Give the labels of the project's way of adding votes up, where it is not the majority."""
    project = session.get(Project, project_id)
    method = method_of(project) if project else MAJORITY
    if method == MAJORITY:
        return
    for place, kind in ((0, "exclude"), (1, "only")):
        which = Which(project_id, kind, independent=True)
        for pair_id, q in soft_labels(session, which, method).items():
            if not tally[pair_id][0].adjudicated:
                tally[pair_id][place].soft = q


def _prompt_names(session: Session, project_id: str) -> dict[str, str]:
    query = select(Prompt.id, Prompt.name, Prompt.version).where(Prompt.project_id == project_id)
    return {id: f"{name} v{version}" for id, name, version in session.exec(query)}


def training_row(pair: VotedPair, votes: Votes) -> dict[str, Any]:
    """A row of inputs/pairs.parquet. `margin` is signed: positive speaks for a."""
    return {
        "pair_id": pair.pair_id,
        "split": pair.split,
        **pair.text,
        "q": votes.q,
        "n": votes.n,
        "n_simulated": votes.n if votes is pair.simulated else 0,
        "n_machine": votes.machine,
        "margin": votes.margin / votes.n,
        "left_known": votes.left_known,
        "left_won": votes.left_won,
    }


def summary_of(counts: dict[str, Any]) -> Summary:
    """Of a data set's counts (`core.reward.snapshots.counts`)."""
    return Summary(
        {
            split: Counts(
                of["pairs"], of["decided"], of["ties"], of["votes"], of["simulated_votes"],
                of["machine_votes"], of["left_out"]["both_bad"], of["left_out"]["identical"],
            )
            for split, of in counts["splits"].items()
        },
        counts["characters"],
    )  # fmt: skip


def summary(db: Database, who: Principal, project_id: str) -> dict[str, Summary]:
    """What a training that names no data set would learn from: `exclude` with people's votes
    only, `include` with simulated ones where nobody else voted."""
    people, everything = preview_both(db, who, project_id)
    return {
        "exclude": summary_of(people.counts),
        "include": summary_of(everything.counts),
    }
