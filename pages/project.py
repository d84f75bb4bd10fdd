"""Settings of the project in hand, a new one, and the end of one."""

import streamlit as st

from core import data, projects
from core.annotation.selection import DEFAULT, STRATEGIES
from core.reward.scoring import strategy_state
from core.services import database
from pages.desk.settings import show_desk_settings
from pages.project_webhooks import show_webhooks
from pages.render import response_html
from pages.shared import choose_project, header, may, me, plain, problems
from storage.tables import Project

MOST_VOTES = projects.MAX_VOTES_PER_PAIR


def create_form(first: bool) -> None:
    if not may("project.create"):
        st.info("There is no project yet. An engineer or a lead makes one.", icon=":material/info:")
        return
    made_before = st.session_state.get("projects_made", 0)  # another key: an empty form again
    with st.form(f"new_project_{made_before}", clear_on_submit=False):
        name = st.text_input("Name", max_chars=120, placeholder="Support answers")
        guidelines = st.text_area(
            "Guidelines",
            height=160,
            placeholder="What makes one response better than another? Annotators have this at hand.",
            help="Markdown. It can be changed at any time.",
        )
        criteria = st.text_input(
            "Criteria",
            placeholder="helpful, accurate, safe",
            help="Rated apart for each pair; separated by commas.",
        )
        votes = st.number_input("Votes per pair", 1, MOST_VOTES, 1, help=VOTES_HELP, width=200)
        if st.form_submit_button("Create project", type="primary", icon=":material/add:"):
            with problems():
                made = projects.create_project(
                    database(),
                    me(),
                    name=name,
                    guidelines=guidelines,
                    criteria=criteria.split(","),
                    votes_per_pair=votes,
                )
                st.session_state["project_id"] = made.id
                st.session_state["projects_made"] = made_before + 1
                st.session_state["settings_tab_next"] = TABS[0]
                st.query_params.pop("project", None)
                st.session_state["project_said"] = (
                    f"{made.name} is there. Next: import examples or comparisons, on the page Data."
                )
                st.rerun()
    if first:
        st.caption("A project is one job whose prompts are improved: its guidelines, examples and prompts.")


def show_settings(project: Project) -> None:
    editable = may("project.edit")
    if not editable:
        st.info(
            "You can read the settings; an engineer or a lead changes them.", icon=":material/visibility:"
        )
    with st.container(border=True):
        name = st.text_input(
            "Name", project.name, max_chars=120, disabled=not editable, key=f"name_{project.id}"
        )
        criteria = st.multiselect(
            "Criteria",
            project.criteria,
            default=project.criteria,
            accept_new_options=True,
            disabled=not editable,
            placeholder="Type a criterion, and press Enter",
            help="Rated apart for each pair, beside the vote. Ratings that were given stay.",
            key=f"criteria_{project.id}",
        )
        votes = st.number_input(
            "Votes per pair",
            1,
            MOST_VOTES,
            project.votes_per_pair,
            disabled=not editable,
            help=VOTES_HELP,
            key=f"votes_{project.id}",
            width=200,
        )
        rules = list(STRATEGIES)
        selection = st.selectbox(
            "Which pair is asked next",
            rules,
            index=rules.index(project.selection or DEFAULT),
            format_func=lambda key: STRATEGIES[key].title,
            disabled=not editable,
            key=f"selection_{project.id}",
            width=320,
        )
        st.caption(STRATEGIES[selection].about)
        if state := strategy_state(database(), me(), project.id, selection):
            st.caption(plain(state))
        with st.popover("All strategies", type="tertiary", icon=":material/help:"):
            for rule in STRATEGIES.values():
                st.markdown(f"**{rule.title}.** {rule.about}")
            st.caption(
                "Gold pairs and hidden repeats are mixed in beside any of them (page Gold and training)."
            )
        if votes != project.votes_per_pair:
            more = votes > project.votes_per_pair
            st.caption(
                "Pairs with fewer votes than that will wait for more of them."
                if more
                else "Pairs will no longer wait for more votes than that. Votes that were cast stay, and so "
                "does a pair that somebody has open."
            )
    st.subheader("Guidelines", anchor=False)
    left, right = st.columns(2)
    with left:
        guidelines = st.text_area(
            "Text (Markdown)",
            project.guidelines,
            height=320,
            disabled=not editable,
            key=f"guidelines_{project.id}",
        )
    with right:
        st.caption("As annotators see it")
        with st.container(border=True, height=320):
            if guidelines.strip():
                st.html(response_html(guidelines))
            else:
                st.caption("No guidelines yet.")
    values = {
        "name": name,
        "criteria": criteria,
        "votes_per_pair": votes,
        "selection": selection,
        "guidelines": guidelines,
    }
    now = {key: getattr(project, key) for key in values} | {"selection": project.selection or DEFAULT}
    changed = {key: value for key, value in values.items() if value != now[key]}
    if editable:
        save_button(project, changed)
    show_desk_settings(project, editable)


def save_button(project: Project, changed: dict[str, object]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Save", type="primary", icon=":material/save:", disabled=not changed):
            with problems():
                projects.update_project(database(), me(), project.id, **changed)
                st.session_state["project_said"] = f"Saved: {', '.join(WORDS[key] for key in changed)}."
                st.rerun()
        st.caption(f"Not saved yet: {', '.join(WORDS[key] for key in changed)}." if changed else "All saved.")


def show_end(project: Project) -> None:
    if not may("project.delete"):
        st.info("A lead or an admin archives and deletes projects.", icon=":material/info:")
        return
    if project.demo:
        st.write("This is the demo. Its votes are simulated, and nothing else depends on it.")
    with st.container(border=True):
        st.subheader("Archive", anchor=False)
        st.write("The project is no longer listed. Nothing of it is deleted.")
        if st.button("Archive this project", icon=":material/archive:"):
            with problems():
                projects.archive_project(database(), me(), project.id)
                gone(f"{project.name} is archived.")
    with st.container(border=True):
        st.subheader("Delete the demo" if project.demo else "Delete everything", anchor=False)
        amounts = data.counts(database(), me(), project.id)
        st.write(
            f"{amounts.examples:,} examples, {amounts.pairs:,} pairs, {amounts.votes:,} votes, and all prompts, "
            "responses, runs and models of this project are deleted for good."
        )
        st.caption("This cannot be undone. The audit log keeps that it was done, and by whom.")
        if project.demo:
            sure = st.checkbox("Yes, delete the demo", key=f"sure_{project.id}")
        else:
            typed = st.text_input(
                f"Type its name to confirm: {plain(project.name)}", key=f"sure_{project.id}"
            )
            sure = typed == project.name
        if st.button("Delete for good", icon=":material/delete_forever:", disabled=not sure):
            with problems(), st.spinner("Deleting …"):
                projects.purge_project(database(), me(), project.id)
                gone(f"{project.name} is deleted.")


def gone(said: str) -> None:
    st.session_state.pop("project_id", None)
    st.query_params.pop("project", None)
    st.session_state["project_said"] = said
    st.rerun()


TABS = ["This project", "Webhooks", "New project", "Archive or delete"]
VOTES_HELP = (
    "How many annotators judge each pair. More votes show how far they agree; one vote covers more pairs."
)
WORDS = {
    "name": "name",
    "criteria": "criteria",
    "votes_per_pair": "votes per pair",
    "selection": "which pair is asked next",
    "guidelines": "guidelines",
}

if said := st.session_state.pop("project_said", ""):
    st.toast(said, icon=":material/check:")
if choose_project() is None:
    st.title("New project", anchor=False)
    create_form(first=True)
else:
    project = header("Settings", "Guidelines, criteria and votes per pair; new projects.")
    if tab := st.session_state.pop("settings_tab_next", ""):
        st.session_state["settings_tab"] = tab
    settings, hooks, new, end = st.tabs(TABS, key="settings_tab", on_change="rerun")
    with settings:
        show_settings(project)
    with hooks:
        if hooks.open:
            show_webhooks(project)
    with new:
        create_form(first=False)
    with end:
        show_end(project)
