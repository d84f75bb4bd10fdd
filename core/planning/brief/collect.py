"""What every room says, gathered: the content of a brief, whatever form it then takes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from core.access import Principal, require
from core.errors import NotFound, PrefloopError
from core.planning.evidence import Evidence, Measured, gather
from core.planning.section import Section
from core.projects import get_project
from storage.database import Database
from storage.ids import now

_log = logging.getLogger("prefloop")
Ask = Callable[[Database, Principal, str], Section]


@dataclass(frozen=True)
class Room:
    """`key` names the room in addresses, `page` its file under pages/."""

    key: str
    title: str
    page: str
    ask: Ask


def _roi(db: Database, who: Principal, project_id: str) -> Section:
    from core.planning.roi.section import section

    return section(db, who, project_id)


def _decision(db: Database, who: Principal, project_id: str) -> Section:
    from core.planning.decision.section import section

    return section(db, who, project_id)


def _milestones(db: Database, who: Principal, project_id: str) -> Section:
    from core.planning.milestones.section import section

    return section(db, who, project_id)


def _team(db: Database, who: Principal, project_id: str) -> Section:
    from core.planning.team.section import section

    return section(db, who, project_id)


def _sourcing(db: Database, who: Principal, project_id: str) -> Section:
    from core.planning.sourcing.section import section

    return section(db, who, project_id)


# Imported when asked: the brief's page must not wait for the libraries of five rooms.
ROOMS = (
    Room("roi", "Return", "roi.py", _roi),
    Room("decision", "Decision", "decision.py", _decision),
    Room("milestones", "Milestones", "milestones.py", _milestones),
    Room("team", "Team", "team.py", _team),
    Room("sourcing", "Build or buy", "sourcing.py", _sourcing),
)


@dataclass(frozen=True)
class Brief:
    """`sources`: where the measured figures come from, a sentence each; `missing`: what is
    not measured yet, and why. `simulated`: every vote behind them is simulated."""

    project: str
    author: str
    at: datetime
    sections: list[Section]
    sources: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    simulated: bool = False


def collect(db: Database, who: Principal, project_id: str, rooms: tuple[Room, ...] = ROOMS) -> Brief:
    """All sections, in the order of the rooms. A room that fails says so in its place."""
    require(who, "plan.view")
    project = get_project(db, who, project_id)
    sections = [section_of(db, who, project_id, room) for room in rooms]
    try:
        found = gather(db, who, project_id)
    except Exception:
        _log.exception("the sources of a brief could not be read")
        return Brief(project.name, who.name, now(), sections, missing=["The measured figures."])
    return Brief(
        project.name, who.name, now(), sections, sources_of(found), list(found.missing.values()),
        found.simulated_only,
    )  # fmt: skip


def section_of(db: Database, who: Principal, project_id: str, room: Room) -> Section:
    """What one room says, under the room's own key; never raises for what is wrong in there."""
    try:
        return replace(room.ask(db, who, project_id), key=room.key)
    except PrefloopError as problem:
        said = str(problem)
    except Exception:
        _log.exception("the section %s of a brief failed", room.key)
        said = "This part could not be worked out. The server's log says why."
    return Section(room.key, room.title, said, empty=True)


def room_of(key: str) -> Room:
    for room in ROOMS:
        if room.key == key:
            return room
    raise NotFound(f"A brief has no section “{key}”.", f"Sections: {', '.join(room.key for room in ROOMS)}.")


def sources_of(found: Evidence) -> list[str]:
    """A sentence for each measured figure: value, interval, n, and what it was counted from."""
    said = []
    for name, rate in (("Win rate", found.win_rate), *_production(found)):
        if rate:
            inside = f"{100 * rate.low:.1f} to {100 * rate.high:.1f}, n {rate.n:,}"
            said.append(f"{name} {100 * rate.value:.1f} % ({inside}): {rate.source}.")
    if item := found.agreement:
        said.append(f"Agreement {item.value:.2f} ({item.low:.2f} to {item.high:.2f}): {item.source}.")
    if item := found.seconds_per_vote:
        said.append(f"A vote takes {item.value:.3g} s ({item.low:.3g} to {item.high:.3g}): {item.source}.")
    if item := found.interactions_per_month:
        said.append(f"Volume {item.value:,.0f} a month ({item.low:,.0f} to {item.high:,.0f}): {item.source}.")
    if found.runs:
        done = sum(row.runs for row in found.runs if row.status == "succeeded")
        hours = sum(row.seconds for row in found.runs) / 3600
        calls = sum(row.calls for row in found.spent)
        said.append(
            f"Effort: {done:,} finished runs, {hours:,.1f} hours of run time, {calls:,} calls of language models."
        )
    return said


def _production(found: Evidence) -> list[tuple[str, Measured]]:
    ids = [prompt.id for prompt in (found.baseline, found.champion) if prompt]
    return [("Success in production", found.success[key]) for key in ids if key in found.success]
