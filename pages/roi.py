"""Return: what prompt optimisation costs, what it brings, and how sure that is."""

import streamlit as st

from core.planning import documents
from core.planning.documents import Listed, Saved
from core.planning.roi.model import Scenario
from core.planning.roi.proposals import propose
from core.planning.roi.results import compute
from core.planning.units import units_of
from core.services import database
from pages.roi_draft import Draft, draft_of, forget
from pages.roi_field import Editor
from pages.roi_inputs import show_inputs
from pages.roi_views import (
    show_answer,
    show_cash_flow,
    show_compare,
    show_history,
    show_improvements,
    show_labels,
    show_why,
)
from pages.shared import header, may, me, plain, problems
from storage.tables import Project

TABS = ("Inputs", "Cash flow", "Value of labels", "Cost per improvement", "Compare", "History")
LOOK_ONLY = "You can look here; leads and admins change and save scenarios."


def free_name(wanted: str, plans: list[Listed]) -> str:
    taken = {plan.name for plan in plans}
    names = (wanted if i == 1 else f"{wanted} {i}" for i in range(1, len(plans) + 2))
    return next(name for name in names if name not in taken)


def open_plan(project: Project, plan_id: str) -> None:
    """Show this one in the next run: the selectbox may be set before it is drawn."""
    st.session_state[f"roi_open_{project.id}"] = plan_id


def choose(project: Project, plans: list[Listed], editable: bool) -> Saved[Scenario] | None:
    """Which scenario; None while none is saved. With the ways to make another."""
    if not plans:
        return None
    names = {plan.plan_id: plan.name for plan in plans}
    key = f"roi_plan_{project.id}"
    asked = st.session_state.pop(f"roi_open_{project.id}", None)
    if asked in names:
        st.session_state[key] = asked
    elif st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        plan_id = st.selectbox("Scenario", list(names), format_func=names.__getitem__, key=key, width=300)
        saved = documents.load(database(), me(), project.id, Scenario, plan_id)
        if editable:
            more(project, plans, saved)
    note = f" · {saved.note}" if saved.note else ""
    st.caption(plain(f"Version {saved.number}, saved by {saved.author} on {saved.at:%d %B %Y}{note}"))
    return saved


def more(project: Project, plans: list[Listed], saved: Saved[Scenario]) -> None:
    """New, duplicate, rename, put away."""
    with st.popover("New scenario", icon=":material/add:"):
        name = st.text_input("Name", value=free_name("Scenario", plans), key=f"roi_new_name_{len(plans)}")
        st.caption("Start from what is measured, or from a copy of the one in hand.")
        with st.container(horizontal=True):
            fresh = st.button("From measured figures", icon=":material/monitoring:")
            copy = st.button("Duplicate this one", icon=":material/content_copy:")
        if fresh or copy:
            with problems():
                body = propose(database(), me(), project.id).scenario() if fresh else saved.body
                note = "proposed from what is measured" if fresh else f"copy of {saved.name}"
                made = documents.save(database(), me(), project.id, body, name=name, note=note)
                open_plan(project, made.plan_id)
                st.rerun()
    with st.popover("Rename, put away", icon=":material/edit:"):
        name = st.text_input("Name", value=saved.name, key=f"roi_rename_{saved.plan_id}_{saved.name}")
        if st.button("Rename", key="roi_rename_do"):
            with problems():
                documents.save(
                    database(), me(), project.id, saved.body, plan_id=saved.plan_id, name=name,
                    based_on=saved.number, note=f"renamed from {saved.name}",
                )  # fmt: skip
                st.rerun()
        st.caption("Its versions are kept when it is put away.")
        if st.button("Put away", icon=":material/archive:", disabled=len(plans) < 2):
            with problems():
                documents.archive(database(), me(), project.id, saved.plan_id)
                st.rerun()


def save_bar(project: Project, draft: Draft, plans: list[Listed], wrong: bool) -> None:
    """What was changed, and the way to keep it or to drop it."""
    if draft.plan_id is not None and not draft.changed:
        return
    with st.container(border=True):
        if draft.plan_id is None:
            st.markdown(
                ":material/lightbulb: **Not saved yet.** Proposed from what the project measured, with guesses for the "
                "rest. Put your own figures in below, and save."
            )
        else:
            st.markdown(
                ":material/edit: **You changed this scenario.** The results show it with your changes."
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = None
            if draft.plan_id is None:
                name = st.text_input(
                    "Name", value=free_name(Scenario.TITLE, plans), key="roi_name", width=220
                )
            note = st.text_input(
                "Note", placeholder="What changed, and why", key=f"roi_note_{draft.revision}", max_chars=200
            )
            press = st.button(
                "Save version", type="primary", icon=":material/save:", disabled=wrong,
                help="A figure is not right yet: see the inputs." if wrong else None,
            )  # fmt: skip
            drop = draft.changed and st.button("Discard changes", icon=":material/undo:")
        if press:
            with problems():
                saved = documents.save(
                    database(), me(), project.id, draft.good, plan_id=draft.plan_id, name=name,
                    based_on=draft.number, note=note,
                )  # fmt: skip
                forget(project.id, draft.plan_id)
                open_plan(project, saved.plan_id)
                st.toast(f"Saved as version {saved.number}.", icon=":material/check:")
                st.rerun()
        if drop:
            forget(project.id, draft.plan_id)
            draft_revision(project, draft)
            st.rerun()


def draft_revision(project: Project, draft: Draft) -> None:
    """Start over from the base, with fresh widgets."""
    draft.start_over(draft.base)
    draft.good = draft.base
    st.session_state[f"roi_draft_{project.id}_{draft.plan_id or 'new'}"] = draft


def show(project: Project) -> None:
    who, editable = me(), may("plan.edit")
    currency = units_of(database(), who, project.id).currency
    plans = documents.list_plans(database(), who, project.id, Scenario.KIND)
    saved = choose(project, plans, editable)
    draft = draft_of(project.id, saved, lambda: propose(database(), who, project.id).scenario())
    errors = draft.check()
    found = propose(database(), who, project.id, draft.good.baseline_prompt_id)
    results = compute(draft.good)
    show_answer(results, currency)
    if errors:
        st.error(
            "A figure is not right, so the results are those without it. It is marked in the inputs.",
            icon=":material/error:",
        )
    if not saved and not found.inputs:
        st.info(
            "The project has measured nothing yet, so every figure is a guess to be replaced. Votes on two prompts "
            "give the win rate; signals from production give the rest.",
            icon=":material/info:",
        )
    elif found.simulated:
        st.info(
            "All votes of this project are simulated: what is measured from them shows how the page works, "
            "not what people prefer.",
            icon=":material/science:",
        )
    if editable:
        save_bar(project, draft, plans, bool(errors))
    show_why(results, currency)
    inputs, flow, labels, steps, side, past = st.tabs(TABS, on_change="rerun", key=f"roi_tab_{project.id}")
    if inputs.open:
        with inputs:
            if not editable:
                st.caption(LOOK_ONLY)
            show_inputs(Editor(draft, found, currency, errors, who.name, editable))
    if flow.open:
        with flow:
            show_cash_flow(results, currency)
    if labels.open:
        with labels:
            show_labels(results, currency)
    if steps.open:
        with steps:
            show_improvements(project, draft.good, currency)
    if side.open:
        with side:
            show_compare(
                project, plans, results, saved.name if saved else Scenario.TITLE, draft.changed, currency
            )
    if past.open:
        with past:
            go_back(project, saved, draft, currency, editable)


def go_back(
    project: Project, saved: Saved[Scenario] | None, draft: Draft, currency: str, editable: bool
) -> None:
    if saved is None:
        st.write("No version is saved yet.")
        return
    wanted = show_history(saved, project, currency)
    if wanted is not None and editable:
        draft.start_over(wanted.body)
        st.rerun()


project = header("Return", "What prompt optimisation costs, what it brings, and how sure that is.")
with problems():
    show(project)
