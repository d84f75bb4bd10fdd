"""The brief: what the five rooms of planning say about this project, on one page."""

import streamlit as st

from core.access import Principal
from core.planning import documents
from core.planning.brief.collect import ROOMS, Room, collect, section_of
from core.planning.documents import Saved
from core.planning.section import Section
from core.planning.units import Units
from core.services import database
from pages.shared import header, may, me, plain, problems
from storage.tables import Project

FIGURES = 3  # of a card; the room's page has them all


def card(room: Room, section: Section, most: int = FIGURES) -> None:
    """One room: its answer, its main figures, and the way to its page."""
    with st.container(border=True, height="stretch"):
        st.subheader(room.title, anchor=False)
        if section.empty:
            st.badge("Nothing yet", icon=":material/edit_note:", color="gray")
            st.text(section.answer)
        else:
            st.markdown(f"**{plain(section.answer)}**")
            shown = section.figures[:most]
            if shown:
                with st.grid(len(shown), min_column_width=170):
                    for label, value, detail in shown:
                        with st.container(gap=None):
                            st.metric(plain(label), plain(value))
                            st.caption(plain(detail))
        st.page_link(room.page, label=f"Open {room.title}", icon=":material/arrow_forward:")


def downloads(project: Project, who: Principal) -> None:
    """Each file is made when it is asked for."""
    db = database()

    def pdf() -> bytes:
        from core.planning.brief.pdf import as_pdf

        return as_pdf(collect(db, who, project.id))

    def html() -> str:
        from core.planning.brief.html import as_html

        return as_html(collect(db, who, project.id))

    def tables() -> bytes:
        from core.planning.brief.tables import archive

        return archive(collect(db, who, project.id))

    icon = ":material/download:"
    with st.container(horizontal=True):
        st.download_button(
            "PDF, one page", pdf, "brief.pdf", "application/pdf", icon=icon, on_click="ignore", type="primary"
        )
        st.download_button("HTML", html, "brief.html", "text/html", icon=icon, on_click="ignore")
        st.download_button(
            "Tables (CSV)", tables, "brief-tables.zip", "application/zip", icon=icon, on_click="ignore"
        )


def units_form(project: Project, saved: Saved[Units] | None) -> None:
    """Currency and working time, which every plan of the project uses."""
    units = saved.body if saved else Units()
    if not may("plan.edit"):
        st.caption(
            f"Money in {units.currency}; a full-time week has {units.hours_per_week:g} hours, and a year "
            f"{units.weeks_per_year:g} worked weeks. A lead can change this."
        )
        return
    with st.form(f"units_{project.id}", border=False):
        with st.container(horizontal=True):
            currency = st.text_input(
                "Currency", units.currency, max_chars=3, width=130, help="Three letters, such as EUR or USD."
            )
            hours = st.number_input(
                "Hours a week",
                0.0,
                168.0,
                float(units.hours_per_week),
                0.5,
                width=150,
                help="Of full-time work.",
            )
            weeks = st.number_input(
                "Weeks a year",
                0.0,
                53.0,
                float(units.weeks_per_year),
                0.5,
                width=150,
                help="Worked, without leave.",
            )
        st.caption("Changing the currency renames the amounts of the plans; it does not convert them.")
        if st.form_submit_button("Save", icon=":material/save:"):
            with problems():
                values = {
                    "currency": currency.strip().upper(),
                    "hours_per_week": hours,
                    "weeks_per_year": weeks,
                }
                body = documents.checked(Units, values)
                where = {"plan_id": saved.plan_id, "based_on": saved.number} if saved else {}
                documents.save(database(), me(), project.id, body, **where)
                st.toast("Saved.", icon=":material/check:")
                st.rerun()


project = header("Brief", "Whether, how and when to invest in prompt optimisation: the answers at a glance.")
with problems():
    person = me()
    downloads(project, person)
    for row in (ROOMS[:1], ROOMS[1:3], ROOMS[3:]):
        for column, room in zip(st.columns(len(row)), row, strict=True):
            with column:
                card(room, section_of(database(), person, project.id, room), FIGURES if len(row) > 1 else 4)
    with st.expander("Currency and working time", icon=":material/tune:"):
        units_form(project, documents.current(database(), person, project.id, Units))
