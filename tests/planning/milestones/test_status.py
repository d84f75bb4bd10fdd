from datetime import date, timedelta

import pytest

from core.planning import documents
from core.planning.milestones import charts
from core.planning.milestones.catalogue import KIND
from core.planning.milestones.forecast import Forecast
from core.planning.milestones.metrics import Metric, Point
from core.planning.milestones.model import Milestone, Milestones, default_plan, usual_phases
from core.planning.milestones.moved import moved
from core.planning.milestones.schedule import schedule
from core.planning.milestones.section import section
from core.planning.milestones.status import answer, judge, span, standing

ON = date(2026, 6, 1)
START = date(2026, 3, 1)


def labels(per_day: int = 20, days: int = 60) -> Metric:
    series = [
        Point(ON - timedelta(days=days - i), per_day * (i + 1), n=per_day * (i + 1)) for i in range(days)
    ]
    return Metric(KIND["labels"], "votes", "", series, daily=[per_day] * days)


def accuracy(value: float, low: float, high: float) -> Metric:
    series = [
        Point(ON - timedelta(days=9), 0.5, 0.4, 0.6, 80),
        Point(ON - timedelta(days=2), value, low, high, 100),
    ]
    return Metric(KIND["reward_accuracy"], "pairs", "", series)


def status_of(metric: Metric | None, due_in: int, target: float = 1800, **more):
    key = metric.kind.key if metric else "manual"
    values = {
        "key": "m",
        "name": "It",
        "phase": "exploration",
        "metric": key,
        "due": ON + timedelta(days=due_in),
    }
    item = Milestone(**values, target=target if metric else None, **more)
    plan = Milestones(start=START, phases=usual_phases(), milestones=[item])
    live = {key: metric} if metric else {}
    futures = {key: metric.futures(ON)} if metric else {}
    [found] = judge(plan, live, futures, ON)
    return found


# 1,200 votes at 20 a day: 1,800 in 30 days.
@pytest.mark.parametrize(
    ("due_in", "target", "word", "said"),
    [
        (60, 1800, "on track", "Forecast for "),
        (20, 1800, "at risk", "0 % chance by 21 June 2026"),
        (-3, 1800, "late", "It was due on 29 May 2026. On the present trend it is met on "),
        (60, 1200, "met", "Labels collected is 1,200 votes, target at least 1,200 votes."),
        (-40, 1000, "met", "late"),
        (300, 90_000, "at risk", "Not reached on the present trend"),
    ],
)
def test_the_status_follows_from_figure_forecast_and_date(due_in, target, word, said):
    found = status_of(labels(), due_in, target)
    assert (found.word, said in found.reason) == (word, True), found.reason


def test_a_chance_is_the_share_of_the_forecast_before_the_date():
    found = status_of(labels(), 30)
    assert 0.2 < found.chance < 0.8
    assert abs((found.forecast.day - ON).days - 30) <= 1


@pytest.mark.parametrize(
    ("due_in", "word"), [(60, "on track"), (14, "at risk"), (0, "at risk"), (-1, "late")]
)
def test_without_any_figure_only_the_date_speaks(due_in, word):
    found = status_of(Metric(KIND["win_rate"], missing="No votes yet."), due_in, 0.6)
    assert found.word == word and found.reason.startswith("No votes yet.")
    assert found.forecast.state == "no_data"


def test_a_met_target_that_is_not_certain_says_so():
    assert (
        "Not certain: the 95 % interval goes to 55.0 %" in status_of(accuracy(0.7, 0.55, 0.8), 9, 0.65).reason
    )
    sure = status_of(accuracy(0.7, 0.66, 0.8), 9, 0.65)
    assert "certain" not in sure.reason and sure.met_on == ON - timedelta(days=2)


def test_a_target_from_above():
    found = status_of(accuracy(0.4, 0.3, 0.45), 9, 0.5, direction="at_most")
    assert found.word == "met" and "at most 50.0 %" in found.reason


@pytest.mark.parametrize(
    ("due_in", "done_in", "word"),
    [(60, None, "on track"), (9, None, "at risk"), (-2, None, "late"), (-9, -12, "met"), (-9, -5, "met")],
)
def test_what_is_ticked_off_by_hand(due_in, done_in, word):
    done = None if done_in is None else ON + timedelta(days=done_in)
    found = status_of(None, due_in, done=done)
    assert found.word == word
    assert ("4 days late" in found.reason) == (done_in == -5)


def test_the_answer_comes_in_one_sentence_with_what_is_next():
    plan = default_plan(START)
    plan.milestones = [
        Milestone(key="a", name="Done", phase="exploration", metric="labels", target=500),
        Milestone(
            key="b",
            name="Soon",
            phase="exploration",
            metric="labels",
            target=1800,
            due=ON + timedelta(days=50),
        ),
        Milestone(
            key="c",
            name="Hard",
            phase="deployment",
            metric="labels",
            target=90_000,
            due=ON + timedelta(days=99),
        ),
        Milestone(
            key="d",
            name="Gone",
            phase="exploration",
            metric="labels",
            target=1500,
            due=ON - timedelta(days=5),
        ),
    ]
    found = judge(plan, {"labels": labels()}, {"labels": labels().futures(ON)}, ON)
    said = answer(found, schedule(plan, ON))
    assert said.startswith(
        "1 of 4 milestones met; 1 late: “Gone”; 1 at risk: “Hard”. “Soon” is forecast for "
    )
    assert "plan 21 July 2026" in said and "Exploration is expected to end " in said
    assert answer([], []) == "The plan has no milestones yet."


def test_dates_of_a_forecast_in_words():
    day = date(2026, 3, 14)
    known = {"state": "forecast", "said": "", "day": day}
    assert span(Forecast(**known, low=date(2026, 3, 2), high=date(2026, 3, 30))) == (
        "14 March 2026 (80 %: 2 to 30 March 2026)"
    )
    assert span(Forecast(**known, low=date(2026, 2, 2), high=date(2026, 3, 30)), short=True) == (
        "14 Mar 2026 (2 Feb to 30 Mar 2026)"
    )
    assert span(Forecast(**known, low=date(2026, 2, 2), high=date(2027, 1, 3))) == (
        "14 March 2026 (80 %: 2 February 2026 to 3 January 2027)"
    )
    assert span(Forecast(**known, low=day, high=None)) == "14 March 2026 (80 %: not before 14 March 2026)"
    assert span(Forecast(**known, low=day, high=day)) == "14 March 2026"
    assert span(Forecast("unlikely", "no")) == "—"


def test_targets_that_moved(db, person, project):
    lead, other = person("lead", "Ada"), person("lead", "Ben")
    assert moved(db, lead, project.id) == []
    plan = default_plan(START)
    first = documents.save(db, lead, project.id, plan)
    assert moved(db, lead, project.id) == []

    later = plan.model_copy(deep=True)
    later.milestones[0].target = 300
    later.phases[4].weeks = 14  # only the last phase: the milestone that ends with it
    removed = later.milestones.pop(2)
    later.milestones.append(Milestone(key="new", name="A new one", phase="deployment"))
    documents.save(db, other, project.id, later, plan_id=first.plan_id, note="Budget cut")

    found = moved(db, lead, project.id)
    assert {(item.milestone, item.what) for item in found} == {
        ("first-labels", "target"), ("more-labels", "due date"), (removed.key, "removed"), ("new", "added"),
    }  # fmt: skip
    target = next(item for item in found if item.what == "target")
    assert (target.before, target.after) == (
        "labels collected at least 200 votes", "labels collected at least 300 votes"
    )  # fmt: skip
    assert (target.author, target.version, target.note) == ("Ben", 2, "Budget cut")
    date_ = next(item for item in found if item.what == "due date")
    assert (date_.before, date_.after) == ("25 October 2026", "1 November 2026")


def test_the_section_of_an_empty_project_says_what_is_missing(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = section(any_db, lead, project.id)
    assert found.empty and "no plan yet" in found.answer
    documents.save(any_db, lead, project.id, default_plan(START))
    found = section(any_db, lead, project.id)
    assert not found.empty and "milestones met" in found.answer
    assert len(found.tables["Milestones"]) == 11 and len(found.tables["Phases"]) == 5
    assert found.charts["Plan and actual"].to_dict()


def test_charts_hold_what_the_tables_say(db, person, project):
    """A name of any length and signs; a burn-up for every state of a forecast."""
    lead = person("lead")
    plan = default_plan(START)
    plan.phases[0].title = "<b>A very long</b> [name](x) " * 4
    plan.phases[0].actual_start = START
    documents.save(db, lead, project.id, Milestones.model_validate(plan.model_dump()))
    found = standing(db, lead, project.id)
    drawn = charts.gantt(found.phases, found.statuses, found.on, {"development": (START, ON)}).to_dict()
    rows = [row for rows in drawn["datasets"].values() for row in rows]
    bars = [row for row in rows if "what" in row]
    assert {row["what"] for row in bars} == {"planned", "actual", "expected", "work seen"}
    assert {row["Phase"] for row in bars} == {phase.title for phase in found.phases}
    assert all(len(row["text"]) <= charts.MOST for row in rows if "key" in row and "text" in row)
    for metric, target in (
        (labels(), 1800),
        (labels(), 90_000),
        (labels(), 100),
        (accuracy(0.7, 0.5, 0.8), 0.9),
    ):
        item = Milestone(key="m", name="It", phase="exploration", metric=metric.kind.key, target=target)
        chart = charts.burn_up(metric, item, ON + timedelta(days=40), metric.futures(ON), ON).to_dict()
        rows = [row for rows in chart["datasets"].values() for row in rows]
        assert {"today", "due", "target"} <= {row.get("text") for row in rows}
        fan = any(row.get("what") == "forecast, 80 %" for row in rows)
        assert fan == (target in (1800, 90_000))
