from datetime import date, timedelta

import pytest

from core.errors import Forbidden, Invalid
from core.planning import documents
from core.planning.team.cost import DAYS_PER_MONTH, cost_by_month, cost_by_phase, monthly_cost, person_year
from core.planning.team.model import Member, Team, typical_team
from core.planning.team.windows import Window, usual_windows
from core.planning.units import Units

START = date(2026, 1, 5)
ANA = Member(name="Ana", cost=120_000, shares={"exploration": 0.5, "improvement": 0.25})
YEAR = [Window("exploration", START, START + timedelta(days=10_000))]


def test_half_of_a_year_at_120000_is_5000_a_month():
    costs = cost_by_month(Team(members=[ANA]), YEAR, Units(), START, 12)
    assert costs.shape == (12, 1)
    assert costs[:, 0] == pytest.approx(5_000)


def test_costs_by_hour_month_and_year_agree():
    units = Units(hours_per_week=40, weeks_per_year=45)  # 1,800 hours
    by = {"hour": 50, "month": 7_500, "year": 90_000}
    for per, cost in by.items():
        member = Member(name="Bo", cost=cost, per=per)
        assert member.yearly_cost(units.hours_per_month) == pytest.approx(90_000)


def test_only_the_days_of_a_phase_cost():
    phase = [Window("exploration", START + timedelta(days=10), START + timedelta(days=20))]
    costs = cost_by_month(Team(members=[ANA], goes_on=False), phase, Units(), START, 3)
    assert costs[:, 0] == pytest.approx([5_000 * 10 / DAYS_PER_MONTH, 0, 0])


def test_what_has_passed_costs_nothing_any_more():
    past = [Window("exploration", START - timedelta(days=30), START)]
    assert cost_by_month(Team(members=[ANA], goes_on=False), past, Units(), START, 2).sum() == 0


def test_the_last_phase_goes_on_unless_it_is_told_not_to():
    windows = [
        Window("exploration", START, START + timedelta(days=30)),
        Window("improvement", START + timedelta(days=30), START + timedelta(days=60)),
    ]
    on = cost_by_month(Team(members=[ANA]), windows, Units(), START, 12)[:, 0]
    off = cost_by_month(Team(members=[ANA], goes_on=False), windows, Units(), START, 12)[:, 0]
    assert on[2:] == pytest.approx(2_500)
    assert off[2:] == pytest.approx(0)
    assert off.sum() == pytest.approx(120_000 * (0.5 * 30 + 0.25 * 30) / 365.25)


def test_phases_add_up_to_the_months():
    team = typical_team().model_copy(update={"goes_on": False})
    windows = usual_windows(START)
    by_phase = sum(row.cost for row in cost_by_phase(team, windows, Units()))
    assert by_phase == pytest.approx(cost_by_month(team, windows, Units(), START, 24).sum())
    weeks = {"exploration": 3, "improvement": 13}
    only_ana = cost_by_phase(Team(members=[ANA]), windows, Units())
    assert {row.phase: row.cost for row in only_ana} == {
        "exploration": pytest.approx(120_000 * 0.5 * weeks["exploration"] * 7 / 365.25),
        "improvement": pytest.approx(120_000 * 0.25 * weeks["improvement"] * 7 / 365.25),
    }


def test_a_person_year_is_weighted_by_time():
    other = Member(name="Bo", cost=60_000, shares={"exploration": 0.25})
    assert person_year(Team(members=[ANA, other]), Units()) == pytest.approx(105_000)  # 0.75 and 0.25
    assert person_year(Team(), Units()) is None


def test_the_cost_of_a_project(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    assert monthly_cost(any_db, lead, project.id, 6) is None
    documents.save(
        any_db, lead, project.id, Team(members=[ANA.model_copy(update={"per": "month", "cost": 8_000})])
    )
    found = monthly_cost(any_db, lead, project.id, 18)
    assert len(found) == 18
    assert found[-1] == pytest.approx(2_000)
    with pytest.raises(Invalid, match="months"):
        monthly_cost(any_db, lead, project.id, 0)


def test_annotators_do_not_see_what_people_cost(db, person, project):
    with pytest.raises(Forbidden):
        monthly_cost(db, person("annotator"), project.id, 6)
