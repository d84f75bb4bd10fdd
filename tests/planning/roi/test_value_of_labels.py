import numpy as np
import pytest
from scipy.integrate import quad

from core.planning.quantity import Quantity, between
from core.planning.roi.monte_carlo import simulate
from core.planning.roi.value_of_labels import (
    evpi_normal,
    evsi_beta_binomial,
    evsi_normal,
    knowledge,
    preposterior,
    unit_normal_loss,
    value_of_labels,
)
from tests.planning.roi.test_cashflow import three_months

VOTES = Quantity(value=0.53, kind="beta", low=0.48, high=0.58, n=380, origin="measured", source="votes")


def by_votes(**changes):
    values = {
        "uplift_source": "win_rate",
        "win_rate": VOTES,
        "conversion": 0.5,
        "interactions_per_month": 10_000,
    }
    return three_months(**{**values, **changes})


@pytest.mark.parametrize(
    ("distance", "loss"), [(0, 0.3989), (0.5, 0.1978), (1, 0.08332), (1.5, 0.02931), (2, 0.008491)]
)
def test_the_unit_normal_loss_table(distance, loss):
    """Raiffa and Schlaifer 1961, Applied Statistical Decision Theory, table II."""
    assert unit_normal_loss(distance) == pytest.approx(loss, rel=5e-4)


def test_unit_normal_loss_is_the_integral():
    for d in (-1.0, 0.3, 2.2):
        direct = quad(lambda z, d=d: (z - d) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), d, 12)[0]
        assert unit_normal_loss(d) == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize("mean", [0.02, 0.05, 0.09])
def test_the_closed_form_is_the_preposterior(mean):
    """Conjugate normal: what a sample would show, drawn and decided upon."""
    sd, noise, n, slope, intercept = 0.04, 0.5, 300, 1e6, 5e4
    rng = np.random.default_rng(0)
    true = rng.normal(mean, sd, 400_000)
    seen = rng.normal(true, noise / n**0.5)
    after = mean + n / (n + (noise / sd) ** 2) * (seen - mean)
    direct = np.maximum(0, slope * after - intercept).mean() - max(0, slope * mean - intercept)
    assert evsi_normal(mean, sd, noise, n, slope, intercept) == pytest.approx(direct, rel=0.03, abs=30)


def test_more_labels_are_worth_more_up_to_knowing_everything():
    n = np.array([0, 1, 10, 100, 10_000, 10**9])
    worth = evsi_normal(0.05, 0.04, 0.5, n, 1e6, 4e4)
    assert worth[0] == 0 and np.all(np.diff(worth) > 0)
    assert worth[-1] == pytest.approx(evpi_normal(0.05, 0.04, 1e6, 4e4), rel=1e-4)
    assert np.all(evsi_normal(0.05, 0.0, 0.5, n, 1e6, 4e4) == 0)


def test_beta_binomial_by_hand():
    """A flat prior and one vote: the mean becomes 2/3 or 1/3, each with chance 1/2."""
    assert evsi_beta_binomial(1, 1, 1, 1, 0.5) == pytest.approx(1 / 12)
    assert evsi_beta_binomial(1, 1, 20_000, 1, 0.5) == pytest.approx(1 / 8, rel=1e-3)  # E max(0, p - 1/2)
    assert evsi_beta_binomial(3, 3, 0, 1, 0.5) == pytest.approx(0)


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_the_normal_stands_in_well_for_the_beta_binomial(n):
    scenario = by_votes()
    found = simulate(scenario, 4000)
    a, b = VOTES.beta_shape()
    # Value in terms of the win rate: slope · conversion · (2 w - 1) - intercept.
    exact = evsi_beta_binomial(a, b, n, found.slope * 0.5 * 2, found.intercept + found.slope * 0.5)
    known = knowledge(scenario)
    normal = evsi_normal(known.mean, known.sd, known.noise, n, found.slope, found.intercept)
    assert exact > 0 and normal == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    "scenario", [by_votes(), three_months(uplift=between(0.0, 0.05, 0.2))], ids=["votes", "assumed"]
)
def test_a_scenario_s_value_is_its_preposterior(scenario):
    found = simulate(scenario, 4000)
    steps = value_of_labels(scenario, found, (0, 400)).steps
    assert steps[0].evsi == 0
    assert steps[1].evsi == pytest.approx(preposterior(scenario, 400, found), rel=0.05)


def test_today_s_votes_are_what_today_s_knowledge_is_worth():
    """A win rate from n votes is worth about n votes: the interval shrinks by sqrt(n0 / (n0 + n))."""
    known = knowledge(by_votes())
    assert known.worth_now == pytest.approx(380, rel=0.02)
    assert known.other_sd == 0 and known.sd_after(3 * 380) == pytest.approx(known.sd / 2, rel=0.01)


def test_labels_do_not_touch_the_conversion():
    scenario = by_votes(conversion=between(0.2, 0.5, 0.8))
    known = knowledge(scenario)
    assert known.other_sd > 0 and known.sd_after(10**12) == pytest.approx(known.other_sd, rel=1e-3)
    found = value_of_labels(scenario, simulate(scenario))
    halves = [step.npv_half for step in found.steps]
    assert halves == sorted(halves, reverse=True) and halves[-1] > 0


def test_the_interval_of_the_npv_shrinks_as_it_does_when_the_votes_come():
    """Expected standard deviation of the value after n votes, against draws that have it."""
    scenario = by_votes()
    found = simulate(scenario, 100_000)
    step = value_of_labels(scenario, found, (380,)).steps[0]
    a, b = VOTES.beta_shape()
    rng = np.random.default_rng(2)
    true = rng.beta(a, b, 20_000)
    k = rng.binomial(380, true)
    spread = np.sqrt((a + k) * (b + 380 - k) / ((a + b + 380) ** 2 * (a + b + 381))).mean()
    assert step.npv_half / 1.96 == pytest.approx(found.slope * 2 * 0.5 * spread, rel=0.02)


def test_the_best_number_pays_and_none_is_bought_for_a_sure_thing():
    open_ = by_votes(interactions_per_month=100_000, integration_once=5_000)
    found = value_of_labels(open_, simulate(open_))
    assert found.best_n > 0 and found.best.net > 0
    assert all(found.best.net >= step.net - 1e-6 for step in found.steps)
    sure = by_votes(
        interactions_per_month=10_000_000,
        win_rate=VOTES.model_copy(update={"value": 0.57, "low": 0.55, "high": 0.59}),
    )
    assert value_of_labels(sure, simulate(sure)).best_n == 0


def test_production_counts_uses_of_both_prompts():
    item = Quantity(value=0.02, kind="normal", low=-0.02, high=0.06)
    known = knowledge(three_months(uplift_source="experiment", experiment=item, baseline_success=0.5))
    assert known.noise == pytest.approx((0.52 * 0.48 + 0.25) ** 0.5)
