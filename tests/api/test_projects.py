def test_projects_are_made_and_listed(api, admin):
    with api(admin) as client:
        made = client.post(
            "/projects", json={"name": "Support", "criteria": ["helpful"], "votes_per_pair": 3}
        )
        assert made.status_code == 201
        assert made.json()["votes_per_pair"] == 3
        assert [item["name"] for item in client.get("/projects").json()] == ["Support"]


def test_what_is_wrong_is_named(api, admin, person):
    assert api().get("/projects").status_code == 401
    assert api().get("/health").json() == {"status": "ok"}
    refused = api(person("annotator")).post("/projects", json={"name": "x"})
    assert refused.status_code == 403 and "annotator" in refused.json()["detail"]
    bad = api(admin).post("/projects", json={"name": "x", "votes_per_pair": 0})
    assert bad.status_code == 422 and "votes_per_pair" in bad.json()["detail"]
    assert api(admin).get("/projects/unknown").status_code == 404
