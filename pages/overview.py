"""Where the loop stands, and what to do next."""

import altair as alt
import pandas as pd
import streamlit as st

from core.access import PAGES, allowed
from core.loop import Step, loop_steps, next_step
from core.overview import LoopState, loop_state
from core.services import database
from pages.shared import ago, duration, header, me, percent, problems

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
    one, two, three, four = st.columns(4)
    one.metric(
        "Votes by people",
        f"{human:,}",
        help=f"By {state.annotators:,} annotators. {state.votes_simulated:,} simulated votes are not counted here.",
        border=True,
    )
    two.metric(
        "Votes wanted",
        f"{state.open_slots:,}",
        help="Room for votes on the project's pairs, until each has what it asks for.",
        border=True,
    )
    metrics = state.model.metrics if state.model else {}
    three.metric(
        "Reward model accuracy",
        f"{100 * metrics['accuracy']:.1f} %" if metrics.get("accuracy") is not None else "—",
        help="Held-out pairs where the model scores the preferred response higher: "
        + percent(
            metrics.get("accuracy"),
            metrics.get("accuracy_low"),
            metrics.get("accuracy_high"),
            metrics.get("n_test"),
        ),
        border=True,
    )
    best = state.head_to_head[0] if state.head_to_head else None
    four.metric(
        "Best found prompt against the champion",
        f"{100 * best.rate:.0f} %" if best and best.n else "—",
        help="Share of votes it wins, a tie counting half: "
        + (percent(best.rate, best.low, best.high, best.n) if best and best.n else "no votes yet."),
        border=True,
    )
    if metrics.get("accuracy_low") is not None:
        three.caption(
            f"{100 * metrics['accuracy_low']:.1f} to {100 * metrics['accuracy_high']:.1f}, n {metrics['n_test']:,}"
        )
    if best and best.n:
        four.caption(
            f"{100 * best.low:.0f} to {100 * best.high:.0f}, n {best.n:,}"
            + (f", {best.n_simulated:,} simulated" if best.n_simulated else "")
        )


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
                "who:N", title=None, sort=["people", "simulated"], legend=alt.Legend(orient="top")
            ),
            tooltip=[alt.Tooltip("yearmonthdate(day):T", title="day"), "who:N", "votes:Q"],
        )
        .properties(height=200)
    )
    st.altair_chart(chart, width="stretch")


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
    steps = loop_steps(found)
    next_thing(next_step(steps))
    figures(found)
    the_loop(steps)
    if found.active_runs:
        running(project.id)
    votes_chart(found)
