"""Intervals against published values and an independent implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.stats import clopper_pearson, wilson


def test_wilson_as_in_newcombe_1998():
    """Newcombe (1998), Statistics in Medicine 17:857, table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_both_agree_with_scipy(counts):
    k, n = counts
    reference = binomtest(k, n)
    exact = reference.proportion_ci(method="exact")
    assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high), abs=1e-9)
    score = reference.proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((score.low, score.high), abs=1e-6)


def test_without_data_nothing_is_known():
    assert wilson(0, 0) == clopper_pearson(0, 0) == (0.0, 1.0)


def test_an_interval_holds_its_share_at_the_ends():
    for n in range(1, 300):
        assert wilson(0, n)[0] == 0.0 and wilson(n, n)[1] == 1.0
