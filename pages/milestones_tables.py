"""The plan of phases and milestones as tables that a person edits, and back."""

import re
from datetime import date
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import Invalid
from core.planning import documents
from core.planning.milestones.catalogue import KIND, MANUAL
from core.planning.milestones.model import Milestones, key_of
from core.planning.phases import PHASES

BY_HAND = "Ticked off by hand"
METRIC = {MANUAL: BY_HAND} | {key: kind.title for key, kind in KIND.items()}
DIRECTION = {"at_least": "at least", "at_most": "at most"}
PHASE_COLUMNS = {
    "key": "key", "title": "Phase", "start": "Start", "weeks": "Weeks", "end": "End", "after": "After",
    "owner": "Owner", "actual_start": "Actual start", "actual_end": "Actual end",
}  # fmt: skip
MILESTONE_COLUMNS = {
    "key": "key", "name": "Milestone", "phase": "Phase", "metric": "Metric", "direction": "Direction",
    "target": "Target", "due": "Due", "owner": "Owner", "done": "Done",
}  # fmt: skip
DATES = ("start", "end", "actual_start", "actual_end", "due", "done")
USUAL = "; ".join(f"{phase.title} {phase.low:g} to {phase.high:g}" for phase in PHASES)
TARGET_HELP = (
    "In the metric's own unit; shares from 0 to 1 (0.65 is 65 %), agreement as alpha. Empty for what is ticked "
    "off by hand."
)


def tables_of(plan: Milestones) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(phases, milestones), with titles where the plan has keys."""
    titles = {phase.key: phase.title for phase in plan.phases}
    phases = [{**phase.model_dump(), "after": [titles[key] for key in phase.after]} for phase in plan.phases]
    milestones = [
        {
            **item.model_dump(),
            "phase": titles[item.phase],
            "metric": METRIC[item.metric],
            "direction": DIRECTION[item.direction],
        }
        for item in plan.milestones
    ]
    return _frame(phases, PHASE_COLUMNS), _frame(milestones, MILESTONE_COLUMNS)


def _frame(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    for name in columns:
        if name in DATES:
            table[name] = pd.to_datetime(table[name])
        elif name in ("weeks", "target"):
            table[name] = table[name].astype("float")
        else:
            table[name] = table[name].astype("object")
    return table.rename(columns=columns)


def edit(
    tables: tuple[pd.DataFrame, pd.DataFrame], key: str, may_edit: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables in tabs, as they were edited. `key` must differ between versions."""
    config = st.column_config
    shared: dict[str, Any] = {
        "width": "stretch", "hide_index": True, "disabled": not may_edit,
        "num_rows": "dynamic" if may_edit else "fixed",
    }  # fmt: skip
    when = lambda text: config.DateColumn(format="YYYY-MM-DD", help=text)  # noqa: E731
    first, second = st.tabs(["Milestones", "Phases"])
    phases, milestones = tables
    titles = [str(title) for title in phases["Phase"]]
    with first:
        st.caption(
            "A milestone in each row: a live figure with its target, or something a person ticks off. Without a due "
            "date, it is due at the planned end of its phase."
        )
        new_milestones = st.data_editor(
            milestones,
            key=f"milestones_{key}",
            column_config={
                "key": None,
                "Milestone": config.TextColumn(required=True, max_chars=120, width="medium"),
                "Phase": config.SelectboxColumn(
                    options=titles, required=True, help="A new phase is offered here once it is saved."
                ),
                "Metric": config.SelectboxColumn(
                    options=list(METRIC.values()), required=True, default=BY_HAND, width="medium"
                ),
                "Direction": config.SelectboxColumn(
                    options=list(DIRECTION.values()), required=True, default="at least"
                ),
                "Target": config.NumberColumn(format="%g", help=TARGET_HELP),
                "Due": when("Empty: the planned end of the phase"),
                "Owner": config.TextColumn(max_chars=80),
                "Done": when("When it was done; only for what is ticked off by hand"),
            },
            **shared,
        )
    with second:
        st.caption(
            "A phase lasts some weeks, or until its end; without a start it follows what it comes after."
        )
        new_phases = st.data_editor(
            phases,
            key=f"phases_{key}",
            column_config={
                "key": None,
                "Phase": config.TextColumn(required=True, max_chars=120, width="medium"),
                "Start": when("Empty: as soon as what it comes after has ended"),
                "Weeks": config.NumberColumn(format="%g", help=f"Usual weeks: {USUAL}."),
                "End": when("Instead of weeks: the first day it no longer takes"),
                "After": config.MultiselectColumn(
                    options=titles, help="The phases that must end before this one starts"
                ),
                "Owner": config.TextColumn(max_chars=80),
                "Actual start": when("When it really began"),
                "Actual end": when("When it really ended"),
            },
            **shared,
        )
    return new_phases, new_milestones


def plan_from(start: date, phases: pd.DataFrame, milestones: pd.DataFrame, before: Milestones) -> Milestones:
    """The plan that the tables say, which were made from the plan `before`: its titles are
    what the cells offer. Raises Invalid naming table, row and column."""
    phase_rows = _rows(phases, PHASE_COLUMNS)
    milestone_rows = _rows(milestones, MILESTONE_COLUMNS)
    _give_keys(phase_rows, "title")
    _give_keys(milestone_rows, "name")
    by_title: dict[str, str] = {}
    for number, row in enumerate(phase_rows, 1):
        title = str(row.get("title") or "")
        if title in by_title:
            raise Invalid(f"Phases, row {number}, Phase: two phases are called “{title}”.")
        by_title[title] = row["key"]
    # Cells name a phase as it was called before, also where it is renamed now.
    by_title |= {phase.title: phase.key for phase in before.phases}
    for row in phase_rows:
        row["after"] = [by_title.get(title, title) for title in row.get("after") or []]
    metric = {title: key for key, title in METRIC.items()}
    direction = {title: key for key, title in DIRECTION.items()}
    for number, row in enumerate(milestone_rows, 1):
        title = row.get("phase")
        if not title:
            raise Invalid(f"Milestones, row {number}, Phase: choose the phase it belongs to.")
        row["phase"] = by_title.get(title, title)
        row["metric"] = metric.get(row.get("metric"), row.get("metric") or MANUAL)
        row["direction"] = direction.get(row.get("direction"), row.get("direction") or "at_least")
    try:
        return documents.checked(
            Milestones, {"start": start, "phases": phase_rows, "milestones": milestone_rows}
        )
    except Invalid as problem:
        raise Invalid(in_words(problem.message), problem.hint) from problem


def in_words(message: str) -> str:
    """`phases.2.start: …` as `Phases, row 3, Start: …`."""
    found = re.match(r"(phases|milestones)\.(\d+)\.(\w+)(?:\.\d+)?: (.*)", message, re.DOTALL)
    if found is None:
        return f"Start of the plan: {message[7:]}" if message.startswith("start: ") else message
    table, row, field, said = found.groups()
    column = (PHASE_COLUMNS if table == "phases" else MILESTONE_COLUMNS).get(field, field)
    return f"{table.capitalize()}, row {int(row) + 1}, {column}: {said}"


def _rows(table: pd.DataFrame, columns: dict[str, str]) -> list[dict[str, Any]]:
    """Rows as the model takes them: empty cells left out, dates as dates."""
    fields = {title: name for name, title in columns.items()}
    found = []
    for record in table.to_dict("records"):
        row: dict[str, Any] = {}
        for title, value in record.items():
            name = fields[str(title)]
            if isinstance(value, list | tuple):
                row[name] = [str(item) for item in value]
            elif value is None or pd.isna(value):
                continue
            elif name in DATES:
                row[name] = pd.Timestamp(value).date()
            else:
                row[name] = value.strip() if isinstance(value, str) else value
        if any(row.get(name) for name in ("title", "name")) or row.get("key"):
            found.append(row)
    return found


def _give_keys(rows: list[dict[str, Any]], name: str) -> None:
    taken = {row["key"] for row in rows if row.get("key")}
    for row in rows:
        if not row.get("key"):
            row["key"] = key_of(str(row.get(name) or ""), taken)
            taken.add(row["key"])
