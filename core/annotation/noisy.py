"""Annotators' care and pull to one side, by a noisy Bradley-Terry model with ties.

A vote is judged with probability care_j, else clicked by habit:

    P(vote) = care_j · D(vote; t_left - t_right, nu) + (1 - care_j) · habit_j(vote)

with votes left, right, even (a tie, or both bad). D is Davidson's model of ties (Davidson
1970, JASA 65:317): left e^(d/2), right e^(-d/2), even nu, over their sum. Without ties this
is NoisyBT (Bugakova et al. 2019, "Aggregation of pairwise comparisons with reduction of
biases", section 3), whose habit is a pull to one side. Fitted by expectation maximisation
with weak priors: t ~ N(0, 4), care ~ Beta(4, 1.2), one more vote of each kind in a habit.
"""

from dataclasses import dataclass

import numpy as np

LEFT, RIGHT, EVEN = range(3)
Z = 1.959964
CARE = (4.0, 1.2)


@dataclass(frozen=True)
class Noisy:
    """t: (n,) strengths, centred; nu: ties. care: (J,) with its 95 % interval, t held fixed: a
    wider spread of t and less care of everybody explain votes nearly as well, so compare
    annotators by it, and take its height with a grain of salt. left: (J,) of
    two equally good responses, the share of decisive votes for the left one, with its
    interval: 0.5 without a pull. n: (J,) votes."""

    t: np.ndarray
    nu: float
    care: np.ndarray
    care_low: np.ndarray
    care_high: np.ndarray
    left: np.ndarray
    left_low: np.ndarray
    left_high: np.ndarray
    n: np.ndarray


def noisy_bradley_terry(
    judge: np.ndarray, left: np.ndarray, right: np.ndarray, vote: np.ndarray, judges: int, items: int, *,
    most: int = 400, tolerance: float = 1e-5,
) -> Noisy:  # fmt: skip
    """judge, left, right, vote: (V,) integers; what stood left and right are items (prompts),
    not the same one; vote is LEFT, RIGHT or EVEN."""
    key = ((judge * items + left) * items + right) * 3 + vote
    rows, weight = np.unique(key, return_counts=True)
    weight = weight.astype(float)
    rest, vote = np.divmod(rows, 3)
    rest, right = np.divmod(rest, items)
    judge, left = np.divmod(rest, items)
    n = np.bincount(judge, weight, judges)
    t, log_nu = np.zeros(items), 0.0
    care = np.full(judges, 0.7)
    habit = np.full((judges, 3), 1 / 3)
    cell = judge * 3 + vote
    for _ in range(most if len(rows) else 0):
        model = _davidson(t[left] - t[right], log_nu)
        own = model[np.arange(len(vote)), vote]
        judged = care[judge] * own
        looked = judged / (judged + (1 - care[judge]) * habit[judge, vote])
        before = (care, t)
        care = (np.bincount(judge, weight * looked, judges) + CARE[0] - 1) / (n + sum(CARE) - 2)
        clicks = np.bincount(cell, weight * (1 - looked), judges * 3).reshape(judges, 3) + 1
        habit = clicks / clicks.sum(1, keepdims=True)
        t, log_nu = _step(t, log_nu, left, right, vote, weight * looked, model)
        if max(np.abs(care - before[0]).max(), np.abs(t - before[1]).max()) < tolerance:
            break
    model = _davidson(t[left] - t[right], log_nu)
    covariance = _covariance(judge, vote, weight, model, care, habit)
    k = np.clip(care, 1e-3, 1 - 1e-3)
    half = Z * np.sqrt(covariance[:, 0, 0]) / (k * (1 - k))
    logit = np.log(k / (1 - k))
    pull, spread = _pull(care, habit, float(np.exp(log_nu)), covariance)
    return Noisy(
        t - t.mean(), float(np.exp(log_nu)), care,
        1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half))),
        pull, np.clip(pull - Z * spread, 0, 1), np.clip(pull + Z * spread, 0, 1), n,
    )  # fmt: skip


def _davidson(d: np.ndarray, log_nu: float) -> np.ndarray:
    """(rows, 3): chances of left, right and even at a difference of d."""
    log = np.stack([d / 2, -d / 2, np.full_like(d, log_nu)], axis=1)
    log -= log.max(1, keepdims=True)
    p = np.exp(log)
    return np.asarray(p / p.sum(1, keepdims=True))


def _step(
    t: np.ndarray, log_nu: float, left: np.ndarray, right: np.ndarray, vote: np.ndarray, weight: np.ndarray,
    p: np.ndarray,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """One Newton step of t and of log nu on the weighted log likelihood."""
    size = len(t)
    gap = p[:, LEFT] - p[:, RIGHT]
    slope = weight * (((vote == LEFT) * 1.0 - (vote == RIGHT)) - gap) / 2
    bend = weight * (p[:, LEFT] + p[:, RIGHT] - gap**2) / 4
    gradient = np.bincount(left, slope, size) - np.bincount(right, slope, size) - t / 4
    matrix = np.zeros((size, size))
    for x, y, sign in ((left, left, 1), (right, right, 1), (left, right, -1), (right, left, -1)):
        matrix += sign * np.bincount(x * size + y, bend, size * size).reshape(size, size)
    matrix[np.arange(size), np.arange(size)] += 1 / 4
    change = np.linalg.solve(matrix, gradient)
    even = weight * ((vote == EVEN) - p[:, EVEN])
    curve = (weight * p[:, EVEN] * (1 - p[:, EVEN])).sum() + 1e-6
    return t + np.clip(change, -1, 1), log_nu + float(np.clip(even.sum() / curve, -1, 1))


def _covariance(
    judge: np.ndarray, vote: np.ndarray, weight: np.ndarray, model: np.ndarray, care: np.ndarray,
    habit: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(J, 3, 3) of (care, habit left, habit right), t and nu held fixed: the inverse of the
    information of the votes that could have been cast, and of the priors."""
    judges = len(care)
    information = np.zeros((judges, 3, 3))
    c, h = care[judge], habit[judge]
    p = c[:, None] * model + (1 - c)[:, None] * h  # (rows, 3)
    for k in range(3):
        slope = np.stack(
            [model[:, k] - h[:, k], (1 - c) * ((k == LEFT) - (k == EVEN) * 1.0),
             (1 - c) * ((k == RIGHT) - (k == EVEN) * 1.0)], axis=1,
        )  # fmt: skip
        by = weight / p[:, k]
        for i in range(3):
            for j in range(3):
                information[:, i, j] += np.bincount(judge, by * slope[:, i] * slope[:, j], judges)
    k = np.clip(care, 1e-2, 1 - 1e-2)
    information[:, 0, 0] += (CARE[0] - 1) / k**2 + (CARE[1] - 1) / (1 - k) ** 2
    last = 1 / habit[:, EVEN] ** 2
    information[:, 1:, 1:] += last[:, None, None]
    information[:, 1, 1] += 1 / habit[:, LEFT] ** 2
    information[:, 2, 2] += 1 / habit[:, RIGHT] ** 2
    return np.linalg.inv(information)


def _pull(
    care: np.ndarray, habit: np.ndarray, nu: float, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The share for the left of decisive votes between equals, and its standard error (delta
    method)."""
    one = 1 / (2 + nu)  # left, and right, when judged
    x = care * one + (1 - care) * habit[:, LEFT]
    y = care * one + (1 - care) * habit[:, RIGHT]
    both = x + y
    slope = np.stack(
        [
            ((one - habit[:, LEFT]) * y - (one - habit[:, RIGHT]) * x) / both**2,
            (1 - care) * y / both**2,
            -(1 - care) * x / both**2,
        ],
        axis=1,
    )
    return x / both, np.sqrt(np.einsum("ji,jik,jk->j", slope, covariance, slope))
