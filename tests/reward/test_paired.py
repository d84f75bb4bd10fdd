"""Paired comparisons against published tables, scipy, and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.reward import paired
from core.reward.paired import Table

# Bentur et al. 2009 and Cavo et al. 2012, as analysed by Fagerland, Lydersen and Laake
# (2013, BMC Med Res Methodol 13:91, table 5).
BENTUR = Table(both=1, second_only=7, first_only=1, neither=12)
CAVO = Table(both=59, second_only=16, first_only=6, neither=80)


@pytest.mark.parametrize("found, exact, mid", [(BENTUR, 0.0703, 0.0391), (CAVO, 0.0525, 0.0347)])
def test_mcnemar_as_published(found, exact, mid):
    b, c = found.second_only, found.first_only
    assert paired.mcnemar_exact(b, c) == pytest.approx(exact, abs=5e-5)
    assert paired.mcnemar_mid(b, c) == pytest.approx(mid, abs=5e-5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(b, c):
    exact = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert paired.mcnemar_exact(b, c) == pytest.approx(exact, rel=1e-9)
    assert 0 < paired.mcnemar_mid(b, c) <= paired.mcnemar_exact(b, c)
    assert paired.mcnemar_mid(b, c) == pytest.approx(paired.mcnemar_mid(c, b))


def test_newcombe_as_published():
    """The same data: .286 (.026 to .507), Fagerland, Lydersen and Laake 2014 (Stat Med 33:2850)."""
    low, high = paired.newcombe(BENTUR)
    assert (low, high) == (pytest.approx(0.026, abs=5e-4), pytest.approx(0.507, abs=5e-4))


@given(*[st.integers(0, 40)] * 4)
def test_newcombe_holds_the_difference_and_turns_with_the_models(a, b, c, d):
    found = Table(a, b, c, d)
    low, high = paired.newcombe(found)
    assert -1 <= low <= high <= 1
    if found.n:
        assert low - 1e-12 <= (b - c) / found.n <= high + 1e-12
    other = paired.newcombe(Table(a, c, b, d))
    assert other == (pytest.approx(-high), pytest.approx(-low))


def test_without_a_difference_and_without_pairs():
    none = np.array([])
    difference, p, found = paired.accuracy_difference(none, none, none.astype(int))
    assert (difference.n, difference.low, difference.high, p, found.n) == (0, -1.0, 1.0, 1.0, 0)
    same = np.array([1.0, 0.0, 1.0])
    difference, p, _ = paired.accuracy_difference(same, same, np.arange(3))
    assert difference.value == 0 and difference.low < 0 < difference.high
    assert p == 0.5  # mid-p of no discordant pair


def test_by_pairs_where_each_is_of_its_own_example_else_by_examples():
    rng = np.random.default_rng(1)
    first = (rng.random(300) < 0.6).astype(float)
    second = np.where(rng.random(300) < 0.7, first, (rng.random(300) < 0.75)).astype(float)
    alone, p_alone, found = paired.accuracy_difference(first, second, np.arange(300))
    assert (alone.low, alone.high) == paired.newcombe(found)
    assert p_alone == paired.mcnemar_mid(found.second_only, found.first_only)
    # Each example three times over says no more than once: the interval must not get narrower.
    thrice = np.repeat(np.arange(300), 3)
    many, p_many, _ = paired.accuracy_difference(np.repeat(first, 3), np.repeat(second, 3), thrice)
    assert many.clusters == 300 and many.n == 900
    assert many.high - many.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert p_many == pytest.approx(p_alone, abs=0.03)
    naive = paired.newcombe(paired.table(np.repeat(first, 3), np.repeat(second, 3)))
    assert naive[1] - naive[0] < 0.7 * (many.high - many.low)


def test_sign_flips_agree_with_mcnemar_on_single_pairs():
    first = np.array([1.0] * 6 + [0.0] * 16 + [1.0] * 20)
    second = np.array([0.0] * 6 + [1.0] * 16 + [1.0] * 20)
    assert paired.sign_flip(first, second, np.arange(42)) == pytest.approx(0.0347, abs=0.01)


def test_the_bootstrap_covers_the_truth_at_its_rate():
    """Pairs in clusters with a shared effect; the truth is a difference of .08."""
    rng = np.random.default_rng(7)
    inside, trials = 0, 200
    for _ in range(trials):
        place = np.repeat(np.arange(60), rng.integers(1, 5, 60))
        luck = rng.normal(0, 0.15, 60)[place]
        first = rng.normal(0.60, 0.3, len(place))
        second = rng.normal(0.68, 0.3, len(place)) + luck
        found = paired.mean_difference(first, second, place)
        inside += found.low <= 0.08 <= found.high
    assert 0.89 <= inside / trials <= 0.985
