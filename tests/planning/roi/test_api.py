import pytest

from core.planning import documents
from core.planning.quantity import fixed
from core.planning.roi.cashflow import cash_flow
from core.planning.roi.model import Scenario


@pytest.fixture
def saved(db, person, project):
    lead = person("lead")
    base = documents.save(db, lead, project.id, Scenario(), name="Base case")
    bold = documents.save(db, lead, project.id, Scenario(uplift=fixed(0.08)), name="Bold")
    return base, bold


def test_proposals(api, person, demo_project):
    found = api(person("engineer")).get(f"/projects/{demo_project.id}/plan/roi/proposals").json()
    assert found["inputs"]["win_rate"]["origin"] == "measured" and found["inputs"]["win_rate"]["n"] > 0
    assert found["simulated_only"] and found["baselines"]
    assert found["scenario"]["uplift_source"] == "win_rate"


def test_results_of_a_saved_scenario_of_its_versions_and_of_none(api, db, person, project, saved):
    client, base = api(person("lead")), f"/projects/{project.id}/plan/roi"
    first = client.get(f"{base}/results").json()
    assert first["name"] == "Base case" and first["currency"] == "EUR"
    plan = {row["Figure"]: row["Value"] for row in first["figures"]}
    assert plan["Best values: net present value"] == pytest.approx(cash_flow(Scenario()).npv)
    assert {"Cash flow by month", "Tornado", "Inputs and their sources"} <= set(first["tables"])
    assert len(first["fan"]) == 25
    bold = client.get(f"{base}/results", params={"plan_id": saved[1].plan_id, "number": 1}).json()
    assert bold["name"] == "Bold" and bold["scenario"]["uplift"]["value"] == 0.08
    missing = client.get(f"{base}/results", params={"plan_id": saved[1].plan_id, "number": 9})
    assert missing.status_code == 404


def test_without_a_saved_scenario_one_is_proposed(api, person, project):
    found = api(person("lead")).get(f"/projects/{project.id}/plan/roi/results").json()
    assert found["name"] == "Base case, proposed"


def test_trying_out_saves_nothing_and_refuses_what_makes_no_sense(api, db, person, project):
    lead = person("lead")
    client, url = api(lead), f"/projects/{project.id}/plan/roi/results"
    found = client.post(url, json={"uplift": 0.0, "horizon_months": 12}).json()
    figures = {row["Figure"]: row["Value"] for row in found["figures"]}
    assert figures["Chance of a loss"] == 1 and found["irr_missing"]
    assert documents.list_plans(db, lead, project.id, Scenario.KIND) == []
    for body, field in (
        ({"interactions_per_month": -1}, "interactions_per_month"),
        ({"horizon_months": 500}, "horizon_months"),
    ):
        refused = client.post(url, json=body)
        assert refused.status_code == 422 and field in refused.json()["detail"]
    assert client.post(url, json=[1]).status_code == 422


def test_compare(api, person, project, saved):
    client, url = api(person("engineer")), f"/projects/{project.id}/plan/roi/compare"
    found = client.get(url, params={"a": saved[0].plan_id, "b": saved[1].plan_id}).json()
    assert found["names"] == ["Base case", "Bold"]
    assert [row["Input"] for row in found["inputs"]] == ["Uplift"]
    assert found["inputs"][0]["Bold"] == "8 % points"
    assert client.get(url, params={"a": saved[0].plan_id, "b": "nothing"}).status_code == 404


def test_stale_and_improvements(api, db, person, demo_project):
    lead = person("lead")
    client, base = api(lead), f"/projects/{demo_project.id}/plan/roi"
    plan = documents.save(db, lead, demo_project.id, Scenario())
    assert "win_rate" in client.get(f"{base}/stale", params={"plan_id": plan.plan_id}).json()
    found = client.get(f"{base}/improvements").json()
    assert found["items"] == [] and "No prompt" in found["verdict"]


def test_annotators_are_refused(api, person, project):
    client = api(person("annotator"))
    for path in ("proposals", "results", "improvements", "compare?a=x&b=y"):
        assert client.get(f"/projects/{project.id}/plan/roi/{path}").status_code == 403
    assert client.post(f"/projects/{project.id}/plan/roi/results", json={}).status_code == 403
