"""Votes with their texts put together in memory, without a database."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.annotation.groups import Assignment
from core.reward.snapshots.gather import Material
from storage.ballots import BOTH_BAD, TIE, A, B
from storage.snapshots import Cast, Voter

CHOICES = {"a": A, "b": B, "tie": TIE, "both_bad": BOTH_BAD}


@dataclass
class Said:
    """One vote. `left`: what stood there, a or b."""

    who: str
    choice: str
    strength: int = 0
    left: str | None = None
    at: float = 1_790_000_000.0
    source: str = "page"
    marks: dict[str, Any] = field(default_factory=dict)
    simulated: bool = False
    machine: bool = False


@dataclass
class Asked:
    """One pair with its votes."""

    example: str
    input: str
    votes: list[Said]
    split: str = "train"
    a: str = "one answer"
    b: str = "another answer"
    prompt_a: str = "p v1"
    prompt_b: str = "q v1"
    made_at: float = 0.0


def material(pairs: list[Asked], criteria: tuple[str, ...] = ("safe",), **more: Any) -> Material:
    names = sorted({vote.who for pair in pairs for vote in pair.votes})
    kinds = {vote.who: vote for pair in pairs for vote in pair.votes}
    voters = [
        Voter(f"id {name}", name, kinds[name].simulated, kinds[name].machine, more.get("audiences", {}).get(name, ()))
        for name in names
    ]  # fmt: skip
    votes = [
        (place, names.index(vote.who), vote)
        for place, pair in enumerate(pairs)
        for vote in sorted(pair.votes, key=lambda vote: names.index(vote.who))
    ]
    left = {None: -1, "a": 1, "b": 0}
    cast = Cast(
        [f"pair {place:04d}" for place in range(len(pairs))],
        [pair.example for pair in pairs],
        [pair.split for pair in pairs],
        np.array([pair.made_at for pair in pairs], dtype=float),
        [pair.prompt_a for pair in pairs],
        [pair.prompt_b for pair in pairs],
        [pair.input for pair in pairs],
        [None for _ in pairs],
        [pair.a for pair in pairs],
        [pair.b for pair in pairs],
        voters,
        np.array([place for place, _, _ in votes], dtype=np.int64),
        np.array([who for _, who, _ in votes], dtype=np.int64),
        np.array([CHOICES[vote.choice] for *_, vote in votes], dtype=np.int64),
        np.array([left[vote.left] for *_, vote in votes], dtype=np.int8),
        np.array([vote.strength for *_, vote in votes], dtype=np.int8),
        np.array([vote.source for *_, vote in votes], dtype=object),
        np.array([vote.simulated for *_, vote in votes], dtype=bool),
        np.array([vote.at for *_, vote in votes], dtype=float),
        {place: vote.marks for place, (*_, vote) in enumerate(votes) if vote.marks},
    )
    return Material(cast, more.get("assignment", Assignment()), more.get("gold", {}), criteria)
