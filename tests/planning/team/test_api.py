import pytest

from core.planning import documents
from core.planning.team.model import Team, typical_team


def test_coverage_and_cost_of_the_saved_team(db, api, person, project):
    lead = person("lead")
    at = f"/projects/{project.id}/plan/team"
    none = api(lead).get(f"{at}/coverage").json()
    assert none["version"] is None and none["covered_roles"] == 0
    assert api(lead).get(f"{at}/cost").json()["monthly"] == [0] * 12
    documents.save(db, lead, project.id, typical_team())
    found = api(person("engineer")).get(f"{at}/coverage").json()
    assert found["version"] == 1 and found["covered_roles"] == 1
    assert found["suggestion"] == {"more": [], "additions": [], "cost": 0}
    cost = api(lead).get(f"{at}/cost", params={"months": 3}).json()
    assert len(cost["monthly"]) == 3 and cost["currency"] == "EUR"
    assert sum(cost["by_role"].values()) == pytest.approx(cost["plan"])


def test_a_team_is_checked_without_saving(db, api, person, project):
    lead = person("lead")
    at = f"/projects/{project.id}/plan/team/check"
    body = {
        "members": [
            {"name": "Ana", "role": "Data scientist", "cost": 90000, "shares": {"optimisation": 0.4}}
        ],
        "needs": {"optimisation": {"roles": {"Data scientist": 1.0}}},
    }
    found = api(lead).post(at, json=body).json()
    assert found["coverage"]["sentences"][0].startswith("Optimisation lacks 0.6 of a data scientist, weeks ")
    assert found["coverage"]["suggestion"]["more"][0]["share"] == pytest.approx(0.6)
    assert found["cost"]["plan"] > 0
    assert documents.current(db, lead, project.id, Team) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"members": [{"name": "Ana", "availability": 2}]}, "availability"),
        ({"members": [{"name": "Ana", "cost": -1}]}, "cost"),
        ({"members": [{"name": "Ana", "shares": {"optimisation": 1.2}}]}, "shares"),
        ({"members": [{"name": "Ana", "shares": {"party": 0.2}}]}, "shares"),
        ({"members": [{"name": "Ana", "skills": {"Statistics": 6}}]}, "skills"),
        ({"members": [{"name": "Ana"}, {"name": "ana"}]}, "two called ana"),
        ({"needs": {"exploration": {"roles": {"Poet": -1}}}}, "Poet"),
    ],
)
def test_what_is_wrong_is_refused_by_name(api, person, project, body, field):
    answer = api(person("lead")).post(f"/projects/{project.id}/plan/team/check", json=body)
    assert answer.status_code == 422 and field in answer.text


def test_who_may_ask(api, person, project):
    at = f"/projects/{project.id}/plan/team"
    assert api(person("annotator")).get(f"{at}/coverage").status_code == 403
    assert api(person("lead")).get("/projects/nowhere/plan/team/coverage").status_code == 404
    assert api(person("lead")).get(f"{at}/cost", params={"months": 0}).status_code == 422
