"""The form of a new search: what to try, on what, against which reward, within which budget."""

from typing import Any

import streamlit as st

from core.llm.registry import list_hosts
from core.optimize.method import Method, Option
from core.optimize.methods import METHODS
from core.optimize.runs import DEFAULT_CALLS, REWARDS
from core.optimize.view import Readiness, offered
from core.services import database
from pages.optimize_compose import composed_reward
from pages.optimize_start import start_form
from pages.optimize_watch import watch_form
from pages.shared import me, percent

BUDGETS = {
    "reward_model": {"Quick": 150, "Standard": DEFAULT_CALLS["reward_model"], "Thorough": 2_000},
    "labels": {"Quick": 500, "Standard": DEFAULT_CALLS["labels"], "Thorough": 6_000},
    "composed": {"Quick": 150, "Standard": DEFAULT_CALLS["composed"], "Thorough": 2_000},
}
GENERAL = "general"
SAME = "same"


def search_form(ready: Readiness) -> dict[str, Any]:
    """The config of the search that the form describes."""
    top_left, top_right = st.columns(2)
    left, middle, right = st.columns([2, 1.2, 1.2])
    hosts = _hosts()
    host = middle.selectbox(
        "Host", hosts, key="optimize_host", help="Where the language model runs whose prompt is worked on."
    )
    with top_left:
        name = _method(host)
    method = METHODS[name]
    with top_right:
        default = "reward_model" if ready.reward_model is not None else "labels"
        reward = st.segmented_control(
            "Reward",
            list(REWARDS),
            format_func=lambda name: REWARDS[name].title,
            default=default,
            required=True,
            key="optimize_reward",
            wrap=True,  # in a column they would scroll
        )
        _about_reward(reward, ready)
    with left:
        prompt = _start_prompt(reward, ready)
    asked = composed_reward(ready) if reward == "composed" else reward
    with left:
        shape = start_form(ready.project_id, asked, prompt)
    calls = _budget(reward)
    config: dict[str, Any] = {"method": name, "reward": asked, "budget": {"calls": calls}, "host": host}
    if method.asks:
        proposer = right.selectbox(
            "Optimiser host",
            [SAME, *hosts],
            format_func=lambda name: "the same" if name == SAME else name,
            key="optimize_proposer",
            help="Where the language model runs that writes proposals. A stronger one writes better ones; "
            "its calls come out of the same budget, and are counted apart.",
        )
        if proposer != SAME:
            config["optimizer_host"] = proposer
    if prompt:
        config["prompt"] = prompt
    config |= shape
    with st.expander(f"Settings of {method.short}", icon=":material/tune:"):
        config |= _options(name, method)
    with st.expander("Examples, seed and stop", icon=":material/tune:"):
        config |= _more(reward, ready)
    return config


def _hosts() -> list[str]:
    names = [host.name for host in list_hosts(database(), me())]
    return names if "embedded" in names else ["embedded", *names]


def _method(host: str) -> str:
    proposer = st.session_state.get("optimize_proposer", SAME)  # it is chosen further down
    reasons = offered(database(), me(), host, None if proposer == SAME else proposer)

    def title(name: str) -> str:
        return METHODS[name].title + (" (not on this host)" if reasons[name] else "")

    name = st.selectbox("Method", list(METHODS), format_func=title, key="optimize_method")
    st.caption(f"{METHODS[name].sentence} ({METHODS[name].source})")
    if reasons[name]:
        st.caption(f":material/block: {reasons[name]}")
    return name


def _options(name: str, method: Method) -> dict[str, Any]:
    """The method's own settings, four in a row. What is left at its default is not said."""
    chosen: dict[str, Any] = {}
    columns = st.columns(4)
    for i, option in enumerate(method.options):
        with columns[i % 4]:
            value = _option(option, f"optimize_{name}_{option.name}")
        if value != option.default:
            chosen[option.name] = value
    return chosen


def _option(option: Option, key: str) -> Any:
    help = option.help or None
    if isinstance(option.default, bool):
        return st.checkbox(option.label, option.default, key=key, help=help)
    if isinstance(option.default, str):
        return st.selectbox(
            option.label, option.choices, option.choices.index(option.default), key=key, help=help
        )
    if isinstance(option.default, int):
        return int(
            st.number_input(
                option.label, int(option.low), int(option.high), option.default, key=key, help=help
            )
        )
    return float(
        st.number_input(
            option.label,
            option.low,
            option.high,
            option.default,
            min(0.1, option.default or 0.1),
            format="%g",
            key=key,
            help=help,
        )
    )


def _about_reward(reward: str, ready: Readiness) -> None:
    model = ready.reward_model
    if reward == "composed":
        st.caption(REWARDS[reward].sentence)
    elif reward == "labels":
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
        verb = "was judged by" if model.metrics.get("uploaded") else "learnt from"
        simulated = (
            f" {100 * model.simulated_share:.0f} % of the votes it {verb} are simulated."
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
        preset = st.pills(
            "Budget",
            [*presets, "Own"],
            format_func=lambda name: f"{name} · {presets[name]:,}" if name in presets else name,
            default="Standard" if reward == "labels" else "Quick",
            required=True,
            key=f"optimize_preset_{reward}",
            wrap=True,
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
    there = ready.with_reference if reward == "labels" else ready.examples
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
    if reward != "labels":
        config["max_new_tokens"] = int(
            a.number_input("Tokens a response", 1, 4_096, 64, key="optimize_tokens")
        )
    minutes = b.number_input(
        "Minutes at most", 1, 100_000, None, key="optimize_minutes", placeholder="no limit"
    )
    if minutes is not None:
        config["time_limit_s"] = 60 * int(minutes)
    still = c.number_input(
        "Candidates without a better one",
        1,
        1_000_000,
        None,
        key="optimize_still",
        placeholder="no limit",
        help="Stop after so many in a row, scored on all train examples, that were no better than the best so "
        "far.",
    )
    if still is not None:
        config["no_improvement"] = int(still)
    tokens = a.number_input(
        "Tokens at most", 1, 10**12, None, 100_000, key="optimize_max_tokens", placeholder="no limit",
        help="In and out, of all hosts. Choosing on dev and reporting on test come out of it; no batch "
        "begins once it is reached, so it is overrun by one batch at most.",
    )  # fmt: skip
    if tokens is not None:
        config["max_tokens"] = int(tokens)
    third_row = a if reward == "labels" else b  # in line with the limit on tokens
    cost = third_row.number_input(
        "Cost at most", 0.0001, 1e9, None, 1.0, format="%.4f", key="optimize_max_cost",
        placeholder="no limit", help="By the hosts' prices; held like the limit on tokens.",
    )  # fmt: skip
    if cost is not None:
        config["max_cost"] = float(cost)
    target = d.number_input(
        "Target score", None, None, None, key=f"optimize_target_{reward}", placeholder="none",
        help="Stop once a candidate reaches it on train.",
    )  # fmt: skip
    if target is not None:
        config["target"] = float(target)
    if reward != "labels":
        config |= watch_form(ready.project_id)
    return config
