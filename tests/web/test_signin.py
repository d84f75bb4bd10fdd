"""Signing in and out, invitations, password links, as a browser does them."""

import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.signin import cookies
from core.signin.passwords import hash_password, matches
from core.signin.throttle import Throttle
from tests.web.conftest import PASSWORD
from web.local import local_path


def sign_in(site, login, password=PASSWORD, target="/", **headers):
    browser = site.browser(**headers)
    form = {"login": login, "password": password, "next": target}
    return browser.post("/auth/sign-in", data=form), browser


def test_by_email_or_name_and_on_to_the_page_asked_for(site):
    somebody = site.person()
    for login in (somebody.email, somebody.email.upper(), somebody.name):
        answer, browser = sign_in(site, login, target="/account?x=1")
        assert answer.status_code == 303 and answer.headers["location"] == "/account?x=1"
        assert browser.get("/_stcore/host-config").status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/;" in cookie
    assert len(site.audit("sign_in", somebody.id)) == 4  # with the one from the invitation


def test_wrong_passwords_and_unknown_people_look_alike(site):
    somebody = site.person()
    wrong, _ = sign_in(site, somebody.email, "not the password")
    unknown, browser = sign_in(site, "nobody@example.org")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace(somebody.email, "") == unknown.text.replace("nobody@example.org", "")
    assert "prefloop_sign_in" not in browser.cookies
    assert len(site.audit("sign_in.failed", somebody.id)) == 1


def test_an_inactive_account_cannot_sign_in(site):
    somebody = site.person()
    site.admin.patch(f"/users/{somebody.id}", json={"active": False})
    assert sign_in(site, somebody.email)[0].status_code == 401


def test_guessing_is_slowed_down(site):
    somebody = site.person()
    answers = [sign_in(site, somebody.email, f"guess {n} of many")[0] for n in range(7)]
    assert [answer.status_code for answer in answers[:5]] == [401] * 5
    assert 429 in [answer.status_code for answer in answers]
    slowed = next(answer for answer in answers if answer.status_code == 429)
    assert int(slowed.headers["retry-after"]) >= 1 and "Too many tries" in slowed.text


def test_the_way_on_stays_on_this_site(site):
    somebody = site.person()
    assert sign_in(site, somebody.email, target="//evil.example")[0].headers["location"] == "/"
    for target in (
        "/\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "evil",
        "",
        "/auth/sign-out",
    ):
        signed_in = somebody.browser.get("/auth/sign-in", params={"next": target})
        assert signed_in.status_code == 303 and signed_in.headers["location"] == "/"


@given(st.text(max_size=30).map(lambda text: "/" + text))
def test_no_text_leads_elsewhere(text):
    found = local_path(text)
    assert found.startswith("/") and not found.startswith(("//", "/\\"))
    assert httpx.URL("http://here.example").join(found).host == "here.example"


def test_forms_from_other_sites_are_refused(site):
    somebody = site.person()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert sign_in(site, somebody.email, **headers)[0].status_code == 403
        assert somebody.browser.post("/auth/sign-out", headers=headers).status_code == 403
    assert somebody.browser.get("/auth/sign-out").status_code == 200, "a GET only asks"
    assert somebody.browser.get("/_stcore/host-config").status_code == 200
    assert sign_in(site, somebody.email, **{"Sec-Fetch-Site": "same-origin"})[0].status_code == 303


def test_an_invitation_makes_one_account(site):
    link = site.invitation("engineer")
    assert "You are invited as an engineer" in httpx.get(site.url + link).text
    answers = []

    def use(number: int) -> None:
        form = {"name": f"Racer {number}", "email": f"racer{number}@example.org", "password": PASSWORD}
        answers.append(httpx.post(site.url + link, data=form, timeout=60).status_code)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [303] + [404] * 4
    users = site.admin.get("/users", params={"limit": 1000}).json()
    racers = [user for user in users if user["name"].startswith("Racer")]
    assert len(racers) == 1 and racers[0]["role"] == "engineer"
    assert httpx.get(site.url + link).status_code == 404


def test_what_is_wrong_with_an_invitation_is_said_and_uses_nothing_up(site):
    taken = site.person()
    link = site.url + site.invitation()
    good = {"name": "New", "email": "new@example.org", "password": PASSWORD}
    for change, status, said in (
        ({"password": "short"}, 422, "at least 10 characters"),
        ({"email": "nonsense"}, 422, "not an e-mail address"),
        ({"email": taken.email}, 409, "has an account already"),
        ({"name": " "}, 422, "1 to 80 characters"),
    ):
        answer = httpx.post(link, data={**good, **change})
        assert answer.status_code == status and said in answer.text
    assert httpx.post(link, data={**good, "name": "<script>alert(1)</script>"}).status_code == 303
    form = httpx.post(site.url + "/auth/sign-in", data={"login": "<script>", "password": "x"}).text
    assert "<script>" not in form and "&lt;script&gt;" in form


def test_a_revoked_invitation_is_dead(site):
    made = site.admin.post("/invitations", json={"role": "lead"}).json()
    assert site.admin.delete(f"/invitations/{made['id']}").status_code == 204
    assert made["id"] not in [item["id"] for item in site.admin.get("/invitations").json()]
    assert httpx.get(httpx.URL(made["link"]).copy_with(scheme="http")).status_code == 404


def test_passwords_are_hashed_and_bounded():
    kept = hash_password(PASSWORD)
    assert kept.startswith("$argon2id$") and matches(kept, PASSWORD) and not matches(kept, PASSWORD + "x")
    assert not matches(None, "no account has this password")
    with pytest.raises(Invalid):
        hash_password("x" * 501)


def test_the_wait_grows_and_ends():
    time = [0.0]
    throttle = Throttle(clock=lambda: time[0])
    for _ in range(4):
        throttle.failed("ada", "1.1.1.1")
    assert throttle.wait_s("ada", "1.1.1.1") == 0
    waits = []
    for _ in range(10):
        throttle.failed("ada", "1.1.1.1")
        waits.append(throttle.wait_s("ada", "1.1.1.1"))
        time[0] += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert throttle.wait_s("ada", "1.1.1.1") == 0 and throttle.wait_s("ada", "2.2.2.2") == 0
    throttle.succeeded("ada", "1.1.1.1")
    throttle.failed("ada", "1.1.1.1")
    assert throttle.wait_s("ada", "1.1.1.1") == 0
    for number in range(60):
        throttle.failed(f"user {number}", "3.3.3.3")
    assert throttle.wait_s("someone new", "3.3.3.3") > 0, "one address that tries everybody"


def test_the_key_is_the_owners_alone_and_stays(tmp_path):
    folder = tmp_path / "new"
    key = cookies.secret_key(folder)
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600
    cookies.secret_key.cache_clear()
    assert cookies.secret_key(folder) == key and len(key) >= 64
    assert [path.name for path in folder.iterdir()] == ["secret.key"]
    assert cookies.unsign(folder, cookies.sign(folder, "abc")) == "abc"
    assert cookies.unsign(tmp_path / "other", cookies.sign(folder, "abc")) is None
