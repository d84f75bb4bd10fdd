from datetime import date, timedelta

import pytest

from core import demo
from core.errors import Invalid
from core.planning import documents
from core.planning.milestones.model import Milestones, default_plan
from core.projects import list_projects
from pages.milestones_tables import plan_from, tables_of

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


def test_a_date_that_makes_no_sense_is_refused_at_its_field(db, person, project, open_page):
    lead = person("lead")
    plan = default_plan(project.created_at.date())
    plan.phases[0].start = plan.start
    documents.save(db, lead, project.id, plan)
    at = open_page(lead, PAGE, project)
    at.date_input(key=f"plan_start_{project.id}_1").set_value(plan.start + timedelta(days=3))
    next(button for button in at.button if button.label == "Save").click()
    at.run()
    assert not at.exception
    assert any(
        "Phases, row 1, Start: “Exploration” starts before the plan" in plain.value for plain in at.error
    )
    assert documents.current(db, lead, project.id, Milestones).number == 1


def test_another_lead_who_was_faster_is_not_overwritten(db, person, project, open_page):
    lead = person("lead", "Ada")
    plan = default_plan(project.created_at.date())
    first = documents.save(db, lead, project.id, plan)
    at = open_page(lead, PAGE, project)
    plan.milestones[0].target = 400
    documents.save(db, person("lead", "Ben"), project.id, plan, plan_id=first.plan_id)
    at.text_input(key=f"plan_note_{project.id}_1").set_value("Mine")
    at.date_input(key=f"plan_start_{project.id}_1").set_value(plan.start - timedelta(days=3))
    next(button for button in at.button if button.label == "Save").click()
    at.run()
    assert any("Ben saved version 2 meanwhile" in item.value for item in at.error)


def test_moved_targets_and_burn_ups_are_shown(db, person, demo_project, open_page):
    lead = person("lead")
    plan = default_plan(demo_project.created_at.date())
    plan.milestones[0].name = "Labels *of* <b>people</b>"
    first = documents.save(db, lead, demo_project.id, plan)
    plan.milestones[0].target = 250
    documents.save(db, lead, demo_project.id, plan, plan_id=first.plan_id, note="More")
    at = open_page(lead, PAGE, demo_project)
    assert not at.exception
    assert any("More" in str(frame.value.to_dict()) for frame in at.dataframe)
    choice = at.selectbox(key=f"burn_{demo_project.id}")
    assert "Labels *of* <b>people</b>" in choice.options
    for key in ("gain", "win-rate", "first-labels"):
        at.selectbox(key=f"burn_{demo_project.id}").set_value(key).run()
        assert not at.exception
    assert "No search has read its test split yet." not in [item.value for item in at.info]


# --- tables ---------------------------------------------------------------------------------


def test_tables_and_back_are_the_same_plan():
    plan = default_plan(date(2026, 1, 5))
    plan.phases[0].actual_start = date(2026, 1, 6)
    plan.milestones[2].done = date(2026, 1, 20)
    plan.milestones[3].due = date(2026, 5, 1)
    assert plan_from(plan.start, *tables_of(plan), plan) == plan


def test_rows_that_are_new_get_keys_and_wrong_cells_are_named():
    plan = default_plan(date(2026, 1, 5))
    phases, milestones = tables_of(plan)
    milestones.loc[len(milestones)] = {
        "Milestone": "Labels", "Phase": "Deployment", "Metric": "Labels collected", "Direction": "at least",
        "Target": 5000,
    }  # fmt: skip
    phases.loc[len(phases)] = {"Phase": "Legal review", "Weeks": 2, "After": ["Exploration"]}
    made = plan_from(plan.start, phases, milestones, plan)
    assert made.milestones[-1].key == "labels-2"
    assert (made.phases[-1].key, made.phases[-1].after) == ("legal-review", ["exploration"])

    milestones.loc[4, "Target"] = 65.0
    with pytest.raises(Invalid, match=r"Milestones, row 5, Target: .*between 0 and 1"):
        plan_from(plan.start, phases, milestones, plan)
    with pytest.raises(Invalid, match="Phases, row 6, Phase: two phases are called"):
        plan_from(plan.start, phases.assign(Phase=[*phases["Phase"][:5], "Deployment"]), milestones, plan)


def test_a_phase_that_is_renamed_keeps_its_milestones():
    plan = default_plan(date(2026, 1, 5))
    phases, milestones = tables_of(plan)
    phases.loc[0, "Phase"] = "Finding out"
    made = plan_from(plan.start, phases, milestones, plan)
    assert made.phases[0].title == "Finding out"
    assert made.phases[1].after == ["exploration"]
    assert made.milestones[0].phase == "exploration"
    phases.loc[1, "Phase"] = "Exploration"  # names may change places
    made = plan_from(plan.start, phases, milestones, plan)
    assert made.phases[1].title == "Exploration" and made.phases[1].after == ["exploration"]
    gone = phases.drop(index=0).reset_index(drop=True)
    with pytest.raises(Invalid, match="no phase “exploration”"):
        plan_from(plan.start, gone, milestones, plan)
