"""A training at work: how far it is, and its curves as they grow; and one that ended badly."""

import altair as alt
import pandas as pd
import streamlit as st

from core.runs import service
from core.services import database
from pages.reward_charts import loss_chart, loss_points
from pages.reward_detail import ACTIVE, line
from pages.run_progress import cancel_button, progress_bar
from pages.shared import duration, may, me, problems
from storage.tables import Run, RunEvent

STOPPED = {
    "failed": "The last training failed.",
    "interrupted": "The last training was interrupted.",
}
SERIES = {
    "accuracy": ("Accuracy on training batches", ".0%"),
    "lr": ("Learning rate", ".1e"),
    "grad_norm": ("Gradient norm", ".2f"),
}


def the_training(run_id: str) -> None:
    """The run at work. Its end reruns the page, so that the model appears below."""
    run = service.get_run(database(), me(), run_id)
    if run.status not in ACTIVE:
        st.rerun()
    with st.container(border=True):
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.subheader("Training" if run.status == "running" else "Waiting for its turn", anchor=False)
        with right:
            cancel_button(run, "The best state so far is kept.")
        progress_bar(run)
        the_curves(run)
        said = [str(run.config.get("preset", "")).capitalize(), f"seed {run.seed}"]
        if reckoned := (run.config.get("estimate") or {}).get("seconds"):
            said.append(f"reckoned at {duration(reckoned)} before it began")
        st.caption(" · ".join(said))


def the_curves(run: Run) -> None:
    """Loss with the dev split's, and below it accuracy, learning rate and gradient norm."""
    events = service.events_after(database(), me(), run.id, types=["metric"])
    points = loss_points(events)
    if len(points) < 2:
        st.caption("The curves appear after the first steps." if run.status in ACTIVE else "")
        return
    st.altair_chart(loss_chart(points), width="stretch")
    found = measures(events)
    for column, (name, (title, form)) in zip(st.columns(3), SERIES.items(), strict=True):
        some = found[found["name"] == name]
        if len(some) > 1:
            with column:
                st.caption(f"{title}: {format(some['value'].iloc[-1], form)}")
                st.altair_chart(small_chart(some, form), width="stretch")


def measures(events: list[RunEvent]) -> pd.DataFrame:
    """A row per step and measure; a step told twice counts as it was told last."""
    found = {
        (name, int(event.data["step"])): float(event.data[name])
        for event in events
        for name in SERIES
        if isinstance(event.data.get(name), int | float)
    }
    rows = [(name, step, value) for (name, step), value in sorted(found.items())]
    return pd.DataFrame(rows, columns=["name", "step", "value"])


def small_chart(points: pd.DataFrame, form: str) -> alt.Chart:
    return (
        alt.Chart(points)
        .mark_line()
        .encode(
            x=alt.X("step:Q", title=None, axis=alt.Axis(tickMinStep=1, tickCount=4)),
            y=alt.Y(
                "value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=form, tickCount=4)
            ),
            tooltip=["step", alt.Tooltip("value", format=form)],
        )
        .properties(height=120)
    )


def the_last_end(run: Run) -> None:
    """A training that ended badly, until the next one."""
    with st.container(border=True):
        line(f"**{STOPPED[run.status]}**", ":red[:material/error:]")
        if said := f"{run.error or ''} {run.hint or ''}".strip():
            st.text(said)  # a library's own words may be in it
        with st.container(horizontal=True, vertical_alignment="center"):
            if may("run.control") and st.button(
                "Resume", icon=":material/play_arrow:", key=f"resume_{run.id}"
            ):
                with problems():
                    service.resume_run(database(), me(), run.id)
                    st.rerun()
            st.page_link("runs.py", label="See its log", icon=":material/sync:", query_params={"run": run.id})
