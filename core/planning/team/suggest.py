"""The smallest addition that closes the gaps, with what it costs.

Stated rule, in this order: (1) members give more where they have time left in every week of
the phase; (2) for what a role still lacks, new people of that role join for just that much
of each phase, as few as can give it; (3) a skill that is still missing is asked of those new
people, then of further ones. Within a role this is the least time that can close its gaps.
"""

from dataclasses import dataclass, field
from math import ceil

import numpy as np

from core.planning.team.coverage import LEAST, SkillCover, coverage, has, share_of, weeks_by_phase
from core.planning.team.model import OTHER_YEARLY_COST, TYPICAL_SKILLS, Member, Team
from core.planning.team.windows import Window
from core.planning.units import Units


@dataclass(frozen=True)
class More:
    """A member gives this much more of full time to a phase."""

    member: str
    role: str
    phase: str
    share: float
    cost: float


@dataclass(frozen=True)
class Addition:
    """A new person, with the phase they are first needed in and what they cost over the plan."""

    member: Member
    first: str
    cost: float


@dataclass(frozen=True)
class Suggestion:
    """`team` is the team with the suggestion carried out."""

    team: Team
    more: list[More] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)  # in the order they are needed

    @property
    def cost(self) -> float:
        """Over the whole plan, on top of the team as it is."""
        return sum(item.cost for item in self.more) + sum(item.cost for item in self.additions)


def suggest(team: Team, windows: list[Window], units: Units) -> Suggestion:
    """Nothing to do gives a suggestion without any part. Overload stays as it is: who is
    booked too much has to be booked less, which is a person's choice."""
    drafted = team.model_copy(deep=True)
    given = _give_more(drafted, windows)
    own = len(team.members)
    _add_roles(drafted, windows)
    _add_skills(drafted, windows, own)
    weeks = weeks_by_phase(windows)
    years = {phase: count * 7 / 365.25 for phase, count in weeks.items()}
    by_name = {member.name: member for member in drafted.members}
    more = [
        More(name, by_name[name].role, phase, share, share * years[phase] * by_name[name].yearly_cost(units.hours_per_month))
        for (name, phase), share in given.items()
    ]  # fmt: skip
    order = list(weeks)
    additions = []
    for member in drafted.members[own:]:
        cost = sum(share * years[phase] * member.cost for phase, share in member.shares.items())
        additions.append(Addition(member, min(member.shares, key=order.index), cost))
    additions.sort(key=lambda item: order.index(item.first))
    return Suggestion(drafted, more, additions)


def _give_more(team: Team, windows: list[Window]) -> dict[tuple[str, str], float]:
    """Raise shares of members with time left; answers (member, phase) -> by how much."""
    given: dict[tuple[str, str], float] = {}

    def raise_share(member: Member, phase: str, wanted: float) -> float:
        most = min(wanted, spare(member, phase, windows), 1 - share_of(member, phase))
        if most <= LEAST:
            return 0.0
        member.shares[phase] = share_of(member, phase) + most  # type: ignore[index]
        given[member.name, phase] = given.get((member.name, phase), 0.0) + most
        return most

    for row in coverage(team, windows).role_gaps:
        left = row.gap
        for member in (member for member in team.members if member.role == row.role):
            left -= raise_share(member, row.phase, left)
    for lack in coverage(team, windows).skill_gaps:
        left = missing(team, lack)  # what was given for another skill may count for this one too
        for member in (m for m in team.members if m.skills.get(lack.skill, 0) >= lack.level):
            left -= raise_share(member, lack.phase, left)
    return given


def missing(team: Team, row: SkillCover) -> float:
    """Full-time equivalents that the skill lacks in the phase, as the team is now."""
    able = (member for member in team.members if has(member, row.skill, row.level, row.phase))
    return row.needed - sum(share_of(member, row.phase) for member in able)


def spare(member: Member, phase: str, windows: list[Window]) -> float:
    """What the member has left of their availability in every day of the phase."""
    least = np.inf
    for window in (w for w in windows if w.phase == phase):
        # Loads change only where a phase begins, so the worst day is one of these.
        days = [window.start, *(w.start for w in windows if window.start < w.start < window.end)]
        for day in days:
            load = sum(share_of(member, w.phase) for w in windows if w.start <= day < w.end)
            least = min(least, member.availability - load)
    return max(0.0, float(least)) if np.isfinite(least) else 0.0


def _add_roles(team: Team, windows: list[Window]) -> None:
    gaps: dict[str, dict[str, float]] = {}
    for row in coverage(team, windows).role_gaps:
        gaps.setdefault(row.role, {})[row.phase] = row.gap
    for role, by_phase in gaps.items():
        _hire(team, windows, role, by_phase, {})


def _add_skills(team: Team, windows: list[Window], own: int) -> None:
    """Ask missing skills of the new people first, those with a role that has it usually
    before others; then of further people."""
    for row in coverage(team, windows).skill_gaps:
        left = missing(team, row)
        new = [m for m in team.members[own:] if not has(m, row.skill, row.level, row.phase)]
        new.sort(key=lambda m: row.skill not in TYPICAL_SKILLS.get(m.role, {}))
        for member in new:
            share = share_of(member, row.phase)
            if left > LEAST and share > 0:
                member.skills[row.skill] = row.level
                left -= share
    wanted: dict[str, dict[str, dict[str, tuple[int, float]]]] = {}
    for row in coverage(team, windows).skill_gaps:
        role = max(TYPICAL_SKILLS, key=lambda r: TYPICAL_SKILLS[r].get(row.skill, 0))
        if row.skill not in TYPICAL_SKILLS[role]:
            role = f"{row.skill[:69]} specialist"
        wanted.setdefault(role, {}).setdefault(row.skill, {})[row.phase] = (row.level, row.gap)
    for role, skills in wanted.items():
        by_phase: dict[str, float] = {}
        for phases in skills.values():
            for phase, (_, fte) in phases.items():
                by_phase[phase] = max(by_phase.get(phase, 0.0), fte)
        levels = {skill: max(level for level, _ in phases.values()) for skill, phases in skills.items()}
        _hire(team, windows, role, by_phase, levels)


def _hire(
    team: Team, windows: list[Window], role: str, by_phase: dict[str, float], skills: dict[str, int]
) -> None:
    """As few people of the role as can give these shares, evenly; phases that overlap add up."""
    days = {window.start for window in windows}
    peak = max(
        sum(by_phase.get(w.phase, 0.0) for w in windows if w.start <= day < w.end) for day in days
    )  # fmt: skip
    count = max(1, ceil(peak - LEAST))
    taken = {member.name.casefold() for member in team.members}
    for _ in range(count):
        name, number = f"New {role}"[:74], 2
        while name.casefold() in taken:
            name, number = f"{f'New {role}'[:74]} {number}", number + 1
        taken.add(name.casefold())
        shares = {phase: min(1.0, fte / count) for phase, fte in by_phase.items()}
        cost = team.new_cost.get(role, OTHER_YEARLY_COST)
        member = Member(name=name, role=role, skills=dict(skills), cost=cost, shares=shares)  # type: ignore[arg-type]
        member.availability = min(1.5, peak / count)
        team.members.append(member)
