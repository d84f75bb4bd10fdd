"""How a learning curve goes on, and how sure that is.

    err(n) = a + b n^-c          (Cortes et al. 1993; Hestness et al. 2017, arXiv 1712.00409)

with c near 0 the log-linear curve. Few points do not determine three numbers, so none is
picked: the curve is written as

    err(n) = e + g h(n),   h(n) = (n^-c - N^-c) / (n_1^-c - N^-c)

(e at the largest size N, g lost between the smallest n_1 and N) and averaged over what the
points allow: flat priors on e, on g >= 0 and on log c, c in [.05, 1.25], and no error below zero at
infinity. What more votes should bring is a median and a 95 % interval of that posterior.

The points hang together, and their covariance says so:
- all are judged by the same test pairs: covariance between examples;
- subsets are nested, and drawn from the same N pairs. If a subset A moves the error by the
  mean of z_i over its pairs (variance v), then over S orders of the data
      cov(m, m') = v / N + (v / max(m, m') - v / N) / S
  of which the first term is there however often one refits;
- refitting on the same pairs moves it by w / S.
v and w come from the spread between the orders, E s^2(m) = v (1/m - 1/N) + w.

In simulation the interval covers the truth at its rate (tests/reward/test_curve.py).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from core.reward.judgement.figures import FEW_CLUSTERS, Figure, figure

POWERS = np.geomspace(0.05, 1.25, 25)  # evenly in the logarithm: small powers are the rule
STEPS = 240  # of the grid of g
DRAWS = 4_000


@dataclass(frozen=True)
class Posterior:
    """(draws,) each: the error at N, the fall between n_1 and N, the power."""

    e: np.ndarray
    g: np.ndarray
    c: np.ndarray
    smallest: float
    largest: float

    def error(self, n: float) -> np.ndarray:
        return self.e + self.g * shape(n, self.c, self.smallest, self.largest)

    def gain(self, start: float, more: float) -> np.ndarray:
        """(draws,) how far the error falls from `start` to `start + more` training pairs."""
        return self.error(start) - self.error(start + more)


def shape(n: float | np.ndarray, c: np.ndarray, smallest: float, largest: float) -> np.ndarray:
    """h(n): 1 at the smallest size, 0 at the largest, below 0 beyond it."""
    end = np.asarray(largest) ** -c
    return np.asarray((np.asarray(n) ** -c - end) / (smallest**-c - end))


def spread_of_orders(errors: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """v and w from errors (S, k) of S orders of the data at k sizes, the last one of all."""
    orders = len(errors)
    if orders < 2:
        return 0.0, 0.0
    seen = errors.var(0, ddof=1)  # (k,)
    design = np.stack([1 / sizes - 1 / sizes[-1], np.ones(len(sizes))], axis=1)
    # The variance of a variance goes with its square, so small ones count for more.
    scale = 1 / np.maximum(
        design[:, 0] * max(1e-12, seen.max() * sizes[0]) + 1e-4 * seen.max() + 1e-15, 1e-15
    )
    (v, w), _ = nnls(design * scale[:, None], seen * scale)
    return float(v), float(w)


def covariance(outcomes: np.ndarray, sizes: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(k, k) of the mean errors. outcomes (S, k, n): the loss of each test pair; place (n,)
    its example."""
    orders, k, n = outcomes.shape
    v, w = spread_of_orders(outcomes.mean(2), sizes)
    both = np.maximum(sizes[:, None], sizes[None, :])
    trained = v / sizes[-1] + (v / both - v / sizes[-1]) / orders + np.eye(k) * w / orders
    mean = outcomes.mean(0).T  # (n, k)
    apart = mean - mean.mean(0)
    if len(np.unique(place)) < FEW_CLUSTERS:
        place = np.arange(n)
    total = np.zeros((int(place.max()) + 1, k))
    np.add.at(total, place, apart)
    count = len(np.unique(place))
    judged = total.T @ total / n**2 * count / max(1, count - 1)
    return trained + judged


def posterior(
    errors: np.ndarray, cov: np.ndarray, sizes: np.ndarray, *, floor: float = 0.0, seed: int = 0
) -> Posterior:
    """errors (k,) mean, cov (k, k), sizes (k,) ascending."""
    k = len(sizes)
    cov = cov + np.eye(k) * (1e-10 + 1e-6 * float(np.trace(cov)) / k)
    inverse = np.linalg.inv(cov)
    ones = inverse.sum(1)
    precision = float(ones.sum())
    h = np.stack([shape(sizes, np.asarray(c), sizes[0], sizes[-1]) for c in POWERS])  # (C, k)
    beyond = np.array([float(shape(1e30, np.asarray(c), sizes[0], sizes[-1])) for c in POWERS])
    contrast = np.zeros(k)
    contrast[0], contrast[-1] = 1.0, -1.0
    sd = float(np.sqrt(contrast @ cov @ contrast))
    top = max(float(contrast @ errors), 0.0) + 6 * sd
    g = (np.arange(STEPS) + 0.5) / STEPS * top  # (G,)
    left = errors - g[None, :, None] * h[:, None, :]  # (C, G, k)
    e = left @ ones / precision  # (C, G)
    rest = left - e[..., None]
    log = -0.5 * np.einsum("cgk,kl,cgl->cg", rest, inverse, rest)
    log = np.where(e + g[None, :] * beyond[:, None] >= floor, log, -np.inf)
    if not np.isfinite(log).any():
        log = np.zeros_like(log)
    weight = np.exp(log - log.max()).ravel()
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(weight), DRAWS, p=weight / weight.sum())
    at_c, at_g = np.unravel_index(drawn, log.shape)
    jitter = (rng.random(DRAWS) - 0.5) * top / STEPS
    return Posterior(
        e[at_c, at_g] + rng.normal(0, 1 / np.sqrt(precision), DRAWS), g[at_g] + jitter, POWERS[at_c],
        float(sizes[0]), float(sizes[-1]),
    )  # fmt: skip


def summary(draws: np.ndarray, n: int) -> Figure:
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
    return figure(middle, low, high, n)
