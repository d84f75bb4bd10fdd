"""Generating responses from the page: what to ask whom, what it will take, and go."""

from typing import Any

import streamlit as st

from core.errors import PrefloopError
from core.llm.generate import SEED, Estimate, estimate
from core.llm.protocol import Sampling
from core.llm.registry import list_hosts, model_name
from core.prompts import versions
from core.runs.service import cancel_run, list_runs, start_run
from core.services import database
from pages.shared import ago, duration, empty, may, me, problems
from storage.tables import Project, Prompt, Run

SPLITS = {"all": "All", "train": "Train", "dev": "Dev", "test": "Test"}
PAIRS = {
    "all": "Each two prompts",
    "champion": "Each against the champion",
    "none": "No pairs",
}
DEFAULT_LIMIT = 60
ACTIVE = ("queued", "running")
STATES = {
    "queued": "waiting",
    "running": "at work",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}


def show_generate(project: Project, prompts: list[Prompt]) -> None:
    usable = {prompt.id: prompt for prompt in prompts if prompt.user.strip()}
    if not usable:
        empty("There is no prompt to generate with.", "Write one first: a template with {{input}} in it.")
        return
    if not versions.some_examples(database(), me(), project.id, 1):
        empty(
            "There are no examples yet.",
            "Examples are the inputs that prompts answer.",
            "data.py",
            "Import examples",
        )
        return
    _earlier(project)
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        config = _form(project, usable)
    with right:
        _summary(project, config)


def _form(project: Project, usable: dict[str, Prompt]) -> dict[str, Any]:
    chosen = st.multiselect(
        "Prompts",
        list(usable),
        default=_newest(project, usable),
        format_func=lambda key: versions.label(usable[key]) if key in usable else key,
        key=f"generate_prompts_{project.id}_{len(usable)}",
        help="Each is asked about every example.",
    )
    a, b = st.columns(2)
    with a:
        split = st.segmented_control(
            "Examples", list(SPLITS), format_func=SPLITS.get, default="all", required=True,
            key="generate_split",
            help="Splits are fixed by a hash of the input. Reward models train on train, and are judged "
            "on test.",
        )  # fmt: skip
    with b:
        limit = st.number_input(
            "At most so many", 1, 100_000, DEFAULT_LIMIT, key="generate_limit",
            help="The same ones each time: a larger run goes on from a smaller one.",
        )  # fmt: skip
    hosts = {host.id: host for host in list_hosts(database(), me())}
    host = st.selectbox(
        "Host",
        list(hosts),
        format_func=lambda key: f"{hosts[key].name} · {model_name(hosts[key])}" if key in hosts else key,
        key="generate_host",
        help="Where the language model runs. More are added on the page Hosts.",
    )
    pairs = st.radio(
        "Pairs to label afterwards",
        list(PAIRS) if project.champion_prompt_id else ["all", "none"],
        format_func=PAIRS.get,
        horizontal=True,
        key="generate_pairs",
        help="Of responses to the same example by different prompts; answers that read the same are left "
        "out. Without a champion, each two prompts are compared.",
    )
    config: dict[str, Any] = {
        "prompts": chosen,
        "examples": {"limit": int(limit), **({"split": split} if split != "all" else {})},
        "host": host,
        "pairs": pairs,
        "params": {},
    }
    default = Sampling()
    with st.expander("Sampling and votes", icon=":material/tune:"):
        c, d = st.columns(2)
        config["params"]["max_new_tokens"] = c.number_input(
            "Tokens at most", 1, 8192, default.max_new_tokens, key="generate_tokens", help="Of each answer."
        )
        config["params"]["temperature"] = d.number_input(
            "Temperature", 0.0, 2.0, default.temperature, 0.1, key="generate_temperature",
            help="0: always the likeliest token. Higher: more varied answers.",
        )  # fmt: skip
        config["params"]["top_p"] = c.number_input(
            "Top p", 0.05, 1.0, default.top_p, 0.05, key="generate_top_p",
            help="Only the likeliest tokens that make up this share are drawn from.",
        )  # fmt: skip
        config["seed"] = d.number_input(
            "Seed", 0, 2**31 - 1, SEED, key="generate_seed",
            help="The same request with the same seed is the same answer, and is not asked again. "
            "Another seed gives other answers.",
        )  # fmt: skip
        config["votes"] = c.number_input(
            "Votes a pair", 1, 100, project.votes_per_pair, key=f"generate_votes_{project.id}"
        )
    return config


def _newest(project: Project, usable: dict[str, Prompt]) -> list[str]:
    """The newest version of each name, and the champion."""
    newest: dict[str, str] = {}
    for prompt in usable.values():  # newest version of a name first
        newest.setdefault(prompt.name, prompt.id)
    champion = project.champion_prompt_id
    return list(dict.fromkeys([*([champion] if champion in usable else []), *newest.values()]))


def _summary(project: Project, config: dict[str, Any]) -> None:
    """What it will take, and the button."""
    plan: Estimate | None = None
    with st.container(border=True):
        try:
            asked = {name: value for name, value in config.items() if name != "seed"}
            plan = estimate(database(), me(), project.id, asked, int(config["seed"]))
        except PrefloopError as problem:
            st.info(f"{problem.message} {problem.hint}", icon=":material/info:")
        if plan is not None:
            _figures(plan)
        if not may("run.start"):
            st.caption("Engineers and admins can start it.")
        elif st.button(
            "Generate responses", type="primary", icon=":material/play_arrow:", width="stretch",
            disabled=plan is None, key="generate_start",
        ):  # fmt: skip
            with problems():
                run = start_run(database(), me(), project.id, "generate", config)
                st.session_state["generate_started"] = run.id
                st.toast("Started. It works in the background.", icon=":material/play_arrow:")
                st.rerun()


def _figures(plan: Estimate) -> None:
    st.metric(
        "Answers to ask for",
        f"{plan.calls:,}",
        help=f"{plan.prompts} prompts × {plan.examples:,} examples, less what is there already.",
    )
    said = [f"{plan.prompts} prompts × {plan.examples:,} examples"]
    if plan.reused:
        said.append(f"{plan.reused:,} answers are there already and cost nothing")
    said.append(f"at most {plan.pairs:,} pairs")
    st.caption("; ".join(said) + ".")
    if plan.calls:
        how = "as fast as the last run on this host" if plan.measured else "a rough guess"
        st.caption(f"At most about {duration(plan.seconds)} ({how}).")
    if plan.cost_at_most:
        st.caption(f"At most about {plan.cost_at_most:,.2f} in the currency of the host's prices.")


def _earlier(project: Project) -> None:
    """The newest runs, so that nobody starts one twice; kept up to date while one is at work."""
    runs = _shown(project)
    if any(run.status in ACTIVE for run in runs):
        st.fragment(_follow, run_every=2.0)(project)
    else:
        for run in runs:
            _one(run)


def _shown(project: Project) -> list[Run]:
    started = st.session_state.get("generate_started")
    runs = list_runs(database(), me(), project.id, "generate", limit=3)
    return [run for run in runs if run.status in ACTIVE or run.id == started]


def _follow(project: Project) -> None:
    runs = _shown(project)
    for run in runs:
        _one(run)
    if not any(run.status in ACTIVE for run in runs):
        st.rerun()  # the estimate changes, too: there is more to reuse


def _one(run: Run) -> None:
    with st.container(border=True):
        done = run.result or {}
        what = STATES[run.status]
        if done:
            what = "" if run.status == "succeeded" else f"{what}: "
            what += f"{done.get('responses', 0):,} responses, {done.get('pairs', 0):,} new pairs"
            if done.get("failed"):
                what += f", {done['failed']:,} requests failed"
        st.text(f"{run.name} · {ago(run.created_at)} · {what}")
        if run.status in ACTIVE:
            left = f" · about {duration(run.eta_s)} left" if run.eta_s else ""
            st.progress(run.progress, text=f"{run.message or 'Waiting for a free slot'}{left}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link("runs.py", label="The run", icon=":material/sync:", query_params={"run": run.id})
            if done.get("pairs"):
                st.page_link("annotate.py", label="Label pairs", icon=":material/compare:")
            if run.status in ACTIVE and may("run.control"):
                label = "Stopping …" if run.cancel_requested else "Stop and keep what is there"
                if st.button(
                    label, icon=":material/stop:", type="tertiary", disabled=run.cancel_requested,
                    key=f"generate_stop_{run.id}",
                ):  # fmt: skip
                    with problems():
                        cancel_run(database(), me(), run.id)
                        st.rerun()
