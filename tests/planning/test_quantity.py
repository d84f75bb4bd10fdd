import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.planning.quantity import Quantity, at_least, between, fixed

QUANTITIES = [
    Quantity(value=3, kind="normal", low=1, high=5),
    Quantity(value=3, kind="lognormal", low=1, high=9),
    Quantity(value=3, kind="triangular", low=1, high=9),
    Quantity(value=0, kind="uniform", low=-2, high=2),
    Quantity(value=0.3, kind="beta", low=0.2, high=0.41),
    fixed(7),
]


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda q: q.kind)
def test_draws_have_the_mean_and_spread_that_are_stated(quantity):
    draws = quantity.sample(np.random.default_rng(1), 200_000)
    assert draws.shape == (200_000,)
    assert draws.mean() == pytest.approx(quantity.mean(), abs=0.02)
    assert draws.std() == pytest.approx(quantity.standard_deviation(), rel=0.02, abs=1e-9)


def test_the_interval_of_a_normal_and_a_lognormal_is_95_percent():
    for quantity in QUANTITIES[:2]:
        draws = quantity.sample(np.random.default_rng(2), 200_000)
        low, high = np.quantile(draws, [0.025, 0.975])
        assert (low, high) == pytest.approx((quantity.low, quantity.high), rel=0.03)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.floats(0, 1))
def test_a_triangular_stays_within_its_ends(low, width, place):
    quantity = between(low, low + width * place, low + width)
    draws = quantity.sample(np.random.default_rng(0), 100)
    assert draws.min() >= low and draws.max() <= low + width


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"value": 1, "kind": "normal"}, "needs a low and a high end"),
        ({"value": 1, "kind": "triangular", "low": 2, "high": 3}, "within its range"),
        ({"value": 1, "kind": "uniform", "low": 3, "high": 3}, "below the high end"),
        ({"value": 1, "kind": "lognormal", "low": 0, "high": 3}, "above zero"),
        ({"value": 0.5, "kind": "beta", "low": 0.2, "high": 1.2}, "between 0 and 1"),
        ({"value": float("inf")}, "finite"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(ValidationError, match=said):
        Quantity.model_validate(values)


def test_a_field_can_bound_the_whole_range():
    assert at_least(between(1, 2, 3), 0).value == 2
    with pytest.raises(ValueError, match="below 0"):
        at_least(between(-1, 2, 3), 0)
    with pytest.raises(ValueError, match="above 1"):
        at_least(fixed(1.5), 0, 1)
