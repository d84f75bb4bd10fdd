"""The team in the brief."""

from core.access import Principal, require
from core.planning.section import Drawn, Section
from core.planning.team import charts, words
from core.planning.team.coverage import weeks_by_phase
from core.planning.team.model import phase_title
from core.planning.team.results import (
    Results,
    answer,
    member_rows,
    phase_rows,
    role_rows,
    skill_rows,
    suggestion_rows,
    team_now,
)
from core.planning.units import money
from storage.database import Database

MOST_SAID = 5


def section(db: Database, who: Principal, project_id: str) -> Section:
    require(who, "plan.view")
    now = team_now(db, who, project_id)
    if now.saved is None or not now.results.team.members:
        said = "No team is planned yet: who works on it, when, and what they cost is on the page Team."
        return Section(
            "team", "Team", said, tables={"Needs by role": role_rows(now.results.found)}, empty=True
        )
    found = now.results
    tables = {
        "Members": member_rows(found.team),
        "Coverage by role": role_rows(found.found),
        "Coverage by skill": skill_rows(found.found),
        "Cost by phase": phase_rows(found),
    }
    if rows := suggestion_rows(found):
        tables["Suggested additions"] = rows
    drawn = {"Cost by month": lambda: charts.cost_chart(found)}
    if any(row.needed > 0 for row in found.found.roles):
        drawn = {"Coverage by phase and role": lambda: charts.coverage_map(found)} | drawn
    return Section(
        "team",
        "Team",
        answer(found),
        why=reasons(found),
        figures=figures(found),
        tables=tables,
        charts=Drawn(drawn),
    )


def figures(found: Results) -> list[tuple[str, str, str]]:
    """Label, value, detail: what the page shows on top."""
    cover, currency = found.found, found.units.currency
    if not found.team.members:
        return _needed(found)
    fte = sum(member.availability for member in found.team.members)
    roles, skills = cover.covered_roles(), cover.covered_skills()
    return [
        ("People", f"{len(found.team.members):,}", f"{fte:.3g} full-time equivalents available"),
        (
            "Time covered",
            "—" if roles is None else words.percent(roles),
            "of the FTE-weeks that the roles need",
        ),
        (
            "Skills covered",
            "—" if skills is None else words.percent(skills),
            "of the FTE-weeks that the skills need",
        ),
        ("Cost of the plan", money(found.plan_cost, currency, short=True), _span(found)),
    ]


def _needed(found: Results) -> list[tuple[str, str, str]]:
    """Without a team: what it would have to give."""
    by_phase: dict[str, float] = {}
    for row in found.found.roles:
        by_phase[row.phase] = by_phase.get(row.phase, 0.0) + row.needed
    if not any(by_phase.values()):
        return []
    most = max(by_phase, key=lambda phase: by_phase[phase])
    weeks = weeks_by_phase(found.windows)
    total = sum(fte * weeks[phase] for phase, fte in by_phase.items())
    skills = len({row.skill for row in found.found.skills if row.needed > 0})
    cost = money(found.suggestion.cost, found.units.currency, short=True)
    return [
        ("Needed at most", f"{by_phase[most]:.3g} FTE", f"full-time equivalents, in {phase_title(most)}"),
        ("Needed in all", f"{total:,.0f} FTE-weeks", _span(found)),
        ("Skills", f"{skills}", "that some phase needs"),
        ("Would cost", cost, "at the assumed cost of new people"),
    ]


def reasons(found: Results) -> list[str]:
    """Gaps and overload, then single points of failure, then what would close the gaps."""
    cover = found.found
    said = words.sentences(cover)
    more = len(said) - MOST_SAID
    said = said[:MOST_SAID] + ([f"And {more} more in the tables."] if more > 0 else [])
    said += [words.single_point(row) for row in cover.single_points][:MOST_SAID]
    if text := suggested(found):
        said.append(text)
    return said


def suggested(found: Results) -> str:
    """The suggestion in a sentence; empty when there is nothing to add."""
    suggestion, currency = found.suggestion, found.units.currency
    if not suggestion.more and not suggestion.additions:
        return ""
    parts = []
    if suggestion.more:
        names = list(dict.fromkeys(item.member for item in suggestion.more))
        parts.append(
            f"{words.joined(names)} give{'s' if len(names) == 1 else ''} more of the time they have left"
        )
    if suggestion.additions:
        roles = [item.member.role for item in suggestion.additions]
        parts.append(
            f"{words.joined([words.people(roles.count(r), r) for r in dict.fromkeys(roles)])} join{'s' if len(roles) == 1 else ''}, for parts of their time"
        )
    said = " and ".join(parts)
    return f"The smallest addition that closes the gaps: {said}. It costs {money(suggestion.cost, currency)} over the plan."


def _span(found: Results) -> str:
    if not found.windows:
        return "over the plan"
    days = (max(w.end for w in found.windows) - min(w.start for w in found.windows)).days
    return f"over the plan's {round(days / 7)} weeks"
