from core.planning.documents import differences
from core.planning.team.model import Member, Team
from pages.versions import _field, listed


def test_a_field_is_named_by_the_row_it_is_in():
    before = Team(members=[Member(name="Ana", shares={"deployment": 0.2})])
    after = Team(members=[Member(name="Ana", shares={"deployment": 0.4}), Member(name="Bo")])
    bodies = [after.model_dump(mode="json"), before.model_dump(mode="json")]
    found = [_field(field, bodies) for field, _, _ in differences(before, after)]
    assert "members · Ana · shares · deployment" in found
    assert "members · Bo · availability" in found


def test_lines_are_shown_as_they_are():
    assert listed(["*Ana* has 50 %"]) == "- \\*Ana\\* has 50\u00a0%"
