"""The sequential test: its capital in closed form, its risk however often one looks, its ends."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc, betaln

from core.optimize.sequential import Rule, interval, judge, log_capital


def closed(won, lost):
    """The capital against one half, by the incomplete beta function (vectorised)."""
    return (won + lost + 1) * log(2) + betaln(won + 1, lost + 1) + np.log(betainc(lost + 1, won + 1, 0.5))


def exact(won: int, lost: int) -> Fraction:
    """The same by expanding the polynomial in u, in whole numbers."""
    coefficients = [0] * (won + lost + 1)
    for i in range(won + 1):
        for j in range(lost + 1):
            coefficients[i + j] += comb(won, i) * comb(lost, j) * (-1) ** j
    return sum((Fraction(c, power + 1) for power, c in enumerate(coefficients)), Fraction(0))


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (0, 5), (17, 3), (66, 34), (124, 76)])
def test_the_capital_is_the_integral_done_exactly(won, lost):
    values = [1.0] * won + [0.0] * lost
    assert log_capital(values, 0.5) == pytest.approx(log(exact(won, lost)), abs=1e-9)
    assert log_capital(values, 0.5) == pytest.approx(closed(won, lost), abs=1e-9)
    assert log_capital([*values, 0.5, 0.5], 0.5) == pytest.approx(log_capital(values, 0.5))


def test_the_boundary_is_where_the_closed_form_says():
    """Won of n that decide, the first time: 17 of 20, 30 of 40, 42 of 60, 66 of 100, 124 of 200."""
    for n, won in ((20, 17), (40, 30), (60, 42), (100, 66), (200, 124)):
        assert closed(won, n - won) >= log(40) > closed(won - 1, n - won + 1)
        ordered = [0.0] * (n - won) + [1.0] * won
        assert judge(ordered, Rule(minimum=n)).verdict == "better"
        assert judge([1 - value for value in ordered], Rule(minimum=n)).verdict == "worse"
        assert judge([0.0, *ordered[:-1]], Rule(minimum=n)).verdict in ("undecided", "futile")


def test_the_risk_of_a_wrong_verdict_holds_under_optional_stopping():
    """4,000 comparisons of equals, looked at after every example; by the closed form, as above."""
    rng = np.random.default_rng(11)
    for tied in (0.0, 0.3):
        drawn = rng.random((4_000, 200))
        neither = rng.random((4_000, 200)) < tied
        won = np.cumsum((drawn < 0.5) & ~neither, axis=1)
        lost = np.cumsum((drawn >= 0.5) & ~neither, axis=1)
        looked = slice(19, None)
        wrong = (closed(won, lost)[:, looked] >= log(40)) | (closed(lost, won)[:, looked] >= log(40))
        assert 0.005 < wrong.any(axis=1).mean() <= 0.05
    naive = (won[:, looked] - lost[:, looked]) ** 2 > 3.84 * (won + lost)[:, looked]
    assert naive.any(axis=1).mean() > 0.2  # what looking at every vote does to a fixed test


def test_it_finds_what_is_there():
    """Of comparisons where seven of ten prefer the candidate: nearly all pass, most before 70."""
    rng = np.random.default_rng(5)
    found = [judge((rng.random(200) < 0.7).astype(float).tolist()) for _ in range(60)]
    assert sum(item.verdict == "better" for item in found) >= 57
    assert np.median([item.decided_at for item in found]) < 70


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=60))
def test_the_interval_and_the_verdict_agree(values):
    low, high = interval(values)
    assert 0 <= low <= (np.mean(values) if values else 0.5) <= high <= 1
    mirrored = interval([1 - value for value in values])
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-5)
    if values:
        clear = log_capital(values, 0.5) >= log(40)
        assert (low >= 0.5 - 1e-6) == clear


def test_an_interval_of_its_own_reckoning():
    """30 of 40: the means on which the player for a larger one owns less than 20, by a fine grid."""
    grid = np.linspace(0.001, 0.999, 1_999)
    won, lost = 30, 10

    def owned(m, w, n):
        """m times the average over rates above m of their likelihood, against that of m."""
        tail = betainc(n - w + 1, w + 1, 1 - m) * np.exp(betaln(w + 1, n - w + 1))
        return tail / (m**w * (1 - m) ** (n - w))

    inside = grid[(owned(grid, won, 40) < 20) & (owned(1 - grid, lost, 40) < 20)]
    assert interval([1.0] * won + [0.0] * lost) == pytest.approx((inside[0], inside[-1]), abs=2e-3)


def test_ends():
    assert judge([1.0] * 19).verdict == "undecided" and judge([1.0] * 19).needed == 1
    passed = judge([1.0] * 20 + [0.0] * 30)  # what came in later changes no verdict
    assert (passed.verdict, passed.decided_at, passed.n, passed.low < 0.5) == ("better", 20, 50, True)
    even = judge([1.0, 0.0] * 100)
    assert even.verdict == "futile" and even.decided_at < 200
    left = 200 - even.decided_at
    assert closed(even.decided_at // 2 + left, even.decided_at // 2) < log(40)
    ties = judge([0.5] * 200)
    assert ties.verdict == "futile" and (ties.won, ties.even, ties.lost, ties.share) == (0, 200, 0, 0.5)
    nothing = judge([])
    assert (nothing.share, nothing.low, nothing.high, nothing.needed) == (None, 0.0, 1.0, 20)
