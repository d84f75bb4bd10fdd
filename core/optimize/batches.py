"""Mini-batches of train examples: with as many of each label, as far as that goes. A model that
prefers one label is right about as many of every batch then, so scores on two batches differ by
the prompts and not by which labels were drawn."""

import random
from collections import defaultdict
from collections.abc import Sequence

from core.optimize.protocol import Row

MOST = 50  # more different references than that are free text, and nothing to balance


def balanced(rows: Sequence[Row], count: int, rng: random.Random) -> list[int]:
    """`count` places in `rows` (all of them, if they are fewer), in order; references take
    turns, beginning with one drawn at random."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[str(row.get("reference") or "")].append(place)
    if len(groups) > MOST:
        groups = {"": list(range(len(rows)))}
    turns = [rng.sample(groups[name], len(groups[name])) for name in sorted(groups)]
    rng.shuffle(turns)
    drawn: list[int] = []
    while len(drawn) < min(count, len(rows)):
        drawn += [group.pop() for group in turns if group]
    return sorted(drawn[:count])
