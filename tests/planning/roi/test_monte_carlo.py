import time

import numpy as np
import pytest
from scipy.special import ndtr

from core.planning.quantity import Quantity, between, fixed
from core.planning.roi.cashflow import cash_flow, discount_factors, reach
from core.planning.roi.model import Scenario, quantities
from core.planning.roi.monte_carlo import BANDS, draw, quantiles_by_month, simulate, swings
from core.planning.roi.quantiles import quantile
from tests.planning.roi.test_cashflow import three_months

QUANTITIES = [
    Quantity(value=3, kind="normal", low=1, high=5),
    Quantity(value=3, kind="lognormal", low=1, high=9),
    Quantity(value=3, kind="triangular", low=1, high=9),
    Quantity(value=1, kind="triangular", low=1, high=9),
    Quantity(value=0, kind="uniform", low=-2, high=2),
    Quantity(value=0.3, kind="beta", low=0.2, high=0.41),
    fixed(7),
]


def value_of_a_point(scenario):
    """Net present value is this, times the uplift, less the present cost."""
    one = {path: np.array([item.value]) for path, item in quantities(scenario).items()}
    return (reach(scenario, one) @ discount_factors(scenario.discount_rate, scenario.horizon_months)).item()


def test_a_normal_uplift_makes_a_normal_npv():
    """Closed form: mean A m - C, sd A s, and the chance of a loss by the normal's cdf."""
    scenario = three_months(uplift=Quantity(value=0.05, kind="normal", low=-0.05, high=0.15))
    a, sd = value_of_a_point(scenario), scenario.uplift.standard_deviation()
    mean = cash_flow(scenario).npv
    found = simulate(scenario, 200_000)
    assert found.mean_npv == pytest.approx(mean, abs=4 * a * sd / 200_000**0.5)
    assert found.sd_npv == pytest.approx(a * sd, rel=0.01)
    assert found.p_loss == pytest.approx(ndtr(-mean / (a * sd)), abs=0.005)
    assert found.npv_at(0.1) == pytest.approx(mean - 1.2816 * a * sd, abs=0.02 * a * sd)
    assert found.npv_at(0.9) == pytest.approx(mean + 1.2816 * a * sd, abs=0.02 * a * sd)
    assert found.slope == pytest.approx(a) and found.slope * 0.05 - found.intercept == pytest.approx(mean)


def test_a_product_of_two_normals():
    """Uplift times value: mean m1 m2, variance m1² s2² + m2² s1² + s1² s2² (Goodman 1960)."""
    u = Quantity(value=0.10, kind="normal", low=0.04, high=0.16)
    v = Quantity(value=2, kind="normal", low=1, high=3)
    scenario = three_months(uplift=u, value_per_success=v)
    per = value_of_a_point(scenario) / 2
    s1, s2 = u.standard_deviation(), v.standard_deviation()
    variance = (0.1 * s2) ** 2 + (2 * s1) ** 2 + (s1 * s2) ** 2
    found = simulate(scenario, 200_000)
    assert found.sd_npv == pytest.approx(per * variance**0.5, rel=0.01)
    assert found.mean_npv == pytest.approx(cash_flow(scenario).npv, rel=0.02)


def test_without_ranges_every_future_is_the_plan():
    scenario = three_months()
    found, plan = simulate(scenario, 50), cash_flow(scenario)
    assert found.npv == pytest.approx(np.full(50, plan.npv))
    assert found.fan == pytest.approx(np.tile(plan.cumulative, (len(BANDS), 1)))
    assert found.payback_at(0.8) == plan.payback and found.p_loss == 0
    assert swings(scenario) == []


def test_without_uplift_it_surely_loses():
    found = simulate(three_months(uplift=0), 200)
    assert found.p_loss == 1 and found.p_payback == 0 and found.payback_at(0.8) is None


def test_the_same_seed_the_same_futures_and_a_changed_input_leaves_the_others_alone():
    before, after = Scenario(), Scenario(value_per_success=between(1, 5, 9))
    assert simulate(before, 500).npv == pytest.approx(simulate(before, 500).npv)
    a, b = draw(before, 500), draw(after, 500)
    assert np.array_equal(a["interactions_per_month"], b["interactions_per_month"])
    assert not np.array_equal(a["value_per_success"], b["value_per_success"])
    assert not np.array_equal(draw(before, 500, seed=1)["uplift"], a["uplift"])


def test_draws_keep_to_what_an_input_can_be():
    wide = Quantity(value=100, kind="normal", low=0, high=200)
    rate = Quantity(value=0.9, kind="normal", low=0.8, high=1.0)
    draws = draw(Scenario(interactions_per_month=wide, full_adoption=rate), 5000)
    assert draws["interactions_per_month"].min() == 0
    assert draws["full_adoption"].max() == 1


def test_quantiles_by_month_are_numpys():
    values = np.random.default_rng(0).normal(size=(1001, 7))
    assert quantiles_by_month(values) == pytest.approx(np.quantile(values, BANDS, axis=0))


@pytest.mark.parametrize("item", QUANTITIES, ids=lambda item: f"{item.kind} {item.value}")
def test_quantiles_of_inputs_are_those_of_their_draws(item):
    draws = item.sample(np.random.default_rng(4), 200_000)
    for p in (0.1, 0.9):
        assert quantile(item, p) == pytest.approx(np.quantile(draws, p), rel=0.02, abs=0.02)


def test_the_tornado_moves_one_input_at_a_time():
    scenario = three_months(
        uplift=Quantity(value=0.05, kind="normal", low=-0.05, high=0.15), hourly_rate=between(30, 36, 42)
    )
    found = swings(scenario)
    assert [item.path for item in found] == ["uplift", "hourly_rate"]  # the widest first
    first = found[0]
    assert first.at_p10 == pytest.approx(0.05 - 1.28155 * scenario.uplift.standard_deviation(), rel=1e-4)
    moved = three_months(uplift=first.at_p90)
    assert first.outcome_p90 == pytest.approx(cash_flow(moved).npv)
    assert found[1].outcome_p10 > found[1].outcome_p90  # dearer labels, less return


def test_an_input_that_takes_no_part_is_not_in_the_tornado():
    paths = {item.path for item in swings(Scenario(uplift_source="win_rate"))}
    assert "win_rate" in paths and "conversion" in paths
    assert not paths & {"uplift", "experiment", "cost_per_call", "people_factor"}


def test_ten_thousand_futures_in_150_ms():
    scenario = Scenario(horizon_months=60)
    simulate(scenario)
    times = []
    for _ in range(5):
        start = time.thread_time()  # what this takes, not what a busy machine makes of it
        simulate(scenario)
        times.append(time.thread_time() - start)
    assert min(times) < 0.15
