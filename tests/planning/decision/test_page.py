import pytest

from core.planning import documents
from core.planning.decision.model import DISCRETE, GAP, Decision


def text_of(at):
    parts = [*at.markdown, *at.caption, *at.subheader, *at.info, *at.warning, *at.success, *at.error]
    return "\n".join(part.value for part in parts).replace("\\", "")


def press(at, label):
    return next(button for button in at.button if button.label == label).click().run()


def field(at, kind, label):
    return next(item for item in getattr(at, kind) if item.label == label)


def saved_of(db, who, project):
    return documents.current(db, who, project.id, Decision)


def test_an_empty_project_is_told_what_to_get(person, project, open_page):
    at = open_page(person("lead"), "decision.py", project)
    assert not at.exception and not at.error
    said = text_of(at)
    assert "Nobody has decided a pair yet" in said and "Manual prompt engineering" in said


def test_the_demo_as_an_engineer(person, demo_project, open_page):
    at = open_page(person("engineer"), "decision.py", demo_project)
    assert not at.exception and not at.error
    said = text_of(at)
    assert "All preferences here are simulated" in said
    assert "a lead or an admin changes it" in said
    assert all(item.disabled for item in [*at.number_input, *at.slider])
    assert not any(button.label == "Save this decision" for button in at.button)


def test_a_score_is_overridden_saved_and_taken_back(db, person, project, open_page):
    lead = person("lead")
    at = open_page(lead, "decision.py", project)
    field(at, "number_input", "Discrete search").set_value(1.0)
    press(at, "Apply these scores")
    assert not at.exception and not at.error
    assert saved_of(db, lead, project) is None  # a draft
    assert "Discrete search, Performance gap: 1 instead of the proposed" in text_of(at)
    field(at, "text_input", "Note").set_value("We tried it")
    press(at, "Save this decision")
    first = saved_of(db, lead, project)
    assert (first.number, first.note) == (1, "We tried it")
    assert first.body.score(DISCRETE, GAP).origin == "overridden" and len(first.body.scores) == 25
    proposal = first.body.score(DISCRETE, GAP).proposed
    field(at, "number_input", "Discrete search").set_value(proposal)
    press(at, "Apply these scores")
    press(at, "Save this decision")
    assert saved_of(db, lead, project).number == 2
    assert saved_of(db, lead, project).body.score(DISCRETE, GAP).origin == "proposed"
    assert "back to the proposal" in text_of(at)  # in the history


def test_weights_that_are_all_zero_are_refused(person, project, open_page):
    at = open_page(person("lead"), "decision.py", project)
    for slider in at.slider:
        if slider.label != "Weight":
            slider.set_value(0)
    press(at, "Apply these weights")
    assert "at least one weight must be above zero" in at.error[0].value


def test_pairwise_weights_and_their_consistency(person, project, open_page):
    at = open_page(person("lead"), "decision.py", project)
    next(g for g in at.segmented_control if g.label == "Weights by").set_value("pairwise").run()
    pairs = at.select_slider
    assert len(pairs) == 10
    for pair, value in zip(pairs[:3], (9.0, 1 / 9, 9.0), strict=True):
        pair.set_value(value)
    press(at, "Apply these comparisons")
    assert not at.exception and not at.error
    assert "not consistent" in text_of(at)
    button = next(b for b in at.button if b.label.startswith("Take "))
    button.click().run()
    assert not at.exception and "Consistency ratio" in text_of(at)


def test_own_factors_come_and_go(person, project, open_page):
    at = open_page(person("lead"), "decision.py", project)
    press(at, "Add this factor")
    assert "needs a name" in at.error[0].value
    field(at, "text_input", "Name").set_value("Com*pli*ance")
    press(at, "Add this factor")
    assert not at.exception and "New factor: Com*pli*ance" in text_of(at)
    field(at, "multiselect", "Leave out factors").set_value(["com-pli-ance"]).run()
    press(at, "Leave these out")
    assert not at.exception and "New factor" not in text_of(at)


def test_a_lead_who_was_slower_is_told(db, person, project, open_page):
    lead, other = person("lead"), person("lead", "Grace")
    at = open_page(lead, "decision.py", project)
    field(at, "number_input", "Discrete search").set_value(1.0)
    press(at, "Apply these scores")
    documents.save(db, other, project.id, Decision(weighting="pairwise"))
    press(at, "Save this decision")
    assert "meanwhile" in " ".join(item.value for item in at.error)
    assert saved_of(db, lead, project).number == 1


@pytest.mark.parametrize("name", ["![x](http://evil/x.png)", "<script>alert(1)</script>"])
def test_names_of_prompts_are_shown_as_they_are(db, person, project, world, open_page, name):
    build = world(db, project)
    one, two = build.versions(2, name=name)
    build.meet(one, two, wins=5, losses=5)
    at = open_page(person("lead"), "decision.py", project)
    assert not at.exception
    for part in [*at.markdown, *at.caption]:
        assert "](http://evil" not in part.value.replace("\\]\\(", "")
        assert "<script>" not in part.value.replace("\\<", "")
