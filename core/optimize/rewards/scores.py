"""Means and rates with their intervals (95 %), what keeps a candidate from being chosen, and
what of a candidate's scores says so. For both sides: no torch, no database."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
from scipy.special import stdtrit

from core.stats import wilson

Figures = dict[str, Any]  # {"score", "low", "high", "n", …}
SPLITS = ("train", "dev", "test")


def mean_of(values: np.ndarray, *, binary: bool = False) -> Figures:
    """The mean of values (n,), with Student's interval, or Wilson's where each is 0 or 1."""
    n = len(values)
    mean = float(values.mean())
    if binary:
        low, high = wilson(float(values.sum()), n)
        return {"score": mean, "low": low, "high": high, "n": n}
    half = 0.0
    if n > 1:
        half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / sqrt(n)
    return {"score": mean, "low": mean - half, "high": mean + half, "n": n}


def violations(broken: np.ndarray, threshold: float) -> Figures:
    """How often a constraint was broken (n,), with Wilson's interval. Feasible is what stays at
    or below the threshold on the examples that were scored: the rate itself is compared, not
    its interval, so that 0 allowed means none seen."""
    return {
        **mean_of(broken.astype(float), binary=True),
        "broken": int(broken.sum()),
        "threshold": threshold,
        "feasible": bool(broken.mean() <= threshold),
    }


def feasible(scores: Mapping[str, Any]) -> bool:
    """Whether one split's scores keep every constraint; those without constraints do."""
    return bool(scores.get("feasible", True))


def what_breaks(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Of a candidate's scores by split: the first constraint that it breaks, in words; empty
    where it breaks none."""
    for split in SPLITS:
        for name, found in scores.get(split, {}).get("constraints", {}).items():
            if not found["feasible"]:
                return (
                    f"“{name}” is broken on {found['broken']} of {found['n']} {split} examples "
                    f"({100 * found['low']:.0f} to {100 * found['high']:.0f} %), at most "
                    f"{100 * found['threshold']:g} % are allowed"
                )
    return ""


def total(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The reward of one example: each part's value times its weight, added up."""
    return float(sum(weights[name] * value for name, value in parts.items()))


def ensemble(members: np.ndarray, how: str, lam: float) -> np.ndarray:
    """(n,) from the scores (n, k) of an ensemble's members: their mean; the worst of them; or
    mean - lambda x variance, the population variance over the members (Coste et al. 2023,
    arXiv 2310.02743, section 3, equations 2 and 3)."""
    if how == "worst":
        return members.min(axis=1)
    mean = members.mean(axis=1)
    return mean - lam * members.var(axis=1) if how == "variance" else mean


def lines_up(details: Sequence[Mapping[str, Any]], n: int) -> bool:
    """Whether every example of an evaluation has its details."""
    return len(details) == n > 0 and all(details)
