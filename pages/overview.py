"""Where the loop stands, and what to do next."""

import altair as alt
import pandas as pd
import streamlit as st

from core.access import PAGES, allowed
from core.loop import Step, loop_steps, next_step
from core.overview import LoopState, loop_state
from core.reward.drift import drift, in_words
from core.services import database
from pages.shared import ago, duration, header, me, plain, problems

ICONS = {
    "data": ":material/table_view:",
    "label": ":material/compare:",
    "train": ":material/model_training:",
    "optimise": ":material/auto_fix_high:",
    "verify": ":material/fact_check:",
    "promote": ":material/military_tech:",
}
BADGES = {
    "done": ("done", "green", ":material/check:"),
    "now": ("do this next", "orange", ":material/flag:"),
    "later": ("later", "gray", ":material/schedule:"),
    "running": ("running", "blue", ":material/sync:"),
}
ADMITS = {page.file: page.action for page in PAGES}
TITLES = {page.file: page.title for page in PAGES}


def next_thing(step: Step | None) -> None:
    with st.container(border=True):
        if step is None:
            st.subheader("Nothing waits", anchor=False)
            st.write("The loop has gone round. New examples, votes or a new search set it going again.")
            return
        left, right = st.columns([3, 1.2], vertical_alignment="center")
        with left:
            st.caption("What to do next")
            st.subheader(f"{step.action}", anchor=False)
            st.text(step.text)
        if allowed(me(), ADMITS[step.page]):
            with right:
                if st.button(step.action, type="primary", icon=ICONS[step.key], width="stretch", key="next"):
                    st.switch_page(step.page)


def the_loop(steps: list[Step]) -> None:
    st.subheader("The loop", anchor=False)
    for row in (steps[:3], steps[3:]):
        for column, step in zip(st.columns(3), row, strict=True):
            word, color, icon = BADGES[step.state]
            with column, st.container(border=True, height="stretch"):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(f"{ICONS[step.key]} **{step.title}**")
                    st.badge(word, color=color, icon=icon)
                st.text(step.text)
                if allowed(me(), ADMITS[step.page]):
                    st.page_link(step.page, label=TITLES[step.page], icon=":material/arrow_forward:")


def figures(state: LoopState) -> None:
    human = state.votes - state.votes_simulated
    machine = state.votes_machine + state.votes_machine_out
    one, two, three, four = st.columns(4)
    one.metric(
        "Votes by people",
        f"{human:,}",
        delta=f"by {state.annotators:,}" if human else None,
        delta_color="off",
        delta_arrow="off",
        help=f"By {state.annotators:,} annotators. {state.votes_simulated:,} simulated votes are not counted here"
        + (f", nor are {machine:,} by machine judges." if machine else "."),
        border=True,
        height="stretch",
    )
    two.metric(
        "Votes wanted",
        f"{state.open_slots:,}",
        help="Room for votes on the project's pairs, until each has what it asks for.",
        border=True,
        height="stretch",
    )
    metrics = state.model.metrics if state.model else {}
    three.metric(
        "Reward model accuracy",
        f"{100 * metrics['accuracy']:.1f} %" if metrics.get("accuracy") is not None else "—",
        delta=_interval(metrics.get("accuracy_low"), metrics.get("accuracy_high"), metrics.get("n_test")),
        delta_color="off",
        delta_arrow="off",
        help="Held-out pairs where the active model scores the preferred response higher, with the 95 % interval.",
        border=True,
        height="stretch",
    )
    best = next((row for row in state.head_to_head if row.n), None)
    four.metric(
        "Best found prompt against the champion",
        f"{100 * best.rate:.1f} %" if best else "—",
        delta=_interval(best.low, best.high, best.n, best.n_simulated, best.n_machine) if best else None,
        delta_color="off",
        delta_arrow="off",
        help="Share of votes it wins, a tie counting half, with the 95 % interval.",
        border=True,
        height="stretch",
    )


def _interval(
    low: float | None, high: float | None, n: int | None, simulated: int = 0, machine: int = 0
) -> str | None:
    if low is None or high is None:
        return None
    text = f"{100 * low:.1f} to {100 * high:.1f}, n {n or 0:,}"
    text += f", {simulated:,} simulated" if simulated else ""
    return text + (f", {machine:,} by machine" if machine else "")


def votes_chart(state: LoopState) -> None:
    if not state.votes_by_day:
        return
    st.subheader("Votes by day", anchor=False)
    frame = pd.DataFrame(state.votes_by_day)
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusTopLeft=2, cornerRadiusTopRight=2)
        .encode(
            x=alt.X("yearmonthdate(day):T", title=None),
            y=alt.Y("sum(votes):Q", title="votes"),
            color=alt.Color(
                "who:N",
                title=None,
                sort=["people", "simulated", "machine judges"],
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[alt.Tooltip("yearmonthdate(day):T", title="day"), "who:N", "votes:Q"],
        )
        .properties(height=200)
    )
    st.altair_chart(chart, width="stretch")


def the_alarm(project_id: str) -> None:
    """Where the active reward model has become worse on new votes."""
    told = drift(database(), me(), project_id)
    if not told.alarms:
        return
    more = len(told.alarms) - 1
    st.warning(
        f"**“{plain(told.name)}” has become worse on new votes.** {plain(in_words(told.alarms[0]))}"
        + (f" {more} more {'part' if more == 1 else 'parts'} fell." if more else ""),
        icon=":material/trending_down:",
    )
    st.page_link("reward_models.py", label="See the reward model", icon=":material/arrow_forward:")


@st.fragment(run_every=3)
def running(project_id: str) -> None:
    state = loop_state(database(), me(), project_id)
    if not state.active_runs:
        return
    st.subheader("Running now", anchor=False)
    for run in state.active_runs:
        left = f" · about {duration(run.eta_s)} left" if run.eta_s else ""
        st.progress(run.progress, text=f"{run.name or run.kind}: {run.status}{left}")


project = header("Overview")
if project.demo:
    st.info(
        "This is the demo project. Its responses come from the very small embedded model (do not cook by them), and the votes in it so far are "
        "simulated and marked so. Delete it any time on the Settings page.",
        icon=":material/science:",
    )
with problems():
    found = loop_state(database(), me(), project.id)
    if found.failed_run is not None:
        st.warning(
            f"The last run ({found.failed_run.kind}, {ago(found.failed_run.finished_at)}) failed.",
            icon=":material/error:",
        )
        st.text(f"{found.failed_run.error or ''} {found.failed_run.hint or ''}")
        st.page_link("runs.py", label="See the run", icon=":material/arrow_forward:")
    the_alarm(project.id)
    steps = loop_steps(found)
    next_thing(next_step(steps))
    figures(found)
    the_loop(steps)
    if found.votes_machine:
        st.caption(
            f"{found.votes_machine:,} votes of machine judges count beside people's, because a lead has taken them in."
        )
    if found.active_runs:
        running(project.id)
    votes_chart(found)
