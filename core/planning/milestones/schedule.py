"""When each phase can happen: earliest and latest dates, slack and the critical path
(Kelley and Walker 1959), and what to expect now that some of it has happened."""

from dataclasses import dataclass
from datetime import date, timedelta

from core.access import Principal, require
from core.planning.documents import Saved, current
from core.planning.milestones.model import Milestone, Milestones, default_plan, in_order, planned, today
from core.projects import find_project
from storage.database import Database


@dataclass(frozen=True)
class Planned:
    """A phase in the schedule. Ends are the first day after. `slack`: days it may slip
    without moving the end of the plan; `critical`: none. `expected_*`: with what has
    happened so far, and not before today for what has not."""

    key: str
    title: str
    owner: str
    after: tuple[str, ...]
    start: date
    end: date
    latest_start: date
    latest_end: date
    slack: int
    critical: bool
    actual_start: date | None
    actual_end: date | None
    expected_start: date
    expected_end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days

    @property
    def slip(self) -> int:
        """Days that its end is expected after the planned one; below zero: before."""
        return (self.expected_end - self.end).days


def schedule(plan: Milestones, on: date | None = None) -> list[Planned]:
    """The phases in the plan's order. Forward pass: `model.planned`; backward pass: a phase
    must end before the latest start of all that wait for it, or at the plan's end."""
    on = on or today()
    spans = planned(plan)
    order = in_order(plan) or []
    waiting: dict[str, list[str]] = {key: [] for key in spans}
    for phase in plan.phases:
        for other in phase.after:
            waiting[other].append(phase.key)
    finish = max(end for _, end in spans.values())
    latest: dict[str, tuple[date, date]] = {}
    for key in reversed(order):
        end = min((latest[other][0] for other in waiting[key]), default=finish)
        latest[key] = (end - (spans[key][1] - spans[key][0]), end)
    by_key = {phase.key: phase for phase in plan.phases}
    expected: dict[str, tuple[date, date]] = {}
    for key in order:
        phase, (start, end) = by_key[key], spans[key]
        begin = phase.actual_start or max([on, start, *(expected[other][1] for other in phase.after)])
        expected[key] = (begin, phase.actual_end or max(on, begin + (end - start)))
    found = []
    for phase in plan.phases:
        slack = (latest[phase.key][0] - spans[phase.key][0]).days
        found.append(
            Planned(
                phase.key, phase.title, phase.owner, tuple(phase.after), *spans[phase.key], *latest[phase.key],
                slack, slack == 0, phase.actual_start, phase.actual_end, *expected[phase.key],
            )
        )  # fmt: skip
    return found


def due_date(item: Milestone, spans: dict[str, tuple[date, date]]) -> date:
    """Its own, or the planned end of its phase."""
    return item.due or spans[item.phase][1]


@dataclass(frozen=True)
class Current:
    """The project's plan: the saved one, or the default (`saved` is None)."""

    plan: Milestones
    saved: Saved[Milestones] | None


def current_plan(db: Database, who: Principal, project_id: str) -> Current:
    """Without a saved plan, the usual one from the day the project was made."""
    require(who, "plan.view")
    saved = current(db, who, project_id, Milestones)
    if saved:
        return Current(saved.body, saved)
    with db.read() as session:
        made = find_project(session, project_id).created_at
    return Current(default_plan(made.date()), None)


def phase_weeks(db: Database, who: Principal, project_id: str) -> list[tuple[str, date, date]]:
    """(phase key, first day, first day after) as planned: for costs by month."""
    spans = planned(current_plan(db, who, project_id).plan)
    return [(key, start, end) for key, (start, end) in spans.items()]


def weeks_between(start: date, end: date) -> float:
    return (end - start) / timedelta(weeks=1)
