"""Two ways to rank alternatives by scores and weights: the weighted sum, and TOPSIS.

`scores` are (m, n): m alternatives, n factors, from 0 to 10, more is better; `weights`
(n,), any unit: only their shares matter.
"""

import numpy as np

from core.errors import Invalid

HIGHEST = 10.0


def shares(weights: np.ndarray) -> np.ndarray:
    """Weights as shares of their sum. Raises Invalid when there is nothing to share."""
    values = np.asarray(weights, dtype=float)
    if (values < 0).any():
        raise Invalid("weights: none may be negative.")
    if values.sum() <= 0:
        raise Invalid("weights: at least one must be above zero.")
    return values / values.sum()


def weighted_sum(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m,) from 0 to 10; with weights (k, n) for k draws of weights, (k, m)."""
    return np.asarray(weights) @ np.asarray(scores).T


def topsis(scores: np.ndarray, weights: np.ndarray, benefit: np.ndarray | None = None) -> np.ndarray:
    """(m,) closeness to the ideal alternative, 0 to 1 (Hwang and Yoon 1981, Multiple
    Attribute Decision Making, p. 128), columns divided by their length. `benefit` (n,) is
    False where less is better. A factor on which all are zero, or that has no weight,
    tells nothing and is left out; when nothing is left, all are at 0.5."""
    matrix, weights = np.asarray(scores, dtype=float), shares(weights)
    good = np.ones(len(weights), dtype=bool) if benefit is None else np.asarray(benefit, dtype=bool)
    kept = (weights > 0) & (np.ptp(matrix, axis=0) > 0)
    if not kept.any():
        return np.full(len(matrix), 0.5)
    # It draws in a plotting library, most of a second: not before somebody asks.
    from pymcdm.methods import TOPSIS
    from pymcdm.normalizations import vector_normalization

    method = TOPSIS(vector_normalization)
    types = np.where(good[kept], 1, -1)
    # Its checks of the input warn of an alternative that is best in everything.
    return np.asarray(method(matrix[:, kept], shares(weights[kept]), types, validation=False), dtype=float)


def closeness(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """TOPSIS for many weightings at once: weights (k, n) to closeness (k, m). For
    searches and random draws; the same figures as `topsis`, where all are benefits."""
    matrix, weights = np.asarray(scores, dtype=float), np.atleast_2d(weights)
    length = np.sqrt((matrix**2).sum(0))
    unit = np.divide(matrix, length, out=np.zeros_like(matrix), where=length > 0)
    best, worst = (unit - unit.max(0)) ** 2, (unit - unit.min(0)) ** 2  # (m, n)
    to_best, to_worst = np.sqrt(weights**2 @ best.T), np.sqrt(weights**2 @ worst.T)
    total = to_best + to_worst
    return np.divide(to_worst, total, out=np.full_like(total, 0.5), where=total > 1e-15)


def order(values: np.ndarray) -> list[int]:
    """Positions, best first; a tie keeps the order of the list."""
    return [int(i) for i in np.argsort(-np.round(np.asarray(values), 12), kind="stable")]
