"""Two models on the same pairs: is the one better, and by how much.

Everything is paired: what both get right, or both get wrong, says nothing. Pairs of one
example are not independent of each other; where an example has several, the interval and
the test go by examples. Known answers are in tests/reward/test_paired.py.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import bdtr, gammaln

from core.stats import wilson

RESAMPLES = 2_000
SEED = 20_980  # the same figures give the same interval


@dataclass(frozen=True)
class Table:
    """Pairs that both models, only the second, only the first, or neither got right."""

    both: int
    second_only: int
    first_only: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.second_only + self.first_only + self.neither


@dataclass(frozen=True)
class Difference:
    """Second less first, with a 95 % interval. `n`: pairs; `clusters`: examples they are of."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


def table(first: np.ndarray, second: np.ndarray) -> Table:
    """Of two (n,) arrays of 0 or 1: whether each model was right."""
    a, b = first == 1, second == 1
    return Table(int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum()), int((~a & ~b).sum()))


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact conditional test of McNemar (1947, Psychometrika 12:153): the smaller
    of the two numbers of discordant pairs against a fair coin."""
    return min(1.0, 2.0 * _at_most(min(b, c), b + c))


def mcnemar_mid(b: int, c: int) -> float:
    """The same with mid-p, which keeps its level nearly as well and has more power: the
    recommendation of Fagerland, Lydersen and Laake (2013, BMC Med Res Methodol 13:91)."""
    point = _point(min(b, c), b + c)
    return 1.0 - point / 2 if b == c else mcnemar_exact(b, c) - point


def _at_most(k: int, n: int) -> float:
    return float(bdtr(k, n, 0.5)) if n else 1.0


def _point(k: int, n: int) -> float:
    return float(np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * np.log(2)))


def newcombe(found: Table) -> tuple[float, float]:
    """95 % interval of the difference of two paired proportions, second less first: Newcombe's
    square-and-add of Wilson's limits (1998, Stat Med 17:2635, method 10). Without pairs:
    (-1, 1)."""
    n = found.n
    if n == 0:
        return -1.0, 1.0
    second, first = found.both + found.second_only, found.both + found.first_only
    p, q = second / n, first / n
    (l1, u1), (l2, u2) = wilson(second, n), wilson(first, n)
    spread = float(second * (n - second)) * float(first * (n - first))
    over = float(found.both * found.neither - found.first_only * found.second_only)
    if over > 0:  # Newcombe's correction for continuity: less correlation than was seen
        over = max(over - n / 2, 0.0)
    phi = over / sqrt(spread) if spread else 0.0
    below = (p - l1) ** 2 - 2 * phi * (p - l1) * (u2 - q) + (u2 - q) ** 2
    above = (u1 - p) ** 2 - 2 * phi * (u1 - p) * (q - l2) + (q - l2) ** 2
    return max(-1.0, p - q - sqrt(max(below, 0.0))), min(1.0, p - q + sqrt(max(above, 0.0)))


def clusters_of(examples: np.ndarray) -> tuple[np.ndarray, int]:
    """(n,) number of the example of each pair, and how many there are."""
    _, place = np.unique(examples, return_inverse=True)
    return place, int(place.max()) + 1 if len(place) else 0


def mean_difference(first: np.ndarray, second: np.ndarray, place: np.ndarray) -> Difference:
    """Mean of second - first over (n,) pairs, with the percentile interval of a bootstrap
    that draws whole examples (`place`: (n,) their numbers). Without pairs: no interval but
    the whole line."""
    n = len(first)
    if n == 0:
        return Difference(0.0, -np.inf, np.inf, 0, 0)
    size = int(place.max()) + 1
    total = np.bincount(place, second - first, size)
    count = np.bincount(place, minlength=size).astype(float)
    rng = np.random.default_rng(SEED)
    means = []
    for _ in range(0, RESAMPLES, 500):  # in parts: 500 draws of 10,000 examples are 40 MB
        drawn = rng.integers(0, size, (500, size))
        means.append(total[drawn].sum(1) / count[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Difference(float(total.sum() / n), float(low), float(high), n, size)


def sign_flip(first: np.ndarray, second: np.ndarray, place: np.ndarray) -> float:
    """Two-sided mid-p that the sum of second - first is as far from 0 as seen, when each
    example might as well have had its two models exchanged: McNemar's test by examples instead
    of pairs. Monte Carlo with the observed one counted in (never 0)."""
    if len(first) == 0:
        return 1.0
    total = np.bincount(place, second - first, int(place.max()) + 1)
    total = total[total != 0]
    if len(total) == 0:
        return 1.0
    rng = np.random.default_rng(SEED)
    seen, extreme = abs(total.sum()), 0.5
    for _ in range(0, RESAMPLES, 500):
        signs = rng.integers(0, 2, (500, len(total))) * 2 - 1
        drawn = np.abs(signs @ total)
        extreme += float((drawn > seen + 1e-9).sum() + 0.5 * (np.abs(drawn - seen) <= 1e-9).sum())
    return extreme / (RESAMPLES + 1)


def accuracy_difference(
    first: np.ndarray, second: np.ndarray, place: np.ndarray
) -> tuple[Difference, float, Table]:
    """Second less first of two (n,) arrays (1 right, 0 wrong, a half where two scores are
    equal), the p to quote, and the table. One pair an example and no equal scores: Newcombe's
    interval and McNemar's mid-p. Otherwise the bootstrap and the sign flips by examples."""
    found = table(first, second)
    n = len(first)
    size = int(place.max()) + 1 if n else 0
    if n == 0:
        return Difference(0.0, -1.0, 1.0, 0, 0), 1.0, found
    if size == n and not np.isin(0.5, np.concatenate([first, second])):
        low, high = newcombe(found)
        value = (found.second_only - found.first_only) / n
        return Difference(value, low, high, n, n), mcnemar_mid(found.second_only, found.first_only), found
    return mean_difference(first, second, place), sign_flip(first, second, place), found
