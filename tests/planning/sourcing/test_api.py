import json

import pytest

from core.planning import documents
from core.planning.sourcing.model import Sourcing
from core.planning.sourcing.section import section

LINE = {"name": "Fee", "when": "year", "amount": 1000}


def options(**first):
    return [{"key": "a", "name": "A", "costs": [LINE], **first}, {"key": "b", "name": "B"}]


def test_results_of_the_saved_plan_and_of_the_usual_assumptions(db, api, person, project):
    lead = person("lead")
    at = f"/projects/{project.id}/plan/sourcing/results"
    usual = api(person("engineer")).get(at).json()
    assert usual["version"] is None and len(usual["options"]) == 3
    assert [o["points"] for o in usual["options"]] == sorted(
        (o["points"] for o in usual["options"]), reverse=True
    )
    assert sum(usual["options"][0]["contributions"].values()) == pytest.approx(usual["options"][0]["points"])
    documents.save(db, lead, project.id, Sourcing(years=5))
    found = api(lead).get(at).json()
    assert found["version"] == 1 and len(found["options"][0]["years"]) == 5
    assert set(found["missing"]) == {"Uses per month", "Capability, resources, cost of a person-year"}


def test_a_plan_is_worked_out_without_saving(db, api, person, project):
    lead = person("lead")
    at = f"/projects/{project.id}/plan/sourcing/results"
    found = api(lead).post(at, json={"options": options(), "discount_rate": 0, "years": 2}).json()
    by_key = {option["key"]: option for option in found["options"]}
    assert by_key["a"]["total"] == {"mean": 2000, "p10": 2000, "p50": 2000, "p90": 2000}
    assert by_key["b"]["cheapest"] == 1 and by_key["a"]["cheaper_than"] == {"b": 0}
    assert documents.current(db, lead, project.id, Sourcing) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"options": options()[:1]}, "at least 2 items"),
        ({"options": options(costs=[LINE | {"amount": -1}])}, "must not be below 0"),
        (
            {"options": options(costs=[LINE | {"when": "use", "what": "people"}])},
            "people cost once or per year",
        ),
        ({"options": options(scores={"scale": {"value": 11}})}, "less than or equal to 10"),
        ({"options": options(scores={"luck": {"value": 1}})}, "luck"),
        ({"options": [*options(), {"key": "a", "name": "C"}]}, "there twice"),
        ({"factors": [], "cost_weight": 0}, "at least one weight"),
        ({"interactions_per_month": -5}, "interactions_per_month"),
        ({"years": 0}, "years"),
        ({"factors": [{"key": "cost", "name": "Cost"}]}, "cost_weight"),
    ],
)
def test_what_is_wrong_is_refused_by_name(api, person, project, body, said):
    answer = api(person("lead")).post(f"/projects/{project.id}/plan/sourcing/results", json=body)
    assert answer.status_code == 422 and said in answer.text


def test_who_may_ask(api, person, project):
    assert api(person("annotator")).get(f"/projects/{project.id}/plan/sourcing/results").status_code == 403
    assert api(person("lead")).get("/projects/nowhere/plan/sourcing/results").status_code == 404


def test_the_section(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = section(any_db, lead, project.id)
    assert not found.empty and "fits best" in found.answer
    assert any("assumptions to start from" in line for line in found.why)
    documents.save(any_db, lead, project.id, Sourcing())
    found = section(any_db, lead, project.id)
    assert not any("assumptions to start from" in line for line in found.why)
    assert [figure[0] for figure in found.figures] == [
        "Best fit",
        "Points",
        "3-year cost",
        "Chance to be cheapest",
    ]
    for chart in found.charts.values():
        chart.to_dict()
    json.dumps(found.tables)
