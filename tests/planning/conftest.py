import pytest

from core.access import Principal, Role
from core.projects import create_project
from storage.tables import User


@pytest.fixture
def person_on():
    """A person of a role and a project of their own, on a given database."""

    def make(db, role):
        user = User(name=role, role=role)
        db.write(lambda session: session.add(user))
        who = Principal(user.id, user.name, Role(role))
        return who, create_project(db, Principal(user.id, user.name, Role.ADMIN), name="A project")

    return make
