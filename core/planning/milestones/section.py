"""The room's section of the brief: the answer, the status table, and the Gantt chart."""

from typing import Any

from core.access import Principal
from core.planning.milestones import charts
from core.planning.milestones.catalogue import KIND, MANUAL, shown
from core.planning.milestones.status import WORDS, Standing, Status, answer, day, days, span, standing
from core.planning.section import Drawn, Section
from storage.database import Database

TITLE = "Milestones"


def section(db: Database, who: Principal, project_id: str) -> Section:
    return section_of(standing(db, who, project_id))


def section_of(found: Standing) -> Section:
    """Without a saved plan and without any data there is nothing to say yet."""
    if found.current.saved is None and not found.any_data:
        text = "There is no plan yet, and nothing is measured: save one on the page Milestones; "
        text += "votes, training runs and searches then show how it goes."
        return Section("milestones", TITLE, text, empty=True)
    said = Section("milestones", TITLE, answer(found.statuses, found.phases))
    said.why = why(found)
    said.figures = figures(found)
    said.tables = {
        "Milestones": [row(item) for item in found.statuses],
        "Phases": phase_rows(found),
    }
    said.charts = Drawn(
        {"Plan and actual": lambda: charts.gantt(found.phases, found.statuses, found.on, found.activity)}
    )
    return said


def why(found: Standing) -> list[str]:
    """The reason of what is late or at risk, first; then what the reader must know."""
    lines = []
    for word in ("late", "at risk"):
        lines += [f"{item.milestone.name}: {item.reason}" for item in found.statuses if item.word == word]
    if any(item.simulated for item in found.statuses):
        lines.append("Simulated votes are counted, because no person has voted yet.")
    if found.current.saved is None:
        lines.append("This is the usual plan; nobody has saved one for this project.")
    return lines


def figures(found: Standing) -> list[tuple[str, str, str]]:
    counts = {word: sum(item.word == word for item in found.statuses) for word in WORDS}
    total = len(found.statuses)
    end = max(phase.expected_end for phase in found.phases)
    planned = max(phase.end for phase in found.phases)
    slip = (end - planned).days
    behind = (
        f"{days(slip)} after the plan" if slip > 0 else "as planned" if slip == 0 else f"{days(-slip)} before"
    )
    trouble = counts["at risk"] + counts["late"]
    return [
        ("Met", f"{counts['met']} of {total}", f"{counts['on track']} more on track"),
        ("At risk or late", f"{trouble}", f"{counts['late']} late, {counts['at risk']} at risk"),
        *_next(found),
        ("End of the plan", day(end, short=True), behind),
    ]


def _next(found: Standing) -> list[tuple[str, str, str]]:
    ahead = [item for item in found.statuses if item.word != "met" and item.due >= found.on]
    if not ahead:
        return []
    item = min(ahead, key=lambda one: one.due)
    return [("Next due", day(item.due, short=True), item.milestone.name)]


def row(item: Status) -> dict[str, Any]:
    """One milestone in words, for tables and CSV."""
    metric = item.milestone.metric
    point = item.point
    now = "—" if point is None else shown(metric, point.value)
    if point is not None and point.low is not None and point.high is not None:
        now += f" ({shown(metric, point.low)} to {shown(metric, point.high)}, n {point.n or 0:,})"
    target = ""
    if metric != MANUAL:
        sign = "≥" if item.milestone.direction == "at_least" else "≤"
        target = f"{KIND[metric].title} {sign} {shown(metric, item.milestone.target)}"
    return {
        "Status": item.word,
        "Milestone": item.milestone.name,
        "Phase": item.phase_title,
        "Target": target or "ticked off by hand",
        "Now": now + (" (simulated votes)" if item.simulated and point is not None else ""),
        "Due": item.due.isoformat(),
        "Forecast (80 %)": _forecast(item),
        "Owner": item.milestone.owner,
        "Reason": item.reason,
    }


def _forecast(item: Status) -> str:
    if item.word == "met":
        return f"met on {day(item.met_on, short=True)}" if item.met_on else "met"
    if item.forecast is None or item.forecast.state in ("no_data", "too_short"):
        return "—"
    return span(item.forecast, short=True) if item.forecast.day else "not reached on the present trend"


def phase_rows(found: Standing) -> list[dict[str, Any]]:
    titles = {phase.key: phase.title for phase in found.phases}
    return [
        {
            "Phase": phase.title,
            "Start": phase.start.isoformat(),
            "End": phase.end.isoformat(),
            "Weeks": round(phase.days / 7, 1),
            "After": ", ".join(titles[key] for key in phase.after),
            "Slack (days)": phase.slack,
            "Critical": phase.critical,
            "Actual start": phase.actual_start.isoformat() if phase.actual_start else "",
            "Actual end": phase.actual_end.isoformat() if phase.actual_end else "",
            "Expected end": phase.expected_end.isoformat(),
            "Owner": phase.owner,
        }
        for phase in found.phases
    ]
