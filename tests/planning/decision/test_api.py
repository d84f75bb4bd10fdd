import pytest

from core.planning import documents
from core.planning.decision.model import DISCRETE, GAP, Decision, Score

BASE = "/projects/{}/plan/decision"


@pytest.fixture
def base(project, api, person):
    client = api(person("lead"))
    # The API may be mounted under a prefix.
    prefix = "" if client.get(f"/projects/{project.id}").status_code == 200 else "/api/v1"
    return client, prefix + BASE.format(project.id)


def test_proposals_have_reasons(base):
    client, url = base
    found = client.get(f"{url}/proposals").json()
    assert len(found["proposals"]) == 25
    assert all(item["reason"].endswith(".") and 0 <= item["value"] <= 10 for item in found["proposals"])
    assert found["missing"]["preferences"]


def test_results_of_a_body_and_of_a_saved_decision(base, db, person, project):
    client, url = base
    sent = client.post(
        f"{url}/results", json={"factors": [{"title": "Time to deploy and iterate", "weight": 3}]}
    )
    assert sent.status_code == 200
    ranking = sent.json()["ranking"]
    assert [row["Rank"] for row in ranking] == [1, 2, 3, 4, 5]
    assert sent.json()["recommendation"]["answer"]
    assert client.get(f"{url}/results").json()["plan_id"] is None
    mine = Score(alternative=DISCRETE, factor=GAP, value=0, reason="Tried.")
    saved = documents.save(db, person("lead"), project.id, Decision(scores=[mine]))
    found = client.get(f"{url}/results", params={"plan_id": saved.plan_id}).json()
    assert (found["plan_id"], found["version"]) == (saved.plan_id, 1)
    cell = next(c for c in found["matrix"] if c["Origin"] == "overridden")
    assert (cell["Score"], cell["Reason"]) == (0, "Tried.") and cell["Proposed"] > 0
    assert client.get(f"{url}/results", params={"plan_id": "nothing"}).status_code == 404


def test_bad_input_is_refused_by_field(base):
    client, url = base
    refused = client.post(f"{url}/results", json={"factors": [{"title": "a", "weight": -1}]})
    assert refused.status_code == 422 and "factors.0.weight" in refused.text
    refused = client.post(f"{url}/ahp", json={"factors": ["a", "b"], "comparisons": [{"a": "a", "b": "c"}]})
    assert refused.status_code == 422 and "no factor" in refused.text


def test_weights_from_comparisons(base):
    client, url = base
    said = [
        {"a": "a", "b": "b", "value": 3},
        {"a": "b", "b": "c", "value": 3},
        {"a": "a", "b": "c", "value": 1 / 3},
    ]
    found = client.post(f"{url}/ahp", json={"factors": ["a", "b", "c"], "comparisons": said}).json()
    assert sum(found["weights"].values()) == pytest.approx(1)
    assert found["consistency_ratio"] > 0.1 and not found["consistent"]
    assert found["most_inconsistent"]["suggested"] != found["most_inconsistent"]["value"]


def test_the_plateau(base, plateaued, api, person):
    client, url = base
    found = client.get(f"{url}/plateau").json()
    assert found["outcome"] == "undecided" and found["steps"] == 3 and len(found["versions"]) == 4
    assert found["verdict"]["n"] == 3000 and found["verdict"]["more"] > 0


def test_who_may(base, api, person):
    _, url = base
    assert api(person("annotator")).get(f"{url}/results").status_code == 403
    assert api().get(f"{url}/results").status_code == 401
    assert api(person("engineer")).get(f"{url}/results").status_code == 200
