"""Fixtures for every room: a fresh database, people of each role, pages under AppTest."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads must not spin on a busy machine

import httpx
import pytest
import uvicorn
from sqlalchemy import create_engine, text

from core import services
from core.access import Principal, Role, Scope
from core.accounts import new_token
from core.settings import Settings, get_settings
from storage.database import Database
from storage.ids import now
from storage.tables import Project, SignIn, User
from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journeys first: they take longest, and two files run at a time."""
    items.sort(key=lambda item: "/e2e/" not in item.nodeid.replace(os.sep, "/"))


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder of converted models for the whole session, also for tests that run beside
    this one: converting takes half a minute (and the one who does it holds a lock)."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "models"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose data folder is the test's own."""
    monkeypatch.setenv("PREFLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PREFLOOP_DATABASE_URL", raising=False)
    (tmp_path / "data").mkdir()
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def empty_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with every migration done, to be copied: doing them for each test
    takes longer than most tests."""
    file = tmp_path_factory.mktemp("empty") / "empty.duckdb"
    database = Database(f"duckdb:///{file}")
    database.migrate()
    database.checkpoint()
    database.dispose()
    return file


@pytest.fixture
def db(settings: Settings, empty_duckdb: Path) -> Iterator[Database]:
    """A migrated database of the test's own, also the one `core.services` gives out."""
    shutil.copyfile(empty_duckdb, settings.data_dir / "prefloop.duckdb")
    database = Database(settings.sqlalchemy_url)
    services.use_database(database)
    yield database
    services.use_database(None)
    database.dispose()


@pytest.fixture
def person(db: Database) -> Callable[..., Principal]:
    """Make a signed-in person of a role: `person("engineer")`."""

    def make(role: str = "admin", name: str | None = None) -> Principal:
        user = User(name=name or role, role=role)
        sign_in = SignIn(user_id=user.id, expires_at=now() + timedelta(hours=1))

        def work(session):
            session.add(user)
            session.add(sign_in)

        db.write(work)
        return Principal(user.id, user.name, Role(role), sign_in_id=sign_in.id)

    return make


@pytest.fixture
def admin(person: Callable[..., Principal]) -> Principal:
    return person("admin")


@pytest.fixture
def project(db: Database, admin: Principal) -> Project:
    from core.projects import create_project

    return create_project(db, admin, name="A project", criteria=["helpful", "accurate"], votes_per_pair=2)


@pytest.fixture
def open_page(db: Database) -> Callable[..., object]:
    """Open a page as a person, through the real navigation: `open_page(who, "data.py")`."""
    import streamlit as st
    from streamlit.testing.v1 import AppTest

    def open_(who: Principal, page: str, project: Project | None = None):
        st.cache_resource.clear()
        st.cache_data.clear()
        test = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=30)
        test.user = {"sign_in_id": who.sign_in_id}
        if project is not None:
            test.session_state["project_id"] = project.id
        test.run()
        return test.switch_page(page).run() if page else test

    return open_


@pytest.fixture
def api(db: Database) -> Iterator[Callable[..., httpx.Client]]:
    """The REST API over real HTTP, as a person: `api(who).get("/projects")`. Without a
    person, a client without a token."""
    from api.app import create_api

    server = uvicorn.Server(uvicorn.Config(create_api(), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    clients = []

    def client(who: Principal | None = None, scope: Scope = Scope.FULL) -> httpx.Client:
        headers = {}
        if who is not None:
            headers["Authorization"] = f"Bearer {new_token(db, who.user_id, scope=scope)[1]}"
        clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60))
        return clients[-1]

    yield client
    for one in clients:
        one.close()
    server.should_exit = True
    thread.join(5)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for the whole session, started when a test first asks."""
    with postgres.running() as url:
        yield url


def new_postgres(url: str, name: str, like: str = "template1") -> str:
    """Make a database on the server, as a copy of another; its URL."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {like}"))
    engine.dispose()
    return url.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(scope="session")
def empty_postgres(postgres_url: str) -> str:
    """The name of an empty database with every migration done, to be copied."""
    name = f"empty_{uuid.uuid4().hex}"
    database = Database(new_postgres(postgres_url, name))
    database.migrate()
    database.dispose()
    return name


@pytest.fixture(params=["duckdb", "postgresql"])
def any_db(request: pytest.FixtureRequest, settings: Settings, empty_duckdb: Path) -> Iterator[Database]:
    """A migrated, empty database, once on each of the two kinds."""
    if request.param == "duckdb":
        shutil.copyfile(empty_duckdb, settings.data_dir / "prefloop.duckdb")
        database = Database(settings.sqlalchemy_url)
    else:
        url, like = request.getfixturevalue("postgres_url"), request.getfixturevalue("empty_postgres")
        database = Database(new_postgres(url, f"test_{uuid.uuid4().hex}", like))
    services.use_database(database)
    yield database
    services.use_database(None)
    database.dispose()


@pytest.fixture
def person_on() -> Callable[[Database, str], tuple[Principal, Project]]:
    """A person of a role and a project of their own, on a given database: for tests on both
    kinds of it."""

    def make(database: Database, role: str) -> tuple[Principal, Project]:
        from core.projects import create_project

        user = User(name=role, role=role)
        database.write(lambda session: session.add(user))
        who = Principal(user.id, user.name, Role(role))
        return who, create_project(database, Principal(user.id, user.name, Role.ADMIN), name="A project")

    return make
