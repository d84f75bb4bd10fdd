"""Passwords changed and reset, sign-ins ended: in the core, on a database of its own."""

import pytest

from core import accounts, invitations
from core.access import ACTIONS, Principal, Role
from core.errors import Conflict, Forbidden, Invalid, NotFound, NotSignedIn
from storage.tables import User
from tests.conftest import ROOT

OLD, NEW = "the old long one", "the new long one"


@pytest.fixture
def ada(db, admin):
    """Somebody with a password, and the sign-in they are here by."""
    _, secret = invitations.invite(db, admin, "engineer", "Ada")
    user = invitations.accept(db, secret, "Ada", "Ada@Example.org", OLD)
    here = accounts.sign_in(db, "ada", OLD)
    return Principal(user.id, user.name, Role(user.role), sign_in_id=here.id)


def gone(db, sign_in_id):
    with pytest.raises(NotSignedIn):
        accounts.principal_of_sign_in(db, sign_in_id)


def test_changing_the_password_asks_for_the_old_one_and_ends_the_others(db, ada):
    elsewhere = accounts.sign_in(db, "ada@example.org", OLD)
    with pytest.raises(Invalid, match="old password"):
        accounts.change_password(db, ada, "wrong", NEW)
    with pytest.raises(Invalid, match="at least 10"):
        accounts.change_password(db, ada, OLD, "short")
    accounts.change_password(db, ada, OLD, NEW)
    gone(db, elsewhere.id)
    assert accounts.principal_of_sign_in(db, ada.sign_in_id).name == "Ada"
    with pytest.raises(NotSignedIn):
        accounts.sign_in(db, "ada@example.org", OLD)
    accounts.sign_in(db, "ada@example.org", NEW)


def test_a_password_link_works_once_and_ends_everything(db, admin, ada):
    with pytest.raises(Forbidden):
        accounts.reset_link(db, ada, ada.user_id)
    first = accounts.reset_link(db, admin, ada.user_id).rsplit("/", 1)[1]
    second = accounts.reset_link(db, admin, ada.user_id).rsplit("/", 1)[1]
    assert accounts.user_of_reset_link(db, first).name == "Ada"
    accounts.reset_password(db, first, NEW)
    gone(db, ada.sign_in_id)
    for used in (first, second, first[:-1] + "x", "nonsense"):
        with pytest.raises(NotFound):
            accounts.reset_password(db, used, "another long one")
    accounts.sign_in(db, "ada", NEW)


def test_signing_out_everywhere(db, ada):
    others = [accounts.sign_in(db, "ada", OLD).id for _ in range(2)]
    assert accounts.sign_out_everywhere(db, ada, but_here=True) == 2
    for sign_in_id in others:
        gone(db, sign_in_id)
    assert accounts.principal_of_sign_in(db, ada.sign_in_id)
    assert accounts.sign_out_everywhere(db, ada) == 1
    gone(db, ada.sign_in_id)


def test_two_people_of_one_name_need_their_addresses(db, admin, ada):
    _, secret = invitations.invite(db, admin, "lead")
    invitations.accept(db, secret, "ada", "other@example.org", NEW)
    with pytest.raises(NotSignedIn):
        accounts.sign_in(db, "Ada", OLD)
    assert accounts.sign_in(db, "ada@example.org", OLD).user_id == ada.user_id


def test_the_last_admin_who_can_sign_in_stays_even_beside_programs(db, admin):
    _, secret = invitations.invite(db, admin, "admin")
    person = invitations.accept(db, secret, "Real", "real@example.org", OLD)
    with pytest.raises(Conflict):
        accounts.set_active(db, admin, person.id, False)
    accounts.set_active(db, admin, admin.user_id, False)
    with pytest.raises(Conflict):
        accounts.update_user(db, admin, person.id, role="lead", active=False)
    with db.read() as session:
        assert session.get(User, person.id).active


def test_both_kinds_of_database(any_db):
    """The conditional update, unique addresses and the admin's guard, on PostgreSQL too."""
    link = accounts.first_admin_link(any_db, "http://here")
    user = invitations.accept(any_db, link.rsplit("/", 1)[1], "Ada", "ada@example.org", OLD)
    who = Principal(user.id, user.name, Role(user.role))
    with pytest.raises(Conflict, match="last active admin"):
        accounts.set_active(any_db, who, user.id, False)
    claims = {"sub": "1", "name": "Ada", "email": "ADA@example.org", "email_verified": True}
    for _ in range(2):
        assert accounts.sign_in_by_openid(any_db, "https://id.example/", claims, "lead").id == user.id
    started = accounts.start_sign_in(any_db, user.id)
    assert accounts.last_seen(any_db, who)[user.id] == started.created_at
    accounts.sign_out(any_db, started.id)
    gone(any_db, started.id)


def test_the_page_about_access_says_what_the_code_does():
    text = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
    for name, action in ACTIONS.items():
        cells = " | ".join("yes" if role in action.roles else "" for role in Role)
        assert f"| `{name}` | {cells} | {action.scope} |" in text, f"docs/access.md is out of date on {name}"
