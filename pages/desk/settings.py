"""How annotators work, on the settings page: scales of criteria, the goal, agreement."""

import streamlit as st

from core.annotation.desk import desk_of, set_desk
from core.services import database
from pages.shared import me, problems
from storage.tables import Project


def show_desk_settings(project: Project, editable: bool) -> None:
    now = desk_of(database(), me(), project.id)
    st.subheader("Labelling", anchor=False)
    with st.form(f"desk_{project.id}", enter_to_submit=False):
        from_1_to_5 = st.multiselect(
            "Criteria rated from 1 to 5",
            project.criteria,
            default=[name for name in project.criteria if now.scale(name) == "1-5"],
            disabled=not editable or not project.criteria,
            placeholder="None: all are rated A, same or B"
            if project.criteria
            else "This project has no criteria",
            help="Each response gets its own 1 to 5. The others say which response is better, or the same. "
            "Ratings that were given stay.",
        )
        goal = st.number_input(
            "Goal for a day, votes",
            0,
            10_000,
            now.daily_goal,
            disabled=not editable,
            help="What one annotator sees beside their progress. 0: no goal.",
            width=200,
        )
        agreement = st.checkbox(
            "Annotators see how far others agree with them",
            now.show_agreement,
            disabled=not editable,
            help="On the page My work, with n and interval. Seeing it can pull people towards the majority.",
        )
        if st.form_submit_button("Save labelling", icon=":material/save:", disabled=not editable):
            with problems():
                set_desk(
                    database(),
                    me(),
                    project.id,
                    scales=dict.fromkeys(from_1_to_5, "1-5"),
                    daily_goal=goal,
                    show_agreement=agreement,
                )
                st.session_state["project_said"] = "Saved: labelling."
                st.rerun()
