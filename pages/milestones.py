"""Phases and milestones against live figures: where the plan stands, and where it goes."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.milestones import charts
from core.planning.milestones.catalogue import KINDS, MANUAL, shown
from core.planning.milestones.metrics import Metric, live_metrics
from core.planning.milestones.model import Milestones
from core.planning.milestones.moved import moved
from core.planning.milestones.section import figures, phase_rows, row
from core.planning.milestones.status import Standing, answer, standing
from core.services import database
from pages.milestones_tables import edit, plan_from, tables_of
from pages.shared import csv_of, header, may, me, plain, problems
from pages.versions import opened, saved_line, show_history
from storage.tables import Project

MOST_SAID = 5
MARKS = {"met": "✓ met", "on track": "→ on track", "at risk": "! at risk", "late": "✕ late"}
STATUS_HELP = (
    "Met: the live figure is at its target. On track: at least an even chance of meeting it by the due date, or "
    "too early to say. At risk: less than that, or nothing measured two weeks before. Late: due, and not met."
)
FORECAST_HELP = (
    "The day the target is met on the present trend; 80 % of the simulated futures lie in the interval."
)
GANTT_HELP = (
    "Pale: the plan. Below it: what happened, and what to expect now. Diamonds: milestones on their due dates. "
    "A phase without slack moves the end of the plan when it slips."
)


def show_answer(found: Standing) -> None:
    words = {item.word for item in found.statuses}
    show, icon = (
        (st.error, ":material/event_busy:")
        if "late" in words
        else (st.warning, ":material/warning:")
        if "at risk" in words
        else (st.success, ":material/flag:")
    )
    show(plain(answer(found.statuses, found.phases)), icon=icon)
    cards = figures(found)
    with st.grid(len(cards), min_column_width=150):
        for label, value, detail in cards:
            with st.container(border=True, height="stretch", gap=None):
                st.metric(label, value)
                st.caption(plain(detail))
    if found.current.saved is None:
        st.caption(
            "This is the usual plan, from the day the project was made; nobody has saved one yet. Change it below "
            "and save it."
        )
    if any(item.simulated for item in found.statuses):
        st.caption(":material/science: Simulated votes are counted, because no person has voted yet.")


def show_trouble(found: Standing) -> None:
    """What is late or at risk, and why."""
    lines = [
        f"**{plain(item.milestone.name)}** ({item.word}): {plain(item.reason)}"
        for word in ("late", "at risk")
        for item in found.statuses
        if item.word == word
    ]
    if not lines:
        return
    with st.container(border=True):
        st.subheader("What needs attention", anchor=False)
        st.markdown("\n".join(f"- {line}" for line in lines[:MOST_SAID]))
        if len(lines) > MOST_SAID:
            with st.expander(f"{len(lines) - MOST_SAID} more"):
                st.markdown("\n".join(f"- {line}" for line in lines[MOST_SAID:]))


def show_statuses(found: Standing) -> None:
    st.subheader("Milestones", anchor=False, help=STATUS_HELP)
    rows = [row(item) for item in found.statuses]
    if not rows:
        st.caption("The plan has no milestones; add some below.")
        return
    table = pd.DataFrame(rows)
    columns = ["Status", "Milestone", "Target", "Now", "Due", "Forecast (80 %)", "Phase", "Owner", "Reason"]
    if not table["Owner"].any():
        columns.remove("Owner")
    display = table.assign(Status=table["Status"].map(MARKS), Due=pd.to_datetime(table["Due"]))[columns]
    st.dataframe(
        display,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            "Status": st.column_config.TextColumn(help=STATUS_HELP, width=95),
            "Milestone": st.column_config.TextColumn(width=230),
            "Target": st.column_config.TextColumn(width=210),
            "Now": st.column_config.TextColumn(help="With the 95 % interval and n", width=190),
            "Due": st.column_config.DateColumn(format="D MMM YYYY", width=100),
            "Forecast (80 %)": st.column_config.TextColumn(help=FORECAST_HELP, width=250),
            "Reason": st.column_config.TextColumn(width="large"),
        },
    )
    with st.container(horizontal=True):
        download("Milestones as CSV", table, "milestones.csv")
        download("Phases as CSV", pd.DataFrame(phase_rows(found)), "phases.csv")


def show_gantt(found: Standing) -> None:
    st.subheader("Plan and actual", anchor=False, help=GANTT_HELP)
    st.altair_chart(charts.gantt(found.phases, found.statuses, found.on, found.activity), width="stretch")
    said = "Diamonds are milestones on their due dates: teal met, blue on track, orange at risk, red late."
    if not any(phase.actual_start for phase in found.phases):
        said += " No actual dates are entered yet."
        if found.activity:
            said += " “Work seen” is when there were votes, training, searches or uses."
    st.caption(said)


def show_burn_up(project: Project, found: Standing) -> None:
    bound = {item.milestone.key: item for item in found.statuses if item.milestone.metric != MANUAL}
    if not bound:
        return
    st.subheader("On the way to the target", anchor=False)
    first = next(
        (key for key, item in bound.items() if item.word != "met" and item.point is not None),
        next(iter(bound)),
    )
    chosen = st.selectbox(
        "Milestone",
        list(bound),
        index=list(bound).index(first),
        format_func=lambda key: bound[key].milestone.name,
        key=f"burn_{project.id}",
    )
    item = bound[chosen]
    metric = found.metrics[item.milestone.metric]
    if not metric.series:
        st.info(metric.missing, icon=":material/hourglass_empty:")
        return
    st.markdown(plain(item.reason))
    futures = found.futures[item.milestone.metric]
    st.altair_chart(charts.burn_up(metric, item.milestone, item.due, futures, found.on), width="stretch")
    st.caption(plain(f"{metric.kind.title}: {metric.basis}. {futures.method or futures.too_short}"))
    download(f"{metric.kind.title} as CSV", history_table(metric), f"{item.milestone.metric}.csv")


def history_table(metric: Metric) -> pd.DataFrame:
    rows = [
        {"day": point.day, "value": point.value, "low": point.low, "high": point.high, "n": point.n}
        for point in metric.series
    ]
    return pd.DataFrame(rows)


def show_metrics(live: dict[str, Metric]) -> None:
    st.subheader(
        "Live figures", anchor=False, help="What milestones can be bound to. Hover for the definition."
    )
    with st.grid(4, min_column_width=210):
        for kind in KINDS:
            metric = live[kind.key]
            point = metric.current
            with st.container(border=True, height="stretch", gap=None):
                value = shown(kind.key, point.value) if point else "—"
                st.metric(metric.kind.title, value, help=metric.kind.definition)
                text = metric.missing
                if point is not None:
                    text = metric.basis
                    if point.low is not None and point.high is not None:
                        ends = f"{shown(kind.key, point.low)} to {shown(kind.key, point.high)}"
                        text = f"{ends}, n {point.n or 0:,}. {metric.basis}"
                st.caption(plain(text))


def show_inputs(project: Project, saved: documents.Saved[Milestones] | None, found: Standing) -> None:
    may_edit = may("plan.edit")
    number = saved.number if saved else 0
    plan = saved.body if saved else found.plan
    key = f"{project.id}_{number}"
    st.subheader("The plan", anchor=False)
    if saved:
        st.caption(saved_line(saved))
    if not may_edit:
        st.caption("You may look at the plan. Leads and admins can change it.")
    with st.form(f"plan_{project.id}", border=True):
        start = st.date_input(
            "Start of the plan", plan.start, key=f"plan_start_{key}", disabled=not may_edit, width=220
        )
        phases, milestones = edit(tables_of(plan), key, may_edit)
        note = st.text_input(
            "Note on this version", key=f"plan_note_{key}", disabled=not may_edit, max_chars=200,
            placeholder="Why a target or a date moved",
        )  # fmt: skip
        save = st.form_submit_button(
            "Save", key=_save(project), type="primary", icon=":material/save:", disabled=not may_edit
        )
        if save and may_edit:
            with problems():
                documents.save(
                    database(), me(), project.id, plan_from(start, phases, milestones, plan),
                    plan_id=saved.plan_id if saved else None, based_on=number or None, note=note,
                )  # fmt: skip
                st.rerun()


def _save(project: Project) -> str:
    return f"plan_save_{project.id}"


def show_moved(project: Project, saved: documents.Saved[Milestones]) -> None:
    st.subheader("Targets that moved", anchor=False)
    rows = moved(database(), me(), project.id)
    if not rows:
        st.caption("No target or due date has moved since the first version.")
    else:
        table = pd.DataFrame(
            [
                {
                    "Milestone": item.name, "What": item.what, "Before": item.before or "—",
                    "After": item.after or "—", "By": item.author, "When": pd.Timestamp(item.at),
                    "Version": item.version, "Note": item.note,
                }
                for item in rows
            ]
        )  # fmt: skip
        config: dict[str, Any] = {"When": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")}
        st.dataframe(table, hide_index=True, width="stretch", column_config=config)
        download("Moved targets as CSV", table, "moved-targets.csv")
    with st.expander("All versions"):
        show_history(project, Milestones, saved, may("plan.edit"))


def download(label: str, table: pd.DataFrame, name: str) -> None:
    st.download_button(
        label, csv_of(table), file_name=name, mime="text/csv", icon=":material/download:",
        on_click="ignore",
    )  # fmt: skip


def show_page(project: Project) -> None:
    saved = opened(project, Milestones, submitted=bool(st.session_state.get(_save(project))))
    found = standing(database(), me(), project.id)
    show_answer(found)
    show_trouble(found)
    show_statuses(found)
    show_gantt(found)
    show_burn_up(project, found)
    show_metrics(live_metrics(database(), me(), project.id))
    show_inputs(project, saved, found)
    if saved:
        show_moved(project, saved)


project = header("Milestones", "Phases and milestones against what is measured.")
with problems():
    show_page(project)
