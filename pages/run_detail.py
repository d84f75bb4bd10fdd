"""One run: how far it is, what came of it, why it failed, and what can be done."""

from datetime import UTC, datetime
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.runs.kinds import KINDS
from core.runs.results import Figure, described, key_figures, remarks, texts
from core.runs.service import (
    cancel_run,
    count_runs,
    get_run,
    latest_events,
    pause_run,
    pausing,
    repeat_run,
    resume_run,
    run_log,
    sampled_events,
    starters,
)
from core.runs.states import ACTIVE, RESUMABLE
from core.services import database
from pages.shared import ago, duration, may, me, problems
from storage.tables import Run, RunEvent

# icon, colour, word
STATES = {
    "queued": (":material/schedule:", "gray", "Waiting"),
    "running": (":material/sync:", "blue", "Running"),
    "succeeded": (":material/check_circle:", "green", "Succeeded"),
    "failed": (":material/error:", "red", "Failed"),
    "cancelled": (":material/cancel:", "yellow", "Cancelled"),
    "interrupted": (":material/power_off:", "orange", "Interrupted"),
    "paused": (":material/pause_circle:", "violet", "Paused"),
}
HOMES = {  # where the result of a kind lives
    "generate": ("prompts.py", "See the prompts and their responses", ":material/edit_note:"),
    "reward_model": ("reward_models.py", "See it among the reward models", ":material/model_training:"),
    "judge": ("judges.py", "See it among the machine judges", ":material/gavel:"),
    "score": ("project.py", "See the project's selection strategy", ":material/tune:"),
    "optimize": ("optimize.py", "See the search and its candidates", ":material/auto_fix_high:"),
    "transfer": ("optimize.py", "See the search and its table", ":material/auto_fix_high:"),
}
EVENTS_SHOWN = 200
EVENT_TYPES = ["state", "progress", "metric", "candidate", "ledger", "artifact", "policy", "log"]


def show_run(run_id: str) -> None:
    run = get_run(database(), me(), run_id)
    # An interrupted run may go on by itself: look along.
    live = run.status in ACTIVE or run.status == "interrupted"
    st.fragment(_show, run_every=1.0 if live else None)(run_id, live)


def _show(run_id: str, live: bool) -> None:
    run = get_run(database(), me(), run_id)
    if live != (run.status in ACTIVE or run.status == "interrupted"):
        st.rerun()
    with problems():
        _head(run)
        if run.status in ACTIVE:
            _progress(run)
        elif run.error or run.hint:
            _trouble(run)
        _actions(run)
        if run.result:
            _figures(run)
    _details(run)


# --- what is the matter ------------------------------------------------------------------


def _head(run: Run) -> None:
    icon, color, word = STATES[run.status]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(_unmarked(run.name), anchor=False, width="content")
        st.badge(word, icon=icon, color=color)  # type: ignore[arg-type]
    by = starters(database(), me(), [run]).get(run.created_by or "", "")
    kind = KINDS[run.kind].title if run.kind in KINDS else run.kind
    facts = [kind] if kind != run.name else []
    facts.append(f"queued {ago(run.created_at)}" + (f" by {by}" if by else ""))
    if run.started_at is not None:
        seconds = ((run.finished_at or datetime.now(UTC)) - run.started_at).total_seconds()
        facts.append(("took " if run.finished_at else "at work for ") + duration(seconds))
    if run.attempt > 1:
        facts.append(f"attempt {run.attempt}")
    st.caption(_unmarked(" · ".join(facts)))


def _unmarked(text: str) -> str:
    """A run's name as a heading shows it, letter by letter: a name may be a model's."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!:$~<>|&^=" else letter for letter in text)


def _progress(run: Run) -> None:
    if run.status == "queued":
        ahead = count_runs(database(), me(), run.project_id, statuses=["running"])
        waits = (
            "It starts when a slot is free; another run is at work." if ahead else "It starts in a moment."
        )
        st.progress(run.progress, text=waits)
        return
    parts = [f"{100 * run.progress:.0f} %"]
    if run.cancel_requested:
        parts.append("stopping: it ends at its next safe point")
    elif pausing(run):
        parts.append("pausing: it ends after the step in hand")
    elif run.eta_s is not None:
        parts.append(f"about {duration(run.eta_s)} left")
    st.progress(min(max(run.progress, 0.0), 1.0), text=" · ".join(parts))
    if run.message:
        st.text(run.message)


def _trouble(run: Run) -> None:
    """Why it ended as it did, and what to do. Plain text: hosts' own words may be in it."""
    with st.container(border=True):
        if run.error:
            _line(":red[:material/error:]" if run.status == "failed" else ":material/info:", run.error)
        if run.hint:
            _line(":material/lightbulb:", run.hint)


def _line(icon: str, text: str) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        st.markdown(icon, width="content")
        st.text(text, width="stretch")


def _actions(run: Run) -> None:
    if not may("run.start") and not may("run.control"):
        home = HOMES.get(run.kind)
        if home and run.status == "succeeded":
            st.page_link(home[0], label=home[1], icon=home[2])
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pauses = run.kind in KINDS and KINDS[run.kind].pauses
        if pauses and run.status in ACTIVE and not run.cancel_requested and may("run.control"):
            asked = pausing(run)
            pressed = st.button(
                "Pausing…" if asked else "Pause",
                icon=":material/pause:",
                disabled=asked,
                help="Ends after the step in hand and keeps its state; others get its slot until it is resumed",
                key=f"pause_{run.id}",
            )
            if pressed:
                pause_run(database(), me(), run.id)
                st.rerun()
        if run.status in (*ACTIVE, "paused") and may("run.control"):
            label = "Stopping…" if run.cancel_requested else "Cancel"
            if st.button(
                label, icon=":material/cancel:", disabled=run.cancel_requested, key=f"cancel_{run.id}"
            ):
                cancel_run(database(), me(), run.id)
                st.rerun()
        if run.status in RESUMABLE and may("run.control"):
            pressed = st.button(
                "Resume",
                icon=":material/play_arrow:",
                type="primary",
                help="Goes on from its last checkpoint",
                key=f"resume_{run.id}",
            )
            if pressed:
                resume_run(database(), me(), run.id)
                st.rerun()
        if run.status not in ACTIVE and may("run.start"):
            pressed = st.button(
                "Run again",
                icon=":material/replay:",
                help="A new run with the same settings and seed, on the data as it is now",
                key=f"repeat_{run.id}",
            )
            if pressed:
                again = repeat_run(database(), me(), run.id)
                st.query_params["run"] = again.id
                st.session_state["runs_shown"] = (again.id, again.project_id)
                st.rerun()
        home = HOMES.get(run.kind)
        if home:
            of = {"optimize": run.id, "transfer": run.config.get("run", "")}.get(run.kind)
            query = {"run": of} if of else None
            st.page_link(home[0], label=home[1], icon=home[2], query_params=query)


# --- what came of it ---------------------------------------------------------------------


def _figures(run: Run) -> None:
    figures = key_figures(run.kind, run.result or {})
    for start in range(0, len(figures), 4):
        for column, figure in zip(st.columns(4), figures[start : start + 4], strict=False):
            with column:
                _figure(figure)
    for title, text in texts(run.result or {}):
        st.caption(title)
        st.code(text, language=None, wrap_lines=True)
    for remark in remarks(run.result or {}):
        _line(":material/info:", remark)


def _figure(figure: Figure) -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.metric(figure.label, figure.value, help=figure.help or None)
        if figure.detail:
            st.caption(figure.detail)


def _details(run: Run) -> None:
    views = ["Result"] if run.result else []
    views += ["Curves", "Events", "Log", "Settings"]
    ended_badly = run.status in ("failed", "interrupted")
    default = "Log" if ended_badly else views[0] if run.result else "Events"
    chosen = st.segmented_control(
        "Details",
        views,
        default=default,
        required=True,
        key=f"view_{run.id}_{run.status}",
        label_visibility="collapsed",
    )
    if chosen == "Result":
        _table(described(run.result or {}))
        with st.expander("As JSON"):
            st.json(run.result)
    elif chosen == "Curves":
        _curves(run)
    elif chosen == "Events":
        _events(run)
    elif chosen == "Log":
        _log(run)
    else:
        _settings(run)


def _table(rows: list[tuple[str, str]]) -> None:
    st.dataframe(
        pd.DataFrame(rows, columns=["What", "Value"]),
        hide_index=True,
        column_config={"Value": st.column_config.TextColumn(width="large")},
        height="content",
    )


def _curves(run: Run) -> None:
    """What the work measured on its way, one small chart each."""
    events, total = sampled_events(database(), me(), run.id, "metric")
    names = dict.fromkeys(
        name
        for event in events
        for name, value in event.data.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    )
    if not names:
        st.caption("This run has measured nothing on its way yet." if run.status in ACTIVE else "No curves.")
        return
    if total > len(events):
        st.caption(f"{len(events):,} of {total:,} points, evenly spaced.")
    columns = st.columns(2)
    for place, name in enumerate(list(names)[:12]):
        points = [
            {"step": event.data.get("step", event.number), "value": event.data[name]}
            for event in events
            if isinstance(event.data.get(name), int | float)
        ]
        chart = (
            alt.Chart(pd.DataFrame(points), title=name)
            .mark_line(point=len(points) < 40, interpolate="linear")
            .encode(
                x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
                tooltip=["step", alt.Tooltip("value", format=".4g")],
            )
            .properties(height=240)
        )
        columns[place % 2].altair_chart(chart, width="stretch")


def _events(run: Run) -> None:
    types = st.pills(
        "Types", EVENT_TYPES, selection_mode="multi", key=f"types_{run.id}", label_visibility="collapsed"
    )
    events = latest_events(database(), me(), run.id, EVENTS_SHOWN, types or None)
    if not events:
        st.caption("No events yet.")
        return
    if run.last_event > EVENTS_SHOWN:
        st.caption(f"The newest {len(events):,} of {run.last_event:,}; the API gives all of them.")
    st.dataframe(
        pd.DataFrame(
            [
                {"#": event.number, "At": event.at, "Type": event.type, "What": _what(event)}
                for event in reversed(events)
            ]
        ),
        hide_index=True,
        height=min(420, 36 * (len(events) + 1)),
        column_config={
            "#": st.column_config.NumberColumn(width=60),
            "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=160),
            "Type": st.column_config.TextColumn(width=90),
            "What": st.column_config.TextColumn(width=900),
        },
    )


def _what(event: RunEvent) -> str:
    data: dict[str, Any] = event.data
    if event.type == "log":
        return str(data.get("text", ""))
    if event.type == "progress":
        return f"{100 * (float(data.get('fraction') or 0)):.1f} %  {data.get('message', '')}"
    if event.type == "state":
        rest = data.get("reason") or (f"by {data['by']}" if data.get("by") else data.get("machine", ""))
        return f"{data.get('status', '')}  {rest}"
    return ", ".join(f"{key} {_short(value)}" for key, value in data.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _log(run: Run) -> None:
    text = run_log(database(), me(), run.id)
    if text:
        st.code(text, language=None, wrap_lines=True, height=420)
    else:
        st.caption("The worker has printed nothing.")


def _settings(run: Run) -> None:
    _table([*described(run.config), ("Seed", str(run.seed)), ("Run", run.id)])
