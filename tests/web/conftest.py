"""One whole Prefloop for the module, with an OpenID provider beside it, and people who
came by real invitation links."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import oidc_provider_mock
import pytest
from argon2 import PasswordHasher

from core import accounts
from core.access import Role
from core.settings import Settings
from core.signin import passwords
from storage.database import Database
from tests.server import Prefloop

PASSWORD = "a few words in a row"


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process only: the server under test hashes as in earnest."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._hash_of_nothing.cache_clear()


_numbers = count(1)


@dataclass
class Provider:
    """A real OpenID provider over HTTP; a user is known to it by `claims`."""

    url: str

    def knows(self, sub: str, **claims: object) -> None:
        httpx.put(f"{self.url}/users/{sub}", json=claims).raise_for_status()


@dataclass
class Somebody:
    """A person with an account, and a browser that is signed in."""

    id: str
    name: str
    email: str
    browser: httpx.Client

    @property
    def cookie(self) -> str:
        return self.browser.cookies["prefloop_sign_in"]


class Site:
    def __init__(self, server: Prefloop, admin_token: str) -> None:
        self.server, self.url = server, server.url
        self.ws = server.url.replace("http", "ws") + "/_stcore/stream"
        self.admin = server.api(admin_token)

    def browser(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Accept": "text/html", **headers}, timeout=30)

    def invitation(self, role: str = "annotator") -> str:
        """The path of a fresh invitation link."""
        made = self.admin.post("/invitations", json={"role": role})
        assert made.status_code == 201, made.text
        return str(httpx.URL(made.json()["link"]).path)

    def person(self, role: str = "annotator") -> Somebody:
        number = next(_numbers)
        name, email = f"Person {number}", f"person{number}@example.org"
        browser = self.browser()
        form = {"name": name, "email": email, "password": PASSWORD}
        done = browser.post(self.invitation(role), data=form)
        assert done.status_code == 303, done.text
        users = self.admin.get("/users", params={"limit": 1000}).json()
        return Somebody(next(user["id"] for user in users if user["email"] == email), name, email, browser)

    def audit(self, action: str, user_id: str | None = None) -> list[dict[str, object]]:
        params = {"action": action} | ({"user_id": user_id} if user_id else {})
        return self.admin.get("/audit", params=params).json()["items"]


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        yield Provider(f"http://localhost:{server.server_port}")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Site]:
    data_dir = tmp_path_factory.mktemp("web") / "data"
    data_dir.mkdir()
    settings = Settings(data_dir=data_dir, database_url="")  # type: ignore[call-arg]
    db = Database(settings.sqlalchemy_url)
    db.migrate()
    server = Prefloop(
        data_dir,
        PREFLOOP_LAUNCHED="1",
        PREFLOOP_DEMO="false",
        PREFLOOP_OIDC_ISSUER=provider.url,
        PREFLOOP_OIDC_CLIENT_ID="prefloop",
        PREFLOOP_OIDC_CLIENT_SECRET="secret",
        PREFLOOP_OIDC_ROLE="engineer",
    )
    link = accounts.first_admin_link(db, server.url)
    db.dispose()
    assert link
    server.start([sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(server.port)])
    try:
        form = {"name": "First Admin", "email": "first@example.org", "password": PASSWORD}
        assert httpx.post(link, data=form).status_code == 303
        yield Site(server, server.token())
    finally:
        server.stop()


@pytest.fixture
def role_of(site: Site) -> Callable[[str], Role]:
    def role(user_id: str) -> Role:
        users = site.admin.get("/users", params={"limit": 1000}).json()
        return Role(next(user["role"] for user in users if user["id"] == user_id))

    return role


def data_dir_of(site: Site) -> Path:
    return site.server.data_dir
