"""Futures of a level (a rate, an accuracy, a score): a damped local linear trend.

Level and slope wander, the slope fades, and each measurement adds noise (Harvey 1989,
Forecasting, Structural Time Series Models, 2.3; damping: Gardner and McKenzie 1985). How
much each of them wanders is not known: a grid of ratios to the noise is weighted by its
likelihood from the Kalman filter (Durbin and Koopman 2012, 4.3 and 7.2), so that the
interval has this doubt in it. Shares and alpha are modelled as logits, ratios as logs, so
that no future leaves what is possible.
"""

from itertools import product

import numpy as np

LEVEL_METHOD = (
    "Damped local linear trend, averaged over how much level and slope wander; the interval is the middle "
    "80 % of 600 simulated futures."
)
LEVEL_RATIOS = (0.0, 0.03, 0.3, 3.0, 30.0)  # variance of the level's step, by that of the noise
SLOPE_RATIOS = (0.0, 1e-4, 3e-3, 0.1)
DAMPINGS = (0.9, 0.98, 1.0)  # of the slope, per week
EDGE = 1e-3  # how close to its ends a share is believed to come


def transformed(values: np.ndarray, scale: str) -> np.ndarray:
    if scale == "agreement":
        return transformed((values + 1) / 2, "share")
    if scale == "share":
        inside = np.clip(values, EDGE, 1 - EDGE)
        return np.log(inside / (1 - inside))
    return np.log(np.maximum(values, 1e-9)) if scale == "ratio" else values


def inverse(values: np.ndarray, scale: str) -> np.ndarray:
    if scale == "agreement":
        return 2 * inverse(values, "share") - 1
    if scale == "share":
        return 1 / (1 + np.exp(-np.clip(values, -20, 20)))  # never quite all, never quite none
    return np.exp(np.clip(values, -50, 50)) if scale == "ratio" else values


def futures_of_level(
    seen: np.ndarray, horizon: int, paths: int, rng: np.random.Generator, step: int = 7
) -> np.ndarray:
    """(paths, horizon) measurements of the steps to come, each `step` days. `seen` (n,):
    measurements so far, n of at least 3."""
    grid = np.array(list(product(LEVEL_RATIOS, SLOPE_RATIOS, DAMPINGS)))
    q_level, q_slope, damping = grid.T.copy()
    q_slope, damping = q_slope * (step / 7) ** 2, damping ** (step / 7)
    unit = max(float(np.std(np.diff(seen))), 1e-6)
    log_weight, mean, cov, scale, dof = _filter(seen / unit, q_level, q_slope, damping)
    weight = np.exp(log_weight - log_weight.max())
    chosen = rng.choice(len(grid), size=paths, p=weight / weight.sum())

    # One draw of everything unknown for each path, then forward.
    sigma = np.sqrt(scale[chosen] * dof / rng.chisquare(dof, paths))
    root = np.linalg.cholesky(cov[chosen] + 1e-9 * np.eye(2))
    state = mean[chosen] + sigma[:, None] * (root @ rng.normal(size=(paths, 2, 1)))[:, :, 0]
    level, slope = state.T
    fade, sd_level, sd_slope = damping[chosen], np.sqrt(q_level[chosen]), np.sqrt(q_slope[chosen])
    noise = rng.normal(size=(3, horizon, paths)) * sigma
    found = np.empty((horizon, paths))
    for t in range(horizon):
        level = level + slope + sd_level * noise[0, t]
        slope = fade * slope + sd_slope * noise[1, t]
        found[t] = level + noise[2, t]
    return (found * unit).T


def _filter(
    seen: np.ndarray, q_level: np.ndarray, q_slope: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Kalman filter for all grid points at once, variances relative to that of the noise.
    Answers log likelihood (g,), state (g, 2) and its covariance (g, 2, 2) after the last
    measurement, the noise's variance (g,) and its degrees of freedom."""
    g = len(q_level)
    level, slope = np.full(g, seen[0]), np.zeros(g)
    # The first measurement fixes the level; the slope is vague.
    p11, p12, p22 = np.ones(g), np.zeros(g), np.full(g, 4.0)
    squares, log_f = np.full(g, 0.1), np.zeros(g)  # a little prior noise, against a perfect fit
    for y in seen[1:]:
        level, slope = level + slope, damping * slope
        p11, p12, p22 = (
            p11 + 2 * p12 + p22 + q_level,
            damping * (p12 + p22),
            damping**2 * p22 + q_slope,
        )
        f = p11 + 1
        v = y - level
        squares, log_f = squares + v * v / f, log_f + np.log(f)
        k1, k2 = p11 / f, p12 / f
        level, slope = level + k1 * v, slope + k2 * v
        p11, p12, p22 = p11 - k1 * p11, p12 - k1 * p12, p22 - k2 * p12
    dof = float(len(seen) - 1)
    scale = squares / dof
    likelihood = -0.5 * (dof * np.log(scale) + log_f)
    cov = np.stack([np.stack([p11, p12], -1), np.stack([p12, p22], -1)], -2)
    return likelihood, np.stack([level, slope], -1), cov, scale, dof
