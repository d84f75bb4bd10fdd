"""What ends, ends at once: pages, open sockets, and tokens."""

import httpx
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import InvalidStatus

from tests.web.sockets import open_socket, rerun
from web.gate import _only_rerun


def test_deactivation_ends_pages_sockets_and_tokens_at_once(site):
    somebody = site.person("engineer")
    token = site.admin.post("/users", json={"name": "program", "role": "engineer"}).json()
    program = site.server.api(token["token"])
    assert program.get("/projects").status_code == 200
    with open_socket(site, somebody.cookie) as socket:
        assert somebody.name in rerun(socket)
        assert somebody.browser.get("/_stcore/host-config").status_code == 200
        for user_id in (somebody.id, token["id"]):
            done = site.admin.patch(f"/users/{user_id}", json={"active": False})
            assert done.status_code == 200 and done.json()["active"] is False
        assert somebody.browser.get("/_stcore/host-config").status_code == 401
        shown = rerun(socket)
        assert any("not signed in" in text for text in shown) and somebody.name not in shown
    with pytest.raises(InvalidStatus):
        open_socket(site, somebody.cookie)
    assert program.get("/projects").status_code == 401
    assert site.audit("user.deactivate")[0]["entity_id"] == token["id"]

    site.admin.patch(f"/users/{somebody.id}", json={"active": True})
    assert somebody.browser.get("/_stcore/host-config").status_code == 401, "an ended sign-in stays ended"


def test_a_changed_role_holds_for_the_next_rerun(site):
    somebody = site.person("admin")
    with open_socket(site, somebody.cookie) as socket:
        assert "People" in rerun(socket, "people")
        site.admin.patch(f"/users/{somebody.id}", json={"role": "annotator"})
        assert "People" not in rerun(socket, "people")


def test_signing_out_ends_the_open_socket(site):
    somebody = site.person()
    with open_socket(site, somebody.cookie) as socket:
        assert somebody.name in rerun(socket)
        cookie = somebody.cookie
        assert somebody.browser.post("/auth/sign-out").status_code == 303
        assert any("not signed in" in text for text in rerun(socket))
    assert "prefloop_sign_in" not in somebody.browser.cookies
    assert (
        httpx.get(site.url + "/_stcore/host-config", cookies={"prefloop_sign_in": cookie}).status_code == 401
    )


def test_from_an_ended_sign_in_only_a_plain_rerun_comes_through():
    """Streamlit runs callbacks before the page's own check, so no widget may come with it."""
    pressed = BackMsg()
    pressed.rerun_script.query_string = "project=1"
    pressed.rerun_script.fragment_id = "fragment"
    pressed.rerun_script.widget_states.widgets.add(id="delete", trigger_value=True)
    through = _only_rerun({"type": "websocket.receive", "bytes": pressed.SerializeToString()})
    assert through is not None
    plain = BackMsg()
    plain.ParseFromString(through["bytes"])
    assert plain.rerun_script.query_string == "project=1"
    assert not plain.rerun_script.widget_states.widgets and not plain.rerun_script.fragment_id
    other = BackMsg(stop_script=True)
    assert _only_rerun({"type": "websocket.receive", "bytes": other.SerializeToString()}) is None
    assert _only_rerun({"type": "websocket.receive", "text": "x"}) is None
