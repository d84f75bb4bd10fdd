"""Style control: the plain ratings without style, and the truth with it."""

import numpy as np
import pytest
from scipy.special import expit

from core.annotation.ratings import SCALE, bradley_terry
from core.annotation.style import controlled, differences, features
from tests.annotation.test_figures import random_comparisons


def test_what_is_counted():
    text = "# One\n\n- a\n- **b**\n1. c\n\n```\n# no header\n- no item\n```\n"
    assert features(text) == (len(text), 1, 3, 1)
    assert features("a * b ** c __x__") == (16, 0, 0, 1)
    assert features("") == (0, 0, 0, 0)


def test_differences_change_sign_with_the_sides_and_have_unit_size():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(3, (200, 4)), rng.poisson(3, (200, 4))
    apart = differences(a, b)
    assert apart == pytest.approx(-differences(b, a)) and (apart**2).mean(0) == pytest.approx(np.ones(4))
    assert not differences(np.zeros((3, 4)), np.zeros((3, 4))).any()


def test_without_style_it_is_bradley_terry():
    _, a, b, counts = random_comparisons(1, rows=300)
    plain = bradley_terry(a, b, counts, 6)
    found = controlled(a, b, counts, np.zeros((300, 4)), 6)
    assert found.rating == pytest.approx(plain.rating, abs=0.05)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.01)
    assert not found.effect.any()


def test_length_that_is_liked_does_not_pass_for_quality():
    """Item 0 is no better, only longer, and people like length: plain it leads, held fixed
    it does not, and the effect of length is found. Over 40 draws, so does the interval."""
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a = rng.integers(0, 4, 1_200)
        b = (a + rng.integers(1, 4, 1_200)) % 4
        long = np.where(a == 0, 1.0, 0) - np.where(b == 0, 1.0, 0) + 0.7 * rng.normal(size=1_200)
        style = np.column_stack([long, rng.normal(size=1_200)])
        t = np.array([0.0, 0.4, -0.4, 0.0])
        won = rng.random(1_200) < expit(t[a] - t[b] + 0.8 * long)
        counts = np.column_stack([won, ~won, np.zeros(1_200)]).astype(int)
        found = controlled(a, b, counts, style, 4)
        truth = 1000 + SCALE * (t - t.mean())
        inside.append(np.append((found.low <= truth) & (truth <= found.high),
                                (found.effect_low <= [0.8, 0]) & (found.effect_high >= [0.8, 0])))  # fmt: skip
        assert bradley_terry(a, b, counts, 4).rating[0] > found.rating[0] + 40
    assert 0.90 <= np.mean(inside) <= 0.99
