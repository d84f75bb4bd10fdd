"""Who is needed when, what is covered, and what it costs."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.team import charts, results
from core.planning.team.model import Team, typical_team
from core.planning.team.results import Results
from core.planning.team.section import figures, suggested
from core.planning.team.words import sentences, single_point
from core.services import database
from pages.shared import csv_of, header, may, me, plain, problems
from pages.team_tables import edit, tables_of, team_from
from pages.versions import listed, opened, saved_line, show_history
from storage.tables import Project

MOST_SAID = 6
NEED = "Full-time equivalents available / needed. A member counts with the share of full time a phase gets."
LOAD = "Booked share of full time by week, added over the phases that run: the stronger, the more. Orange is more than the person has."
COSTS = "Booked shares times the cost of full time; the last phase goes on unless that is switched off."


def show_answer(found: Results) -> None:
    if found.team.members:
        icon = ":material/check_circle:" if found.found.complete else ":material/error:"
        show = st.success if found.found.complete else st.warning
        show(plain(results.answer(found)), icon=icon)
    cards = figures(found)
    if not cards:
        return
    with st.grid(len(cards), min_column_width=150):
        for label, value, detail in cards:
            with st.container(border=True, height="stretch", gap=None):
                st.metric(label, value)
                st.caption(plain(detail))


def show_findings(found: Results) -> None:
    """Gaps and overload on the left, single points of failure on the right."""
    lacking, alone = sentences(found.found), [single_point(row) for row in found.found.single_points]
    if not lacking and not alone:
        return
    parts = [("Gaps and overload", lacking), ("Single points of failure", alone)]
    parts = [(title, said) for title, said in parts if said]
    with st.grid(len(parts), min_column_width=330):
        for title, said in parts:
            with st.container(border=True, height="stretch"):
                st.subheader(title, anchor=False)
                st.markdown(listed(said[:MOST_SAID]))
                if len(said) > MOST_SAID:
                    with st.expander(f"{len(said) - MOST_SAID} more"):
                        st.markdown(listed(said[MOST_SAID:]))


def show_suggestion(found: Results) -> None:
    rows = results.suggestion_rows(found)
    if not rows:
        return
    with st.container(border=True):
        st.subheader(
            "What would close the gaps",
            anchor=False,
            help="Members first give the time they have left; then the fewest new people join, for just what is "
            "missing, in the order in which they are needed. Overload has to be settled by hand.",
        )
        st.markdown(plain(suggested(found)))
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, width="stretch", column_config=_money(found, "Cost")
        )


def show_charts(found: Results) -> None:
    if any(row.needed > 0 for row in found.found.roles):
        here = bool(found.team.members)
        st.subheader("Coverage by phase and role" if here else "Needed by phase and role", anchor=False)
        st.caption(NEED if here else "Full-time equivalents. These are assumptions: change them below.")
        st.altair_chart(charts.coverage_map(found), width="stretch")
    if not found.team.members:
        return
    st.subheader("Load over time", anchor=False)
    st.caption(LOAD)
    st.altair_chart(charts.load_chart(found), width="stretch")
    st.subheader("Cost by month", anchor=False, help=COSTS)
    st.altair_chart(charts.cost_chart(found), width="stretch")


def show_tables(found: Results) -> None:
    tables: dict[str, tuple[list[dict[str, Any]], str]] = {
        "By role": (results.role_rows(found.found), "coverage-by-role.csv"),
        "By skill": (results.skill_rows(found.found), "coverage-by-skill.csv"),
        "Cost by phase": (results.phase_rows(found), "cost-by-phase.csv"),
        "Cost by month": (results.month_rows(found), "cost-by-month.csv"),
    }
    with st.expander("Tables, to read and to download"):
        tabs = st.tabs(list(tables))
        for tab, (title, (rows, file)) in zip(tabs, tables.items(), strict=True):
            with tab:
                if not rows:
                    st.caption("Nothing to show until there are people.")
                    continue
                table = pd.DataFrame(rows)
                st.dataframe(table, hide_index=True, width="stretch", column_config=_money(found, "Cost"))
                st.download_button(
                    f"Download {title.lower()} as CSV",
                    csv_of(table),
                    file_name=file,
                    mime="text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                )


def _money(found: Results, column: str) -> dict[str, Any]:
    title = f"{column}, {found.units.currency}"
    return {column: st.column_config.NumberColumn(title, format="localized")}


def show_inputs(project: Project, saved: documents.Saved[Team] | None, team: Team, may_edit: bool) -> None:
    number = saved.number if saved else 0
    key = f"{project.id}_{number}_{st.session_state.get(f'team_tries_{project.id}', 0)}"
    st.subheader("People, skills and needs", anchor=False)
    if saved:
        st.caption(saved_line(saved))
    if not may_edit:
        st.caption("You may look at the team. Leads and admins can change it.")
    with st.form(f"team_{project.id}", border=True):
        edited = edit(tables_of(team), team, key, may_edit)
        goes_on = st.checkbox(
            "The last phase goes on after the plan ends",
            team.goes_on,
            key=f"goes_on_{key}",
            disabled=not may_edit,
            help="Then it costs until the end of any horizon: continuous improvement usually does.",
        )
        note = st.text_input("Note on this version", key=f"note_{key}", disabled=not may_edit, max_chars=200)
        with st.container(horizontal=True):
            save = st.form_submit_button(
                "Save", key=_save(project), type="primary", icon=":material/save:", disabled=not may_edit
            )
            tried = st.form_submit_button(
                "Try without saving",
                key=f"team_try_{project.id}",
                icon=":material/visibility:",
                disabled=not may_edit,
            )
        if (save or tried) and may_edit:
            with problems():
                drafted = team_from(edited, goes_on)
                if save:
                    documents.save(
                        database(), me(), project.id, drafted,
                        plan_id=saved.plan_id if saved else None, based_on=number or None, note=note,
                    )  # fmt: skip
                    st.session_state.pop(_draft(project), None)
                else:
                    st.session_state[_draft(project)] = (number, drafted)
                st.session_state[f"team_tries_{project.id}"] = (
                    st.session_state.get(f"team_tries_{project.id}", 0) + 1
                )
                st.rerun()


def _save(project: Project) -> str:
    return f"team_save_{project.id}"


def _draft(project: Project) -> str:
    return f"team_draft_{project.id}"


def show_start(project: Project, may_edit: bool) -> None:
    with st.container(border=True):
        st.subheader("Nobody is on the team yet", anchor=False)
        st.write(
            "Below is what each phase usually needs. Start from a typical team, one person for each role, and make "
            "it yours; or add people one by one."
        )
        if not may_edit:
            st.caption("Leads and admins can make the team.")
        elif st.button("Start from a typical team", type="primary", icon=":material/group_add:"):
            with problems():
                found = documents.current(database(), me(), project.id, Team)
                documents.save(
                    database(), me(), project.id, typical_team(),
                    plan_id=found.plan_id if found else None, based_on=found.number if found else None,
                    note="A typical team, to start from",
                )  # fmt: skip
                st.rerun()


def show_draft_notice(project: Project) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(":material/visibility: **A draft, not saved.** All figures on this page follow from it.")
        if st.button("Back to the saved team", icon=":material/undo:"):
            st.session_state.pop(_draft(project), None)
            st.rerun()


def show_page(project: Project) -> None:
    may_edit = may("plan.edit")
    saved = opened(project, Team, submitted=bool(st.session_state.get(_save(project))))
    drafted = st.session_state.get(_draft(project))
    if drafted and drafted[0] != (saved.number if saved else 0):
        drafted = None  # somebody saved another version since
    team = drafted[1] if drafted else saved.body if saved else Team()
    found = results.check(database(), me(), project.id, team)
    if drafted:
        show_draft_notice(project)
    if not team.members:
        show_start(project, may_edit)
    show_answer(found)
    if team.members:
        show_findings(found)
        show_suggestion(found)
    show_charts(found)
    show_tables(found)
    show_inputs(project, saved, team, may_edit)
    if saved:
        st.subheader("History", anchor=False)
        show_history(project, Team, saved, may_edit)


project = header("Team", "Who is needed when, what is covered, and what it costs.")
with problems():
    show_page(project)
