"""Plans as documents over real HTTP: what every kind promises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.planning.kinds import KINDS
from core.planning.units import Units


@pytest.fixture
def plans(api, person, project):
    """A lead's client and where the project's plans are."""
    return api(person("lead")), f"/projects/{project.id}/plan/documents"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_saved_loaded_and_compared(plans, kind):
    client, base = plans
    made = client.post(base, json={"kind": kind, "note": "first"})
    assert made.status_code == 201, made.text
    plan = made.json()
    assert (plan["kind"], plan["number"], plan["name"]) == (kind, 1, KINDS[kind].TITLE)
    at = f"{base}/{plan['plan_id']}"
    assert client.get(at).json() == plan
    # What was answered can be sent back as it is, and is no new version.
    again = client.put(at, json={"body": plan["body"], "based_on": 1})
    assert (again.status_code, again.json()["number"]) == (200, 1), again.text
    renamed = client.put(at, json={"body": plan["body"], "based_on": 1, "name": "  Another  name "})
    assert (renamed.json()["number"], renamed.json()["name"]) == (2, "Another name")
    late = client.put(at, json={"body": plan["body"], "based_on": 1, "name": "Too late"})
    assert late.status_code == 409 and "version 2 meanwhile" in late.json()["detail"]
    assert [item["number"] for item in client.get(f"{at}/history").json()] == [2, 1]
    assert client.get(at, params={"number": 1}).json()["note"] == "first"
    assert client.get(f"{at}/differences", params={"a": 1, "b": 2}).json() == []
    listed = client.get(base, params={"kind": kind}).json()
    assert [(item["plan_id"], item["kind"], item["number"]) for item in listed] == [
        (plan["plan_id"], kind, 2)
    ]
    assert client.delete(at).status_code == 204
    assert client.get(base).json() == [] and client.get(at).status_code == 404


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unknown_field_is_refused_by_name(plans, kind):
    client, base = plans
    refused = client.post(base, json={"kind": kind, "body": {"not_a_field": 1}})
    assert refused.status_code == 422 and "not_a_field" in refused.json()["detail"]
    plan = client.post(base, json={"kind": kind}).json()
    at = f"{base}/{plan['plan_id']}"
    refused = client.put(at, json={"body": {**plan["body"], "not_a_field": 1}, "based_on": 1})
    assert refused.status_code == 422 and "not_a_field" in refused.json()["detail"]
    assert client.get(at).json()["number"] == 1


def test_differences_name_the_field(plans):
    client, base = plans
    plan = client.post(base, json={"kind": "units", "body": {"currency": "SEK"}}).json()
    at = f"{base}/{plan['plan_id']}"
    client.put(at, json={"body": {"currency": "USD"}, "based_on": 1})
    found = client.get(f"{at}/differences", params={"a": 1, "b": 2}).json()
    assert found == [{"field": "currency", "before": "SEK", "after": "USD"}]
    assert client.get(f"{at}/differences", params={"a": 1, "b": 9}).status_code == 404
    assert client.get(f"{at}/differences", params={"a": 1}).status_code == 422


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"kind": "units", "body": {"currency": "euro"}}, "currency"),
        ({"kind": "units", "body": {"hours_per_week": -1}}, "hours_per_week"),
        ({"kind": "units", "name": " "}, "name"),
        ({"kind": "units", "name": "x" * 121}, "name"),
        ({"kind": "units", "name": "a\0b"}, "name"),
        ({"kind": "units", "note": "a\0b"}, "note"),
        ({"kind": "dance"}, "kind"),
        ({"body": {}}, "kind"),
        ({"kind": "units", "body": []}, "body"),
    ],
)
def test_what_is_wrong_is_named(plans, sent, field):
    client, base = plans
    refused = client.post(base, json=sent)
    assert refused.status_code == 422 and field in json.dumps(refused.json()["detail"])
    assert client.get(base).json() == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(plans, number):
    client, base = plans
    text = '{"kind": "units", "body": {"hours_per_week": NUMBER}}'.replace("NUMBER", number)
    refused = client.post(base, content=text, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422 and "hours_per_week" in refused.json()["detail"]


def test_a_lone_surrogate_is_refused(plans):
    client, base = plans
    text = '{"kind": "units", "name": "\\ud800"}'
    refused = client.post(base, content=text, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422 and "name" in json.dumps(refused.json()["detail"])


def test_engineers_read_and_annotators_do_not(plans, api, person):
    client, base = plans
    plan = client.post(base, json={"kind": "units"}).json()
    at = f"{base}/{plan['plan_id']}"
    engineer, annotator = api(person("engineer")), api(person("annotator"))
    for path in (base, at, f"{at}/history", f"{at}/differences?a=1&b=1"):
        assert engineer.get(path).status_code == 200
        assert annotator.get(path).status_code == 403
        assert api().get(path).status_code == 401
    for who in (engineer, annotator):
        assert who.post(base, json={"kind": "units"}).status_code == 403
        assert who.put(at, json={"body": {"currency": "USD"}, "based_on": 1}).status_code == 403
        assert who.delete(at).status_code == 403
    assert client.get(at).json()["number"] == 1


def test_another_projects_plan_is_not_found(plans, project, db, admin):
    from core.projects import create_project

    client, base = plans
    plan = client.post(base, json={"kind": "units"}).json()["plan_id"]
    elsewhere = base.replace(project.id, create_project(db, admin, name="Other").id)
    assert client.get(f"{elsewhere}/{plan}").status_code == 404
    assert client.put(f"{elsewhere}/{plan}", json={"body": {}, "based_on": 1}).status_code == 404
    assert client.delete(f"{elsewhere}/{plan}").status_code == 404
    assert client.get("/projects/none/plan/documents").status_code == 404


@given(
    st.from_regex(r"[A-Z]{3}", fullmatch=True),
    st.floats(0, 168, exclude_min=True),
    st.floats(0, 53, exclude_min=True),
)
def test_a_body_survives_the_round_trip(currency, hours, weeks):
    units = Units(currency=currency, hours_per_week=hours, weeks_per_year=weeks)
    assert Units.model_validate(json.loads(json.dumps(units.model_dump(mode="json")))) == units
