"""Every page, opened by every role, in an empty project: no traceback, and no page that
the access table does not give."""

import pytest

from core.access import PAGES, Role, pages_for


@pytest.mark.parametrize("role", list(Role))
def test_every_page_opens_on_an_empty_project(role, person, project, open_page):
    who = person(role.value)
    for page in pages_for(who):
        at = open_page(who, page.file, project)
        assert not at.exception, f"{page.file}: {at.exception}"


def test_a_page_without_a_sign_in_shows_nothing(person, project, open_page):
    from core.access import Principal

    at = open_page(Principal("nobody", "nobody", Role.ADMIN, sign_in_id="unknown"), "", project)
    assert "not signed in" in at.error[0].value
    assert not at.title


def test_the_table_names_files_that_exist():
    from tests.conftest import ROOT

    assert {page.file for page in PAGES} <= {path.name for path in (ROOT / "pages").glob("*.py")}
