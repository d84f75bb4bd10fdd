"""The labelling routes over real HTTP."""

import pytest

from core.access import Scope
from tests.annotation.conftest import make_person, make_world


@pytest.fixture
def made(db):
    return make_world(db, pairs=4, votes=2)


def claim(client, made):
    return client.post(f"/projects/{made.project.id}/pairs/claim")


def test_claim_vote_undo_and_vote_again(db, api, made):
    client = api(make_person(db), scope=Scope.ANNOTATE)
    answer = claim(client, made)
    assert answer.status_code == 200
    pair = answer.json()
    assert {"pair_id", "lease", "expires_at", "input", "left", "right"} <= set(pair)
    assert "prompt 0" not in answer.text and "prompt_id" not in answer.text  # blind
    assert claim(client, made).json()["lease"] == pair["lease"]

    url = f"/pairs/{pair['pair_id']}/votes"
    body = {"lease": pair["lease"], "choice": "left", "strength": "clearly", "criteria": {"helpful": "left"},
            "reason": "short", "duration_ms": 1200}  # fmt: skip
    first, again = client.post(url, json=body), client.post(url, json=body)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert (first.json()["pair_id"], first.json()["choice"]) == (pair["pair_id"], "left")
    other = client.post(url, json={**body, "choice": "right"})
    assert other.status_code == 409 and "first one stands" in other.json()["detail"]

    undone = client.delete(f"/votes/{first.json()['id']}")
    assert undone.status_code == 200 and undone.json()["pair_id"] == pair["pair_id"]
    back = claim(client, made).json()
    assert [back[key] for key in ("pair_id", "left", "right")] == [
        pair[key] for key in ("pair_id", "left", "right")
    ]
    assert client.post(url, json=body).status_code == 409  # the old lease
    second = client.post(url, json={"lease": back["lease"], "choice": "both_bad"})
    assert second.status_code == 201 and second.json()["choice"] == "both_bad"


def test_until_nothing_is_left(db, api, made):
    client = api(make_person(db))
    skipped = claim(client, made).json()
    answer = client.post(
        f"/pairs/{skipped['pair_id']}/skip", json={"lease": skipped["lease"], "reason": "unclear"}
    )
    assert answer.status_code == 201 and answer.json()["reason"] == "unclear"
    released = claim(client, made).json()
    freed = client.post(f"/pairs/{released['pair_id']}/release", json={"lease": released["lease"]})
    assert freed.status_code == 204
    seen = []
    while (answer := claim(client, made)).status_code == 200:
        pair = answer.json()
        seen.append(pair["pair_id"])
        client.post(f"/pairs/{pair['pair_id']}/votes", json={"lease": pair["lease"], "choice": "tie"})
    assert answer.status_code == 204 and not answer.content
    assert sorted([*seen, skipped["pair_id"]]) == sorted(made.pairs)


def test_what_is_wrong_has_the_right_status(db, api, made):
    one, two, lead = (make_person(db, role, role) for role in ("annotator", "engineer", "lead"))
    pair = claim(api(one), made).json()
    url = f"/pairs/{pair['pair_id']}/votes"
    assert api().post(url, json={}).status_code == 401
    assert api(one, scope=Scope.READ).post(url, json={"lease": "x", "choice": "tie"}).status_code == 403
    assert api(one).post(url, json={"lease": pair["lease"], "choice": "a"}).status_code == 422
    wrong = api(one).post(url, json={"lease": pair["lease"], "choice": "tie", "criteria": {"style": "left"}})
    assert wrong.status_code == 422 and "style" in wrong.json()["detail"]
    stolen = api(two).post(url, json={"lease": pair["lease"], "choice": "tie"})
    assert stolen.status_code == 409 and "Claim the next" in stolen.json()["detail"]
    vote = api(one).post(url, json={"lease": pair["lease"], "choice": "tie"}).json()
    assert api(two).delete(f"/votes/{vote['id']}").status_code == 403
    assert api(two).delete("/votes/unknown").status_code == 404
    assert api(one).post("/projects/unknown/pairs/claim").status_code == 404
    assert api(one).get(f"/projects/{made.project.id}/quality").status_code == 403
    assert api(lead).get(f"/projects/{made.project.id}/quality", params={"simulated": "x"}).status_code == 422


def test_figures(db, api, made):
    client, lead = api(make_person(db)), api(make_person(db, "lead", "lead"))
    while (answer := claim(client, made)).status_code == 200:
        pair = answer.json()
        client.post(f"/pairs/{pair['pair_id']}/votes", json={"lease": pair["lease"], "choice": "left"})
    found = lead.get(f"/projects/{made.project.id}/quality").json()
    assert (found["votes"], found["annotators"], found["pairs"], found["left_share"]) == (4, 1, 4, 1.0)
    board = lead.get(f"/projects/{made.project.id}/leaderboard").json()
    assert board["votes"] == 4 and {item["n"] for item in board["items"]} == {4}
    nobody = lead.get(f"/projects/{made.project.id}/leaderboard", params={"annotator": "x"}).json()
    assert nobody["items"] == []
    late = lead.get(
        f"/projects/{made.project.id}/leaderboard", params={"since": "2100-01-01T00:00:00Z"}
    ).json()
    assert late["votes"] == 0


def test_ahead_heartbeat_edit_and_my_votes(db, api, made):
    who = make_person(db)
    client, other = api(who, scope=Scope.ANNOTATE), api(make_person(db, "other"))
    project = f"/projects/{made.project.id}"
    ahead = client.post(f"{project}/pairs/claim-ahead", params={"wanted": 3}).json()
    assert len({pair["pair_id"] for pair in ahead}) == 3
    assert client.post(f"{project}/pairs/claim-ahead", params={"wanted": 9}).status_code == 422
    leases = [pair["lease"] for pair in ahead]
    assert client.post(f"{project}/pairs/heartbeat", json={"leases": leases}).json() == {"held": leases}
    assert other.post(f"{project}/pairs/heartbeat", json={"leases": leases}).json() == {"held": []}
    vote = client.post(
        f"/pairs/{ahead[0]['pair_id']}/votes", json={"lease": leases[0], "choice": "left"}
    ).json()
    body = {"choice": "right", "criteria": {"helpful": "same"}, "reason": "on second thought"}
    changed = client.put(f"/votes/{vote['id']}", json=body)
    assert changed.status_code == 200 and changed.json()["choice"] == "right"
    assert other.put(f"/votes/{vote['id']}", json=body).status_code == 403
    assert client.put(f"/votes/{vote['id']}", json={"choice": "A"}).status_code == 422
    found = client.get(f"{project}/votes/mine", params={"contains": "SECOND"}).json()
    assert found["total"] == 1 and found["items"][0]["edits"] == 1
    assert found["items"][0]["criteria"] == {"helpful": "same"}
    assert (found["items"][0]["left"], found["items"][0]["right"]) == (ahead[0]["left"], ahead[0]["right"])
    assert other.get(f"{project}/votes/mine").json() == {"total": 0, "items": []}


def test_demonstrations_and_the_desk_over_the_api(db, api, made):
    client, lead = api(make_person(db)), api(make_person(db, "lead", "lead"))
    project = f"/projects/{made.project.id}"
    pair = claim(client, made).json()
    url = f"/pairs/{pair['pair_id']}/demonstrations"
    first = client.post(url, json={"text": "Better."})
    assert first.status_code == 201 and first.json()["author"] == "annotator"
    assert client.post(url, json={"text": "Best."}).json()["id"] == first.json()["id"]
    assert lead.post(url, json={"text": "Mine"}).status_code == 403
    assert client.post(url, json={"text": ""}).status_code == 422
    assert [item["text"] for item in lead.get(f"{project}/demonstrations").json()] == ["Best."]
    assert client.get(f"{project}/demonstrations").status_code == 403
    assert len(client.get(f"{project}/demonstrations", params={"mine": True}).json()) == 1
    assert client.delete(f"/demonstrations/{first.json()['id']}").status_code == 204
    assert lead.get(f"{project}/demonstrations").json() == []
    desk = {"scales": {"helpful": "1-5"}, "daily_goal": 20, "show_agreement": True}
    assert client.put(f"{project}/desk", json=desk).status_code == 403
    assert lead.put(f"{project}/desk", json=desk).json() == desk == client.get(f"{project}/desk").json()
    body = {"lease": pair["lease"], "choice": "left", "criteria": {"helpful": {"left": 5, "right": 3}}}
    assert client.post(f"/pairs/{pair['pair_id']}/votes", json=body).status_code == 201
