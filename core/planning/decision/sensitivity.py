"""How sure a ranking is of its weights: how far each weight can move before another
alternative wins, and how often each wins when the weights are drawn at random.

When one weight moves, the others keep their proportions to each other (Triantaphyllou and
Sánchez 1997, Decision Sciences 28:151-194, for the weighted sum).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.planning.decision.ranking import closeness, shares, weighted_sum

Method = Literal["weighted sum", "topsis"]
AROUND = 40.0  # of the Dirichlet: a weight of 20 % then has a standard deviation of 6 points
DRAWS = 4_000
_GRID = 401


@dataclass(frozen=True)
class Room:
    """One weight's share today, and the nearest shares below and above it at which another
    alternative takes the lead (None: none does, down to 0 or up to 1)."""

    factor: int
    share: float
    down: float | None
    down_winner: int | None
    up: float | None
    up_winner: int | None

    @property
    def slack(self) -> float:
        """The smallest move that changes the winner; 1 when none does."""
        moves = [abs(self.share - end) for end in (self.down, self.up) if end is not None]
        return min(moves, default=1.0)


@dataclass(frozen=True)
class Draws:
    """Over random weights: (m,) share of draws that each alternative wins, a tie shared,
    and the 5 % and 95 % points of its value."""

    wins: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int


def moved(weights: np.ndarray, factor: int, share: np.ndarray) -> np.ndarray:
    """(k, n) weights in which `factor` has each share of `share` (k,). Where it had all
    the weight, the others get equal parts of what it gives up."""
    w = shares(weights)
    rest = 1 - w[factor]
    others = w / rest if rest > 1e-12 else np.full(len(w), 1 / max(1, len(w) - 1))
    rows = np.outer(1 - share, others)
    rows[:, factor] = share
    return rows


def rooms(scores: np.ndarray, weights: np.ndarray, method: Method = "weighted sum") -> list[Room]:
    """A room for each factor: in closed form for the weighted sum, by a search for TOPSIS."""
    scores = np.asarray(scores, dtype=float)
    w = shares(weights)
    if len(w) == 1:  # it has all the weight whatever happens
        return [Room(0, 1.0, None, None, None, None)]
    find = _linear if method == "weighted sum" else _searched
    return [find(scores, w, factor) for factor in range(len(w))]


def _linear(scores: np.ndarray, w: np.ndarray, factor: int) -> Room:
    """Each alternative's value is a line in the share t: t s + (1 - t) R, with R the
    others' weighted sum. The leader's line meets another's at one t at most."""
    rest = weighted_sum(scores, moved(w, factor, np.zeros(1)))[0]  # R, (m,)
    here, leader = w[factor], int(np.argmax(np.round(weighted_sum(scores, w), 12)))
    lead = rest[leader] - rest  # (m,) at t = 0
    slope = (scores[leader, factor] - scores[:, factor]) - lead
    down: tuple[float, int] | None = None
    up: tuple[float, int] | None = None
    for other in range(len(scores)):
        if other == leader or abs(slope[other]) < 1e-12:
            continue
        t = float(-lead[other] / slope[other])
        if slope[other] > 0 and 0 <= t <= here + 1e-12 and t > 1e-12:
            t = min(t, here)
            down = (t, other) if down is None or t > down[0] else down
        if slope[other] < 0 and here - 1e-12 <= t < 1 - 1e-12:
            t = max(t, here)
            up = (t, other) if up is None or t < up[0] else up
    return Room(factor, float(here), *(down or (None, None)), *(up or (None, None)))


def _searched(scores: np.ndarray, w: np.ndarray, factor: int) -> Room:
    """A grid finds the nearest share with another winner, bisection the place."""
    here = float(w[factor])

    def winner(share: float) -> int:
        return int(np.argmax(np.round(closeness(scores, moved(w, factor, np.array([share])))[0], 12)))

    leader = winner(here)

    def towards(end: float) -> tuple[float | None, int | None]:
        grid = np.linspace(here, end, _GRID)
        won = np.argmax(np.round(closeness(scores, moved(w, factor, grid)), 12), axis=1)
        changed = np.flatnonzero(won != leader)
        # At the very end a tie of what has no weight left says nothing of the way there.
        if not len(changed) or (changed[0] == _GRID - 1 and end in (0.0, 1.0)):
            return None, None
        inside, outside = float(grid[max(0, changed[0] - 1)]), float(grid[changed[0]])
        for _ in range(40):
            middle = (inside + outside) / 2
            if winner(middle) == leader:
                inside = middle
            else:
                outside = middle
        return outside, winner(outside)

    return Room(factor, here, *towards(0.0), *towards(1.0))


def draw(
    scores: np.ndarray, weights: np.ndarray | None, method: Method = "weighted sum", n: int = DRAWS
) -> Draws:
    """Weights from a Dirichlet distribution: around these (concentration `AROUND`; one of
    zero stays zero), or, without weights, any at all, each as likely (concentration 1 each).
    Seeded: the same input gives the same answer."""
    scores = np.asarray(scores, dtype=float)
    rng = np.random.default_rng(20)
    drawn = np.zeros((n, scores.shape[1]))
    if weights is None:
        drawn[:] = rng.dirichlet(np.ones(scores.shape[1]), n)
    else:
        w = shares(weights)
        some = w > 0
        drawn[:, some] = rng.dirichlet(AROUND * w[some], n)
    value: Callable[[np.ndarray, np.ndarray], np.ndarray] = (
        weighted_sum if method == "weighted sum" else closeness
    )
    values = value(scores, drawn)  # (n, m)
    best = values >= values.max(1, keepdims=True) - 1e-12
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    return Draws((best / best.sum(1, keepdims=True)).mean(0), low, high, n)
