"""The plan over real HTTP."""

import pytest

from core import demo
from core.planning import documents
from core.planning.milestones.model import Milestones, default_plan, values_of
from core.projects import list_projects


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


def test_status_metrics_and_forecast_of_the_demo(api, person, demo_project):
    client, base = api(person("engineer")), f"/projects/{demo_project.id}/plan/milestones"
    found = client.get(f"{base}/status").json()
    assert found["version"] is None and "of 11 milestones met" in found["answer"]
    by_key = {item["key"]: item for item in found["milestones"]}
    assert by_key["first-labels"]["status"] == "met" and by_key["first-labels"]["simulated"]
    assert by_key["fallback"]["forecast"] is None
    assert [phase["key"] for phase in found["phases"] if phase["critical"]] == [
        phase["key"] for phase in found["phases"]
    ]
    metrics = {item["key"]: item for item in client.get(f"{base}/metrics").json()}
    labels = metrics["labels"]
    assert labels["current"] == labels["series"][-1] and labels["definition"]
    assert metrics["gain"]["current"] is None and metrics["gain"]["missing"]
    more = 2 * labels["current"]["value"]
    ahead = client.get(f"{base}/forecast", params={"metric": "labels", "target": more}).json()
    assert ahead["state"] == "forecast" and ahead["low"] <= ahead["day"] <= ahead["high"]
    assert (
        client.get(f"{base}/forecast", params={"metric": "labels", "target": 1}).json()["state"] == "reached"
    )
    assert client.get(f"{base}/moved").json() == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"metric": "mood", "target": 1}, "no metric “mood”"),
        ({"metric": "labels", "target": 1, "direction": "at_most"}, "only grows"),
        ({"metric": "labels", "target": "many"}, "target"),
        ({"metric": "labels", "target": "nan"}, "target"),
    ],
)
def test_a_forecast_that_makes_no_sense_is_refused(api, person, project, params, said):
    client = api(person("lead"))
    answer = client.get(f"/projects/{project.id}/plan/milestones/forecast", params=params)
    assert answer.status_code == 422 and said in answer.text


def test_a_plan_is_checked_and_laid_out_without_saving(api, db, person, project):
    lead = person("lead")
    client, base = api(lead), f"/projects/{project.id}/plan/milestones"
    values = values_of(default_plan(project.created_at.date()))
    found = client.post(f"{base}/check", json=values)
    assert found.status_code == 200, found.text
    assert found.json()["body"] == values and len(found.json()["phases"]) == 5
    values["phases"][0]["after"] = ["improvement"]
    wrong = client.post(f"{base}/check", json=values)
    assert wrong.status_code == 422 and "phases.0.after: the phases wait for each other" in wrong.text
    assert documents.current(db, lead, project.id, Milestones) is None


def test_what_moved_comes_over_rest(api, db, person, project):
    lead = person("lead", "Ada")
    plan = default_plan(project.created_at.date())
    first = documents.save(db, lead, project.id, plan)
    later = plan.model_copy(deep=True)
    later.milestones[0].target = 250
    documents.save(db, lead, project.id, later, plan_id=first.plan_id)
    [item] = api(lead).get(f"/projects/{project.id}/plan/milestones/moved").json()
    assert (item["what"], item["author"], item["version"]) == ("target", "Ada", 2)


def test_who_may_look(api, person, project):
    for path in ("status", "metrics", "moved", "forecast?metric=labels&target=1"):
        url = f"/projects/{project.id}/plan/milestones/{path}"
        assert api(person("annotator")).get(url).status_code == 403
        assert api().get(url).status_code == 401
        assert api(person("lead")).get(url.replace(project.id, "nothing")).status_code == 404
