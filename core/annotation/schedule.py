"""When to mix a probe in: once in every block of pairs that a person is given, at a place
drawn by lot, so that the rate is kept over time and nobody can tell the next one.

A block has 1/rate pairs (the fraction by lot); the place within it comes from the system's
random numbers. What was drawn is kept in memory only: after a restart a new block begins,
which changes the rate by chance alone, up or down alike.
"""

import random
import secrets
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import TypeVar

_lot = secrets.SystemRandom()
T = TypeVar("T")


@dataclass
class _Block:
    """`ahead`: what the next steps are, as far as somebody has asked."""

    rate: float
    length: int
    place: int
    seen: int = 0
    ahead: deque[bool] = field(default_factory=deque)


class Schedule:
    """By key (a person in a project, and a kind of probe)."""

    def __init__(self, most: int = 50_000, lot: random.Random | None = None) -> None:
        self._blocks: OrderedDict[Hashable, _Block] = OrderedDict()
        self._most, self._random = most, lot
        self._lock = Lock()

    def step(self, key: Hashable, rate: float) -> bool:
        """One more pair is given; answers whether a probe is due. Then it is, without a step
        more, until `settle`."""
        with self._lock:
            ahead = self._looked(key, rate, 1)
            return bool(ahead) and (ahead[0] or ahead.popleft())

    def due_within(self, key: Hashable, rate: float, steps: int) -> bool:
        """Whether a probe is due in the next so many steps, none of which is taken."""
        with self._lock:
            return any(islice(self._looked(key, rate, steps), steps))

    def settle(self, key: Hashable) -> None:
        """The probe was given, or there is none to give."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None and block.ahead and block.ahead[0]:
                block.ahead.popleft()

    def _looked(self, key: Hashable, rate: float, steps: int) -> deque[bool]:
        """What at least the next so many steps are; empty where the rate is none."""
        if rate <= 0:
            self._blocks.pop(key, None)
            return deque()
        block = self._blocks.get(key)
        if block is None or block.rate != rate:
            block = self._blocks[key] = _begin(rate, self._random or _lot)
        while len(block.ahead) < steps:
            if block.seen >= block.length:
                block = self._blocks[key] = replace(_begin(rate, self._random or _lot), ahead=block.ahead)
            block.ahead.append(block.seen == block.place)
            block.seen += 1
        self._blocks.move_to_end(key)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return block.ahead


def pick(options: Sequence[T]) -> T:
    """One of them, by the same lot."""
    return _lot.choice(options)


def _begin(rate: float, lot: random.Random) -> _Block:
    whole, part = divmod(1 / rate, 1)
    length = int(whole) + (lot.random() < part)
    return _Block(rate, length, lot.randrange(length))
