"""Did a share fall? Rates by examples, Fisher's exact test, Holm over many: what drift is
judged by. Known answers are in tests/reward/test_drift.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import gammaln

from core.stats import wilson

LEAST = 20  # examples, new and held out, below which nothing is tested
LEVEL = 0.01

Counts = tuple[tuple[int, int], tuple[int, int]]  # (right, n) now and before, as the test counts


@dataclass(frozen=True)
class Rate:
    """A share of pairs (or votes) with Wilson's 95 % interval."""

    value: float | None
    low: float
    high: float
    n: int


NO_RATE = Rate(None, 0.0, 1.0, 0)


@dataclass(frozen=True)
class Slice:
    """`by`: all, prompt, annotator, length, topic, input. `before`: on held-out pairs; p of a fall,
    and Holm's; None where there are too few pairs to test."""

    by: str
    name: str
    now: Rate
    before: Rate
    p: float | None = None
    p_adjusted: float | None = None

    @property
    def alarm(self) -> bool:
        return self.p_adjusted is not None and self.p_adjusted < LEVEL

    @property
    def fell(self) -> float:
        """By how much, 0 to 1."""
        return (self.before.value or 0.0) - (self.now.value or 0.0)


def rate_of(right: Sequence[float], examples: Sequence[str]) -> tuple[Rate, tuple[int, int]]:
    """The rate, and (right, n) as the test counts them: scaled down to the examples."""
    n = len(right)
    if not n:
        return NO_RATE, (0, 0)
    share, size = float(np.mean(right)), len(set(examples))
    low, high = wilson(share * size, size)
    return Rate(share, low, high, n), (round(share * size), size)


def fell(now: tuple[int, int], before: tuple[int, int]) -> float:
    """One-sided p of Fisher's exact test that the first rate is below the second; (right, n)."""
    (k, n), (j, m) = now, before
    draws = np.arange(max(0, k + j - m), k + 1)

    def choose(total: Any, some: Any) -> Any:
        return gammaln(total + 1) - gammaln(some + 1) - gammaln(total - some + 1)

    log = choose(n, draws) + choose(m, k + j - draws) - choose(n + m, k + j)
    return float(min(1.0, np.exp(log).sum()))


def holm(found: Sequence[tuple[Slice, Counts]]) -> list[Slice]:
    """Test those with enough pairs; Holm (1979, Scand J Stat 6:65)."""
    tested = {
        place: fell(*counts)
        for place, (_, counts) in enumerate(found)
        if counts[0][1] >= LEAST and counts[1][1] >= LEAST
    }
    adjusted: dict[int, float] = {}
    highest = 0.0
    for rank, place in enumerate(sorted(tested, key=lambda key: tested[key])):
        highest = max(highest, min(1.0, (len(tested) - rank) * tested[place]))
        adjusted[place] = highest
    return [
        replace(item, p=tested.get(place), p_adjusted=adjusted.get(place))
        for place, (item, _) in enumerate(found)
    ]
