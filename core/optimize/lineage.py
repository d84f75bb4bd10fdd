"""Where each candidate came from: the tree of parents, laid out for a chart, and the way
from the start to one candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.optimize.rewards.scores import feasible
from storage.tables import Candidate

MOST_SHOWN = 40


@dataclass(frozen=True)
class Node:
    """`depth`: edits from the start. `row`: leaves stand on rows of their own, in the order
    of the tree; a parent in the middle of its children."""

    candidate: Candidate
    depth: int
    row: float


def way_to(candidates: Sequence[Candidate], number: int) -> list[Candidate]:
    """From the start to the candidate with this number, each the parent of the next."""
    there = {candidate.number: candidate for candidate in candidates}
    way: list[Candidate] = []
    current: int | None = number
    while current is not None and current in there:
        way.append(there[current])
        current = there[current].parent
    return way[::-1]


def best_number(candidates: Sequence[Candidate]) -> int:
    """Of those scored on as many examples as the start that keep every constraint, the best on
    train; the first of equals."""
    start = candidates[0].scores["train"]["n"]
    full = [candidate for candidate in candidates if candidate.scores["train"]["n"] == start]
    return max(
        [candidate for candidate in full if feasible(candidate.scores["train"])] or full,
        key=lambda c: (c.scores["train"]["score"], -c.number),
    ).number


def worth_showing(candidates: Sequence[Candidate], most: int = MOST_SHOWN) -> list[Candidate]:
    """Those that fit on a page: the accepted ones first, then the best on train, each with
    all it came from."""
    ranked = sorted(candidates, key=lambda c: (not c.accepted, -c.scores["train"]["score"], c.number))
    shown: set[int] = set()
    for candidate in ranked:
        way = {step.number for step in way_to(candidates, candidate.number)}
        if len(shown | way) <= most:
            shown |= way
    return [candidate for candidate in candidates if candidate.number in shown]


def layout(candidates: Sequence[Candidate]) -> list[Node]:
    """The tree of these candidates, parents before children, leaves on rows 0, 1, 2, …"""
    children: dict[int | None, list[Candidate]] = {}
    there = {candidate.number for candidate in candidates}
    for candidate in candidates:
        children.setdefault(candidate.parent if candidate.parent in there else None, []).append(candidate)
    depths: dict[int, int] = {}
    rows: dict[int, float] = {}
    free = 0
    # Depth first, without recursion: a chain of edits may be hundreds long.
    waiting = [(candidate, 0, False) for candidate in reversed(children.get(None, []))]
    while waiting:
        candidate, depth, done = waiting.pop()
        own = children.get(candidate.number, [])
        depths[candidate.number] = depth
        if not own:
            rows[candidate.number], free = float(free), free + 1
        elif done:
            rows[candidate.number] = (rows[own[0].number] + rows[own[-1].number]) / 2
        else:
            waiting.append((candidate, depth, True))
            waiting += [(child, depth + 1, False) for child in reversed(own)]
    return [Node(candidate, depths[candidate.number], rows[candidate.number]) for candidate in candidates]
