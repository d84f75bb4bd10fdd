import json

from core.planning import documents
from core.planning.team.model import Member, Team, typical_team
from core.planning.team.section import section


def test_without_a_team_the_brief_says_so(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = section(any_db, lead, project.id)
    assert found.empty and "No team is planned yet" in found.answer


def test_the_section_of_a_team_with_gaps(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    team = typical_team()
    team.members[2].shares["optimisation"] = 0.0
    team.members[2].availability = 0.5
    documents.save(any_db, lead, project.id, team)
    found = section(any_db, lead, project.id)
    assert not found.empty
    assert found.answer.endswith("Optimisation lacks 0.6 of a data scientist, weeks 10 to 18.")
    assert any("The smallest addition" in line for line in found.why)
    assert [label for label, *_ in found.figures][:2] == ["People", "Time covered"]
    assert set(found.charts) == {"Coverage by phase and role", "Cost by month"}
    for chart in found.charts.values():
        assert chart.to_dict()["height"]
    json.dumps(found.tables)


def test_a_team_that_covers_nothing_has_charts_too(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    documents.save(any_db, lead, project.id, Team(members=[Member(name="Bo")], needs={}))
    found = section(any_db, lead, project.id)
    for chart in found.charts.values():
        chart.to_dict()
