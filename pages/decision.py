"""Which way to better prompts fits: the recommendation, why, and what it rests on."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.decision import charts, tables
from core.planning.decision.changes import moved_proposals
from core.planning.decision.model import Decision
from core.planning.decision.results import Result, compute
from core.planning.decision.section import figures
from core.planning.documents import Saved
from core.services import database
from pages.decision_inputs import show_inputs
from pages.decision_saving import drafted, show_history, show_save
from pages.shared import csv_of, header, may, me, plain, problems
from storage.tables import Project

RANKING = (
    "Weighted sum: scores × weights, 0 to 10; its interval holds 90 % of 4,000 random weightings near these "
    "(Dirichlet). TOPSIS: closeness to the best of each factor, 0 to 1 (Hwang and Yoon 1981)."
)
SENSITIVITY = (
    "One weight moves, the others keep their proportions. The bar is where the winner of the weighted sum stays; "
    "beyond it another alternative leads."
)
PLATEAU = (
    "How often each manual version would be preferred to the one the test starts from, in points above 50 %, from "
    "votes on held-out examples (Bradley-Terry). Plateaued: the whole interval of the tested gain lies below the "
    "margin (dashed). Still improving: it lies above."
)
SHARE = st.column_config.NumberColumn(format="percent")


def show_answer(result: Result) -> None:
    told = result.recommendation
    if result.found.simulated_only:
        text = "All preferences here are simulated: they show how this page works, not what people prefer."
        st.info(text, icon=":material/science:")
    with st.container(border=True):
        st.caption("Recommendation")
        names = {a.key: a.title for a in result.body.alternatives}
        st.subheader(plain(names.get(told.winner, "None of these ways is possible here")), anchor=False)
        st.markdown(plain(told.answer))
    with st.grid(4, min_column_width=190):
        for label, value, detail in figures(result):
            with st.container(border=True, height="stretch", gap=None):
                st.caption(label)
                st.markdown(f"**{plain(value)}**")
                st.caption(plain(detail))


def download(rows: list[dict[str, Any]], name: str, key: str = "") -> None:
    st.download_button(
        "Download as CSV",
        csv_of(pd.DataFrame(rows)),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"csv_{key or name}",
    )


def show_ranking(result: Result) -> None:
    rows = tables.ranking_rows(result)
    st.subheader("Ranking", anchor=False, help=RANKING)
    st.caption("Dot: with these weights. Bar: 90 % of random weightings near these.")
    st.altair_chart(charts.ranking(result), width="stretch")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={
            "Weighted sum": st.column_config.NumberColumn(format="%.2f"),
            "Low": st.column_config.NumberColumn(format="%.2f", help="5 % of random weightings give less"),
            "High": st.column_config.NumberColumn(format="%.2f", help="5 % of random weightings give more"),
            "TOPSIS": st.column_config.NumberColumn(format="%.3f"),
            "Wins, weights near these": SHARE,
            "Wins, any weights": SHARE,
        },
    )
    download(rows, "ranking")


def show_why(result: Result) -> None:
    told = result.recommendation
    st.subheader("Why", anchor=False)
    with st.grid(2, min_column_width=330):
        with st.container(border=True, height="stretch"):
            st.markdown("**What this rests on**")
            st.markdown("\n".join(f"- {plain(line)}" for line in told.why))
        with st.container(border=True, height="stretch"):
            if told.later:
                st.markdown("**What would change it**")
                st.markdown("\n".join(f"- **{plain(title)}** {plain(when)}." for title, when in told.later))
            if told.missing:
                st.markdown("**Evidence to get first**")
                st.markdown("\n".join(f"- {plain(line)}" for line in told.missing))
    with st.grid(2, min_column_width=400):
        with st.container(height="stretch"):
            st.markdown("**What each factor adds**")
            st.caption("Score × weight, for each factor.")
            st.altair_chart(charts.contributions(result), width="stretch")
            download(tables.contribution_rows(result), "contributions")
        with st.container(height="stretch"):
            st.markdown("**How far each weight can move**", help=SENSITIVITY)
            st.caption("Dot: the weight now. Bar: where the winner stays.")
            chart = charts.sensitivity(result)
            if chart is None:
                st.caption("There is one possible way only, so no weight changes the winner.")
            else:
                st.altair_chart(chart, width="stretch")
            download(tables.weight_rows(result), "weights")


def show_plateau(result: Result) -> None:
    history = result.found.history
    st.subheader("Has manual work plateaued?", anchor=False, help=PLATEAU)
    st.markdown(plain(history.sentence()))
    notes = []
    if history.versions and not history.lineage:
        notes.append("No version descends from another, so they stand in the order they were written.")
    if history.left_out:
        notes.append(
            f"{history.left_out:,} votes on train examples are left out: only dev and test are held out."
        )
    if history.verdict and history.verdict.more_as_seen and history.outcome == "undecided":
        notes.append(
            f"If the gain is what it looks like, {history.verdict.more_as_seen:,} more votes settle it either way."
        )
    if notes:
        st.caption(" ".join(notes))
    chart = charts.plateau(history)
    if chart is not None:
        st.altair_chart(chart, width="stretch")
    rows = tables.plateau_rows(history)
    if rows:
        with st.expander("The versions as a table"):
            st.dataframe(
                pd.DataFrame(rows),
                hide_index=True,
                width="stretch",
                column_config={
                    "Gain, points": st.column_config.NumberColumn(format="%+.1f"),
                    "Low": st.column_config.NumberColumn(format="%+.1f"),
                    "High": st.column_config.NumberColumn(format="%+.1f"),
                    "Win rate against the one before": SHARE,
                    "Win rate, low": SHARE,
                    "Win rate, high": SHARE,
                },
            )
            download(rows, "manual-versions")


def show_draft_line(result: Result, saved: Saved[Decision] | None, draft: bool) -> None:
    if draft:
        st.caption(":material/edit: This is a draft: it follows your changes, and is not saved yet.")
    elif saved is None:
        st.caption("Nobody has saved a decision yet: weights are the defaults, and all scores are proposed.")
    elif moved := moved_proposals(saved.body, result.body):
        st.caption(
            f"{moved} proposed score{'s' if moved > 1 else ''} moved with the data since version {saved.number}."
        )


def show_page(project: Project) -> None:
    editable = may("plan.edit")
    saved = documents.current(database(), me(), project.id, Decision)
    body, draft = drafted(project.id, saved)
    result = compute(database(), me(), project.id, body)
    show_draft_line(result, saved, draft)
    show_answer(result)
    show_ranking(result)
    show_why(result)
    show_plateau(result)
    show_inputs(project.id, result, editable)
    if editable:
        show_save(project.id, result, saved, draft)
    if saved is not None:
        show_history(project.id, saved, editable)


project = header("Decision", "Which way to better prompts fits this project, and how sure that is.")
with problems():
    show_page(project)
