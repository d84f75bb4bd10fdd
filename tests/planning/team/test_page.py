import pytest

from core import demo
from core.planning import documents
from core.planning.team.model import Member, Team, typical_team
from core.projects import list_projects
from pages.team_tables import tables_of, team_from


def saved_of(db, who, project):
    return documents.current(db, who, project.id, Team)


def button(at, label):
    return next(item for item in at.button if item.label == label)


def text_of(at):
    kinds = (at.markdown, at.caption, at.success, at.warning, at.error, at.subheader)
    return "\n".join(item.value for kind in kinds for item in kind)


def test_an_empty_project_shows_what_is_needed_and_starts_from_a_typical_team(db, person, project, open_page):
    lead = person("lead")
    at = open_page(lead, "team.py", project)
    assert not at.exception
    assert "Nobody is on the team yet" in text_of(at)
    button(at, "Start from a typical team").click().run()
    assert not at.exception
    saved = saved_of(db, lead, project)
    assert saved.number == 1 and saved.body == typical_team()
    assert "covers every phase" in at.success[0].value
    assert any("Only Data scientist covers" in item.value for item in at.markdown)


def test_the_demo_project_opens(db, person, open_page):
    demo.seed_once(db)
    lead = person("lead")
    at = open_page(lead, "team.py", list_projects(db, lead)[0])
    assert not at.exception and not at.error


def test_an_engineer_looks_and_cannot_change(db, person, project, open_page):
    documents.save(db, person("lead"), project.id, typical_team())
    at = open_page(person("engineer"), "team.py", project)
    assert not at.exception
    assert "Leads and admins can change it" in text_of(at)
    assert button(at, "Save").disabled and button(at, "Try without saving").disabled
    assert all(box.disabled for box in at.checkbox)


def edit_people(at, project, number, rows):
    at.session_state[f"people_{project.id}_{number}_0"] = {
        "edited_rows": rows,
        "added_rows": [],
        "deleted_rows": [],
    }


def test_saving_makes_a_version_and_a_bad_value_is_refused_by_name(db, person, project, open_page):
    lead = person("lead")
    documents.save(db, lead, project.id, typical_team())
    at = open_page(lead, "team.py", project)
    edit_people(at, project, 1, {"0": {"Available": 175.0}})
    button(at, "Save").click().run()
    assert not at.exception
    # The backslash keeps Markdown from reading the name.
    assert "People, AI/ML engineer, availability" in at.error[0].value.replace("\\", "")
    assert "less than or equal to 1.5" in at.error[0].value.replace("\\", "")
    assert saved_of(db, lead, project).number == 1
    edit_people(at, project, 1, {"0": {"Available": 50.0}})
    button(at, "Save").click().run()
    assert not at.exception and not at.error
    saved = saved_of(db, lead, project)
    assert (saved.number, saved.body.members[0].availability) == (2, 0.5)
    assert "booked for 80 % of full time and has 50 %" in text_of(at)


def test_a_draft_is_tried_without_saving(db, person, project, open_page):
    lead = person("lead")
    documents.save(db, lead, project.id, typical_team())
    at = open_page(lead, "team.py", project)
    edit_people(at, project, 1, {"2": {"Optimisation": 20.0}})
    button(at, "Try without saving").click().run()
    assert not at.exception
    assert "A draft, not saved" in text_of(at)
    assert "Optimisation lacks 0.4 of a data scientist" in text_of(at)
    assert saved_of(db, lead, project).number == 1
    button(at, "Back to the saved team").click().run()
    assert "A draft, not saved" not in text_of(at)


def test_nobody_overwrites_unseen(db, person, project, open_page):
    lead, other = person("lead"), person("lead", "Grace")
    first = documents.save(db, lead, project.id, typical_team())
    at = open_page(lead, "team.py", project)
    documents.save(
        db, other, project.id, Team(members=[Member(name="Bo")]), plan_id=first.plan_id, based_on=1
    )
    edit_people(at, project, 1, {"0": {"Available": 50.0}})
    button(at, "Save").click().run()
    assert "Grace saved version 2 meanwhile" in at.error[0].value.replace("\\", "")
    assert saved_of(db, lead, project).body.members[0].name == "Bo"


def test_a_version_is_brought_back(db, person, project, open_page):
    lead = person("lead")
    first = documents.save(db, lead, project.id, typical_team())
    documents.save(db, lead, project.id, Team(members=[Member(name="Bo")]), plan_id=first.plan_id)
    at = open_page(lead, "team.py", project)
    button(at, "Bring back").click().run()
    assert not at.exception
    saved = saved_of(db, lead, project)
    assert saved.number == 3 and saved.body == typical_team()


@pytest.mark.parametrize(
    "team", [Team(), typical_team(), Team(members=[Member(name="Bo", role="Poet", skills={"Singing": 2})])]
)
def test_tables_say_what_the_team_says(team):
    again = team_from(tables_of(team), team.goes_on)
    # A share that is not named is none.
    full = dict.fromkeys(again.needs, 0.0)
    for member in team.members:
        member.shares = full | member.shares
    assert again.members == team.members
    assert {k: {r: f for r, f in n.roles.items() if f} for k, n in again.needs.items()} == {
        k: n.roles for k, n in team.needs.items()
    }
    assert {k: n.skills for k, n in again.needs.items()} == {k: n.skills for k, n in team.needs.items()}
