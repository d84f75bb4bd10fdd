import pytest

from core import demo
from core.planning import documents
from core.planning.milestones.model import Milestones
from core.projects import list_projects

PAGE = "milestones.py"


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


def shown(at) -> str:
    parts = [*at.error, *at.warning, *at.success, *at.info, *at.caption, *at.markdown]
    return "\n".join(item.value for item in parts)


def test_an_empty_project_has_the_usual_plan(person, project, open_page):
    at = open_page(person("lead"), PAGE, project)
    assert not at.exception
    assert "0 of 11 milestones met" in at.success[0].value
    assert "nobody has saved one yet" in shown(at)
    assert "Nobody has voted yet." in shown(at)


def test_the_demo_is_judged_by_its_votes_and_saving_makes_a_version(db, person, demo_project, open_page):
    lead = person("lead")
    at = open_page(lead, PAGE, demo_project)
    assert not at.exception
    assert "1 of 11 milestones met" in shown(at) and "Simulated votes are counted" in shown(at)
    [save] = [button for button in at.button if button.label == "Save"]
    at.text_input(key=f"plan_note_{demo_project.id}_0").set_value("As usual")
    save.click()
    at.run()
    assert not at.exception and not at.error
    saved = documents.current(db, lead, demo_project.id, Milestones)
    assert (saved.number, saved.note) == (1, "As usual")
    assert len(saved.body.milestones) == 11
    assert "No target or due date has moved" in shown(at)


def test_engineers_look(person, demo_project, open_page):
    at = open_page(person("engineer"), PAGE, demo_project)
    assert not at.exception
    assert "Leads and admins can change it" in shown(at)
    assert next(button for button in at.button if button.label == "Save").disabled
