"""OpenID Connect against a real provider: the whole dance of redirects over HTTP."""

import httpx
import pytest

from tests.web.conftest import PASSWORD


def at_the_provider(site, browser, query=""):
    """Start here; answers the provider's page that asks who one is."""
    start = browser.get(f"/auth/oidc/login{query}")
    assert start.status_code == 302, start.text
    url = httpx.URL(start.headers["location"])
    assert {"state", "nonce", "code_challenge"} <= set(url.params)
    assert url.params["code_challenge_method"] == "S256"
    return url


def dance(site, browser, sub, query=""):
    url = at_the_provider(site, browser, query)
    back = httpx.post(url, data={"sub": sub})
    assert back.status_code == 302, back.text
    return browser.get(back.headers["location"])


def user_named(site, name):
    users = site.admin.get("/users", params={"limit": 1000}).json()
    return [user for user in users if user["name"] == name]


def test_the_first_sign_in_makes_an_account_and_the_next_finds_it(site, provider):
    provider.knows("grace", name="Grace Hopper", email="grace@navy.example", email_verified=True)
    page = httpx.get(site.url + "/auth/sign-in?next=/runs").text
    assert "/auth/oidc/login?next=%2Fruns" in page and "Continue with localhost" in page
    for _ in range(2):
        browser = site.browser()
        done = dance(site, browser, "grace", "?next=/runs")
        assert done.status_code == 303 and done.headers["location"] == "/runs"
        assert browser.get("/_stcore/host-config").status_code == 200
    (user,) = user_named(site, "Grace Hopper")
    assert user["role"] == "engineer" and user["email"] == "grace@navy.example"
    assert site.audit("sign_in", user["id"])[0]["detail"] == {"how": "openid"}
    site.admin.patch(f"/users/{user['id']}", json={"active": False})
    assert dance(site, site.browser(), "grace").status_code == 401
    assert len(user_named(site, "Grace Hopper")) == 1


def test_a_verified_address_leads_to_the_local_account(site, provider):
    somebody = site.person("lead")
    provider.knows("known", name="Other Name", email=somebody.email.upper(), email_verified=True)
    browser = site.browser()
    assert dance(site, browser, "known").status_code == 303
    assert site.audit("user.link_openid", somebody.id) and not user_named(site, "Other Name")
    provider.knows("second", name="Second", email=somebody.email, email_verified=True)
    assert dance(site, site.browser(), "second").status_code == 409, "one identity for one account"


@pytest.mark.parametrize("verified", [False, None, "true"])
def test_an_unverified_address_leads_to_nobody_elses_account(site, provider, verified):
    somebody = site.person("admin")
    sub = f"mallory-{verified}"
    provider.knows(sub, name=sub, email=somebody.email, email_verified=verified)
    assert dance(site, site.browser(), sub).status_code == 303
    (user,) = user_named(site, sub)
    assert user["id"] != somebody.id and user["role"] == "engineer" and user["email"] is None


def test_an_invitation_gives_its_role(site, provider):
    provider.knows("invited", name="Invited One")
    link = site.invitation("lead")
    secret = link.rsplit("/", 1)[1]
    assert f"/auth/oidc/login?invite={secret}" in httpx.get(site.url + link).text
    assert dance(site, site.browser(), "invited", f"?invite={secret}").status_code == 303
    assert user_named(site, "Invited One")[0]["role"] == "lead"
    form = {"name": "Late", "email": "late@example.org", "password": PASSWORD}
    assert httpx.post(site.url + link, data=form).status_code == 404


def test_answers_that_we_did_not_ask_for_are_refused(site, provider):
    provider.knows("eve", name="Eve")
    victim, attacker = site.browser(), site.browser()
    url = at_the_provider(site, attacker)
    answer = httpx.post(url, data={"sub": "eve"}).headers["location"]
    assert victim.get(answer).status_code == 401, "a code from somebody else's browser"
    assert "prefloop_sign_in" not in victim.cookies
    assert victim.get("/auth/oidc/callback?code=x&state=y").status_code == 401
    assert attacker.get(answer).status_code == 303
    assert attacker.get(answer).status_code == 401, "a code works once"
    url = at_the_provider(site, victim)
    denied = httpx.post(url, data={"action": "deny"}).headers["location"]
    assert victim.get(denied).status_code == 401
    assert not user_named(site, "Somebody")


def test_the_way_on_stays_here(site, provider):
    provider.knows("walker", name="Walker")
    assert dance(site, site.browser(), "walker", "?next=//evil.example").headers["location"] == "/"
