"""TOPSIS on a published example and against a computation of its own; how rankings hang on
their weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.errors import Invalid
from core.planning.decision.ranking import closeness, order, shares, topsis, weighted_sum
from core.planning.decision.sensitivity import draw, moved, rooms

# Selecting a fighter aircraft: Hwang and Yoon (1981), Multiple Attribute Decision Making,
# p. 29 (the matrix, its fuzzy attributes on a scale of 1 to 9) and p. 133 (closeness).
# Speed, range, payload, cost (less is better), reliability, manoeuvrability.
AIRCRAFT = np.array(
    [
        [2.0, 1500, 20000, 5.5, 5, 9],
        [2.5, 2700, 18000, 6.5, 3, 5],
        [1.8, 2000, 21000, 4.5, 7, 7],
        [2.2, 1800, 20000, 5.0, 5, 5],
    ]
)
WEIGHTS = np.array([0.2, 0.1, 0.1, 0.1, 0.2, 0.3])
BENEFIT = np.array([True, True, True, False, True, True])

matrices = arrays(
    float, st.tuples(st.integers(2, 6), st.integers(1, 5)), elements=st.integers(0, 20).map(lambda x: x / 2)
)


def by_hand(matrix, weights, benefit):
    """The six steps of TOPSIS, one after the other."""
    length = [sum(x * x for x in column) ** 0.5 for column in matrix.T]
    v = [[w * x / n if n else 0.0 for x, w, n in zip(row, weights, length, strict=True)] for row in matrix]
    columns = list(zip(*v, strict=True))
    best = [max(c) if good else min(c) for c, good in zip(columns, benefit, strict=True)]
    worst = [min(c) if good else max(c) for c, good in zip(columns, benefit, strict=True)]
    far = [
        [sum((x - y) ** 2 for x, y in zip(row, end, strict=True)) ** 0.5 for end in (best, worst)]
        for row in v
    ]
    return [
        to_worst / (to_best + to_worst) if to_best + to_worst > 1e-12 else 0.5 for to_best, to_worst in far
    ]


def test_the_fighter_aircraft():
    found = topsis(AIRCRAFT, WEIGHTS, BENEFIT)
    assert found == pytest.approx([0.643, 0.268, 0.613, 0.312], abs=6e-4)
    assert order(found) == [0, 2, 3, 1]
    assert found == pytest.approx(by_hand(AIRCRAFT, WEIGHTS, BENEFIT))


@settings(max_examples=60, deadline=None)
@given(matrices, st.data())
def test_topsis_is_what_its_steps_say(scores, data):
    n = scores.shape[1]
    weights = np.array(
        data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n).filter(any)), dtype=float
    )
    found = topsis(scores, weights)
    assert found == pytest.approx(by_hand(scores, shares(weights), [True] * n), abs=1e-9)
    assert found == pytest.approx(closeness(scores, shares(weights))[0], abs=1e-9)
    assert ((found >= -1e-12) & (found <= 1 + 1e-12)).all()


def test_weights_are_shares_and_not_all_zero():
    assert shares(np.array([1, 3])) == pytest.approx([0.25, 0.75])
    with pytest.raises(Invalid, match="above zero"):
        shares(np.zeros(3))
    with pytest.raises(Invalid, match="negative"):
        shares(np.array([1, -1]))


def test_when_all_are_alike_nobody_wins():
    assert topsis(np.full((3, 2), 4.0), np.array([1, 1])) == pytest.approx([0.5] * 3)
    assert draw(np.full((2, 2), 4.0), np.array([1.0, 1])).wins == pytest.approx([0.5, 0.5])


def test_how_far_a_weight_moves_in_closed_form():
    """Two factors: A = 8 w, B = 6 (1 - w), with scores (8, 0) and (0, 6): they tie at
    w = 6 / 14."""
    first, second = rooms(np.array([[8.0, 0], [0, 6]]), np.array([0.5, 0.5]))
    assert (first.down, first.down_winner, first.up) == (pytest.approx(6 / 14), 1, None)
    assert (second.up, second.up_winner, second.down) == (pytest.approx(8 / 14), 1, None)
    assert first.slack == pytest.approx(0.5 - 6 / 14)


@settings(max_examples=60, deadline=None)
@given(matrices, st.data(), st.sampled_from(["weighted sum", "topsis"]))
def test_the_winner_stays_within_the_room_and_changes_beyond(scores, data, method):
    n = scores.shape[1]
    weights = shares(np.array(data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n)), dtype=float))
    value = weighted_sum if method == "weighted sum" else closeness

    def values(factor, share):
        return np.atleast_2d(value(scores, moved(weights, factor, np.array([share]))))[0]

    leader = order(values(0, weights[0]))[0]
    for room in rooms(scores, weights, method):
        low, high = room.down or 0.0, 1.0 if room.up is None else room.up
        for share in np.linspace(low, high, 9)[1:-1]:
            now = values(room.factor, share)
            assert now[leader] >= now.max() - 1e-6
        for end, winner, beyond in ((room.down, room.down_winner, -1), (room.up, room.up_winner, 1)):
            if end is not None:
                now = values(room.factor, end)
                assert now[winner] == pytest.approx(now.max(), abs=1e-6)
                past = end + beyond * 1e-4
                if 0 <= past <= 1 and method == "weighted sum":
                    then = values(room.factor, past)
                    assert (
                        then[leader] <= then.max() + 1e-12 and order(then)[0] != leader
                    ) or then.max() - then[leader] < 1e-3


def test_shares_of_draws_have_a_closed_form_for_two_factors():
    """A wins when its weight w is above 6 / 14; any weights at all: w is uniform."""
    scores = np.array([[8.0, 0], [0, 6]])
    anywhere = draw(scores, None, n=40_000)
    assert anywhere.wins == pytest.approx([8 / 14, 6 / 14], abs=0.01)
    assert anywhere.wins.sum() == pytest.approx(1)
    near = draw(scores, np.array([0.5, 0.5]), n=40_000)
    # Beta(20, 20) above 6 / 14.
    from scipy.special import betainc

    assert near.wins[0] == pytest.approx(1 - betainc(20, 20, 6 / 14), abs=0.01)


def test_a_weight_of_zero_stays_zero_in_draws():
    found = draw(np.array([[1.0, 0, 9], [2, 9, 0]]), np.array([1.0, 0, 0]))
    assert found.wins == pytest.approx([0, 1])
    assert (found.low[1], found.high[1]) == pytest.approx((2, 2))
