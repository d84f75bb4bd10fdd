"""Selection strategies: the ratings they start from, and what each puts first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.annotation.ratings import bradley_terry
from core.annotation.selection import PRIOR_SD, STRATEGIES, OpenPairs, choose, standing

RNG = np.random.default_rng


def wins_of(k: int, p: np.ndarray, n: float) -> np.ndarray:
    wins = n * p
    np.fill_diagonal(wins, 0)
    return wins


def test_with_many_votes_the_prior_does_not_matter():
    t = np.array([0.8, 0.1, -0.9])
    p = 1 / (1 + np.exp(t[None, :] - t[:, None]))
    now = standing(wins_of(3, p, 4000))
    assert now.t - now.t.mean() == pytest.approx(t - t.mean(), abs=0.005)
    assert now.p == pytest.approx(p, abs=0.002)
    # ... and the same as the leaderboard's, which has none.
    a, b = np.triu_indices(3, 1)
    wins = wins_of(3, p, 4000)
    board = bradley_terry(a, b, np.column_stack([wins[a, b], wins[b, a], np.zeros(3)]), 3)
    assert 1000 + 400 / np.log(10) * (now.t - now.t.mean()) == pytest.approx(board.rating, abs=1)


def test_without_votes_every_difference_has_the_priors_variance():
    now = standing(np.zeros((4, 4)))
    assert now.t == pytest.approx(np.zeros(4))
    assert now.spread[0, 1] == pytest.approx(2 * PRIOR_SD**2)
    assert now.p == pytest.approx(np.full((4, 4), 0.5))


def test_the_variance_of_two_prompts_is_the_inverse_information():
    """Two prompts, 50 wins each: information n p (1 - p) = 25 on the difference, and the
    prior's 1 / (2 sd^2)."""
    now = standing(np.array([[0, 50.0], [50, 0]]))
    assert now.spread[0, 1] == pytest.approx(1 / (25 + 1 / (2 * PRIOR_SD**2)), rel=1e-6)


def first(strategy: str, now, pairs: OpenPairs, champion: int | None = None, draws: int = 400) -> np.ndarray:
    """How often each open pair is drawn first."""
    found = [choose(strategy, pairs, now, 1, RNG(seed), champion)[0] for seed in range(draws)]
    return np.bincount(found, minlength=len(pairs.a)) / draws


PAIRS = OpenPairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0, 2, 0]))


def test_fewest_votes_and_random():
    now = standing(np.zeros((3, 3)))
    assert first("fewest_votes", now, PAIRS)[1] == 0
    assert first("random", now, PAIRS) == pytest.approx(np.full(3, 1 / 3), abs=0.1)


def test_information_goes_where_two_prompts_met_least():
    wins = np.array([[0, 50.0, 1], [50, 0, 1], [1, 1, 0]])
    share = first("information", standing(wins), PAIRS)
    assert share[0] < 0.02 and share[1] == pytest.approx(share[2], abs=0.12)


def test_information_is_the_fall_of_the_standard_error():
    wins = np.array([[0, 8.0], [8, 0]])
    weight = STRATEGIES["information"].weigh(standing(wins), None)
    assert weight[0, 1] == pytest.approx(np.sqrt(0.25 / 16) - np.sqrt(0.25 / 17))


def test_uncertain_ratings_ask_about_the_newcomer():
    wins = np.array([[0, 50.0, 0], [50, 0, 0], [0, 0, 0]])
    share = first("rating_uncertainty", standing(wins), PAIRS)
    assert share[0] < 0.02


def test_the_champions_pairs_come_first_and_then_the_others():
    order = choose("champion", PAIRS, standing(np.zeros((3, 3))), 3, RNG(0), champion=2)
    assert set(order[:2]) == {1, 2} and order[2] == 0


def test_many_pairs_of_the_same_two_prompts_share_their_weight():
    """100 pairs of 0 and 1, one of 0 and 2, nothing known: each two prompts are as likely."""
    pairs = OpenPairs(np.zeros(101, dtype=int), np.array([1] * 100 + [2]), np.zeros(101, dtype=int))
    assert first("information", standing(np.zeros((3, 3))), pairs)[100] == pytest.approx(0.5, abs=0.1)


@given(
    st.sampled_from(sorted(STRATEGIES)),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(0, 2**20),
    st.one_of(st.none(), st.integers(0, 4)),
)
def test_everything_chosen_is_open_and_nothing_twice(strategy, m, count, seed, champion):
    rng = RNG(seed)
    a = rng.integers(0, 4, m)
    pairs = OpenPairs(a, a + 1, rng.integers(0, 3, m))
    wins = rng.integers(0, 5, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    found = choose(strategy, pairs, standing(wins), count, rng, champion)
    assert len(found) == min(count, m) == len(set(found.tolist()))
    assert set(found.tolist()) <= set(range(m))


def test_nothing_open_is_nothing_chosen():
    none = OpenPairs(*(np.zeros(0, dtype=int) for _ in range(3)))
    assert len(choose("information", none, standing(np.zeros((2, 2))), 5, RNG(0))) == 0
