"""People, My account and the audit log, as pages."""

import csv
import io

import pytest

from core import accounts, audit, invitations, tokens
from core.access import Role, pages_for

OLD, NEW = "the old long one", "the new long one"


def button(at, label):
    return next(item for item in at.button if item.label == label)


def shown(at):
    return " ".join(str(item.value) for kind in (at.text, at.title, at.error, at.success) for item in kind)


@pytest.mark.parametrize("role", list(Role))
def test_only_admins_have_people_and_audit(role, person):
    files = {page.file for page in pages_for(person(role.value))}
    assert "account.py" in files
    assert ({"people.py", "audit.py"} <= files) is (role == Role.ADMIN)


def test_inviting_shows_the_link_once(admin, db, open_page):
    at = open_page(admin, "people.py")
    at.selectbox[0].select("engineer")
    at.text_input[0].input("Grace")
    button(at, "Make link").click().run()
    link = at.code[0].value
    found = invitations.find_invitation(db, link.rsplit("/", 1)[1])
    assert "/auth/invite/" in link and found.role == "engineer" and found.name == "Grace"
    button(at, "I have copied it").click().run()
    assert not at.code and any("Grace" in text.value for text in at.text)
    button(at, "Revoke").click().run()
    assert invitations.list_invitations(db, admin) == []


def test_roles_and_deactivation(admin, db, person, open_page):
    somebody = person("annotator", "Anna")
    at = open_page(admin, "people.py")
    at.selectbox(key="chosen_account").select(somebody.user_id).run()
    at.selectbox(key=f"role_{somebody.user_id}_annotator").select(Role.LEAD).run()
    button(at, "Change role").click().run()
    assert accounts.principal_of_sign_in(db, somebody.sign_in_id).role == Role.LEAD
    button(at, "Deactivate").click().run()
    assert accounts.principal_of_sign_in(db, somebody.sign_in_id), "not before it is confirmed"
    at.button(key="confirm_deactivate").click().run()
    assert not at.exception
    users = {user.id: user.active for user in accounts.list_users(db, admin)}
    assert users[somebody.user_id] is False
    at.selectbox(key="chosen_account").select(somebody.user_id).run()
    button(at, "Reactivate").click().run()
    assert all(user.active for user in accounts.list_users(db, admin))


def test_the_last_admin_is_told_why(admin, open_page):
    at = open_page(admin, "people.py")
    at.selectbox(key=f"role_{admin.user_id}_admin").select(Role.LEAD).run()
    button(at, "Change role").click().run()
    assert "last active admin" in at.error[0].value


def test_ones_own_tokens(db, person, open_page):
    who = person("annotator")
    at = open_page(who, "account.py")
    at.text_input[0].input("script")
    button(at, "Make token").click().run()
    secret = at.code[0].value
    assert accounts.principal_of_token(db, secret).user_id == who.user_id
    button(at, "I have copied it").click().run()
    assert not at.code and secret not in str(at)
    button(at, "Revoke").click().run()
    assert tokens.list_tokens(db, who) == []
    at.text_input[0].input(" ")
    button(at, "Make token").click().run()
    assert "name:" in at.error[0].value, "a token needs a name"


def test_without_a_project_an_annotator_is_told_so(person, open_page):
    at = open_page(person("annotator"), "annotate.py")
    assert not at.exception and "no project yet" in at.subheader[0].value


def test_ones_own_password(db, admin, open_page):
    _, secret = invitations.invite(db, admin, "engineer")
    user = invitations.accept(db, secret, "Ada", "ada@example.org", OLD)
    here, elsewhere = (accounts.sign_in(db, "ada", OLD) for _ in range(2))
    at = open_page(accounts.principal_of_sign_in(db, here.id), "account.py")
    fields = {item.label: item for item in at.text_input}
    fields["Old password"].input("wrong")
    fields["New password"].input(NEW)
    button(at, "Change password").click().run()
    assert "old password is wrong" in at.error[0].value
    fields = {item.label: item for item in at.text_input}
    fields["Old password"].input(OLD)
    fields["New password"].input(NEW)
    button(at, "Change password").click().run()
    assert "changed" in at.success[0].value
    assert accounts.sign_in(db, "ada", NEW).user_id == user.id
    with pytest.raises(Exception, match="not signed in"):
        accounts.principal_of_sign_in(db, elsewhere.id)


def test_the_audit_log_filters_and_exports(db, admin, person, open_page):
    accounts.create_user(db, admin, "=HYPERLINK(1)", "lead")
    accounts.set_role(db, admin, person("annotator", "Anna").user_id, "lead")
    at = open_page(admin, "audit.py")
    assert {"user.create", "user.role"} <= set(at.dataframe[0].value["Action"])
    at.selectbox(key="audit_action").select("user.role").run()
    assert list(at.dataframe[0].value["Action"]) == ["user.role"]
    assert "before: annotator, after: lead" in at.dataframe[0].value["Details"][0]
    at.selectbox(key="audit_action").select(None)
    at.selectbox(key="audit_person").select(admin.user_id).run()
    assert set(at.dataframe[0].value["Person"]) == {"admin"}
    rows = list(csv.DictReader(io.StringIO(audit.as_csv(db, admin))))
    assert {row["action"] for row in rows} >= {"user.create", "user.role"}
    accounts.sign_in_by_openid(db, "https://id", {"sub": "1", "name": "=HYPERLINK(1)"}, "lead")
    rows = list(csv.DictReader(io.StringIO(audit.as_csv(db, admin, audit.Filter(action="user")))))
    assert rows[0]["user"] == "'=HYPERLINK(1)" and all(row["action"].startswith("user.") for row in rows)
