"""`make token`, with and without a running server, and the first admin's link."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from core import accounts, invitations
from core.access import Role
from core.errors import NotFound, PrefloopError
from core.token import STALE_S, answer_requests, ask_server, make_token
from storage.tables import ApiToken, User
from tests.conftest import ROOT


def test_the_running_server_answers(site):
    begin = time.monotonic()
    token = site.server.token("lead")
    assert time.monotonic() - begin < 20
    who = site.server.api(token).get("/me").json()
    assert who["role"] == "lead" and who["name"] == "lead program"
    requests = site.server.data_dir / "requests"
    assert list(requests.iterdir()) == [] and requests.stat().st_mode & 0o777 == 0o700
    again = site.server.api(site.server.token("lead")).get("/me").json()
    assert again["id"] == who["id"], "one account for one program"


def test_without_a_server_it_opens_the_database_itself(tmp_path):
    env = {**os.environ, "PREFLOOP_DATA_DIR": str(tmp_path / "fresh")}
    command = [sys.executable, "-m", "core.token", "--name", "cron", "--role"]
    done = subprocess.run([*command, "admin"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("pl_") and len(done.stdout.split()) == 1
    bad = subprocess.run([*command, "boss"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert bad.returncode == 1 and bad.stdout == "" and "role" in bad.stderr and "Traceback" not in bad.stderr


def test_requests_are_answered_once_and_stale_ones_never(db, settings):
    answers = []
    request = {"role": "lead", "name": "p", "scope": "full", "secret_hash": "h", "hint": "pl_"}
    asking = threading.Thread(target=lambda: answers.append(ask_server(settings.data_dir, request, 20)))
    asking.start()
    while not answer_requests(db, settings.data_dir):
        time.sleep(0.02)
    asking.join(20)
    assert answers == [None] and answer_requests(db, settings.data_dir) == 0
    stale = settings.data_dir / "requests" / "old.ask.json"
    stale.write_text(json.dumps({**request, "secret_hash": "other"}))
    os.utime(stale, (time.time() - STALE_S - 1,) * 2)
    (settings.data_dir / "requests" / "broken.ask.json").write_text("{")
    assert answer_requests(db, settings.data_dir) == 0 and not stale.exists()
    with db.read() as session:
        assert [token.secret_hash for token in session.query(ApiToken)] == ["h"]
    with pytest.raises(PrefloopError, match="no server answered"):
        ask_server(settings.data_dir, request, 0.1)


def test_a_persons_account_gets_no_token_this_way(db, settings):
    db.write(lambda session: session.add(User(name="Ada", role="admin", password_hash="x")))
    secret = make_token(settings, "admin", "Ada")
    with db.read() as session:
        assert session.query(User).filter(User.name == "Ada").count() == 2
    assert accounts.principal_of_token(db, secret).role == Role.ADMIN


def test_the_first_admins_link_is_renewed_until_there_is_one(db):
    first = accounts.first_admin_link(db, "http://here/")
    second = accounts.first_admin_link(db, "http://here")
    assert first and second and first != second and second.startswith("http://here/auth/invite/")
    secret = second.rsplit("/", 1)[1]
    with pytest.raises(NotFound):
        invitations.find_invitation(db, first.rsplit("/", 1)[1])
    make_admin = {"name": "Ada", "email": "ada@example.org", "password": "a few words in a row"}
    assert invitations.accept(db, secret, **make_admin).role == "admin"
    assert accounts.first_admin_link(db, "http://here") is None
    with pytest.raises(NotFound):
        invitations.accept(db, secret, **{**make_admin, "email": "eve@example.org"})


def test_a_token_is_no_admin_who_can_sign_in(db, settings):
    make_token(settings, "admin")
    assert accounts.first_admin_link(db, "http://here")
