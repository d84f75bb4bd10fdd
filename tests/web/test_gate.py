"""The gate, over real HTTP and a real socket: nobody reaches anything without a sign-in."""

import time
from pathlib import Path

import httpx
import pytest
import streamlit
from websockets.exceptions import InvalidStatus

from core.errors import NotSignedIn
from storage.tables import User
from tests.web.sockets import open_socket, rerun

CLOSED = [
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/_stcore/agent/openapi.json",
    "/static/anything.html",
    "/staticx/js/index.js",
    "/index.html",
    "/media/anything.png",
    "/app/static/icon.svg",
    "/component/x/index.html",
    "/api/v1/projects",
    "/api/v1/nothing",
    "/oauth2callback",
]


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_sign_in_there_is_nothing_but_a_401(site, path):
    answer = httpx.get(site.url + path)
    assert answer.status_code == 401 and "detail" in answer.json()


def test_who_forgets_the_api_s_version_is_told(site):
    """Not that a token is wrong, which it is not."""
    answer = httpx.get(site.url + "/api/projects", headers={"Authorization": "Bearer anything"})
    assert answer.status_code == 404 and "The API is at /api/v1" in answer.json()["detail"]


def test_uploads_and_pages_are_closed_too(site):
    upload = httpx.put(f"{site.url}/_stcore/upload_file/a/b", content=b"x")
    assert upload.status_code == 401
    assert httpx.post(site.url + "/").status_code == 401
    page = site.browser().get("/people?project=1&x=a b")
    assert page.status_code == 303
    assert page.headers["location"] == "/auth/sign-in?next=/people%3Fproject%3D1%26x%3Da%2520b"


@pytest.mark.parametrize(
    "path",
    ["/health", "/_stcore/health", "/auth/sign-in", "/api/v1/health", "/api/v1/docs", "/auth/icon.svg"],
)
def test_what_is_open_is_open(site, path):
    assert httpx.get(site.url + path).status_code == 200


def test_streamlits_own_frontend_is_open_for_reading_only(site):
    """A page whose sign-in has just ended loads what it needs to say so."""
    files = list((Path(streamlit.__file__).parent / "static/static/js").iterdir())
    assert httpx.get(f"{site.url}/static/js/{files[0].name}").status_code == 200
    assert httpx.post(f"{site.url}/static/js/{files[0].name}").status_code == 401
    for path in (
        "/static/js/../../index.html",
        "/static/js/%2e%2e/%2e%2e/%2e%2e/web/server/server.py",
        "/static/js//etc/passwd",
    ):
        answer = httpx.get(site.url + path)
        assert "def " not in answer.text and "root:" not in answer.text


def test_the_api_is_described_without_anything_from_elsewhere(site):
    page = httpx.get(site.url + "/api/v1/docs").text
    assert "//" not in page.replace("<!DOCTYPE html>", "")
    for file in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert len(httpx.get(f"{site.url}/api/v1/docs/assets/{file}").content) > 100_000
    assert "/projects" in httpx.get(site.url + "/api/v1/openapi.json").json()["paths"]


def test_streamlits_own_sign_in_routes_do_not_answer(site):
    assert httpx.get(site.url + "/auth/login").status_code == 404
    assert httpx.get(site.url + "/auth/logout").status_code == 404


def test_a_cookie_opens_pages_and_a_broken_one_does_not(site):
    somebody = site.person()
    assert "Streamlit" in somebody.browser.get("/").text
    name = "prefloop_sign_in"
    # Not its last letter, of which two bits say nothing.
    forged = somebody.cookie[:-9] + ("a" if somebody.cookie[-9] != "a" else "b") + somebody.cookie[-8:]
    for bad in ("", "x", forged, "é"):
        header = f"{name}={bad}".encode()
        assert httpx.get(site.url + "/_stcore/host-config", headers={"Cookie": header}).status_code == 401
    sign_in_id = somebody.cookie.split(".")[0]
    assert httpx.get(site.url + "/_stcore/host-config", cookies={name: sign_in_id}).status_code == 401


def test_the_header_is_ours_alone(site):
    admin, annotator = site.person("admin"), site.person("annotator")
    admins_sign_in = admin.cookie.split(".")[0]
    spoofed = {"X-Prefloop-Sign-In": admins_sign_in}
    assert httpx.get(site.url + "/_stcore/host-config", headers=spoofed).status_code == 401
    with pytest.raises(InvalidStatus):
        open_socket(site, **spoofed)
    with open_socket(site, annotator.cookie, **spoofed) as socket:
        texts = rerun(socket)
    assert annotator.name in texts and admin.name not in texts


def test_sockets_need_the_cookie_and_a_page_of_ours(site):
    somebody = site.person()
    for cookie, origin in (("", None), ("x.y", None), (somebody.cookie, "https://evil.example")):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(site, cookie, origin)
        assert refused.value.response.status_code == 403
    with open_socket(site, somebody.cookie) as socket:
        assert somebody.name in rerun(socket)


def test_a_role_sees_its_pages_only(site):
    with open_socket(site, site.person("annotator").cookie) as socket:
        assert not {"People", "Audit log"} & set(rerun(socket, "people"))
    with open_socket(site, site.person("admin").cookie) as socket:
        assert "People" in rerun(socket, "people")


def test_pages_may_load_nothing_from_elsewhere(site):
    for answer in (httpx.get(site.url + "/auth/sign-in"), site.person().browser.get("/")):
        policy = answer.headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'self'"
        assert directives["img-src"] == "'self' data: blob:"
        assert directives["object-src"] == "'none'" and directives["frame-ancestors"] == "'self'"
        assert "unsafe-eval'" not in directives["script-src"].replace("'wasm-unsafe-eval'", "")
        assert "'unsafe-inline'" not in directives["script-src"]
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_static_files_do_not_ask_the_database(monkeypatch, any_db):
    from core.signin import validity as module
    from core.signin.sessions import principal_of_sign_in, start_sign_in
    from core.signin.validity import Validity

    asked = []
    original = Validity.check
    monkeypatch.setattr(Validity, "check", lambda self, db, key: asked.append(key) or original(self, db, key))
    times = [0.0]
    cache = Validity(principal_of_sign_in, clock=lambda: times[0])
    user = any_db.write(lambda session: _added(session, User(name="Ida", role="engineer")))
    key = start_sign_in(any_db, user.id).id
    for _ in range(100):
        assert cache.of(any_db, key).principal().name == "Ida"
    assert len(asked) == 1
    times[0] = 0.1 + (module.REMEMBER_ALONE_S if any_db.is_duckdb else module.REMEMBER_S)
    assert cache.known(key) is None
    cache.check(any_db, key)
    cache.forget()
    assert cache.known(key) is None
    with pytest.raises(NotSignedIn):
        cache.of(any_db, "nobody").principal()


def _added(session, row):
    session.add(row)
    return row


def test_small_answers_do_not_wait_for_an_acknowledgement(site):
    """With Nagle's algorithm on, none of these is faster than some 40 ms."""
    with site.browser() as client:
        took = []
        for _ in range(40):
            begin = time.perf_counter()
            assert client.get("/auth/icon.svg").status_code == 200
            took.append(time.perf_counter() - begin)
    assert sorted(took)[10] < 0.025
