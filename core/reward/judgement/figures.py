"""A number that is shown: its value, its 95 % interval, and its n.

Pairs of one example are not independent of each other: a model that understands an input is
right on all of its pairs. So intervals go by examples; where there are fewer than FEW_CLUSTERS of
them, which says too little of how far examples differ, by pairs. `place` (n,) is the number of
the example (or pair) of each observation.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from core.stats import wilson

Figure = dict[str, Any]  # value, low, high: float or None; n: int
Statistic = Callable[[np.ndarray], np.ndarray]  # weights (b, n) -> (b,), nan where undefined

RESAMPLES = 1_000
FEW_CLUSTERS = 10  # with fewer examples their own spread cannot be told
_AT_ONCE = 2_000_000  # weights in one block of resamples


def figure(value: float | None, low: float | None, high: float | None, n: float) -> Figure:
    def plain(x: float | None) -> float | None:
        return None if x is None or not np.isfinite(x) else float(x)

    return {"value": plain(value), "low": plain(low), "high": plain(high), "n": int(n)}


def places(keys: list[Any]) -> np.ndarray:
    """(n,) the number of each observation's cluster, from 0."""
    if not keys:
        return np.zeros(0, dtype=int)
    return np.unique(np.array([str(key) for key in keys]), return_inverse=True)[1].reshape(-1)


def renumbered(place: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from 0 without gaps: of a part of the observations."""
    return np.unique(place, return_inverse=True)[1].reshape(-1)


def design_effect(right: np.ndarray, place: np.ndarray) -> float:
    """How many times wider the variance of a mean is for the observations coming in clusters
    (Kish 1965), by the variance between clusters; never below 1, and 1 where there are fewer
    than FEW_CLUSTERS."""
    n, p = len(right), float(right.mean()) if len(right) else 0.0
    plain = p * (1 - p) / n if n else 0.0
    clusters = len(np.unique(place))
    if clusters < FEW_CLUSTERS or clusters == n or plain <= 0:
        return 1.0
    apart = np.bincount(place, right - p)
    between = clusters / (clusters - 1) * float((apart**2).sum()) / n**2
    return max(1.0, between / plain)


def rate(right: np.ndarray, place: np.ndarray | None = None) -> Figure:
    """The mean of (n,) values in [0, 1] (1 right, 0 wrong, a half where neither) with Wilson's
    interval at the effective n, which is n by the design effect (Korn and Graubard 1998,
    Survey Methodology 24:193)."""
    n = len(right)
    if n == 0:
        return figure(None, 0.0, 1.0, 0)
    effective = n / (1.0 if place is None else design_effect(right, place))
    p = float(right.mean())
    low, high = wilson(p * effective, effective)
    return figure(p, low, high, n)


class Bootstrap:
    """Draws whole clusters with replacement (Davison and Hinkley 1997, section 3.8): the same
    draws for every statistic, so that figures of one judgement go together."""

    def __init__(self, place: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.place, self.n = renumbered(place), len(place)
        self.clusters = int(self.place.max()) + 1 if len(place) else 0
        self.resamples, self.seed = resamples, seed

    def weights(self) -> Iterator[np.ndarray]:
        """(b, n) how often each observation was drawn, in blocks."""
        rng = np.random.default_rng(self.seed)
        block = max(1, _AT_ONCE // max(1, self.n))
        for start in range(0, self.resamples, block):
            size = (min(block, self.resamples - start), self.clusters)
            drawn = rng.multinomial(self.clusters, np.full(self.clusters, 1 / self.clusters), size[0])
            yield drawn[:, self.place].astype(float)

    def draws(self, statistic: Statistic) -> np.ndarray:
        """(resamples,)"""
        if self.clusters < 2:
            return np.zeros(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.concatenate([statistic(weights) for weights in self.weights()])

    def figure(self, statistic: Statistic, n: int | None = None) -> Figure:
        """The statistic with its percentile interval; `n` where it rests on fewer than all."""
        count = self.n if n is None else n
        if self.n == 0 or count == 0:
            return figure(None, None, None, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(np.ones((1, self.n)))[0])
        drawn = self.draws(statistic)
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn) or not np.isfinite(value):
            return figure(value, None, None, count)
        low, high = np.quantile(drawn, [0.025, 0.975])
        # A statistic that resampling pushes one way (ECE, upwards) is still within its interval.
        return figure(value, min(low, value), max(high, value), count)


def mean_of(values: np.ndarray, kept: np.ndarray | None = None) -> Statistic:
    """The weighted mean of (n,) values, of those in `kept` alone."""
    mask = np.ones(len(values)) if kept is None else kept.astype(float)
    product = np.where(mask > 0, values, 0.0) * mask
    return lambda weights: (weights @ product) / (weights @ mask)


def correlation(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Pearson's correlation of (n,) values; of ranks it is Spearman's. (Resamples keep the
    ranks of the whole, which changes Spearman's by terms of order 1/n.)"""

    def of(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(1)
        mean_x, mean_y = weights @ x / total, weights @ y / total
        cov = weights @ (x * y) / total - mean_x * mean_y
        var = (weights @ x**2 / total - mean_x**2) * (weights @ y**2 / total - mean_y**2)
        return np.where(var > 1e-18, cov / np.sqrt(np.maximum(var, 1e-18)), np.nan)

    return of


def partial_correlation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Statistic:
    """Of x and y with z held fixed: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2))
    (Yule 1907, Proc. R. Soc. A 79:182)."""
    xy, xz, yz = correlation(x, y), correlation(x, z), correlation(y, z)

    def of(weights: np.ndarray) -> np.ndarray:
        a, b, c = xy(weights), xz(weights), yz(weights)
        b, c = np.nan_to_num(b), np.nan_to_num(c)  # a label that never varies explains nothing
        left = (1 - b**2) * (1 - c**2)
        return np.where(left > 1e-9, (a - b * c) / np.sqrt(np.maximum(left, 1e-9)), np.nan)

    return of
