"""What each phase needs against who is there: gaps, overload, and single points of failure.

A role is covered by the shares of its members. A skill is covered by everybody who has it
at the level or above, with their whole share of the phase: one hour may use two skills.
"""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np

from core.planning.team.model import Member, Team
from core.planning.team.windows import Window, weeks_between

LEAST = 0.005  # full-time equivalents: less is rounding


@dataclass(frozen=True)
class RoleCover:
    """Full-time equivalents of a role in a phase."""

    phase: str
    role: str
    needed: float
    available: float

    @property
    def gap(self) -> float:
        return max(0.0, self.needed - self.available)

    @property
    def ratio(self) -> float | None:
        return self.available / self.needed if self.needed > 0 else None


@dataclass(frozen=True)
class SkillCover:
    """Full-time equivalents of a skill, at a level or above, in a phase, and who gives them."""

    phase: str
    skill: str
    level: int
    needed: float
    available: float
    people: tuple[str, ...]

    @property
    def gap(self) -> float:
        return max(0.0, self.needed - self.available)


@dataclass(frozen=True)
class Overload:
    """From `start` until, but without, `end`, a member is booked for more than they have."""

    member: str
    load: float
    availability: float
    start: date
    end: date
    phases: tuple[str, ...]


@dataclass(frozen=True)
class SinglePoint:
    """A skill that only one member covers in these phases."""

    skill: str
    member: str
    phases: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    windows: list[Window]
    roles: list[RoleCover]
    skills: list[SkillCover]
    overloads: list[Overload]
    single_points: list[SinglePoint]

    @property
    def role_gaps(self) -> list[RoleCover]:
        return [row for row in self.roles if row.gap > LEAST]

    @property
    def skill_gaps(self) -> list[SkillCover]:
        return [row for row in self.skills if row.gap > LEAST]

    @property
    def complete(self) -> bool:
        return not (self.role_gaps or self.skill_gaps or self.overloads)

    def covered_roles(self) -> float | None:
        """Share of the needed time, in FTE-weeks, that is there; None when nothing is needed."""
        return self._covered(self.roles)

    def covered_skills(self) -> float | None:
        return self._covered(self.skills)

    def _covered(self, rows: list[RoleCover] | list[SkillCover]) -> float | None:
        weeks = weeks_by_phase(self.windows)
        needed = sum(row.needed * weeks[row.phase] for row in rows)
        there = sum(min(row.needed, row.available) * weeks[row.phase] for row in rows)
        return there / needed if needed > 0 else None


def coverage(team: Team, windows: list[Window]) -> Coverage:
    """Every role and skill of the team in every phase of the plan."""
    phases = list(dict.fromkeys(window.phase for window in windows))
    roles = [
        RoleCover(
            phase,
            role,
            team.need(phase).roles.get(role, 0.0),
            sum(share_of(member, phase) for member in team.members if member.role == role),
        )
        for phase in phases
        for role in team.roles()
    ]
    skills = []
    for phase in phases:
        for skill, need in team.need(phase).skills.items():
            able = [member for member in team.members if has(member, skill, need.level, phase)]
            there = sum(share_of(member, phase) for member in able)
            names = tuple(member.name for member in able)
            skills.append(SkillCover(phase, skill, need.level, need.fte, there, names))
    return Coverage(windows, roles, skills, overloads(team, windows), _single_points(skills))


def share_of(member: Member, phase: str) -> float:
    return member.shares.get(phase, 0.0)  # type: ignore[call-overload]


def has(member: Member, skill: str, level: int, phase: str) -> bool:
    """The member has the skill at this level, and time in this phase."""
    return member.skills.get(skill, 0) >= level and share_of(member, phase) > 0


def weeks_by_phase(windows: list[Window]) -> dict[str, float]:
    weeks: dict[str, float] = {}
    for window in windows:
        weeks[window.phase] = weeks.get(window.phase, 0.0) + window.weeks
    return weeks


def overloads(team: Team, windows: list[Window]) -> list[Overload]:
    """Between two dates at which a phase begins or ends nothing changes, so these spans are
    all there is to look at. Neighbouring spans with the same load are one."""
    found: list[Overload] = []
    edges = sorted({window.start for window in windows} | {window.end for window in windows})
    for member in team.members:
        last: Overload | None = None
        for start, end in pairwise(edges):
            running = [w.phase for w in windows if w.start <= start < w.end and share_of(member, w.phase) > 0]
            load = sum(share_of(member, phase) for phase in running)
            if load <= member.availability + LEAST:
                last = None
                continue
            if last and last.load == load:
                phases = tuple(dict.fromkeys((*last.phases, *running)))
                found[-1] = last = Overload(member.name, load, member.availability, last.start, end, phases)
            else:
                last = Overload(member.name, load, member.availability, start, end, tuple(running))
                found.append(last)
    return found


def load_by_week(team: Team, windows: list[Window]) -> np.ndarray:
    """(weeks, members): mean share of full time that is booked in each week of the plan."""
    if not windows:
        return np.zeros((0, len(team.members)))
    first = min(window.start for window in windows)
    weeks = -(-(max(window.end for window in windows) - first).days // 7)
    edges = np.arange(weeks + 1) * 7.0
    load = np.zeros((weeks, len(team.members)))
    for window in windows:
        begins, ends = (window.start - first).days, (window.end - first).days
        part = np.clip(np.minimum(edges[1:], ends) - np.maximum(edges[:-1], begins), 0, None) / 7
        load += part[:, None] * np.array([share_of(member, window.phase) for member in team.members])[None, :]
    return load


def _single_points(skills: list[SkillCover]) -> list[SinglePoint]:
    alone: dict[tuple[str, str], list[str]] = {}
    for row in skills:
        if row.needed > 0 and len(row.people) == 1:
            alone.setdefault((row.skill, row.people[0]), []).append(row.phase)
    return [SinglePoint(skill, member, tuple(phases)) for (skill, member), phases in alone.items()]


def when(phase: str, windows: list[Window]) -> str:
    """The weeks of a phase, `weeks 14 to 22`; several spans of it joined."""
    return " and ".join(weeks_between(w.start, w.end, windows) for w in windows if w.phase == phase)
