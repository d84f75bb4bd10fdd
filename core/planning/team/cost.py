"""What the people of a team cost: by month from today, by phase and by role.

A project pays for the shares that it books, not for the rest of a person's time. Months
are twelfths of a year.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from core.access import Principal, require
from core.errors import Invalid
from core.planning.documents import current
from core.planning.team.model import Team
from core.planning.team.windows import Window, today, windows_of
from core.planning.units import Units, units_of
from storage.database import Database

DAYS_PER_MONTH = 365.25 / 12
MAX_MONTHS = 120


def monthly_cost(db: Database, who: Principal, project_id: str, months: int) -> list[float] | None:
    """Cost of the people for each of the next `months` months, the first from today. None
    without a saved team. Raises Invalid for months outside 1 to 120."""
    require(who, "plan.view")
    saved = current(db, who, project_id, Team)
    if saved is None:
        return None
    windows = windows_of(db, who, project_id)
    by_member = cost_by_month(saved.body, windows, units_of(db, who, project_id), today(), months)
    return by_member.sum(axis=1).tolist()


def cost_by_month(team: Team, windows: list[Window], units: Units, start: date, months: int) -> np.ndarray:
    """(months, members): the cost of each member in each month from `start`. With
    `goes_on`, the last phase lasts until the horizon."""
    if not 1 <= months <= MAX_MONTHS:
        raise Invalid(f"months: 1 to {MAX_MONTHS}.")
    edges = np.arange(months + 1) * DAYS_PER_MONTH
    share = np.zeros((months, len(team.members)))
    for window in stretched(team, windows, start + timedelta(days=int(edges[-1]) + 1)):
        begins, ends = (window.start - start).days, (window.end - start).days
        part = np.clip(np.minimum(edges[1:], ends) - np.maximum(edges[:-1], begins), 0, None) / DAYS_PER_MONTH
        share += part[:, None] * _shares(team, window.phase)[None, :]
    return share * _yearly(team, units)[None, :] / 12


def stretched(team: Team, windows: list[Window], until: date) -> list[Window]:
    """The windows, the one that ends last drawn out to `until` when the team goes on."""
    if not team.goes_on or not windows:
        return windows
    last = max(range(len(windows)), key=lambda i: (windows[i].end, windows[i].start))
    window = windows[last]
    drawn = Window(window.phase, window.start, max(window.end, until))
    return [*windows[:last], drawn, *windows[last + 1 :]]


@dataclass(frozen=True)
class PhaseCost:
    """Of a phase, over its weeks in the plan: one role's FTE and cost."""

    phase: str
    role: str
    fte: float
    cost: float


def cost_by_phase(team: Team, windows: list[Window], units: Units) -> list[PhaseCost]:
    """Phase by phase in the order of the plan, roles within; rows without time left out.
    The whole plan counts, also what has passed."""
    yearly = _yearly(team, units)
    rows = []
    for phase in dict.fromkeys(window.phase for window in windows):
        weeks = sum(window.weeks for window in windows if window.phase == phase)
        shares = _shares(team, phase)
        for role in team.roles():
            of_role = np.array([member.role == role for member in team.members], dtype=bool)
            fte = float(shares[of_role].sum())
            if fte > 0:
                cost = float((shares * yearly)[of_role].sum()) * weeks * 7 / 365.25
                rows.append(PhaseCost(phase, role, fte, cost))
    return rows


def person_year(team: Team, units: Units) -> float | None:
    """Mean cost of a full-time year, weighted by the time each member gives; None when
    nobody gives any."""
    given = np.array([sum(member.shares.values()) for member in team.members])
    return float(given @ _yearly(team, units) / given.sum()) if given.sum() > 0 else None


def _shares(team: Team, phase: str) -> np.ndarray:
    return np.array([member.shares.get(phase, 0.0) for member in team.members])  # type: ignore[call-overload]


def _yearly(team: Team, units: Units) -> np.ndarray:
    return np.array([member.yearly_cost(units.hours_per_month) for member in team.members])
