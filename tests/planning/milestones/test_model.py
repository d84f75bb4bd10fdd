from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.planning.documents import checked
from core.planning.milestones.model import (
    Milestones,
    PhasePlan,
    default_plan,
    key_of,
    planned,
    today,
    values_of,
)
from core.planning.milestones.schedule import due_date, phase_weeks, schedule
from core.planning.phases import PHASES

START = date(2026, 1, 5)

# Reliable Construction Co. (Hillier and Lieberman, Introduction to Operations Research,
# chapter on project management with PERT/CPM): weeks, and what each activity waits for.
RELIABLE = {
    "a": (2, ""), "b": (4, "a"), "c": (10, "b"), "d": (6, "c"), "e": (4, "c"), "f": (5, "e"), "g": (7, "d"),
    "h": (9, "eg"), "i": (7, "c"), "j": (8, "fi"), "k": (4, "j"), "l": (5, "j"), "m": (2, "h"), "n": (6, "kl"),
}  # fmt: skip
SLACK = {"d": 4, "g": 4, "h": 4, "i": 2, "k": 1, "m": 4}


def plan_of(rows, **more) -> Milestones:
    phases = [
        PhasePlan(key=key, title=key, weeks=weeks, after=list(after)) for key, (weeks, after) in rows.items()
    ]
    return Milestones(start=START, phases=phases, milestones=[], **more)


def test_the_critical_path_and_slack_of_a_textbook_project():
    found = {item.key: item for item in schedule(plan_of(RELIABLE), START)}
    assert max(item.end for item in found.values()) == START + timedelta(weeks=44)
    assert {key for key, item in found.items() if item.critical} == set("abcefjln")
    assert {key: item.slack / 7 for key, item in found.items() if item.slack} == SLACK
    assert found["h"].start == START + timedelta(weeks=29)
    assert found["h"].latest_start == START + timedelta(weeks=33)


@given(st.lists(st.tuples(st.integers(1, 20), st.sets(st.integers(0, 30))), min_size=1, max_size=12))
def test_no_phase_starts_before_what_it_waits_for_ends(rows):
    """Phases wait only for earlier ones, so there is no cycle."""
    named = {
        f"p{i}": (weeks, [f"p{j}" for j in sorted(after) if j < i]) for i, (weeks, after) in enumerate(rows)
    }
    found = {item.key: item for item in schedule(plan_of(named), START)}
    for key, (weeks, after) in named.items():
        assert all(found[other].end <= found[key].start for other in after)
        assert found[key].days == 7 * weeks
        assert found[key].slack >= 0
    assert any(item.critical for item in found.values())


def test_the_usual_plan_has_every_phase_in_its_usual_time():
    plan = default_plan(START)
    for phase, item in zip(PHASES, schedule(plan, START), strict=True):
        assert phase.low <= item.days / 7 <= phase.high
    assert {item.phase for item in plan.milestones} == {phase.key for phase in PHASES}
    spans = planned(plan)
    assert all(due_date(item, spans) == spans[item.phase][1] for item in plan.milestones)


@pytest.mark.parametrize(
    ("table", "row", "change", "said"),
    [
        ("phases", 2, {"start": "2026-01-10"}, r"^phases\.2\.start: .*before “Development” ends \(2026-03-09\)"),
        ("phases", 0, {"after": ["improvement"]}, r"^phases\.0\.after: .*circle"),
        ("phases", 0, {"after": ["exploration"]}, r"^phases\.0\.after: .*wait for itself"),
        ("phases", 1, {"after": ["nothing"]}, r"^phases\.1\.after: .*no phase “nothing”"),
        ("phases", 1, {"weeks": 0}, r"^phases\.1\.weeks: .*greater than 0"),
        ("phases", 1, {"weeks": None}, r"^phases\.1\.weeks: .*needs a duration"),
        ("phases", 1, {"end": "2027-01-01"}, r"^phases\.1\.end: .*duration already"),
        ("phases", 1, {"end": "2026-01-26", "weeks": None}, r"^phases\.1\.end: .*ends on 2026-01-26"),
        ("phases", 0, {"start": "2026-01-01"}, r"^phases\.0\.start: .*before the plan does"),
        ("phases", 1, {"key": "exploration"}, r"^phases\.1\.key: two phases"),
        ("phases", 0, {"actual_end": "2026-01-20"}, r"^phases\.0\.actual_start: .*needs an actual start"),
        ("phases", 0, {"actual_start": "2026-01-20", "actual_end": "2026-01-10"}, r"^phases\.0\.actual_end: "),
        ("phases", 0, {"actual_start": "2099-01-20"}, r"^phases\.0\.actual_start: .*not come yet"),
        ("milestones", 1, {"key": "first-labels"}, r"^milestones\.1\.key: two milestones"),
        ("milestones", 0, {"phase": "nowhere"}, r"^milestones\.0\.phase: there is no phase"),
        ("milestones", 0, {"metric": "mood"}, r"^milestones\.0\.metric: there is no metric “mood”"),
        ("milestones", 0, {"target": None}, r"^milestones\.0\.target: .*needs a target"),
        ("milestones", 0, {"target": -1}, r"^milestones\.0\.target: .*not below 0"),
        ("milestones", 4, {"target": 65}, r"^milestones\.4\.target: .*between 0 and 1"),
        ("milestones", 0, {"target": float("nan")}, r"^milestones\.0\.target: "),
        ("milestones", 0, {"direction": "at_most"}, r"^milestones\.0\.direction: .*only grow"),
        ("milestones", 0, {"due": "2025-12-31"}, r"^milestones\.0\.due: .*before the plan starts"),
        ("milestones", 0, {"done": "2026-01-31"}, r"^milestones\.0\.done: .*not ticked off"),
        ("milestones", 2, {"target": 3}, r"^milestones\.2\.target: .*no target"),
        ("milestones", 2, {"done": "2099-01-01"}, r"^milestones\.2\.done: .*not come yet"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_its_field(table, row, change, said):
    values = values_of(default_plan(START))
    values[table][row] |= change
    with pytest.raises(Invalid, match=said):
        checked(Milestones, values)


def test_what_is_saved_is_what_was_said():
    plan = default_plan(START)
    assert checked(Milestones, values_of(plan)) == plan


def test_what_happened_moves_what_is_expected():
    plan = default_plan(START)
    first, second = plan.phases[0], plan.phases[1]
    first.actual_start, first.actual_end = START, START + timedelta(weeks=4)  # a week late
    on = START + timedelta(weeks=6)
    found = {item.key: item for item in schedule(plan, on)}
    assert found["exploration"].slip == 7
    # Development has not begun, so it cannot before today.
    assert found["development"].expected_start == on
    second.actual_start = START + timedelta(weeks=4)
    found = {item.key: item for item in schedule(plan, on)}
    assert found["development"].expected_end == START + timedelta(weeks=10)
    assert found["improvement"].slip == 7


def test_phase_weeks_without_a_saved_plan(db, person, project):
    found = phase_weeks(db, person("engineer"), project.id)
    assert [key for key, *_ in found] == [phase.key for phase in PHASES]
    assert found[0][1] == today()
    assert all(end == begin for (_, _, end), (_, begin, _) in pairwise(found))


def test_keys_from_names():
    assert key_of("Labels, for a model!", set()) == "labels-for-a-model"
    assert key_of("Labels", {"labels"}) == "labels-2"
    assert key_of("日本語", set()) == "item"
