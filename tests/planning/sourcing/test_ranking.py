import numpy as np
import pytest

from core.planning.quantity import fixed
from core.planning.sourcing.model import CostLine, Factor, Option, Score, Sourcing
from core.planning.sourcing.ranking import cost_scores, rank
from core.planning.sourcing.tco import total_cost


def plan(cost_weight=0.0):
    """Two factors; Alpha is better by the first, Beta by the second, and dearer."""
    return Sourcing(
        factors=[Factor(key="a", name="A", weight=60), Factor(key="b", name="B", weight=40)],
        cost_weight=cost_weight,
        options=[
            Option(key="alpha", name="Alpha", scores={"a": Score(value=8), "b": Score(value=4)},
                   costs=[CostLine(name="Fee", amount=fixed(100))]),
            Option(key="beta", name="Beta", scores={"a": Score(value=5), "b": Score(value=7)},
                   costs=[CostLine(name="Fee", amount=fixed(200))]),
        ],
    )  # fmt: skip


def found(values):
    return rank(values, total_cost(values))


def test_the_weighted_sum():
    ranking = found(plan())
    assert ranking.totals == pytest.approx([0.6 * 8 + 0.4 * 4, 0.6 * 5 + 0.4 * 7])
    assert ranking.order == [0, 1]
    assert ranking.contributions.sum(axis=1) == pytest.approx(ranking.totals)


def test_the_cost_rule_is_lowest_over_own():
    assert cost_scores(np.array([100.0, 200, 400])).tolist() == [10, 5, 2.5]
    assert cost_scores(np.array([0.0, 50])).tolist() == [10, 0]
    ranking = found(plan(cost_weight=100))
    assert ranking.scores[:, -1] == pytest.approx([10, 5])
    assert ranking.totals == pytest.approx([(0.3 * 8 + 0.2 * 4 + 0.5 * 10), (0.3 * 5 + 0.2 * 7 + 0.5 * 5)])
    assert ranking.names[-1] == "3-year cost"


def test_how_far_a_weight_can_move():
    """8t + 4(1-t) = 5t + 7(1-t) at t = 1/2: below it, the other wins."""
    room = found(plan()).rooms[0]
    assert room.down == pytest.approx(0.5) and room.down_winner == 1
    assert room.up is None


def test_a_cost_that_nobody_knows_leaves_the_winner_open():
    values = plan(cost_weight=100)
    sure = found(values)
    assert sure.wins.tolist() == [1, 0]
    from core.planning.quantity import between

    values.options[0].costs[0].amount = between(10, 100, 2_000)
    open_ = found(values)
    assert 0.1 < open_.wins[0] < 0.9 and open_.wins.sum() == pytest.approx(1)
