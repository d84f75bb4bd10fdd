"""Runs through the REST API, over real HTTP."""


def test_a_program_starts_a_run_and_follows_it(api, db, admin, project, wait):
    client = api(admin)
    made = client.post(
        f"/projects/{project.id}/runs", json={"kind": "sum", "config": {"seed": 3, "steps": 4}}
    )
    assert made.status_code == 202
    run = made.json()
    assert (run["status"], run["kind"], run["progress"], run["seed"]) == ("queued", "sum", 0, 3)
    wait(type("R", (), {"id": run["id"]}), "succeeded")
    done = client.get(f"/runs/{run['id']}").json()
    assert done["status"] == "succeeded" and done["progress"] == 1 and done["error"] is None
    assert done["result"]["steps"] == 4
    events = client.get(f"/runs/{run['id']}/events").json()
    assert [event["number"] for event in events] == list(range(1, done["last_event"] + 1))
    later = client.get(f"/runs/{run['id']}/events", params={"after": 2, "limit": 2}).json()
    assert later == events[2:4]
    only = client.get(f"/runs/{run['id']}/events", params={"type": ["metric", "log"]}).json()
    assert [event["data"]["step"] for event in only] == [1, 2, 3, 4]
    log = client.get(f"/runs/{run['id']}/log")
    assert log.headers["content-type"].startswith("text/plain") and "work begins" in log.text
    assert client.post(f"/runs/{run['id']}/cancel").status_code == 409
    assert client.post(f"/runs/{run['id']}/resume").status_code == 409


def test_lists_cancel_and_resume(api, admin, project):
    client = api(admin)
    ids = [client.post(f"/projects/{project.id}/runs", json={"kind": "sum"}).json()["id"] for _ in range(3)]
    assert client.post(f"/runs/{ids[1]}/cancel").json()["status"] == "cancelled"
    url = f"/projects/{project.id}/runs"
    assert [run["id"] for run in client.get(url).json()] == ids[::-1]
    assert [run["id"] for run in client.get(url, params={"limit": 1, "offset": 1}).json()] == [ids[1]]
    assert [run["id"] for run in client.get(url, params={"status": "cancelled"}).json()] == [ids[1]]
    assert client.get(url, params={"kind": "generate"}).json() == []
    assert client.get(url, params={"status": "lost"}).status_code == 422
    resumed = client.post(f"/runs/{ids[1]}/resume")
    assert resumed.status_code == 202 and resumed.json()["status"] == "queued"


def test_what_is_refused(api, admin, person, project):
    url = f"/projects/{project.id}/runs"
    run = api(admin).post(url, json={"kind": "sum"}).json()["id"]
    assert api().post(url, json={"kind": "sum"}).status_code == 401
    lead = api(person("lead"))
    assert lead.post(url, json={"kind": "sum"}).status_code == 403
    assert lead.post(f"/runs/{run}/cancel").status_code == 403
    assert lead.get(f"/runs/{run}").status_code == 200
    assert api(person("annotator")).get(f"/runs/{run}").status_code == 403
    client = api(admin)
    for body, named in [
        ({"kind": "dance"}, "dance"),
        ({"kind": "sum", "config": {"steps": 0}}, "steps"),
        ({"kind": "sum", "config": {"seed": "x"}}, "seed"),
        ({"config": {}}, "kind"),
    ]:
        refused = client.post(url, json=body)
        assert refused.status_code == 422 and named in str(refused.json()["detail"])
    assert client.post("/projects/unknown/runs", json={"kind": "sum"}).status_code == 404
    for path in ("", "/events", "/log"):
        assert client.get(f"/runs/unknown{path}").status_code == 404
    assert client.post("/runs/unknown/cancel").status_code == 404
