from core.planning import documents
from core.planning.decision.model import DISCRETE, IMPROVEMENT, Decision


def text_of(at):
    parts = [*at.markdown, *at.caption, *at.subheader, *at.info, *at.warning, *at.success, *at.error]
    return "\n".join(part.value for part in parts).replace("\\", "")


def press(at, label):
    return next(button for button in at.button if button.label == label).click().run()


def test_an_empty_project_is_told_what_to_get(person, project, open_page):
    at = open_page(person("lead"), "decision.py", project)
    assert not at.exception and not at.error
    assert "Nobody has decided a pair yet" in text_of(at)


def test_the_demo(person, demo_project, open_page):
    at = open_page(person("lead"), "decision.py", demo_project)
    assert not at.exception and not at.error
