"""People over the API: who may call what, tokens and their scopes, the audit log."""

import pytest

from api.app import create_api
from core.access import ACTIONS, Principal, Role, Scope, allowed
from core.accounts import new_token

EVERY_ROUTE = sorted(
    (method.upper(), path)
    for path, operations in create_api().openapi()["paths"].items()
    for method in operations
    if path != "/health"
)


def test_every_route_but_health_needs_a_token(api):
    client = api()
    assert len(EVERY_ROUTE) > 10
    for method, path in EVERY_ROUTE:
        answer = client.request(method, path, json={})
        assert answer.status_code == 401, f"{method} {path} answers {answer.status_code} without a token"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/health").status_code == 200


def test_no_route_lets_a_junk_token_in(site):
    browser = site.browser()
    for method, path in EVERY_ROUTE:
        for header in ("Bearer nonsense", "Bearer", "Basic YTpi"):
            answer = browser.request(method, f"/api/v1{path}", headers={"Authorization": header})
            assert answer.status_code == 401, f"{method} {path}"


def test_every_admin_route_is_closed_to_the_other_roles(api, person, admin):
    for role in set(Role) - {Role.ADMIN}:
        client = api(person(role.value))
        for method, path, body in (
            ("POST", "/users", {"name": "x", "role": "admin"}),
            ("GET", "/users", None),
            ("PATCH", f"/users/{admin.user_id}", {"active": False}),
            ("POST", "/invitations", {"role": "admin"}),
            ("GET", "/invitations", None),
            ("DELETE", "/invitations/x", None),
            ("GET", "/audit", None),
        ):
            assert client.request(method, path, json=body).status_code == 403, f"{role}: {method} {path}"


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_never_widens_a_role(scope):
    for role in Role:
        token = Principal("x", "x", role, scope)
        person_ = Principal("x", "x", role)
        for action in ACTIONS:
            assert not allowed(token, action) or allowed(person_, action)


def test_scopes_hold_over_http(api, person):
    engineer = person("engineer")
    reads, votes, full = (api(engineer, scope) for scope in (Scope.READ, Scope.ANNOTATE, Scope.FULL))
    assert full.post("/projects", json={"name": "P"}).status_code == 201
    assert reads.get("/projects").status_code == votes.get("/projects").status_code == 200
    for client in (reads, votes):
        refused = client.post("/projects", json={"name": "P"})
        assert refused.status_code == 403 and "scope" in refused.json()["detail"]
        assert client.post("/tokens", json={"name": "wider", "scope": "full"}).status_code == 403
    assert votes.get("/me").json()["scope"] == "annotate"
    assert "annotate" in votes.get("/me").json()["actions"]
    assert "project.create" not in votes.get("/me").json()["actions"]


def test_a_program_gets_an_account_and_a_token(api, admin):
    client = api(admin)
    made = client.post("/users", json={"name": "importer", "role": "engineer"})
    assert made.status_code == 201 and set(made.json()) == {"id", "name", "role", "token"}
    listed = client.get("/users").json()
    assert made.json()["token"] not in str(listed)
    assert [user["name"] for user in listed] == ["admin", "importer"]
    assert client.post("/users", json={"name": "x", "role": "boss"}).status_code == 422
    assert client.post("/users", json={"name": " ", "role": "lead"}).status_code == 422
    assert client.patch("/users/unknown", json={"active": False}).status_code == 404


def test_tokens_are_shown_once_revoked_at_once_and_expire(api, db, person, admin):
    lead, other = api(person("lead")), api(person("lead", "other"))
    made = lead.post("/tokens", json={"name": "report", "scope": "read", "days": 7}).json()
    listed = lead.get("/tokens").json()
    assert made["token"] not in str(listed) and made["hint"] == made["token"][:7]
    assert {token["name"] for token in listed} >= {"report"}
    assert other.delete(f"/tokens/{made['id']}").status_code == 404, "somebody else's"
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert api().get("/me", headers=bearer).status_code == 200
    used = next(token for token in lead.get("/tokens").json() if token["id"] == made["id"])
    assert used["last_used_at"] is not None
    assert lead.delete(f"/tokens/{made['id']}").status_code == 204
    assert api().get("/me", headers=bearer).status_code == 401
    from datetime import timedelta

    from storage.ids import now

    _, gone = new_token(db, admin.user_id, expires_at=now() - timedelta(seconds=1))
    assert api().get("/me", headers={"Authorization": f"Bearer {gone}"}).status_code == 401
    assert lead.post("/tokens", json={"name": "", "days": 7}).status_code == 422
    assert lead.post("/tokens", json={"name": "x", "days": 0}).status_code == 422


def test_the_last_admin_stays(api, admin, person):
    client = api(admin)
    for change in ({"active": False}, {"role": "lead"}):
        refused = client.patch(f"/users/{admin.user_id}", json=change)
        assert refused.status_code == 409 and "last active admin" in refused.json()["detail"]
    second = person("admin", "second")
    assert client.patch(f"/users/{admin.user_id}", json={"role": "lead"}).status_code == 200
    assert client.get("/users").status_code == 403, "no admin any more, at once"
    assert api(second).patch(f"/users/{second.user_id}", json={"active": False}).status_code == 409


def test_the_audit_log_says_who_did_what(api, admin, person):
    client = api(admin)
    somebody = person("annotator", "Anna")
    client.patch(f"/users/{somebody.user_id}", json={"role": "lead"})
    client.patch(f"/users/{somebody.user_id}", json={"role": "lead"})  # nothing changes, nothing is noted
    client.patch(f"/users/{somebody.user_id}", json={"active": False})
    page = client.get("/audit", params={"action": "user"}).json()
    assert page["total"] == 2
    newest, older = page["items"]
    assert newest["action"] == "user.deactivate" and newest["user_name"] == "admin"
    assert older["detail"] == {"name": "Anna", "before": "annotator", "after": "lead"}
    assert older["entity_id"] == somebody.user_id
    client.post("/projects", json={"name": "Noted"})
    assert client.get("/audit", params={"action": "project.create"}).json()["items"][0]["project_id"]
    assert client.get("/audit", params={"action": "user", "limit": 1, "offset": 1}).json()["items"] == [older]
    assert client.get("/audit", params={"user_id": somebody.user_id}).json()["total"] == 0
    assert client.get("/audit", params={"since": "2100-01-01T00:00:00Z"}).json()["total"] == 0
    secret = client.post("/users", json={"name": "p", "role": "lead"}).json()["token"]
    assert secret not in client.get("/audit").text
