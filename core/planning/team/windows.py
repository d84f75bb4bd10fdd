"""When each phase is: from the milestones plan where there is one, else the usual
durations one after another."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import ceil

from core.access import Principal, require
from core.planning.milestones.schedule import phase_weeks
from core.planning.phases import PHASES
from core.planning.team.model import phase_title
from storage.database import Database
from storage.ids import now


@dataclass(frozen=True)
class Window:
    """A phase from its first day until, but without, `end`."""

    phase: str
    start: date
    end: date

    @property
    def title(self) -> str:
        return phase_title(self.phase)

    @property
    def weeks(self) -> float:
        return (self.end - self.start).days / 7


def usual_windows(start: date) -> list[Window]:
    """The phases one after another, each with its likely duration."""
    found = []
    for phase in PHASES:
        end = start + timedelta(weeks=phase.likely)
        found.append(Window(phase.key, start, end))
        start = end
    return found


def windows_of(db: Database, who: Principal, project_id: str) -> list[Window]:
    """The phases as the milestones page plans them, earliest first."""
    require(who, "plan.view")

    found = [
        Window(key, _day(start), _day(end)) for key, start, end in phase_weeks(db, who, project_id) if end > start
    ]  # fmt: skip
    return sorted(found, key=lambda w: (w.start, w.end)) or usual_windows(today())


def today() -> date:
    return now().date()


def week_of(day: date, windows: list[Window]) -> int:
    """The plan's week that the day is in, from 1."""
    return (day - min(w.start for w in windows)).days // 7 + 1


def weeks_between(start: date, end: date, windows: list[Window]) -> str:
    """`weeks 14 to 22`; `end` is the day after the last."""
    first = week_of(start, windows)
    last = max(first, ceil((end - min(w.start for w in windows)).days / 7))
    return f"week {first}" if first == last else f"weeks {first} to {last}"


def _day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
