"""Everything that follows from a team: for its page, the brief and the API alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.access import Principal, require
from core.planning.documents import Saved, current
from core.planning.team import words
from core.planning.team.cost import PhaseCost, cost_by_month, cost_by_phase
from core.planning.team.coverage import Coverage, coverage, load_by_week, when
from core.planning.team.model import Team, phase_title
from core.planning.team.suggest import Suggestion, suggest
from core.planning.team.windows import Window, today, windows_of
from core.planning.units import Units, units_of
from storage.database import Database

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Results:
    """`monthly`: (months, members) cost from today; `load`: (weeks, members) shares of full
    time over the plan's weeks."""

    team: Team
    windows: list[Window]
    units: Units
    found: Coverage
    suggestion: Suggestion
    by_phase: list[PhaseCost]
    monthly: np.ndarray
    load: np.ndarray

    @property
    def plan_cost(self) -> float:
        return sum(row.cost for row in self.by_phase)

    def cost_by_role(self) -> dict[str, float]:
        """Over the whole plan, dearest first."""
        total: dict[str, float] = {}
        for row in self.by_phase:
            total[row.role] = total.get(row.role, 0.0) + row.cost
        return dict(sorted(total.items(), key=lambda item: -item[1]))


def results(team: Team, windows: list[Window], units: Units, months: int = 12) -> Results:
    return Results(
        team,
        windows,
        units,
        coverage(team, windows),
        suggest(team, windows, units),
        cost_by_phase(team, windows, units),
        cost_by_month(team, windows, units, today(), months),
        load_by_week(team, windows),
    )


@dataclass(frozen=True)
class Now:
    """The saved team, or an empty one (`saved` is None), with what follows from it."""

    saved: Saved[Team] | None
    results: Results


def team_now(db: Database, who: Principal, project_id: str, months: int = 12) -> Now:
    """Raises NotFound for the project, Invalid for months outside 1 to 120."""
    require(who, "plan.view")
    saved = current(db, who, project_id, Team)
    windows = windows_of(db, who, project_id)
    team = saved.body if saved else Team()
    return Now(saved, results(team, windows, units_of(db, who, project_id), months))


def check(db: Database, who: Principal, project_id: str, team: Team, months: int = 12) -> Results:
    """What would follow from a team that is not saved."""
    require(who, "plan.view")
    return results(team, windows_of(db, who, project_id), units_of(db, who, project_id), months)


def answer(found: Results) -> str:
    """One sentence: is the plan covered, and if not, what is worst."""
    cover = found.found
    if not found.team.members:
        return "Nobody is on the team yet. What each phase needs is shown below."
    if cover.complete and not cover.single_points:
        return "The team covers every phase, and no skill rests on one person."
    gaps = len(cover.role_gaps) + len(cover.skill_gaps)
    parts = []
    if gaps:
        parts.append(f"{gaps} gap{'s' if gaps > 1 else ''}")
    if cover.overloads:
        many = len({row.member for row in cover.overloads})
        parts.append("1 person booked too much" if many == 1 else f"{many} people booked too much")
    if cover.single_points:
        alone = len({row.skill for row in cover.single_points})
        parts.append(
            f"{alone} skill{'s' if alone > 1 else ''} that rest{'' if alone > 1 else 's'} on one person"
        )
    if cover.complete:
        return f"The team covers every phase, with {words.joined(parts)}."
    return f"The team does not cover the plan: {words.joined(parts)}. {worst(cover)}"


def worst(cover: Coverage) -> str:
    """The sentence of the largest gap by role, else by skill, else the highest overload."""
    if cover.role_gaps:
        return words.role_gap(max(cover.role_gaps, key=lambda row: row.gap), cover)
    if cover.skill_gaps:
        return words.skill_gap(max(cover.skill_gaps, key=lambda row: row.gap), cover)
    return words.overload(max(cover.overloads, key=lambda row: row.load - row.availability), cover)


def role_rows(cover: Coverage) -> Rows:
    return [
        {
            "Phase": phase_title(row.phase),
            "Weeks": when(row.phase, cover.windows).removeprefix("weeks ").removeprefix("week "),
            "Role": row.role,
            "Needed": round(row.needed, 2),
            "Available": round(row.available, 2),
            "Gap": round(row.gap, 2),
        }
        for row in cover.roles
        if row.needed > 0 or row.available > 0
    ]


def skill_rows(cover: Coverage) -> Rows:
    return [
        {
            "Phase": phase_title(row.phase),
            "Skill": row.skill,
            "Level": row.level,
            "Needed": round(row.needed, 2),
            "Available": round(row.available, 2),
            "Gap": round(row.gap, 2),
            "People": ", ".join(row.people),
        }
        for row in cover.skills
    ]


def load_rows(found: Results) -> Rows:
    return [
        {
            "Week": week + 1,
            "Person": member.name,
            "Load": float(found.load[week, place]),
            "Availability": member.availability,
        }
        for place, member in enumerate(found.team.members)
        for week in range(len(found.load))
    ]


def month_rows(found: Results) -> Rows:
    """Cost by month and role; the first month is from today."""
    roles = list(dict.fromkeys(member.role for member in found.team.members))
    of = np.array([[member.role == role for role in roles] for member in found.team.members], dtype=float)
    if not roles:
        return []
    by_role = found.monthly @ of
    return [
        {"Month": month + 1, "Role": role, "Cost": round(float(by_role[month, place]), 2)}
        for place, role in enumerate(roles)
        for month in range(len(by_role))
    ]


def phase_rows(found: Results) -> Rows:
    return [
        {
            "Phase": phase_title(row.phase),
            "Role": row.role,
            "FTE": round(row.fte, 2),
            "Cost": round(row.cost),
        }
        for row in found.by_phase
    ]


def suggestion_rows(found: Results) -> Rows:
    rows: Rows = [
        {
            "Who": item.member,
            "Role": item.role,
            "What": "gives more",
            "When": phase_title(item.phase),
            "Share": words.percent(item.share),
            "Skills": "",
            "Cost": round(item.cost),
        }
        for item in found.suggestion.more
    ]
    for item in found.suggestion.additions:
        shares = sorted(
            {words.percent(share) for share in item.member.shares.values()}, key=lambda s: int(s[:-2])
        )
        skills = ", ".join(f"{skill} {level}" for skill, level in item.member.skills.items())
        rows.append(
            {
                "Who": item.member.name,
                "Role": item.member.role,
                "What": "joins",
                "When": ", ".join(phase_title(phase) for phase in item.member.shares),
                "Share": " to ".join([shares[0], shares[-1]] if len(shares) > 1 else shares),
                "Skills": skills,
                "Cost": round(item.cost),
            }
        )
    return rows


def member_rows(team: Team) -> Rows:
    return [
        {
            "Name": member.name,
            "Role": member.role,
            "Availability": words.percent(member.availability),
            "Cost": member.cost,
            "Per": member.per,
            "Skills": ", ".join(f"{skill} {level}" for skill, level in member.skills.items()),
            **{phase_title(phase): words.percent(share) for phase, share in member.shares.items()},
        }
        for member in team.members
    ]
