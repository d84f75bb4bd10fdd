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
from pages.optimize_run import show_run
from pages.shared import ago, duration, empty, header, may, me, problems
from storage.tables import Project, Run


def page() -> None:
    project = header("Optimise", "Searches for a better prompt in the background, within a budget of calls.")
    ready = readiness(database(), me(), project.id)
    runs = list_runs(database(), me(), project.id, kind="optimize", limit=50)
    if not runs:
        new_search(project, ready)
        return
    current = _current(runs)
    form = st.session_state.get("optimize_form", False)
    compared = st.session_state.get("optimize_compared", False) and not form
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = {run.id: _run_label(run) for run in runs}
        chosen = st.selectbox(
            "Search",
            list(names),
            index=list(names).index(current.id),
            format_func=names.__getitem__,
            key=f"optimize_pick_{project.id}_{runs[0].id}_{current.id}",
        )
        label = "Back to the search" if form else "New search"
        icon = ":material/arrow_back:" if form else ":material/add:"
        if may("run.start") and st.button(label, icon=icon, key="optimize_new"):
            st.session_state["optimize_form"] = not form
            st.rerun()
        if len(runs) > 1 and not form:
            other = "Back to the search" if compared else "Compare"
            icon = ":material/arrow_back:" if compared else ":material/compare_arrows:"
            if st.button(other, icon=icon, key="optimize_compare"):
                st.session_state["optimize_compared"] = not compared
                st.rerun()
    if chosen != current.id:
        st.session_state["optimize_run"], st.session_state["optimize_form"] = chosen, False
        st.query_params.pop("run", None)
        st.rerun()
    if form and may("run.start"):
        new_search(project, ready)
    elif compared:
        compare(runs, current)
    else:
        show_run(project, current)


def _current(runs: list[Run]) -> Run:
    """The run that was asked for, else the newest."""
    asked = st.session_state.get("optimize_run") or st.query_params.get("run")
    return next((run for run in runs if run.id == asked), runs[0])


def _run_label(run: Run) -> str:
    said = run.status
    if run.status == "succeeded":
        said = "found a better one" if (run.result or {}).get("improved") else "nothing better found"
    return f"{run.name} · {said} · {ago(run.created_at)}"


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
                st.session_state["optimize_run"], st.session_state["optimize_form"] = run.id, False
                st.rerun()


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
        help="Each scored on all train examples. A method that scores on mini-batches, as APE and GEPA do, "
        "tries more; calls of the model that proposes come out of the same budget.",
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
