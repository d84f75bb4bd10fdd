"""Build, buy or a mix: what fits, what it costs over the years, and why."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.sourcing import charts, results
from core.planning.sourcing.model import Sourcing
from core.planning.sourcing.ranking import RULE
from core.planning.sourcing.results import Results
from core.planning.sourcing.section import figures, origins
from core.services import database
from pages.shared import csv_of, header, may, me, plain, problems
from pages.sourcing_tables import edit, plan_from, tables_of
from pages.versions import listed, opened, saved_line, show_history
from storage.tables import Project

POINTS = f"Weighted mean of the scores from 0 to 10. The cost is one of the factors, by the rule: {RULE}."
ROOM = (
    "The other weights keep their proportions to each other while one moves. Where the bar ends, another option "
    "takes the lead; the point is the weight now."
)
COSTS = (
    "Each uncertain figure is drawn from its distribution; volume, growth and the cost of a person-year are the same "
    "for all options in a draw. P10 and P90: one draw in ten is below or above."
)
MOST_NOTED = 4


def show_answer(found: Results) -> None:
    st.info(plain(found.recommendation.answer), icon=":material/storefront:")
    cards = figures(found)
    with st.grid(len(cards), min_column_width=150):
        for label, value, detail in cards:
            with st.container(border=True, height="stretch", gap=None):
                st.metric(label, plain(value))
                st.caption(plain(detail))


def show_why(found: Results) -> None:
    said = found.recommendation
    with st.grid(2, min_column_width=330):
        for title, lines in (("Why", said.reasons), ("Under which conditions", said.conditions)):
            with st.container(border=True, height="stretch"):
                st.subheader(title, anchor=False)
                st.markdown(listed(lines))
    for line in origins(found)[:MOST_NOTED]:
        st.caption(plain(line))
    if found.facts.person_year is None:
        st.page_link("team.py", label="Plan the team", icon=":material/arrow_forward:")


def show_charts(found: Results) -> None:
    years = found.plan.years
    st.subheader("Points by factor", anchor=False, help=POINTS)
    st.altair_chart(charts.points(found), width="stretch")
    st.subheader("How far each weight can move", anchor=False, help=ROOM)
    st.altair_chart(charts.weight_rooms(found), width="stretch")
    st.subheader(f"Cost over {years} years", anchor=False, help=COSTS)
    st.caption(f"n {found.costs.n:,} draws. Not discounted; people included.")
    st.altair_chart(charts.cost_ranges(found), width="stretch")
    if any(option.costs for option in found.plan.options):
        st.altair_chart(charts.cost_parts(found), width="stretch")
    st.subheader("Cost and volume", anchor=False)
    st.caption(
        f"Discounted at {100 * found.plan.discount_rate:.3g} % a year. Line: P50, band: P10 to P90; dashed: the volume now."
    )
    st.altair_chart(charts.cost_over_volume(found), width="stretch")


def show_tables(found: Results) -> None:
    percent = st.column_config.NumberColumn(format="percent")
    tables: dict[str, tuple[list[dict[str, Any]], str]] = {
        "Options": (results.option_rows(found), "build-or-buy-options.csv"),
        "Scores": (results.score_rows(found), "build-or-buy-scores.csv"),
        "Cost by year": (results.year_rows(found), "build-or-buy-cost-by-year.csv"),
        "Cost by line": (results.line_rows(found), "build-or-buy-cost-by-line.csv"),
        "Chance of costing less": (results.cheaper_rows(found), "build-or-buy-chances.csv"),
        "Weights": (results.room_rows(found), "build-or-buy-weights.csv"),
    }
    shown = {
        "Options": {"Cheapest": percent},
        "Scores": {"Weight": percent, "Reason": st.column_config.TextColumn(width="large")},
        "Weights": {"Weight": percent, "From": percent, "To": percent},
    }
    with st.expander("Tables, to read and to download"):
        st.caption(f"Money is in {found.currency}.")
        for tab, (title, (rows, file)) in zip(st.tabs(list(tables)), tables.items(), strict=True):
            with tab:
                table = pd.DataFrame(rows)
                config = shown.get(title, {})
                if title == "Chance of costing less":
                    config = dict.fromkeys(table.columns[1:], percent)
                plain_numbers = {
                    column: st.column_config.NumberColumn(format="localized")
                    for column in table.select_dtypes("number").columns
                }
                st.dataframe(table, hide_index=True, width="stretch", column_config=plain_numbers | config)
                st.download_button(
                    f"Download {title.lower()} as CSV",
                    csv_of(table),
                    file_name=file,
                    mime="text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                )


def show_inputs(
    project: Project, saved: documents.Saved[Sourcing] | None, found: Results, may_edit: bool
) -> None:
    plan, number = found.plan, saved.number if saved else 0
    tries = f"sourcing_tries_{project.id}"
    key = f"{project.id}_{number}_{st.session_state.get(tries, 0)}"
    st.subheader("Options, scores and costs", anchor=False)
    st.caption(saved_line(saved) if saved else "Assumptions to start from. Nobody has saved a version yet.")
    if not may_edit:
        st.caption("You may look at this plan. Leads and admins can change it.")
    with st.form(f"sourcing_{project.id}", border=True):
        edited = edit(tables_of(found), key, may_edit, found.currency)
        with st.grid(3, min_column_width=170):
            weight = st.number_input(
                "Weight of the cost", 0.0, 1000.0, plan.cost_weight, 5.0, key=f"weight_{key}",
                disabled=not may_edit, help=f"Beside the weights of the factors. The cost becomes a score: {RULE}.",
            )  # fmt: skip
            years = st.number_input(
                "Years", 1, 10, plan.years, key=f"years_{key}", disabled=not may_edit, help="The horizon of the cost."
            )  # fmt: skip
            rate = st.number_input(
                "Discount rate, % a year", 0.0, 100.0, 100 * plan.discount_rate, 0.5, key=f"rate_{key}",
                disabled=not may_edit, help="What a payment a year later is worth less.",
            )  # fmt: skip
        note = st.text_input("Note on this version", key=f"note_{key}", disabled=not may_edit, max_chars=200)
        with st.container(horizontal=True):
            save = st.form_submit_button(
                "Save", key=_save(project), type="primary", icon=":material/save:", disabled=not may_edit
            )
            tried = st.form_submit_button(
                "Try without saving", key=f"sourcing_try_{project.id}", icon=":material/visibility:", disabled=not may_edit
            )  # fmt: skip
        if (save or tried) and may_edit:
            with problems():
                simple = {"cost_weight": weight, "years": years, "discount_rate": rate / 100}
                drafted = plan_from(edited, found, simple)
                if save:
                    documents.save(
                        database(), me(), project.id, drafted,
                        plan_id=saved.plan_id if saved else None, based_on=number or None, note=note,
                    )  # fmt: skip
                    st.session_state.pop(_draft(project), None)
                else:
                    st.session_state[_draft(project)] = (number, drafted)
                st.session_state[tries] = st.session_state.get(tries, 0) + 1
                st.rerun()


def _save(project: Project) -> str:
    return f"sourcing_save_{project.id}"


def _draft(project: Project) -> str:
    return f"sourcing_draft_{project.id}"


def show_draft_notice(project: Project) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(":material/visibility: **A draft, not saved.** All figures on this page follow from it.")
        if st.button("Back to the saved plan", icon=":material/undo:"):
            st.session_state.pop(_draft(project), None)
            st.rerun()


def show_page(project: Project) -> None:
    may_edit = may("plan.edit")
    saved = opened(project, Sourcing, submitted=bool(st.session_state.get(_save(project))))
    drafted = st.session_state.get(_draft(project))
    if drafted and drafted[0] != (saved.number if saved else 0):
        drafted = None  # somebody saved another version since
    plan = drafted[1] if drafted else saved.body if saved else Sourcing()
    found = results.compute(database(), me(), project.id, plan)
    if drafted:
        show_draft_notice(project)
    show_answer(found)
    show_why(found)
    show_charts(found)
    show_tables(found)
    show_inputs(project, saved, found, may_edit)
    if saved:
        st.subheader("History", anchor=False)
        show_history(project, Sourcing, saved, may_edit)


project = header("Build or buy", "What fits, what it costs over the years, and why.")
with problems():
    show_page(project)
