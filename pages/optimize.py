"""Search for a better prompt against a reward, watch it, and send what it found to the
annotators."""

import streamlit as st

from core.errors import PrefloopError
from core.optimize.methods import METHODS
from core.optimize.view import Preview, Readiness, preview, readiness
from core.runs.service import list_runs, start_run
from core.services import database
from pages.optimize_books import money, short
from pages.optimize_compare import compare
from pages.optimize_form import search_form
from pages.optimize_history import SHOWN, history, picker_label
from pages.optimize_run import show_run
from pages.shared import duration, empty, header, may, me, problems
from storage.tables import Project, Run

COMPARED = 50  # the newest searches that may be laid on one chart


def page() -> None:
    project = header("Optimise", "Searches for a better prompt in the background, within a budget of calls.")
    ready = readiness(database(), me(), project.id)
    runs = list_runs(database(), me(), project.id, kind="optimize", limit=SHOWN)
    if not runs:
        new_search(project, ready)
        return
    current = _current(runs)
    names = {run.id: picker_label(run) for run in runs}
    chosen = st.selectbox(
        "Search",
        list(names),
        index=list(names).index(current.id),
        format_func=names.__getitem__,
        key=f"optimize_pick_{project.id}_{runs[0].id}_{current.id}",
    )
    if chosen != current.id:
        _open(chosen)
    view = _view(len(runs))
    if view == "form":
        new_search(project, ready)
    elif view == "history":
        pressed = history(runs)
        if pressed is not None:
            _open(pressed.id)
    elif view == "compared":
        compare(runs[:COMPARED], current)
    else:
        show_run(project, current)


def _open(run_id: str) -> None:
    st.session_state["optimize_run"] = run_id
    st.session_state.pop("optimize_view", None)
    st.query_params.pop("run", None)
    st.rerun()


def _view(searches: int) -> str:
    """What stands below the picker: a search, or what a button asked for instead."""
    offered = {"form": ("New search", ":material/add:", "optimize_new")} if may("run.start") else {}
    if searches > 1:
        offered["history"] = ("All searches", ":material/list:", "optimize_all")
        offered["compared"] = ("Compare", ":material/compare_arrows:", "optimize_compare")
    view = st.session_state.get("optimize_view")
    view = view if view in offered else ""
    with st.container(horizontal=True):
        for name, (label, icon, key) in offered.items():
            here = view == name
            if st.button(
                "Back to the search" if here else label,
                icon=":material/arrow_back:" if here else icon,
                key=key,
            ):
                st.session_state["optimize_view"] = "" if here else name
                st.rerun()
    return view


def _current(runs: list[Run]) -> Run:
    """The run that the address names, the one that was opened last, or the newest."""
    asked = st.query_params.get("run") or st.session_state.get("optimize_run")
    return next((run for run in runs if run.id == asked), runs[0])


# --- a new search ----------------------------------------------------------------------------


def new_search(project: Project, ready: Readiness) -> None:
    if not sum(ready.examples.values()):
        empty(
            "There are no examples to try prompts on.",
            "An optimiser scores each prompt on examples of this project. Import some first.",
            "data.py",
            "Import examples",
        )
        return
    if ready.reward_model is None and not sum(ready.with_reference.values()):
        empty(
            "There is nothing to optimise for yet.",
            "Train a reward model from the annotators' votes, or import examples that have a reference label.",
            "reward_models.py",
            "Train a reward model",
        )
        return
    if not may("run.start"):
        empty("No search was started yet.", "Engineers and admins can start one.")
        return
    with st.container(border=True):
        st.subheader("New search", anchor=False)
        config = search_form(ready)
        try:
            laid: Preview | None = preview(database(), me(), project.id, config)
        except PrefloopError as problem:
            laid = None
            st.warning(f"**{problem.message}** {problem.hint}", icon=":material/info:")
        if laid is not None:
            _show_plan(laid)
        if st.button(
            "Start the search",
            type="primary",
            icon=":material/play_arrow:",
            disabled=laid is None,
            key="optimize_start",
        ):
            with problems():
                run = start_run(database(), me(), project.id, "optimize", config)
                _open(run.id)


def _show_plan(laid: Preview) -> None:
    """What the budget buys, before anything is spent."""
    plan = laid.config["plan"]
    pace = "at the pace of the last search" if laid.measured else "a rough estimate"
    vectors = METHODS[laid.config["method"]].vectors
    what = "whose place the vectors take" if vectors else "which is edited"
    if laid.config.get("section"):
        st.caption(f"The {laid.start_name}, {what}; the rest of the prompt stays as it is:")
    else:
        st.caption(f"The instruction of {laid.start_name}, {what}:")
    st.code(laid.instruction, language=None, wrap_lines=True)
    a, b, c, d = st.columns(4)
    a.metric(
        "Candidates",
        f"up to {plan['candidates']:,}",
        help="So many the method can try with this budget, the calls of the model that proposes counted in. One "
        "that scores on mini-batches, as APE and GEPA do, scores only the best on all train examples.",
    )
    b.metric(
        "Calls set aside", f"{plan['reserve']:,}",
        help=f"For choosing among the best {plan['finalists']} on dev, and for one report on test.",
    )  # fmt: skip
    c.metric("Time", f"up to {duration(laid.seconds)}", help=f"For the whole budget; {pace}.")
    spend = laid.spend
    d.metric(
        "Cost",
        f"about {money(spend.cost)}" if spend.cost else "0",
        f"about {short(spend.tokens)} tokens",
        delta_color="off", delta_arrow="off",
        help=f"For the whole budget. {spend.source}",
    )  # fmt: skip
    st.caption(
        f"Searches on {plan['train']} train examples, chooses on {plan['dev']} dev examples, and reads "
        f"{plan['test']} test examples once, at the end."
    )


page()
