"""Which requests to read together: those that begin alike, so that a host reads what they
share once and keeps it (its keys and values) for all of them.

Optimisers ask about several instructions on the same examples: every request of one
instruction begins with it, and requests of two have little more in common than the chat
template's start. Read as one family, only that little would be shared.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Ids = list[int]
LOOKS_AHEAD = 256  # requests
WORTH_SHARING = 8  # tokens: below, reading them apart costs more than it saves


@dataclass(frozen=True)
class Head:
    """The beginning of a request up to and with its soft prompt: its tokens (the vectors'
    places are filled with padding), where the vectors begin, and the soft prompt's name.
    Empty for a request without one."""

    ids: tuple[int, ...] = ()
    at: int = 0
    soft: str = ""


def families_with(
    prompts: Sequence[Ids], heads: Sequence[Head], a_pass: float, *, sharing: bool = True
) -> list[tuple[int, list[int], Head]]:
    """As `families`, with soft prompts: (tokens read once, places in `prompts`, their head).
    Requests with one head are a family, which shares at least the head. `sharing`: whether
    the others may share at all."""
    by_head: dict[Head, list[int]] = defaultdict(list)
    for i, head in enumerate(heads):
        by_head[head].append(i)
    found = []
    for head, members in by_head.items():
        rows = [prompts[i] for i in members]
        if head.soft:
            least, most = min(rows), max(rows)
            shared = min(common(least, most), min(map(len, rows)) - 1)
            found.append((shared, members, head))
        elif sharing:
            found += [(n, [members[i] for i in group], head) for n, group in families(rows, a_pass)]
        else:
            found.append((0, members, head))
    return found


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


def first_batch(widths: Sequence[int], most: int, a_pass: float) -> int:
    """How many of these requests, sorted by width, the widest first, to read in the next pass.
    All of a pass are padded to its widest: fewer passes pad more. The cut is the first one of
    the cheapest way to read all, with at most `most` a pass, each pass costing `a_pass` tokens."""
    widths = widths[:LOOKS_AHEAD]
    cost, size = [0.0] * (len(widths) + 1), [0] * (len(widths) + 1)
    for at in range(len(widths) - 1, -1, -1):
        cost[at], size[at] = min(
            (a_pass + widths[at] * count + cost[at + count], -count)
            for count in range(1, min(most, len(widths) - at) + 1)
        )
    return -size[0]


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
