"""When to mix a probe in: once in every block of pairs that a person is given, at a place
drawn by lot, so that the rate is kept over time and nobody can tell the next one.

A block has 1/rate pairs (the fraction by lot); the place within it comes from the system's
random numbers. What was drawn is kept in memory only: after a restart a new block begins,
which changes the rate by chance alone, up or down alike.
"""

import random
import secrets
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

_lot = secrets.SystemRandom()
T = TypeVar("T")


@dataclass
class _Block:
    rate: float
    length: int
    place: int
    seen: int = 0
    pending: bool = False


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
            if rate <= 0:
                self._blocks.pop(key, None)
                return False
            block = self._blocks.get(key)
            if block is not None and block.rate == rate and block.pending:
                return True  # it takes the place that was counted already
            if block is None or block.rate != rate or block.seen >= block.length:
                block = _begin(rate, self._random or _lot)
            block.pending = block.seen == block.place
            block.seen += 1
            self._blocks[key] = block
            self._blocks.move_to_end(key)
            while len(self._blocks) > self._most:
                self._blocks.popitem(last=False)
            return block.pending

    def settle(self, key: Hashable) -> None:
        """The probe was given, or there is none to give."""
        with self._lock:
            if key in self._blocks:
                self._blocks[key].pending = False


def pick(options: Sequence[T]) -> T:
    """One of them, by the same lot."""
    return _lot.choice(options)


def _begin(rate: float, lot: random.Random) -> _Block:
    whole, part = divmod(1 / rate, 1)
    length = int(whole) + (lot.random() < part)
    return _Block(rate, length, lot.randrange(length))
