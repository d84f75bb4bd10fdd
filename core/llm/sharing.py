"""Which requests to read together: those that begin alike, so that a host reads what they
share once and keeps it (its keys and values) for all of them.

Optimisers ask about several instructions on the same examples: every request of one
instruction begins with it, and requests of two have little more in common than the chat
template's start. Read as one family, only that little would be shared.
"""

from collections.abc import Sequence
from itertools import pairwise

Ids = list[int]
WORTH_SHARING = 8  # tokens: below, reading them apart costs more than it saves


def families(prompts: Sequence[Ids], a_pass: float) -> list[tuple[int, list[int]]]:
    """Split requests into families: (tokens that all of it begin with, places in
    `prompts`). `a_pass`: what one more forward pass costs, in tokens read. In sorted order
    neighbours stay together while they share at least some number of tokens; that number
    is the one with the least to read in all. Every request keeps a token of its own."""
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    shared = [common(prompts[a], prompts[b]) for a, b in pairwise(order)]
    best: list[tuple[int, list[int]]] = []
    least = float("inf")
    for threshold in {0, *shared}:
        split = _split(order, shared, threshold)
        found = [(_start([prompts[i] for i in group]), group) for group in split]
        cost = sum(_cost(prompts, start, group) + a_pass for start, group in found)
        if cost < least:
            best, least = found, cost
    return best


def common(a: Ids, b: Ids) -> int:
    """How many tokens two requests begin with."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _split(order: list[int], shared: list[int], threshold: int) -> list[list[int]]:
    groups = [[order[0]]] if order else []
    for place, length in zip(order[1:], shared, strict=True):
        if length >= threshold:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _start(prompts: list[Ids]) -> int:
    """What all of them begin with; 0 where it is not worth a pass of its own. The first and
    the last of a sorted row have the least in common."""
    if len(prompts) < 2:
        return 0
    length = min(common(prompts[0], prompts[-1]), min(len(prompt) for prompt in prompts) - 1)
    return length if length >= WORTH_SHARING else 0


def _cost(prompts: Sequence[Ids], start: int, group: list[int]) -> int:
    return start + sum(len(prompts[i]) - start for i in group)
