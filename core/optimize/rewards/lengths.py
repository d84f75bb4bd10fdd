"""What length alone explains of a reward model's score, and the score without it.

People who compare responses often prefer the longer one, a reward model learns that more thoroughly
than anything else (Singhal et al. 2023, "A Long Way to Go", arXiv 2310.03716), and a search finds it
out. So its score s on responses that are there anyway is regressed on the logarithm of their length,

    s = a + b l + e,    l = log(1 + words),

by least squares, for each member by itself, and what is optimised is

    s - b (l - mean of l over these responses):

on them it has the same mean and no correlation with l. After Huang et al. 2024 ("Post-hoc Reward
Calibration: A Case Study on Length Bias", arXiv 2409.17407), who subtract a locally weighted regression
on the length; a line needs fewer responses, and goes on where a search leads beyond them. Whatever goes
with length is taken out, also where longer responses really are better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import stdtrit

LEAST = 30  # responses of the fit


class Members(Protocol):
    def score_members(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray: ...


def log_words(texts: Sequence[str]) -> np.ndarray:
    """(n,) log(1 + words)."""
    return np.log1p([len(text.split()) for text in texts])


@dataclass(frozen=True)
class Lengths:
    """`slopes` (k,) by member, deviations for each unit of l; `centre`: the mean of l. `figures`: the
    mean slope over members with its interval (95 %), n responses to so many `examples`, and the
    `share` of the variance of their mean score that l explains (R squared)."""

    slopes: np.ndarray
    centre: float
    figures: dict[str, Any]

    def without(self, members: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Scores (n, k) of these texts, less what their length explains."""
        left: np.ndarray = members - np.outer(log_words(texts) - self.centre, self.slopes)
        return left


def fit(scorers: Sequence[Members], inputs: Sequence[str], responses: Sequence[str]) -> Lengths:
    """Least squares on the reference responses, whose lengths must differ."""
    members = np.concatenate(
        [np.asarray(one.score_members(inputs, responses), dtype=float) for one in scorers], axis=1
    )  # (n, k)
    length = log_words(responses)
    off = length - length.mean()
    slopes = off @ members / (off @ off)
    mean = members.mean(axis=1)
    slope = float(slopes.mean())
    left = mean - mean.mean() - slope * off
    variance = float(((mean - mean.mean()) ** 2).sum())
    half, examples = _half_width(off, left, inputs)
    return Lengths(
        slopes,
        float(length.mean()),
        {
            "score": slope,
            "low": slope - half,
            "high": slope + half,
            "n": len(responses),
            "examples": examples,
            "share": 1 - float(left @ left) / variance if variance else 0.0,
        },
    )


def explained(figures: Mapping[str, Any]) -> str:
    """In words, with n and interval."""
    return (
        f"of the reward model's score, {figures['score']:+.2f} deviations ({figures['low']:+.2f} to "
        f"{figures['high']:+.2f}) go with each factor e in length, on {figures['n']:,} responses to "
        f"{figures['examples']:,} train examples; length explains {100 * figures['share']:.0f} % of its variance "
        "there. That is taken out."
    )


def _half_width(off: np.ndarray, left: np.ndarray, inputs: Sequence[str]) -> tuple[float, int]:
    """Of the slope's interval, and the number of examples. Responses to one example are not
    independent: the sandwich estimator sums over examples first (Liang and Zeger 1986), with Student's
    t of one degree less than there are examples."""
    _, of = np.unique(np.array(inputs, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(of, weights=off * left)
    m = len(sums)
    if m < 2:
        return float("inf"), m
    error = np.sqrt(m / (m - 1) * (sums**2).sum()) / (off @ off)
    return float(stdtrit(m - 1, 0.975) * error), m
