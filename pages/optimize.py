"""Search for a better prompt against a reward, watch it, and send what it found to the
annotators."""

from typing import Any

import streamlit as st

from core.errors import PrefloopError
from core.llm.registry import list_hosts
from core.optimize.phrases import GRANULARITIES
from core.optimize.runs import DEFAULT_CALLS, METHODS, REWARDS
from core.optimize.view import Preview, Readiness, preview, readiness
from core.runs.service import list_runs, start_run
from core.services import database
from pages.optimize_run import show_run
from pages.shared import ago, duration, empty, header, may, me, percent, problems
from storage.tables import Project, Run

BUDGETS = {
    "reward_model": {"Quick": 150, "Standard": DEFAULT_CALLS["reward_model"], "Thorough": 2_000},
    "labels": {"Quick": 500, "Standard": DEFAULT_CALLS["labels"], "Thorough": 6_000},
}
GENERAL = "general"


def page() -> None:
    project = header("Optimise", "Searches for a better prompt in the background, within a budget of calls.")
    ready = readiness(database(), me(), project.id)
    runs = list_runs(database(), me(), project.id, kind="optimize", limit=50)
    if not runs:
        new_search(project, ready)
        return
    current = _current(runs)
    form = st.session_state.get("optimize_form", False)
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
    if chosen != current.id:
        st.session_state["optimize_run"], st.session_state["optimize_form"] = chosen, False
        st.query_params.pop("run", None)
        st.rerun()
    if form and may("run.start"):
        new_search(project, ready)
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
        config = _form(ready)
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


def _form(ready: Readiness) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        method = st.selectbox(
            "Method", list(METHODS), format_func=lambda name: METHODS[name].title, key="optimize_method"
        )
        st.caption(METHODS[method].sentence)
    with right:
        default = "reward_model" if ready.reward_model is not None else "labels"
        reward = st.segmented_control(
            "Reward",
            list(REWARDS),
            format_func=lambda name: REWARDS[name].title,
            default=default,
            required=True,
            key="optimize_reward",
        )
        _about_reward(reward, ready)
    left, right = st.columns(2)
    with left:
        prompt = _start_prompt(reward, ready)
    with right:
        hosts = {host.name: host for host in list_hosts(database(), me())}
        names = list(hosts) if "embedded" in hosts else ["embedded", *hosts]
        host = st.selectbox("Host", names, key="optimize_host", help="Where the language model runs.")
    calls = _budget(reward)
    config: dict[str, Any] = {"method": method, "reward": reward, "budget": {"calls": calls}, "host": host}
    if prompt:
        config["prompt"] = prompt
    with st.expander("More settings", icon=":material/tune:"):
        config |= _more(reward, ready)
    return config


def _about_reward(reward: str, ready: Readiness) -> None:
    model = ready.reward_model
    if reward == "labels":
        n = sum(ready.with_reference.values())
        st.caption(f"{REWARDS[reward].sentence} {n:,} examples have a reference.")
    elif model is None:
        st.caption("No reward model is active.")
        st.page_link("reward_models.py", label="Train a reward model", icon=":material/arrow_forward:")
    else:
        metrics = model.metrics
        said = percent(
            metrics.get("accuracy"),
            metrics.get("accuracy_low"),
            metrics.get("accuracy_high"),
            metrics.get("n_test"),
        )
        simulated = (
            f" {100 * model.simulated_share:.0f} % of its votes are simulated."
            if model.simulated_share
            else ""
        )
        st.caption(f"{model.name}, held-out accuracy {said}.{simulated}")


def _start_prompt(reward: str, ready: Readiness) -> str | None:
    names = {prompt.id: f"{prompt.name} v{prompt.version}" for prompt in ready.prompts}
    if ready.champion_id in names:
        names[str(ready.champion_id)] += " (champion)"
    if not names and reward == "labels":
        names = {GENERAL: "A general instruction for the labels"}
    if not names:
        st.selectbox("Start prompt", ["none"], disabled=True, key="optimize_no_prompt")
        st.page_link("prompts.py", label="Write a prompt", icon=":material/arrow_forward:")
        return None
    chosen = st.selectbox(
        "Start prompt",
        list(names),
        format_func=names.__getitem__,
        key=f"optimize_prompt_{'-'.join(names)[:40]}",
    )
    return None if chosen == GENERAL else chosen


def _budget(reward: str) -> int:
    presets = BUDGETS[reward]
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        preset = st.pills(  # they wrap where the page is narrow
            "Budget",
            [*presets, "Own"],
            format_func=lambda name: f"{name} · {presets[name]:,}" if name in presets else name,
            default="Quick" if reward == "reward_model" else "Standard",
            required=True,
            key=f"optimize_preset_{reward}",
            help="Calls of the language model, all together. It is never overrun.",
        )
    if preset in presets:
        return presets[preset]
    with right:
        return int(
            st.number_input("Calls", 1, 1_000_000, presets["Standard"], 50, key=f"optimize_calls_{reward}")
        )


def _more(reward: str, ready: Readiness) -> dict[str, Any]:
    config: dict[str, Any] = {}
    a, b, c, d = st.columns(4)
    config["granularity"] = a.selectbox(
        "Edits on", GRANULARITIES, 1, format_func=lambda name: f"{name}s", key="optimize_granularity"
    )
    config["candidates"] = int(
        b.number_input("Candidates an iteration", 1, 100, 5, key="optimize_m", help="m in the paper")
    )
    config["iterations"] = int(c.number_input("Iterations at most", 1, 1_000, 10, key="optimize_iterations"))
    config["patience"] = int(
        d.number_input(
            "Patience", 1, 100, 2, key="optimize_patience", help="Fruitless iterations until it stops"
        )
    )
    a, b, c, d = st.columns(4)
    there = ready.examples if reward == "reward_model" else ready.with_reference
    sizes: dict[str, int | None] = {}
    for column, split in ((a, "train"), (b, "dev"), (c, "test")):
        sizes[split] = column.number_input(
            f"{split.capitalize()} examples", 2, max(2, there[split]), None, key=f"optimize_{split}_{reward}",
            placeholder="automatic", help=f"{there[split]:,} there. Automatic: as many as the budget carries.",
        )  # fmt: skip
    chosen = {split: int(value) for split, value in sizes.items() if value}
    if chosen:
        config["examples"] = chosen
    seed = d.number_input("Seed", 0, 2**31 - 1, None, key="optimize_seed", placeholder="drawn")
    if seed is not None:
        config["seed"] = int(seed)
    if reward == "reward_model":
        config["max_new_tokens"] = int(
            a.number_input("Tokens a response", 1, 4_096, 64, key="optimize_tokens")
        )
    config["annealing"] = st.checkbox(
        "Simulated annealing: now and then accept a worse one, to get out of a dead end",
        key="optimize_annealing",
    )
    return config


def _show_plan(laid: Preview) -> None:
    """What the budget buys, before anything is spent."""
    plan = laid.config["plan"]
    pace = "at the pace of the last search" if laid.measured else "a rough estimate"
    st.caption(f"The instruction of {laid.start_name}, which is edited:")
    st.code(laid.instruction, language=None, wrap_lines=True)
    a, b, c = st.columns(3)
    a.metric("Candidates", f"up to {plan['candidates']:,}", help="Each is scored on all its train examples.")
    b.metric(
        "Calls set aside", f"{plan['reserve']:,}",
        help=f"For choosing among the best {plan['finalists']} on dev, and for one report on test.",
    )  # fmt: skip
    c.metric("Time", f"up to {duration(laid.seconds)}", help=f"For the whole budget; {pace}.")
    st.caption(
        f"Searches on {plan['train']} train examples, chooses on {plan['dev']} dev examples, and reads "
        f"{plan['test']} test examples once, at the end."
    )


page()
