"""Which option fits best: the weighted sum of the scores, the cost among them.

The cost becomes a score by a stated rule: 10 · lowest / own, of the median discounted costs
(the relative scoring of prices that is common in tenders). Twice the lowest cost is worth 5.
"""

from dataclasses import dataclass

import numpy as np

from core.planning.decision.ranking import shares, weighted_sum
from core.planning.decision.sensitivity import Draws, Room, draw, rooms
from core.planning.sourcing.model import COST, Sourcing
from core.planning.sourcing.tco import Tco

RULE = "10 × lowest cost / own cost, of the median discounted costs"


@dataclass(frozen=True)
class Ranking:
    """`scores` (m, k) and `weights` (k,) with the cost as the last factor; `weights` are
    shares. `order`: best first, as places of options. `rooms`: how far each weight can move;
    `draws`: wins over weights drawn around these; `wins`: over the draws of the cost."""

    keys: list[str]
    names: list[str]
    scores: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    order: list[int]
    rooms: list[Room]
    draws: Draws
    wins: np.ndarray

    @property
    def winner(self) -> int:
        return self.order[0]

    @property
    def contributions(self) -> np.ndarray:
        """(m, k) parts of the totals."""
        return self.scores * self.weights[None, :]


def cost_scores(costs: np.ndarray) -> np.ndarray:
    """(m, ...) costs to scores by the rule; where the lowest is 0, it has 10 and others 0."""
    costs = np.asarray(costs, dtype=float)
    lowest = costs.min(axis=0)
    score = np.divide(10 * lowest, costs, out=np.zeros_like(costs), where=costs > 0)
    return np.where(costs <= 0, 10.0, score)


def rank(plan: Sourcing, costs: Tco) -> Ranking:
    medians = np.array([option.discounted.p50 for option in costs.options])
    said = np.array(
        [[plan.score(option, factor).value for factor in plan.factors] for option in plan.options]
    ).reshape(len(plan.options), len(plan.factors))
    scores = np.column_stack([said, cost_scores(medians)])
    weights = shares(np.array([*(factor.weight for factor in plan.factors), plan.cost_weight]))
    totals = weighted_sum(scores, weights)
    order = sorted(range(len(totals)), key=lambda i: -round(float(totals[i]), 12))
    by_draw = cost_scores(np.stack([option.draws for option in costs.options])) * weights[-1]  # (m, n)
    by_draw += (said @ weights[:-1])[:, None]
    best = by_draw >= by_draw.max(axis=0) - 1e-12
    return Ranking(
        [*(factor.key for factor in plan.factors), COST],
        [*(factor.name for factor in plan.factors), f"{plan.years}-year cost"],
        scores,
        weights,
        totals,
        order,
        rooms(scores, weights),
        draw(scores, weights),
        (best / best.sum(axis=0)).mean(axis=1),
    )
