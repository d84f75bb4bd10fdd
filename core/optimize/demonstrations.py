"""Train examples as demonstrations: which have a good output to show, sets of them, and how
they stand in an instruction.

    <the instruction>

    Examples:

    Input: <the example's text>
    Output: <the label's word, the reference, or a response with a high reward>

They are part of the instruction's text, so a prompt with demonstrations is a prompt like any
other. What an example says is never read as a slot: its `{{` is written `{ {`.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from core.optimize.protocol import Evaluator, Shown

LONGEST = 500  # characters of an input or an output that are shown
_BRACES = re.compile(r"\{(?=\{)")


def good_pairs(evaluator: Evaluator, start: str, least: int) -> list[tuple[int, Shown]]:
    """(place in train, input with its right answer). Where the examples have none, the pairs
    are the start's own responses with the highest rewards: at least `least` of them, or the
    better half. The start was scored, so this costs nothing."""
    known = [(place, one) for place, one in enumerate(evaluator.shown) if one.answer]
    if known:
        return known
    own = evaluator.evaluate([start])
    best = np.argsort(-own.scores[0], kind="stable")[: max(least, len(own.scores[0]) // 2)]
    return [(int(i), Shown(evaluator.shown[i].input, own.outputs[0][i])) for i in sorted(best)]


def draw_sets(pairs: Sequence[tuple[int, Shown]], count: int, size: int, n: int, key: str) -> list[list[int]]:
    """`count` different sets of at most `size` indices into `pairs`, drawn with the seed
    `key`. All together take at most a third of the `n` train examples (but `size` of them in
    any case), so that enough are left to score on without an answer that is shown."""
    rng = random.Random(key)
    room = min(len(pairs), count * size, max(size, n // 3), n - 1)
    pool = _in_turn(pairs, range(len(pairs)), rng)[:room]
    found: list[list[int]] = []
    for _ in range(20 * count):  # a small pool has few different sets
        drawn = _in_turn(pairs, pool, rng)[:size]
        if drawn and len(found) < count and not any(set(drawn) == set(other) for other in found):
            found.append(drawn)
    return found


def _in_turn(pairs: Sequence[tuple[int, Shown]], chosen: Sequence[int], rng: random.Random) -> list[int]:
    """In random order, the answers taking turns: a small set shows each label."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i in rng.sample(list(chosen), len(chosen)):
        groups[pairs[i][1].answer].append(i)
    rows = rng.sample(list(groups.values()), len(groups))
    longest = max(map(len, rows), default=0)
    return [row[turn] for turn in range(longest) for row in rows if turn < len(row)]


def with_demonstrations(instruction: str, pairs: Sequence[Shown]) -> str:
    return f"{instruction}\n\nExamples:\n\n{listed(pairs)}" if pairs else instruction


def listed(pairs: Sequence[Shown]) -> str:
    return "\n\n".join(f"Input: {_plain(one.input)}\nOutput: {_plain(one.answer)}" for one in pairs)


def _plain(text: str) -> str:
    text = text.strip()
    cut = text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"
    return _BRACES.sub("{ ", cut)
