from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.planning.phases import PHASES
from core.planning.team.coverage import LEAST, coverage, load_by_week
from core.planning.team.model import Member, Need, SkillNeed, Team, typical_team
from core.planning.team.suggest import suggest
from core.planning.team.windows import Window, usual_windows
from core.planning.team.words import people, sentences, single_point
from core.planning.units import Units

START = date(2026, 1, 5)
WINDOWS = usual_windows(START)  # weeks 1-3, 4-9, 10-18, 19-21, 22-34


def team(*members, **needs):
    return Team(members=list(members), needs={key: Need.model_validate(need) for key, need in needs.items()})


def test_a_gap_is_named_with_its_role_size_and_weeks():
    ana = Member(name="Ana", role="Data scientist", shares={"optimisation": 0.4})
    found = coverage(team(ana, optimisation={"roles": {"Data scientist": 1.0}}), WINDOWS)
    assert sentences(found) == ["Optimisation lacks 0.6 of a data scientist, weeks 10 to 18."]
    assert found.covered_roles() == pytest.approx(0.4)


def test_covered_time_is_weighted_by_weeks():
    ana = Member(name="Ana", role="Data scientist", shares={"exploration": 1})
    need = {"roles": {"Data scientist": 0.5}}
    found = coverage(team(ana, exploration=need, optimisation=need), WINDOWS)
    assert found.covered_roles() == pytest.approx(3 / 12)  # 3 of 12 weeks; more than needed counts once


def test_a_skill_counts_at_its_level_and_above_only():
    need = {"skills": {"Statistics": {"level": 3, "fte": 0.5}}}
    low = Member(name="Ana", skills={"Statistics": 2}, shares={"exploration": 1})
    high = Member(name="Bo", skills={"Statistics": 4}, shares={"exploration": 0.2})
    found = coverage(team(low, high, exploration=need), WINDOWS)
    assert found.skills[0].people == ("Bo",)
    assert found.skills[0].gap == pytest.approx(0.3)
    assert sentences(found) == [
        "Exploration lacks 0.3 full-time of “Statistics” at level 3 or above, weeks 1 to 3."
    ]
    assert [single_point(row) for row in found.single_points] == [
        "Only Bo covers “Statistics” in Exploration."
    ]


def test_two_people_with_a_skill_are_no_single_point():
    need = {"skills": {"Statistics": {"level": 3, "fte": 0.5}}}
    both = [
        Member(name=name, skills={"Statistics": 3}, shares={"exploration": 0.5}) for name in ("Ana", "Bo")
    ]
    assert coverage(team(*both, exploration=need), WINDOWS).single_points == []


def test_overload_within_a_phase():
    ana = Member(name="Ana", availability=0.5, shares={"development": 0.8})
    found = coverage(team(ana), WINDOWS)
    assert sentences(found) == [
        "Ana is booked for 80 % of full time and has 50 %, in Development, weeks 4 to 9."
    ]


def test_overload_where_two_phases_overlap_and_only_there():
    day = lambda week: START + timedelta(weeks=week)  # noqa: E731
    windows = [Window("development", day(0), day(8)), Window("optimisation", day(6), day(12))]
    ana = Member(name="Ana", availability=1, shares={"development": 0.7, "optimisation": 0.6})
    found = coverage(team(ana), windows)
    assert sentences(found) == [
        "Ana is booked for 130 % of full time and has 100 %, while Development and Optimisation overlap, "
        "weeks 7 to 8."
    ]
    load = load_by_week(team(ana), windows)
    assert load.shape == (12, 1)
    assert load[:, 0] == pytest.approx([0.7] * 6 + [1.3] * 2 + [0.6] * 4)


@pytest.mark.parametrize(
    ("fte", "role", "said"),
    [
        (0.6, "Data scientist", "0.6 of a data scientist"),
        (0.25, "AI/ML engineer", "0.25 of an AI/ML engineer"),
        (1, "Domain expert", "1 domain expert"),
        (1.5, "DevOps engineer", "1.5 DevOps engineers"),
    ],
)
def test_people_in_words(fte, role, said):
    assert people(fte, role) == said


def test_the_typical_team_covers_the_usual_needs():
    found = coverage(typical_team(), WINDOWS)
    assert found.complete
    assert suggest(typical_team(), WINDOWS, Units()).team == typical_team()


def test_time_left_is_used_before_anybody_joins():
    ana = Member(
        name="Ana", role="Data scientist", availability=0.7, cost=100_000, shares={"optimisation": 0.4}
    )
    plan = team(ana, optimisation={"roles": {"Data scientist": 1.0}})
    found = suggest(plan, WINDOWS, Units())
    assert [(item.member, item.share) for item in found.more] == [("Ana", pytest.approx(0.3))]
    (new,) = found.additions
    assert (new.member.role, new.first) == ("Data scientist", "optimisation")
    assert new.member.shares["optimisation"] == pytest.approx(0.3)
    years = 9 * 7 / 365.25
    assert found.more[0].cost == pytest.approx(0.3 * 100_000 * years)
    assert new.cost == pytest.approx(0.3 * 95_000 * years)
    assert found.cost == pytest.approx(found.more[0].cost + new.cost)
    assert plan.members[0].shares["optimisation"] == 0.4  # the plan itself is left as it is


def test_new_people_bring_the_missing_skill():
    plan = team(
        exploration={"roles": {"Data scientist": 0.5}, "skills": {"Statistics": {"level": 4, "fte": 0.5}}}
    )
    (new,) = suggest(plan, WINDOWS, Units()).additions
    assert (new.member.role, new.member.skills) == ("Data scientist", {"Statistics": 4})


def test_those_who_are_needed_first_come_first():
    plan = team(deployment={"roles": {"DevOps engineer": 0.5}}, exploration={"roles": {"Domain expert": 0.5}})
    found = suggest(plan, WINDOWS, Units())
    assert [item.member.role for item in found.additions] == ["Domain expert", "DevOps engineer"]


SHARES = st.dictionaries(st.sampled_from([p.key for p in PHASES]), st.floats(0, 1))
SKILLS = st.sampled_from(["Statistics", "Operations", "Singing"])
ROLE = st.sampled_from(["Data scientist", "DevOps engineer", "Poet"])
MEMBERS = st.lists(
    st.builds(
        Member,
        name=st.uuids().map(str),
        role=ROLE,
        skills=st.dictionaries(SKILLS, st.integers(1, 5)),
        availability=st.floats(0, 1.5),
        shares=SHARES,
    ),
    max_size=4,
)
NEEDS = st.dictionaries(
    st.sampled_from([p.key for p in PHASES]),
    st.builds(
        Need,
        roles=st.dictionaries(ROLE, st.floats(0, 3)),
        skills=st.dictionaries(SKILLS, st.builds(SkillNeed, level=st.integers(1, 5), fte=st.floats(0, 3))),
    ),
)
STARTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), min_size=5, max_size=5)


@settings(max_examples=150, deadline=None)
@given(MEMBERS, NEEDS, STARTS)
def test_a_suggestion_closes_every_gap_and_books_nobody_beyond_their_time(members, needs, spans):
    windows = [
        Window(phase.key, START + timedelta(weeks=first), START + timedelta(weeks=first + weeks))
        for phase, (first, weeks) in zip(PHASES, spans, strict=True)
    ]
    plan = Team(members=members, needs=needs)
    before, after = coverage(plan, windows), coverage(suggest(plan, windows, Units()).team, windows)
    assert not after.role_gaps and not after.skill_gaps
    assert {row.member for row in after.overloads} <= {row.member for row in before.overloads}


@settings(max_examples=60, deadline=None)
@given(MEMBERS, NEEDS)
def test_a_suggestion_for_roles_adds_just_what_is_missing(members, needs):
    plan = Team(members=members, needs={key: Need(roles=need.roles) for key, need in needs.items()})
    found = suggest(plan, WINDOWS, Units())
    missing = sum(row.gap for row in coverage(plan, WINDOWS).role_gaps)
    given_ = sum(item.share for item in found.more)
    given_ += sum(sum(item.member.shares.values()) for item in found.additions)
    assert given_ == pytest.approx(missing, abs=LEAST * 100)


@given(MEMBERS)
@settings(max_examples=50, deadline=None)
def test_booked_time_is_the_shares_times_the_weeks(members):
    plan = Team(members=members)
    total = sum(w.weeks * sum(m.shares.get(w.phase, 0) for m in members) for w in WINDOWS)
    assert load_by_week(plan, WINDOWS).sum() == pytest.approx(total)
    assert np.isfinite(load_by_week(plan, WINDOWS)).all()
