"""Logistic regression on differences: the smallest learner of preferences.

d = x w with x the difference of what is known of the two responses, and no intercept: which
response is called a means nothing. The loss is the reward model's own,
-q log s(d) - (1 - q) log s(-d), plus ridge |w|^2 / 2 on standardised columns.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

RIDGES = (300.0, 100.0, 30.0, 10.0, 3.0)
MIN_CHOOSING = 20  # dev pairs needed to choose the ridge by


class Logistic:
    """`predict` (n, f) -> (n,) d."""

    def __init__(self, x: np.ndarray, q: np.ndarray, ridge: float) -> None:
        self.scale = np.sqrt((x**2).mean(0)) if len(x) else np.ones(x.shape[1])
        self.scale = np.where(self.scale > 1e-12, self.scale, 1.0)
        z = x / self.scale

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            d = z @ w
            value = np.sum(q * np.logaddexp(0, -d) + (1 - q) * np.logaddexp(0, d))
            return float(value + ridge * (w @ w) / 2), z.T @ (expit(d) - q) + ridge * w

        found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        self.weights = found.x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((x / self.scale) @ self.weights)


def choose_ridge(
    x: np.ndarray, q: np.ndarray, dev_x: np.ndarray, dev_q: np.ndarray, ridges: Sequence[float] = RIDGES
) -> float:
    """The ridge with the lowest log-loss on the dev split; with few dev pairs the middle one."""
    if len(dev_q) < MIN_CHOOSING:
        return ridges[len(ridges) // 2]

    def held_out(ridge: float) -> float:
        d = Logistic(x, q, ridge).predict(dev_x)
        return float(np.mean(dev_q * np.logaddexp(0, -d) + (1 - dev_q) * np.logaddexp(0, d)))

    return min(ridges, key=held_out)
