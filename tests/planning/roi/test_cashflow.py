import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from core.planning.quantity import fixed
from core.planning.roi.cashflow import (
    adoption,
    best_case,
    break_even,
    cash_flow,
    discount_factors,
    monthly_rate,
    net_flows,
    payback_months,
    yearly_irr,
)
from core.planning.roi.model import Compute, Scenario


def yearly(*flows):
    """Flows at the end of each year, as monthly ones."""
    found = np.zeros(12 * (len(flows) - 1) + 1)
    found[::12] = flows
    return found


def three_months(**changes):
    """A case small enough to do by hand."""
    values = {
        "horizon_months": 3, "discount_rate": 1.01**12 - 1,
        "interactions_per_month": 1000, "monthly_growth": 0.1, "value_per_success": 2, "baseline_success": 0.5,
        "uplift": 0.1, "start_month": 2, "ramp_months": 0, "full_adoption": 1,
        "votes": 360, "labelling_months": 2, "seconds_per_vote": 10, "hourly_rate": 36,
        "searches_per_month": 3, "compute": [Compute(name="GPU", hours=fixed(2), price_per_hour=fixed(5))],
        "tokens_per_month": 1e6, "price_per_million": 4, "people_per_month": 50, "people_months": 1,
        "platform_once": 20, "platform_yearly": 12, "integration_once": 80, "integration_yearly": 24,
    }  # fmt: skip
    return Scenario.model_validate({**values, **changes})


# Brealey, Myers and Allen, Principles of Corporate Finance, ch. 5: projects A, B and C of the
# payback section, at 10 %, and the two projects of the section on the rate of return.
@pytest.mark.parametrize(
    ("flows", "npv", "years"),
    [((-2000, 500, 500, 5000), 2624, 3), ((-2000, 500, 1800, 0), -58, 2), ((-2000, 1800, 500, 0), 50, 2)],
)
def test_textbook_npv_and_payback(flows, npv, years):
    monthly = yearly(*flows)
    assert monthly @ discount_factors(0.10, 36) == pytest.approx(npv, abs=0.5)
    assert payback_months(np.cumsum(monthly)[None, :])[0] == 12 * years


def test_textbook_irr():
    rate, why = yearly_irr(yearly(-4000, 2000, 4000))
    assert (rate, why) == (pytest.approx(0.2808, abs=5e-5), "")


@pytest.mark.parametrize(
    ("flows", "why"),
    [
        ((-4000, 25000, -25000), "changes sign 2 times"),  # the textbook's: 25 % and 400 %
        ((-100, -5, -5), "never changes sign"),
        ((0, 0, 0), "never changes sign"),
    ],
)
def test_where_there_is_no_rate_of_return_the_reason_is_given(flows, why):
    rate, said = yearly_irr(yearly(*flows))
    assert rate is None and why in said


def test_three_months_by_hand():
    found = cash_flow(three_months())
    assert found.benefit == pytest.approx([0, 0, 220, 242])
    assert {line: flow.tolist() for line, flow in found.costs.items()} == {
        "Labels": [0, 18, 18, 0],
        "Compute": [0, 30, 30, 30],
        "Model calls": [0, 4, 4, 4],
        "People": [0, 50, 0, 0],
        "Platform": [20, 1, 1, 1],
        "Integration": [80, 2, 2, 2],
    }
    assert found.net == pytest.approx([-100, -105, 165, 205])
    assert found.cumulative == pytest.approx([-100, -205, -40, 165])
    assert found.npv == pytest.approx(-100 - 105 / 1.01 + 165 / 1.01**2 + 205 / 1.01**3)
    assert (found.net_benefit, found.total_cost) == (pytest.approx(165), pytest.approx(297))
    assert found.roi == pytest.approx(165 / 297)
    assert (found.payback, found.discounted_payback) == (3, 3)
    present = found.net @ discount_factors(found.irr, 3)
    assert present == pytest.approx(0, abs=1e-6)


def test_rows_add_up():
    found = cash_flow(Scenario(horizon_months=30))
    rows, years = found.rows(), found.yearly_rows()
    assert [row["Period"] for row in years] == ["Start", "Year 1", "Year 2", "Year 3 (6 months)"]
    for name in ("Benefit", "People", "Net"):
        assert sum(row[name] for row in years) == pytest.approx(sum(row[name] for row in rows))
    assert years[-1]["Cumulative"] == pytest.approx(found.net_benefit)
    for row in rows:
        assert row["Net"] == pytest.approx(row["Benefit"] + sum(row[line] for line in found.costs))


def test_without_uplift_everything_is_lost():
    found = cash_flow(three_months(uplift=0))
    assert found.net_benefit == pytest.approx(-297) and found.roi == -1
    assert found.payback is None and found.irr is None
    assert found.break_even.uplift > 0


def test_without_cost_there_is_nothing_to_return_on():
    nothing = dict.fromkeys(("votes", "searches_per_month", "tokens_per_month", "people_per_month", "platform_once", "platform_yearly", "integration_once", "integration_yearly"), 0)  # fmt: skip
    found = cash_flow(three_months(**nothing))
    assert found.roi is None and found.payback == 0 and found.irr is None


def test_the_uplift_comes_from_where_the_scenario_says():
    assert cash_flow(three_months(uplift_source="win_rate", win_rate=0.6, conversion=0.25)).uplift == (
        pytest.approx(0.05)
    )
    assert cash_flow(three_months(uplift_source="experiment", experiment=0.03)).uplift == pytest.approx(0.03)
    # No more can be gained than is missing, nor lost than is there.
    assert cash_flow(three_months(baseline_success=0.95)).uplift == pytest.approx(0.05)
    assert cash_flow(three_months(uplift=-0.9)).uplift == pytest.approx(-0.5)


def test_people_from_the_team_plan():
    found = cash_flow(three_months(people_source="team", people_team=[10, 20], people_factor=1.5))
    assert found.costs["People"].tolist() == [0, 15, 30, 0]
    longer = cash_flow(three_months(people_source="team", people_team=[10] * 9, people_factor=1))
    assert longer.costs["People"].tolist() == [0, 10, 10, 10]


def test_calls_and_votes_by_the_month():
    found = cash_flow(three_months(calls_basis="calls", calls_per_month=50, cost_per_call=0.02))
    assert found.costs["Model calls"].tolist() == [0, 1, 1, 1]
    assert cash_flow(three_months(votes_per="month")).costs["Labels"].tolist() == [0, 36, 36, 36]


def test_the_ramp_is_the_mean_of_each_month():
    share = adoption(np.array([1.0, 2.0, 1.5]), np.array([2.0, 0.0, 0.0]), 4)
    assert share[0] == pytest.approx([0.25, 0.75, 1, 1])
    assert share[1] == pytest.approx([0, 1, 1, 1])
    assert share[2] == pytest.approx([0.5, 1, 1, 1], abs=1e-6)


@given(st.floats(1, 30), st.floats(0, 30))
def test_adoption_never_falls_nor_leaves_0_to_1(start, ramp):
    share = adoption(np.array([start]), np.array([ramp]), 36)[0]
    assert share.min() >= -1e-9 and share.max() <= 1 + 1e-9
    assert np.all(np.diff(share) >= -1e-9)


def test_break_even_is_the_root():
    scenario = three_months()

    def npv(uplift):
        draws = best_case(scenario) | {"uplift": np.array([uplift])}
        return (net_flows(scenario, draws) @ discount_factors(scenario.discount_rate, 3)).item()

    assert break_even(scenario).uplift == pytest.approx(brentq(npv, -0.4, 0.4), abs=1e-9)
    assert break_even(scenario).reachable
    dear = break_even(three_months(integration_once=10_000))
    assert dear.uplift > 0.5 and not dear.reachable
    assert break_even(three_months(value_per_success=0)).uplift is None
    by_votes = break_even(three_months(uplift_source="win_rate", win_rate=0.6, conversion=0.5))
    assert 0.5 * (2 * by_votes.win_rate - 1) == pytest.approx(by_votes.uplift)


@pytest.mark.parametrize(
    ("cumulative", "month"),
    [
        ([-5, -1, 0, 3], 2),
        ([-5, 1, -1, 3], 3),  # for good, not for a while
        ([-5, -4, -3, -1], np.inf),
        ([0, 1, 2, 3], 0),
    ],
)
def test_payback_is_for_good(cumulative, month):
    assert payback_months(np.array([cumulative], dtype=float))[0] == month


def test_twelve_months_make_a_year():
    assert (1 + monthly_rate(0.08)) ** 12 == pytest.approx(1.08)
