"""A test that may be looked at after every vote, and stops as soon as it is clear.

Each example gives one number x in [0, 1]: 1 when the candidate's response was preferred, 0
when the other's was, one half for neither. Under the hypothesis that the mean is m, a player
who stakes a share u of what can be lost on every example, for the mean being larger, has

    K(m) = prod_i (1 + u (x_i / m - 1)),   0 <= u <= 1,

whose expectation never exceeds what they began with, 1. So has the average over all u, evenly
weighted. Another player bets on a smaller mean, with 1 - x and 1 - m. Of one unit the first is
given 1 - m and the second m: together they never own 1 / alpha with more than probability alpha,
however often one looks, and whenever one stops (Ville's inequality; Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", JRSS B 86:1, sections 3 and 4; the
average over u is Robbins' method of mixtures, 1970, and for numbers that are 0 or 1 this is his
test with an even prior). The means on which neither of them owns that much are a confidence
sequence: an interval that holds at all times at once with probability 1 - alpha.

At m = 1/2 an example that says neither leaves the capital as it is, so what decides are the
decisive ones, w won and l lost, and the average has a closed form,

    2^(w+l+1) B(w+1, l+1) (1 - I_(1/2)(w+1, l+1)).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05  # of a wrong verdict, better or worse, at any time
MINIMUM = 20  # examples before any verdict: fewer say little of the users' world
MAXIMUM = 200  # examples after which it is not asked any further
# The average over u is an integral of a polynomial whose degree is the number of examples:
# exact with half as many nodes (Gauss and Legendre).
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(MAXIMUM // 2 + 28)
_U = (_NODES + 1) / 2
_LOG_W = np.log(_WEIGHTS / 2)


@dataclass(frozen=True)
class Rule:
    """The test as it is stated before anybody votes."""

    alpha: float = ALPHA
    minimum: int = MINIMUM
    maximum: int = MAXIMUM

    @property
    def enough(self) -> float:
        """The capital against 1/2 that decides, as a logarithm: each player has half a unit."""
        return float(np.log(2 / self.alpha))


@dataclass(frozen=True)
class Verdict:
    """`verdict`: better, worse, futile (it cannot become clear within the maximum any more) or
    undecided. `share` prefer the candidate, neither counting half, with the interval that
    holds at all times; None and (0, 1) without data. `n` examples: `won`, `even`, `lost`.
    `decided_at`: with how many examples the verdict came; what came in later changes the
    interval, and no verdict."""

    verdict: str
    n: int
    won: int
    even: int
    lost: int
    share: float | None
    low: float
    high: float
    decided_at: int | None
    needed: int | None  # won examples in a row that would decide for the candidate from here


def judge(values: Sequence[float], rule: Rule | None = None) -> Verdict:
    """The verdict on examples in the order in which they came in."""
    rule = rule or Rule()
    verdict, decided_at = "undecided", None
    for_it, against = _growth(values), _growth([1 - value for value in values])
    for n in range(rule.minimum, len(values) + 1):
        if for_it[n] >= rule.enough:
            verdict = "better"
        elif against[n] >= rule.enough:
            verdict = "worse"
        elif n >= rule.maximum or not _possible(values[:n], rule):
            verdict = "futile"
        else:
            continue
        decided_at = n
        break
    low, high = interval(values, rule.alpha)
    return Verdict(
        verdict,
        len(values),
        sum(value > 0.5 for value in values),
        sum(value == 0.5 for value in values),
        sum(value < 0.5 for value in values),
        float(np.mean(values)) if len(values) else None,
        low,
        high,
        decided_at,
        _needed(values, rule) if decided_at is None else None,
    )


def log_capital(values: Sequence[float], mean: float) -> float:
    """The logarithm of what betting on a larger mean than `mean` has made of 1."""
    total = np.zeros(len(_U))
    for value, count in Counter(values).items():
        total += count * np.log1p(_U * (value / mean - 1))
    return float(np.logaddexp.reduce(total + _LOG_W))


def interval(values: Sequence[float], alpha: float = ALPHA) -> tuple[float, float]:
    """The means on which neither player owns 1 / alpha."""
    return _lower(values, alpha), 1 - _lower([1 - value for value in values], alpha)


def _lower(values: Sequence[float], alpha: float) -> float:
    """The largest mean that the player for a larger one has refuted; what they own falls in
    the mean, so it is found by halving."""
    if not any(values):
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        owns = log_capital(values, middle) + np.log(1 - middle)
        low, high = (middle, high) if owns >= np.log(1 / alpha) else (low, middle)
    return low


def _growth(values: Sequence[float]) -> np.ndarray:
    """(n + 1,) logarithms of the capital against 1/2, after each example."""
    steps = np.log1p(_U * (2 * np.asarray(values, dtype=float)[:, None] - 1))  # (n, nodes)
    total = np.concatenate([np.zeros((1, len(_U))), np.cumsum(steps, axis=0)])
    grown: np.ndarray = np.logaddexp.reduce(total + _LOG_W, axis=1)
    return grown


def _possible(values: Sequence[float], rule: Rule) -> bool:
    """Whether it could still become clear, either way, within the maximum."""
    left = rule.maximum - len(values)
    return any(
        log_capital([*side, *[1.0] * left], 0.5) >= rule.enough
        for side in (list(values), [1 - value for value in values])
    )


def _needed(values: Sequence[float], rule: Rule) -> int | None:
    """None when not even winning all that are left would do."""
    at_least = max(0, rule.minimum - len(values))
    for more in range(at_least, rule.maximum - len(values) + 1):
        if log_capital([*values, *[1.0] * more], 0.5) >= rule.enough:
            return more
    return None
