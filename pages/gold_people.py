"""Who qualified, how gold checks and hidden repeats went, and what a lead does about it."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from core.annotation import qualification
from core.annotation.probe_figures import share_over
from core.annotation.probing import Probing
from core.annotation.qualification import Standing
from core.services import database
from core.stats import wilson
from pages.messaging import write_to
from pages.shared import ago, csv_of, me, percent, plain, problems
from storage.tables import Project

STATES = {
    "not asked": "not asked to qualify",
    "veteran": "voted before, need not qualify",
    "qualified": "qualified",
    "not begun": "has not begun",
    "training": "in training",
    "failed": "not passed, may try again",
    "out": "not passed, no attempt left",
}
GOLD = (
    "Gold checks answered as expected, of those answered. Training pairs are not counted. Interval: Wilson's."
)
SAME = "Hidden repeats, with the sides swapped, answered as the first time. Interval: Wilson's."


def rate(part: int, n: int) -> str:
    return percent(part / n, *wilson(part, n), n) if n else "—"


def together(counts: list[tuple[int, int]]) -> str:
    found = share_over("all", counts)
    return percent(found["all_share"], found["all_low"], found["all_high"], found["all_n"])


def training_of(item: Standing) -> str:
    if not item.attempts:
        return "—"
    last = item.attempts[-1]
    nth = f"attempt {len(item.attempts)}: " if len(item.attempts) > 1 else ""
    if last.over:
        return f"{nth}{last.right} of {last.asked} right"
    return f"{nth}{last.answered} of {last.asked} answered"


def table_of(people: list[Standing]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Annotator": item.name,
                "State": STATES[item.state],
                "Training": training_of(item),
                "Qualified": pd.Timestamp(item.qualified_at) if item.qualified_at else None,
                "Gold checks right": rate(item.tally.gold_right, item.tally.gold),
                "Same on repeats": rate(item.tally.repeats_same, item.tally.repeats),
            }
            for item in people
        ]
    )


def show_people(project: Project, settings: Probing, people: list[Standing], manage: bool) -> None:
    if not people:
        st.write("Nobody has opened the annotate page of this project yet.")
        return
    table = table_of(people)
    event = st.dataframe(
        table.dropna(axis="columns", how="all"),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key=f"gold_people_{project.id}",
        column_config={
            "Annotator": st.column_config.TextColumn(pinned=True),
            "Qualified": st.column_config.DatetimeColumn(format="distance"),
            "Gold checks right": st.column_config.TextColumn(help=GOLD),
            "Same on repeats": st.column_config.TextColumn(help=SAME),
        },
    )
    st.caption(
        f"All together: gold checks right {together([(one.tally.gold_right, one.tally.gold) for one in people])}; "
        f"same on hidden repeats {together([(one.tally.repeats_same, one.tally.repeats) for one in people])}. "
        "The interval goes over people."
    )
    chosen = event["selection"]["rows"] if event else []
    if chosen and chosen[0] < len(people):
        show_one(project, settings, people[chosen[0]], manage)
    elif manage:
        st.caption("Select a row to let somebody in, to have them begin anew, or to write to them.")
    st.download_button(
        "Download as CSV",
        csv_of(table),
        file_name="qualification.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def show_one(project: Project, settings: Probing, item: Standing, manage: bool) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(item.name)}** · {STATES[item.state]}")
        for number, attempt in enumerate(item.attempts, 1):
            needed = settings.needed(attempt.asked)
            how = (
                f"{attempt.right} of {attempt.asked} right ({needed} needed)"
                if attempt.over
                else "not finished"
            )
            st.caption(f"Attempt {number}, {ago(attempt.started)}: {how}")
        if not manage:
            return
        with st.container(horizontal=True):
            if item.state not in ("qualified", "not asked", "veteran"):
                st.button("Let them in", icon=":material/how_to_reg:", on_click=_do,
                          args=(qualification.qualify, project.id, item.id))  # fmt: skip
            if item.attempts or item.state == "qualified":
                st.button("Have them begin anew", icon=":material/restart_alt:", on_click=_do,
                          args=(qualification.begin_anew, project.id, item.id),
                          help="Their qualification and their attempts no longer count.")  # fmt: skip
            if st.button("Write a message", icon=":material/mail:"):
                write_to(project.id, item.id, item.name)


def _do(action: Callable[..., None], project_id: str, annotator_id: str) -> None:
    with problems():
        action(database(), me(), project_id, annotator_id)
