import pytest

from core.errors import Invalid
from core.planning.documents import checked, differences
from core.planning.roi.model import Scenario, known_input, quantities, used


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"interactions_per_month": -1}, "interactions_per_month: must not be below 0"),
        (
            {"interactions_per_month": {"value": 5, "kind": "triangular", "low": -1, "high": 9}},
            "must not be below 0",
        ),
        ({"baseline_success": 1.2}, "baseline_success: must lie between 0 and 100 %"),
        ({"win_rate": -0.1}, "win_rate: must lie between 0 and 100 %"),
        ({"uplift": 1.5}, "uplift: must lie between -100 and 100 %"),
        ({"horizon_months": 0}, "horizon_months"),
        ({"horizon_months": 121}, "horizon_months"),
        ({"discount_rate": -0.1}, "discount_rate"),
        ({"votes": -5}, "votes: must not be below 0"),
        ({"start_month": 0}, "start_month: must not be below 1"),
        ({"compute": [{"hours": -1}]}, "compute.0.hours: must not be below 0"),
        ({"compute": [{"name": ""}]}, "compute.0.name"),
        ({"people_team": [5, -1]}, "people_team.1"),
        ({"uplift_source": "hope"}, "uplift_source"),
        ({"uplift": {"value": 0.1, "kind": "normal", "low": 0.2, "high": 0.3}}, "within its range"),
        ({"interactions_per_month": float("nan")}, "interactions_per_month"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(values, said):
    with pytest.raises(Invalid, match=said):
        checked(Scenario, values)


def test_a_bare_number_is_exact():
    assert checked(Scenario, {"uplift": 0.1}).uplift.kind == "fixed"


def test_every_field_says_its_unit():
    for name, field in Scenario.model_fields.items():
        assert field.description and "(" in field.description, name


def test_every_input_is_known_and_only_those_in_use_count():
    scenario = Scenario()
    assert all(known_input(scenario, path).label for path in quantities(scenario))
    assert set(used(scenario)) < set(quantities(scenario))
    assert "people_factor" in used(Scenario(people_source="team"))
    assert "searches_per_month" not in used(Scenario(compute=[]))


def test_a_scenario_comes_back_from_json_as_it_was():
    scenario = Scenario()
    again = Scenario.model_validate(scenario.model_dump(mode="json"))
    assert differences(scenario, again) == []
