"""The list of hosts: who may change it, what is refused, and what a test says."""

import pytest

from core.errors import Conflict, Forbidden, Invalid
from core.llm import registry
from storage.tables import AuditEntry, Host
from tests.llm.servers import completion, serving

FAR = {"name": "far", "kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


def test_the_embedded_host_is_always_there(db, admin):
    first, *others = registry.list_hosts(db, admin)
    assert (first.id, first.kind, first.model, others) == ("embedded", "local", "embedded", [])
    with db.read() as session:
        for name in (None, "", "embedded"):
            assert registry.host_spec(session, name).model == "embedded"


def test_hosts_come_and_go(db, admin):
    host = registry.create_host(db, admin, **FAR, price_in=1, price_out=2.5, concurrency=3)
    assert [item.name for item in registry.list_hosts(db, admin)] == ["embedded", "far"]
    with db.read() as session:
        spec = registry.host_spec(session, "far")
        assert spec == registry.host_spec(session, host.id)
        assert (spec.price_out, spec.concurrency, spec.base_url) == (2.5, 3, FAR["base_url"])
    with pytest.raises(Conflict, match="far"):
        registry.create_host(db, admin, **FAR)
    with pytest.raises(Conflict):
        registry.create_host(db, admin, **{**FAR, "name": "embedded"})
    registry.archive_host(db, admin, host.id)
    assert len(registry.list_hosts(db, admin)) == 1
    with db.read() as session, pytest.raises(Invalid, match="no host “far”"):
        registry.host_spec(session, "far")
    again = registry.create_host(db, admin, **{**FAR, "model": "m2"})
    assert (again.id, again.model) == (host.id, "m2")
    with db.read() as session:
        actions = [entry.action for entry in session.query(AuditEntry).order_by(AuditEntry.id)]
    assert actions.count("host.create") == 2 and "host.archive" in actions


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"model": ""}, "model"),
        ({"kind": "ray"}, "kind"),
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "http://me:secret@host/v1"}, "base_url"),
        ({"kind": "local"}, "base_url"),
        ({"api_key_env": "sk-1234-abcd"}, "api_key_env"),
        ({"api_key_env": "PREFLOOP_OIDC_CLIENT_SECRET"}, "api_key_env"),
        ({"price_in": -1}, "price_in"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"concurrency": 0}, "concurrency"),
        ({"params": {"dtype": "int3"}}, "params"),
        ({"params": {"trust": 1}}, "params"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_what_is_wrong_is_named(db, admin, change, field):
    with pytest.raises(Invalid, match=f"^{field}:") as caught:
        registry.create_host(db, admin, **{**FAR, **change})
    assert "sk-1234" not in str(caught.value)
    with db.read() as session:
        assert session.query(Host).count() == 0


def test_only_engineers_and_admins_change_hosts(db, person):
    registry.create_host(db, person("engineer"), **FAR)
    for role in ("lead", "annotator"):
        with pytest.raises(Forbidden):
            registry.create_host(db, person(role), **{**FAR, "name": role})
        with pytest.raises(Forbidden):
            registry.test_host(db, person(role), "far")


def test_a_test_of_a_url(db, admin, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "k")
    with serving(lambda *_: (200, completion("OK"))) as server:
        registry.create_host(db, admin, **{**FAR, "base_url": server.url, "api_key_env": "FAR_KEY"})
        tried = registry.test_host(db, admin, "far")
        assert tried.ok and tried.answer == "OK" and tried.latency_ms > 0
        assert server.bodies[0]["max_tokens"] == 8
    gone = registry.test_host(db, admin, "far")
    assert not gone.ok and "cannot be reached" in gone.message and gone.hint
    monkeypatch.delenv("FAR_KEY")
    unset = registry.test_host(db, admin, "far")
    assert not unset.ok and "FAR_KEY" in unset.message
    with serving(lambda *_: (503, {"error": {"message": "loading"}})) as server:
        registry.create_host(db, admin, **{**FAR, "name": "busy", "base_url": server.url})
        busy = registry.test_host(db, admin, "busy")
        assert not busy.ok and "503: loading" in busy.message
        assert len(server.requests) == 1


def test_a_test_of_local_models(db, admin, tmp_path, tiny):
    assert registry.test_host(db, admin, "embedded").ok
    for name, model, ok in (
        ("there", str(tiny), True),
        ("empty", str(tmp_path), False),
        ("nowhere", str(tmp_path / "nothing here"), False),
        ("hub", "nobody/no-such-model", False),  # the hub is switched off in tests
    ):
        registry.create_host(db, admin, name=name, kind="local", model=model)
        tried = registry.test_host(db, admin, name)
        assert tried.ok is ok, tried
        assert ok or tried.hint


def test_the_api(api, admin, person):
    client = api(admin)
    made = client.post("/hosts", json=FAR)
    assert made.status_code == 201
    assert [host["name"] for host in client.get("/hosts").json()] == ["embedded", "far"]
    tried = client.post(f"/hosts/{made.json()['id']}/test").json()
    assert tried["ok"] is False and "cannot be reached" in tried["message"]
    assert client.post("/hosts", json={**FAR, "name": "x", "base_url": "y"}).status_code == 422
    assert api(person("lead")).post("/hosts", json=FAR).status_code == 403
    assert client.delete(f"/hosts/{made.json()['id']}").status_code == 204
