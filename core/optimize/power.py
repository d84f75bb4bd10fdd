"""What a blind comparison can be expected to show, before anybody votes.

The test of `core.optimize.sequential` depends on three counts alone: how many examples the candidate
won, lost and neither. So the chance of each verdict, and how many votes it takes, follow exactly by
dynamic programming over (won, lost) after each example, with no simulation: examples are taken as
independent, each decisive one won with the probability `share`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaln

from core.optimize.sequential import Rule

SHARES = (0.60, 0.65, 0.70)  # of people who would prefer the candidate: what is told before a start


@dataclass(frozen=True)
class Power:
    """With `examples` to vote on, when `share` of the decisive ones go to the candidate: the
    chances (0 to 1) that it passes (`better`), that the champion does (`worse`), and the mean number
    of examples voted on until a verdict, or until there are no more."""

    share: float
    examples: int
    better: float
    worse: float
    votes: float


@lru_cache(maxsize=256)
def power(share: float, examples: int, ties: float = 0.0, rule: Rule | None = None) -> Power:
    """`ties`: the share of examples that prefer neither. Looked at after every example."""
    rule = rule or Rule()
    last = min(examples, rule.maximum)
    won, lost = np.indices((rule.maximum + 1, rule.maximum + 1))
    capital = _log_capital(won, lost)
    clear = capital >= rule.enough  # [won, lost]: the candidate has passed; transposed: the champion
    alive = np.zeros(capital.shape)  # the probability of being there, without a verdict so far
    alive[0, 0] = 1.0
    better = worse = votes = 0.0
    for n in range(1, last + 1):
        after = ties * alive
        after[1:] += (1 - ties) * share * alive[:-1]
        after[:, 1:] += (1 - ties) * (1 - share) * alive[:, :-1]
        votes += alive.sum()
        alive = after
        if n < rule.minimum:
            continue
        better += alive[clear].sum()
        worse += alive[clear.T].sum()
        alive[clear | clear.T] = 0.0
        # Futile: not even winning all that are left, or losing all of them, would be clear.
        left = rule.maximum - n
        hope = np.zeros_like(clear)
        hope[: left * -1 or None] = clear[left:]
        hope |= hope.T
        alive[~hope] = 0.0
    return Power(share, last, float(better), float(worse), float(votes))


def _log_capital(won: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The logarithm of the capital against one half, in its closed form (`core.optimize.sequential`)."""
    grown: np.ndarray = (
        (won + lost + 1) * np.log(2)
        + betaln(won + 1.0, lost + 1.0)
        + np.log(np.maximum(betainc(lost + 1.0, won + 1.0, 0.5), 1e-300))
    )
    return grown
