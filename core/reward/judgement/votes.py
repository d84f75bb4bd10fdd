"""The single votes behind the test pairs, where the run has them (inputs/votes.parquet)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ballot:
    """One vote. `pair` is the number of its test pair; `people`: neither simulated nor by a
    machine judge."""

    pair: int
    annotator: str
    outcome: str  # a, b, tie, both_bad
    left: str | None
    people: bool
    source: str

    @property
    def decisive(self) -> bool:
        return self.outcome in ("a", "b")


def ballots_of(rows: Sequence[Mapping[str, Any]], votes: Sequence[Mapping[str, Any]]) -> list[Ballot]:
    """The votes on these pairs, in the order of the pairs."""
    place = {row.get("pair_id"): i for i, row in enumerate(rows) if row.get("pair_id") is not None}
    found = [
        Ballot(
            place[vote["pair_id"]],
            str(vote.get("annotator") or ""),
            str(vote.get("outcome") or ""),
            vote.get("left") if vote.get("left") in ("a", "b") else None,
            not vote.get("simulated") and not vote.get("machine"),
            str(vote.get("source") or ""),
        )
        for vote in votes
        if vote["pair_id"] in place
    ]
    return sorted(found, key=lambda ballot: ballot.pair)


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object that stands in a column; {} for anything else."""
    if isinstance(text, dict):
        return text
    try:
        value = json.loads(text) if text else {}
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
