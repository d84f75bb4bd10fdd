from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.planning.quantity import Quantity, between, fixed
from core.planning.sourcing.model import CostLine, Option, Sourcing
from core.planning.sourcing.tco import break_even, over_volume, total_cost

Z90 = 1.2815516


def plan(*options, **values):
    made = [Option(key=f"o{i}", name=f"Option {i}", costs=costs) for i, costs in enumerate(options)]
    while len(made) < 2:
        made.append(Option(key=f"o{len(made)}", name=f"Option {len(made)}"))
    base = {
        "interactions_per_month": fixed(1_000), "growth": fixed(0), "person_year": fixed(100_000),
        "discount_rate": 0.0, "factors": [],
    }  # fmt: skip
    return Sourcing.model_validate({"options": made, **base, **values})


def line(when, amount, what="money"):
    return CostLine(name=when, when=when, what=what, amount=amount)


def test_fixed_lines_add_up():
    costs = total_cost(plan([
        line("once", 10_000), line("once", 0.5, "people"), line("year", 12_000), line("year", 0.2, "people"),
        line("use", 0.02),
    ]))  # fmt: skip
    found = costs.options[0]
    expected = 10_000 + 50_000 + 3 * 12_000 + 3 * 20_000 + 0.02 * 1_000 * 36
    for value in (found.total.mean, found.total.p10, found.total.p50, found.total.p90, found.discounted.p50):
        assert value == pytest.approx(expected)
    assert [year.mean for year in found.years] == pytest.approx([60_000 + 32_000 + 240, 32_240, 32_240])
    assert [item.cost.mean for item in found.lines] == pytest.approx([10_000, 50_000, 36_000, 60_000, 720])
    assert found.use_share == pytest.approx(720 / expected)


def test_discounting_is_the_annuity_formula():
    rate = 0.08
    found = total_cost(plan([line("once", 5_000), line("year", 12_000)], discount_rate=rate)).options[0]
    q = (1 + rate) ** (-1 / 12)
    annuity = q * (1 - q**36) / (1 - q)  # the present value of 1 at the end of each of 36 months
    assert found.discounted.mean == pytest.approx(5_000 + 1_000 * annuity)
    assert found.total.mean == pytest.approx(41_000)


def test_growth_is_a_geometric_series():
    g = 0.3
    found = total_cost(plan([line("use", 0.01)], growth=fixed(g))).options[0]
    q = (1 + g) ** (1 / 12)
    assert found.total.mean == pytest.approx(0.01 * 1_000 * (q**36 - 1) / (q - 1))
    assert found.years[1].mean / found.years[0].mean == pytest.approx(1 + g)


def normal(mean, sd):
    return Quantity(value=mean, kind="normal", low=mean - 1.959964 * sd, high=mean + 1.959964 * sd)


def test_the_monte_carlo_agrees_with_the_sum_of_normals():
    a = [line("year", normal(10_000, 500)), line("once", normal(20_000, 1_200))]
    b = [line("year", normal(17_000, 800))]
    costs = total_cost(plan(a, b, draws=50_000))
    one, _ = costs.options
    sd_a, sd_b = sqrt((3 * 500) ** 2 + 1_200**2), 3 * 800
    assert one.total.mean == pytest.approx(50_000, rel=1e-3)
    assert one.total.p10 == pytest.approx(50_000 - Z90 * sd_a, rel=2e-3)
    assert one.total.p90 == pytest.approx(50_000 + Z90 * sd_a, rel=2e-3)
    z = (51_000 - 50_000) / sqrt(sd_a**2 + sd_b**2)
    assert costs.cheaper[0, 1] == pytest.approx((1 + erf(z / sqrt(2))) / 2, abs=0.01)
    assert costs.cheapest == pytest.approx([costs.cheaper[0, 1], costs.cheaper[1, 0]])


def test_options_share_what_they_have_in_common():
    """The same use fee, a volume nobody knows, and one euro between them: the dearer one
    is dearer in every draw."""
    volume = between(100, 10_000, 100_000)
    costs = total_cost(
        plan([line("use", 0.01)], [line("use", 0.01), line("once", 1)], interactions_per_month=volume)
    )
    assert costs.cheaper[0, 1] == 1 and costs.cheaper[1, 0] == 0
    assert costs.cheapest.tolist() == [1, 0]


def test_the_same_seed_gives_the_same_figures_and_ties_count_half():
    costs, again = total_cost(Sourcing()), total_cost(Sourcing())
    assert [o.total for o in costs.options] == [o.total for o in again.options]
    assert total_cost(Sourcing(seed=2)).options[0].total != costs.options[0].total
    empty = total_cost(plan([], []))
    assert empty.cheaper[0, 1] == 0.5 and empty.cheapest.tolist() == [0.5, 0.5]


def test_break_even_volume():
    # 36,000 fixed against 0.10 a use: 36 months · v · 0.1 = 36,000 at 10,000 a month.
    fixed_cost, by_use = total_cost(plan([line("year", 12_000)], [line("use", 0.1)])).options
    assert break_even(fixed_cost, by_use) == pytest.approx(10_000)
    assert break_even(by_use, fixed_cost) == pytest.approx(10_000)
    at = over_volume(by_use, np.array([0.0, 10_000]))
    assert at[:, 1] == pytest.approx([0, 36_000])
    worse = total_cost(plan([line("use", 0.1)], [line("use", 0.1), line("once", 5)])).options
    assert break_even(*worse) is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["once", "year", "use"]), st.floats(0, 1e6)), min_size=1, max_size=6)
)
def test_lines_and_years_add_up_to_the_total(said):
    (found, _) = total_cost(
        plan([line(when, between(0, amount, amount + 1)) for when, amount in said], draws=500)
    ).options
    assert sum(item.cost.mean for item in found.lines) == pytest.approx(found.total.mean, rel=1e-9, abs=1e-6)
    assert sum(year.mean for year in found.years) == pytest.approx(found.total.mean, rel=1e-9, abs=1e-6)
    assert found.total.p10 <= found.total.p50 <= found.total.p90
    assert found.discounted.mean <= found.total.mean * (1 + 1e-9) + 1e-6
