"""The API as programs rely on it: every route, once round, with the names it promises."""

import pytest


@pytest.fixture
def client(api, admin):
    return api(admin)


def comparison(number: int, **values):
    return {
        "input": f"Question {number}",
        "response_a": f"One answer to {number}",
        "response_b": f"Another answer to {number}",
        "prompt_a": "first",
        "prompt_b": "second",
        **values,
    }


def test_from_a_project_to_a_leaderboard(client, api):
    assert api().get("/health").status_code == 200
    made = client.post("/users", json={"name": "Bob", "role": "annotator"})
    assert made.status_code in (200, 201) and set(made.json()) >= {"id", "token"}
    bob = api()
    bob.headers["Authorization"] = f"Bearer {made.json()['token']}"

    body = {"name": "P", "guidelines": "Be fair.", "criteria": ["clear"], "votes_per_pair": 2}
    project = client.post("/projects", json=body).json()["id"]
    assert [row["id"] for row in client.get("/projects").json()] == [project]
    assert [row["id"] for row in bob.get("/projects").json()] == [project]

    added = client.post(f"/projects/{project}/examples", json=[{"input": "Why?"}, {"input": {"q": "How?"}}])
    assert added.status_code in (200, 201) and added.json()["imported"] == 2

    rows = [comparison(0, annotator="Ann", choice="a", left="a", strength="clearly", reason="r")]
    rows += [comparison(1), comparison(2, annotator="Ann"), {"input": "x"}]
    answer = client.post(f"/projects/{project}/comparisons", json=rows).json()
    assert (answer["imported"], answer["duplicates"]) == (2, 0)
    assert [row["row"] for row in answer["skipped"]] == [2, 3]
    assert all(row["reason"] for row in answer["skipped"])
    again = client.post(f"/projects/{project}/comparisons", json=rows).json()
    assert (again["imported"], again["duplicates"]) == (0, 2)

    prompt = client.post(
        f"/projects/{project}/prompts", json={"name": "kind", "system": "Be kind.", "user": "{{input}}"}
    )
    assert prompt.status_code == 201, prompt.text
    names = {row["name"] for row in client.get(f"/projects/{project}/prompts").json()}
    assert names == {"kind", "first", "second"}

    claim = bob.post(f"/projects/{project}/pairs/claim")
    assert claim.status_code == 200
    shown = claim.json()
    assert set(shown) >= {"pair_id", "lease", "expires_at", "input", "left", "right"}
    assert bob.post(f"/projects/{project}/pairs/claim").json()["pair_id"] == shown["pair_id"]
    side = "left" if shown["left"].startswith("One") else "right"  # drawn by the server
    ballot = {"lease": shown["lease"], "choice": side, "criteria": {"clear": side}, "duration_ms": 900}
    vote = bob.post(f"/pairs/{shown['pair_id']}/votes", json=ballot)
    assert vote.status_code in (200, 201), vote.text
    assert bob.post(f"/pairs/{shown['pair_id']}/votes", json=ballot).json() == vote.json()
    assert bob.post(f"/pairs/{shown['pair_id']}/votes", json={**ballot, "choice": "tie"}).status_code == 409

    assert bob.delete(f"/votes/{vote.json()['id']}").status_code in (200, 204)
    back = bob.post(f"/projects/{project}/pairs/claim").json()
    assert (back["pair_id"], back["left"]) == (shown["pair_id"], shown["left"])
    ballot["lease"] = back["lease"]
    assert bob.post(f"/pairs/{back['pair_id']}/votes", json=ballot).status_code in (200, 201)
    other = bob.post(f"/projects/{project}/pairs/claim").json()
    assert other["pair_id"] != back["pair_id"]
    choice = {"lease": other["lease"], "choice": "both_bad"}
    assert bob.post(f"/pairs/{other['pair_id']}/votes", json=choice).status_code in (200, 201)
    assert bob.post(f"/projects/{project}/pairs/claim").status_code == 204

    quality = client.get(f"/projects/{project}/quality").json()
    assert {"votes", "annotators", "pairs", "alpha_nominal", "left_share"} <= set(quality)
    assert (quality["votes"], quality["annotators"], quality["pairs"]) == (3, 2, 2)
    board = client.get(f"/projects/{project}/leaderboard").json()
    assert {row["name"] for row in board["items"]} == {"first", "second"}
    for format in ("trl", "trl-conversational", "comparisons"):
        out = client.get(f"/projects/{project}/export", params={"format": format})
        assert out.status_code == 200 and isinstance(out.json(), list) and out.json()
    assert bob.get(f"/projects/{project}/quality").status_code == 403


def test_runs_are_queued_seen_and_cancelled(client, project):
    rows = [comparison(i, annotator="Ann", choice="ab"[i % 2]) for i in range(60)]
    client.post(f"/projects/{project.id}/comparisons", json=rows)
    queued = client.post(
        f"/projects/{project.id}/runs",
        json={"kind": "reward_model", "config": {"preset": "quick", "seed": 3}},
    )
    assert queued.status_code == 202, queued.text
    run = client.get(f"/runs/{queued.json()['id']}").json()
    assert {"id", "kind", "status", "progress", "result", "error"} <= set(run)
    assert (run["kind"], run["status"], run["config"]["seed"]) == ("reward_model", "queued", 3)
    assert client.get(f"/runs/{run['id']}/events", params={"after": 0}).status_code == 200
    assert client.post(f"/runs/{run['id']}/cancel").status_code in (200, 202)
    assert client.get(f"/runs/{run['id']}").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("dance", {}, "dance"),
        ("reward_model", {"preset": "huge"}, "preset"),
        ("reward_model", {}, "pairs"),
        ("optimize", {"method": "grips", "reward": "reward_model", "budget": {"calls": 100}}, "reward model"),
        ("optimize", {"method": "magic", "reward": "labels", "budget": {"calls": 100}}, "magic"),
        ("generate", {}, "prompt"),
    ],
)
def test_a_run_that_cannot_be_says_why(client, project, kind, config, said):
    client.post(f"/projects/{project.id}/examples", json=[{"input": f"Q {i}"} for i in range(20)])
    refused = client.post(f"/projects/{project.id}/runs", json={"kind": kind, "config": config})
    assert refused.status_code == 422, refused.text
    assert said in str(refused.json()["detail"]).lower()
    assert client.get(f"/projects/{project.id}/runs").json() == []
