"""Futures of a count per day: a rate that may grow or fade, counted with overdispersion.

Quasi-Poisson regression with a log link (McCullagh and Nelder 1989, 9.2) of counts per week
(per day, in the first four weeks) on time, newer ones weighing more. The slope is shrunk to
zero (normal prior, `SLOPE_SD`) and damped in the future (Gardner and McKenzie 1985): growth
does not go on for ever. The rate wanders a little from week to week, and the counts of a day
are drawn from a gamma distribution with the mean and the variance that fit, so that weekends
and quiet weeks are as usual as they were.
"""

import numpy as np

COUNT_METHOD = (
    "Quasi-Poisson regression on recent weeks with a damped trend; the interval is the middle 80 % of "
    "600 simulated futures."
)
RECENT = 84  # days looked at
WEEKLY_FROM = 28  # days of history
AGE_WEIGHT = 0.95  # of a week, for each week of age
SLOPE_SD = {1: 0.15, 7: 0.08}  # of the log rate, per week, by days in a bin
DAMPING = 0.92  # of the slope, per week
WANDER = 0.05  # standard deviation of the log rate's step from week to week


def futures_of_count(daily: np.ndarray, horizon: int, paths: int, rng: np.random.Generator) -> np.ndarray:
    """(paths, horizon) counts of each of the days to come, not whole numbers. `daily`
    (days,): counts of the whole days so far, the last one yesterday; some above zero."""
    recent = daily[-RECENT:]
    width = 7 if len(recent) >= WEEKLY_FROM else 1
    used = recent[len(recent) % width :].reshape(-1, width)
    counts = used.sum(axis=1)
    # In weeks, the last bin ending now at 0.
    time = (np.arange(len(counts)) - len(counts) + 0.5) * width / 7
    mean, cov, dispersion = _fit(counts, time, width)

    weeks = -(-horizon // 7)
    level, slope = rng.multivariate_normal(mean, cov, size=paths).T
    grown = np.cumsum(DAMPING ** np.arange(weeks)) - 0.5
    wander = rng.normal(0, WANDER, (paths, weeks)).cumsum(axis=1)
    log_rate = level[:, None] + slope[:, None] * grown + wander
    per_week = np.exp(np.clip(log_rate, -12, 20)) * (7 / width)

    profile = _weekdays(daily)
    day_spread = _day_dispersion(recent, profile) if width == 7 else dispersion
    # What weeks differ by beyond what their days already do.
    extra = max(0.0, dispersion - day_spread) if width == 7 else 0.0
    if extra > 0:
        shape = np.maximum(per_week / extra, 1e-3)
        per_week = rng.gamma(shape) / shape * per_week
    rate = np.repeat(per_week / 7, 7, axis=1)[:, :horizon] * np.resize(profile, horizon)
    return rng.gamma(np.maximum(rate / day_spread, 1e-6)) * day_spread


def _fit(counts: np.ndarray, time: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (2,) and covariance (2, 2) of log rate per bin and slope per week, and the
    dispersion: variance by mean, at least 1. Iteratively weighted least squares."""
    weight = AGE_WEIGHT ** (-time)
    x = np.column_stack([np.ones_like(time), time])
    start = np.log(max(float(np.average(counts, weights=weight)), 1e-3))
    beta = np.array([start, 0.0])
    dispersion = 1.0
    for _ in range(30):
        mu = np.exp(np.clip(x @ beta, -12, 20))
        n = float(weight.sum() ** 2 / (weight**2).sum())
        pearson = float((weight * (counts - mu) ** 2 / mu).sum() / weight.sum())
        dispersion = max(1.0, pearson * n / max(1.0, n - 1.5))
        prior = np.diag([0.0, dispersion / SLOPE_SD[width] ** 2])
        information = (x * (weight * mu)[:, None]).T @ x + prior
        gradient = x.T @ (weight * (counts - mu)) - prior @ beta
        step = np.linalg.solve(information, gradient)
        beta = beta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    # The dispersion is an estimate from few bins. What is above Poisson's 1 is widened as
    # Student's t is wider than a normal.
    dof = max(3.0, len(counts) - 2.0)
    dispersion = 1 + (dispersion - 1) * dof / (dof - 2)
    # Weighted scores have the variance of their squared weights (sandwich).
    mu = np.exp(np.clip(x @ beta, -12, 20))
    prior = np.diag([0.0, dispersion / SLOPE_SD[width] ** 2])
    bread = np.linalg.inv((x * (weight * mu)[:, None]).T @ x + prior)
    filling = (x * (weight**2 * mu)[:, None]).T @ x + prior
    return beta, dispersion * bread @ filling @ bread, dispersion


def _weekdays(daily: np.ndarray) -> np.ndarray:
    """(7,) what share of an even week each of the next seven days has, shrunk to even;
    mean 1."""
    weeks = len(daily) // 7
    if weeks < 2:
        return np.ones(7)
    recent = daily[-7 * min(weeks, 12) :].reshape(-1, 7).sum(axis=0)
    even = recent.sum() / 7
    found = (recent + 0.1 * even) / (1.1 * even) if even > 0 else np.ones(7)
    return found / found.mean()


def _day_dispersion(daily: np.ndarray, profile: np.ndarray) -> float:
    """Variance by mean of the days within their weeks, given the weekday."""
    weeks = daily[len(daily) % 7 :].reshape(-1, 7)
    expected = weeks.sum(axis=1, keepdims=True) / 7 * profile
    keep = expected > 0
    if not keep.any():
        return 1.0
    return max(
        1.0, float(((weeks - expected)[keep] ** 2 / expected[keep]).sum() / max(1, keep.sum() * 6 / 7))
    )
