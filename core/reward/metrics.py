"""Judging a reward model: accuracy beside trivial baselines, and how far its
probabilities can be believed.

Throughout, d (n,) is score(a) - score(b), q (n,) the share of votes for a, and a pair is
decided when q is not one half. Known answers are in tests/reward/test_metrics.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from core.stats import wilson

COIN = float(np.log(2))  # the log-loss of saying one half to every decided pair


def probability(d: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """(n,) that a is preferred: sigmoid(d / T)."""
    return expit(d / temperature)


def accuracy(d: np.ndarray, q: np.ndarray) -> dict[str, Any]:
    """Share of decided pairs whose preferred side scores higher; equal scores count half.
    With Wilson's 95 % interval, and the number of ties left out."""
    decided = q != 0.5
    agree = np.sign(d[decided]) * np.sign(q[decided] - 0.5)
    right, n = float(((agree + 1) / 2).sum()), int(decided.sum())
    return {**rate(right, n), "ties": int((~decided).sum())}


def rate(right: float, n: int) -> dict[str, Any]:
    low, high = wilson(right, n)
    return {"accuracy": right / n if n else None, "low": low, "high": high, "n": n}


def log_loss(d: np.ndarray, q: np.ndarray, temperature: float = 1.0) -> float:
    """Mean cross-entropy in nats against the soft label; .693 is a coin. Stable for large d."""
    x = d / temperature
    return float(np.mean(q * np.logaddexp(0, -x) + (1 - q) * np.logaddexp(0, x)))


def brier(d: np.ndarray, q: np.ndarray, temperature: float = 1.0) -> float:
    """Mean squared distance of probability and soft label; .25 is a coin on decided pairs."""
    return float(np.mean((probability(d, temperature) - q) ** 2))


def reliability(
    d: np.ndarray, q: np.ndarray, temperature: float = 1.0, bins: int = 10
) -> list[dict[str, Any]]:
    """Decided pairs by confidence max(p, 1-p) in bins of equal width on [.5, 1]: how often
    the model was right where it was so sure. Empty bins are left out."""
    decided = q != 0.5
    p = probability(d[decided], temperature)
    confidence = np.maximum(p, 1 - p)
    right = (np.sign(d[decided]) * np.sign(q[decided] - 0.5) + 1) / 2
    place = np.clip(((confidence - 0.5) * 2 * bins).astype(int), 0, bins - 1)
    rows = []
    for i in range(bins):
        inside = place == i
        if inside.any():
            rows.append(
                {
                    "from": 0.5 + i / (2 * bins),
                    "to": 0.5 + (i + 1) / (2 * bins),
                    "confidence": float(confidence[inside].mean()),
                    **rate(float(right[inside].sum()), int(inside.sum())),
                }
            )
    return rows


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float | None:
    """Mean distance of confidence and accuracy over the bins, weighted by what is in them
    (Guo et al. 2017, arXiv 1706.04599, section 3)."""
    n = sum(row["n"] for row in bins)
    return sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / n if n else None


def fit_temperature(d: np.ndarray, q: np.ndarray) -> float:
    """The T > 0 that minimises the log-loss of sigmoid(d / T) (Guo et al. 2017, section
    4.2), between 1/20 and 20: beyond, the split says only that d is useless or perfect."""
    if len(d) == 0 or np.ptp(d) == 0:
        return 1.0
    bound = float(np.log(20))
    found = minimize_scalar(
        lambda t: log_loss(d, q, float(np.exp(t))), bounds=(-bound, bound), method="bounded"
    )
    return float(np.exp(found.x))


def ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place.reshape(-1)]


def baselines(
    q: np.ndarray,
    length_a: np.ndarray,
    length_b: np.ndarray,
    left_known: np.ndarray,
    left_won: np.ndarray,
) -> dict[str, dict[str, Any]]:
    """What choosing without reading would reach. The side a response was shown on differs
    from vote to vote, so `left` counts votes, the others pairs. Lengths in characters."""
    decided = q != 0.5
    longer = accuracy((length_a - length_b).astype(float), q)
    shorter = accuracy((length_b - length_a).astype(float), q)
    left = rate(float(left_won[decided].sum()), int(left_known[decided].sum()))
    return {
        "longer": {**longer, "unit": "pairs"},
        "shorter": {**shorter, "unit": "pairs"},
        "left": {**left, "unit": "votes"},
    }


def length_leaning(
    d: np.ndarray, q: np.ndarray, length_a: np.ndarray, length_b: np.ndarray
) -> dict[str, Any]:
    """How much a model goes by length: the rank correlation of the differences in score and
    in length, and its accuracy where the preferred response is the longer, or the shorter."""
    by_length = (length_a - length_b).astype(float)
    varied = len(d) > 2 and np.ptp(d) > 0 and np.ptp(by_length) > 0
    preferred_longer = np.sign(by_length) * np.sign(q - 0.5)
    return {
        "spearman": float(np.corrcoef(ranks(d), ranks(by_length))[0, 1]) if varied else None,
        "preferred_longer": accuracy(d[preferred_longer > 0], q[preferred_longer > 0]),
        "preferred_shorter": accuracy(d[preferred_longer < 0], q[preferred_longer < 0]),
    }
