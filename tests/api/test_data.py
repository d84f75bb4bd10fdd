"""Data over HTTP: in, out, and what is said of what is wrong."""

import json

from tests.data.test_importing import PAIR, vote


def test_comparisons_in_and_out(api, admin, project):
    client = api(admin)
    rows = [vote("x", "a", left="b"), vote("y", "a"), PAIR, {**PAIR, "input": {"q": "?"}}, {"input": "x"}, 5]
    answer = client.post(f"/projects/{project.id}/comparisons", json=rows)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["imported"], said["duplicates"]) == (3, 1)
    assert said["skipped"] == [
        {"row": 4, "reason": "response_a: it is missing"},
        {"row": 5, "reason": "the row is not an object"},
    ]
    assert said["added"]["votes"] == 2
    again = client.post(f"/projects/{project.id}/comparisons", json=rows[:4]).json()
    assert (again["imported"], again["duplicates"], again["skipped"]) == (0, 4, [])
    out = client.get(f"/projects/{project.id}/export?format=comparisons")
    assert [row.get("annotator") for row in out.json()] == ["x", "y", None]
    assert client.get(f"/projects/{project.id}/export?format=trl").json() == [
        {"prompt": "in", "chosen": "one", "rejected": "two"}
    ]
    for address, headers in (("&as=jsonl", {}), ("", {"Accept": "application/x-ndjson"})):
        lines = client.get(
            f"/projects/{project.id}/export?format=trl-conversational{address}", headers=headers
        )
        assert lines.headers["content-type"].startswith("application/x-ndjson")
        (row,) = [json.loads(line) for line in lines.text.splitlines()]
        assert row["prompt"] == [{"role": "user", "content": "in"}]


def test_lists_have_pages(api, admin, project):
    client = api(admin)
    examples = [{"input": f"example {i}", "reference": i, "split": "test"} for i in range(7)]
    assert client.post(f"/projects/{project.id}/examples", json=examples).json()["imported"] == 7
    page = client.get(f"/projects/{project.id}/examples?limit=3&offset=6&split=test")
    assert page.headers["x-total-count"] == "7"
    assert [(row["input"], row["reference"], row["fields"]) for row in page.json()] == [
        ("example 6", "6", {"input": "example 6"})
    ]
    client.post(f"/projects/{project.id}/comparisons", json=[vote("x", "b"), vote("x", "tie", input="2")])
    page = client.get(f"/projects/{project.id}/pairs?limit=1")
    assert page.headers["x-total-count"] == "2" and len(page.json()) == 1
    assert page.json()[0]["tally"]["simulated"] == 0


def test_what_is_wrong_has_its_status(api, admin, person, project):
    client = api(admin)
    url = f"/projects/{project.id}"
    for path, status in (
        ("/examples?limit=0", 422),
        ("/export?format=xml", 422),
        ("/export?format=trl&split=x", 422),
    ):
        answer = client.get(url + path)
        assert answer.status_code == status and answer.json()["detail"], path
    assert client.post(url + "/comparisons", json={"rows": []}).status_code == 422
    assert client.post("/projects/none/comparisons", json=[]).status_code == 404
    assert client.get("/projects/none/export?format=trl").status_code == 404
    outsider = api(person("annotator"))
    for call in (outsider.get(url + "/examples"), outsider.get(url + "/export?format=trl"),
                 outsider.post(url + "/examples", json=[])):  # fmt: skip
        assert call.status_code == 403
    assert api().get(url + "/examples").status_code == 401


def test_projects_are_changed_put_away_and_deleted(api, admin, person, project):
    client = api(admin)
    url = f"/projects/{project.id}"
    client.post(url + "/comparisons", json=[PAIR])
    changed = client.patch(url, json={"votes_per_pair": 5, "guidelines": "Be fair."})
    assert changed.status_code == 200 and changed.json()["votes_per_pair"] == 5
    assert changed.json()["name"] == project.name
    assert client.get(url + "/pairs").json()[0]["open_slots"] == 5
    assert client.patch(url, json={"votes_per_pair": 0}).status_code == 422
    assert api(person("engineer")).delete(url).status_code == 403
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404 and client.get("/projects").json() == []
    assert client.delete(url + "?purge=true").status_code == 204
    assert client.delete(url + "?purge=true").status_code == 404
