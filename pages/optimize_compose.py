"""The part of the form that composes a reward: components with weights, and constraints."""

from typing import Any

import streamlit as st

from core.llm.registry import list_hosts
from core.optimize.method import Option
from core.optimize.rewards.asking import DEFAULT_RUBRIC
from core.optimize.rewards.kinds import COMPONENTS, CONSTRAINTS, METRICS, REMOVED, Text
from core.optimize.view import Readiness
from core.reward.registry import list_models
from core.services import database
from pages.shared import me

# What is offered: kinds of components, each metric on its own, and a reward model without what
# length explains of its score.
OFFERED = {
    "reward_model": ("reward_model", {}),
    "less_length": ("reward_model", {"length": REMOVED}),
    "labels": ("labels", {}),
    **{f"metric_{name}": ("metric", {"metric": name}) for name in METRICS},
    "judge": ("judge", {}),
    "length": ("length", {}),
    "cost": ("cost", {}),
}
WORDS = {
    "mean": "mean", "worst": "worst case", "variance": "mean − λ × variance", "words": "words", "tokens": "tokens",
    "money": "money", "1-10": "1 to 10", "yes_no": "yes or no",
}  # fmt: skip


def composed_reward(ready: Readiness) -> dict[str, Any]:
    """The reward that the form describes, as the run's config takes it."""
    first = "reward_model" if ready.reward_model is not None else "metric_exact_match"
    chosen = st.multiselect(
        "Components",
        list(OFFERED),
        default=[first, "length"],
        format_func=_title,
        key="compose_components",
        help="The reward of a response is the sum of its components, each on a scale of its own, times its "
        "weight. They are shown apart, too.",
    )
    components = [_component(name, ready.project_id) for name in chosen]
    kept = st.multiselect(
        "Constraints",
        list(CONSTRAINTS),
        format_func=lambda name: CONSTRAINTS[name].title,
        key="compose_constraints",
        placeholder="None: anything may be chosen",
        help="Not weighed: a prompt whose responses break one too often is neither chosen nor promoted, "
        "however high its reward.",
    )
    constraints = [_constraint(name) for name in kept]
    return {"components": components, **({"constraints": constraints} if constraints else {})}


def _title(name: str) -> str:
    kind, given = OFFERED[name]
    if "metric" in given:
        return METRICS[given["metric"]]
    return COMPONENTS[kind].title + (", less what length explains" if given else "")


def _component(name: str, project_id: str) -> dict[str, Any]:
    kind, given = OFFERED[name]
    with st.container(border=True):
        left, right = st.columns([3, 1])
        left.markdown(f"**{_title(name)}**  \n:small[Scale: {COMPONENTS[kind].scale}]")
        weight = right.number_input("Weight", 0.0, 1_000.0, 1.0, 0.1, key=f"compose_{name}_weight")
        settings: dict[str, Any] = {**given}
        if kind == "reward_model":
            if given:
                st.caption(
                    "Longer responses often score higher whatever they say. What goes with length, fitted on the "
                    "project's own responses to train examples, is taken out of the score."
                )
            settings |= _models(project_id, name)
        elif kind == "judge":
            settings |= _judge()
        else:
            fields = [
                field for field in COMPONENTS[kind].fields
                if field.name not in given and not (field.name == "pattern" and given.get("metric") != "regex")
            ]  # fmt: skip
            settings |= _fields(name, fields)
    return {"kind": kind, "weight": float(weight), **settings}


def _models(project_id: str, name: str) -> dict[str, Any]:
    """One model with one member needs no choice; members, or several models, make an ensemble."""
    models = list_models(database(), me(), project_id)
    names = {model.id: model.name for model in models}
    a, b, c = st.columns([2, 1.3, 1])
    asked = a.multiselect(
        "Models", list(names), format_func=names.__getitem__, key=f"compose_{name}_models",
        placeholder="The active one", help="Several become one ensemble, with all their members.",
    )  # fmt: skip
    option = _option_of("reward_model", "ensemble")
    how = b.selectbox(
        "Members", option.choices, format_func=WORDS.__getitem__, key=f"compose_{name}_ensemble",
        help="How the scores of an ensemble's members become one. The worst case, or the mean less a "
        "multiple of the variance, is harder to cheat (Coste et al. 2023).",
    )  # fmt: skip
    settings: dict[str, Any] = {"models": asked} if asked else {}
    if how != "mean":
        settings["ensemble"] = how
    if how == "variance":
        settings["lambda"] = float(c.number_input("λ", 0.0, 100.0, 1.0, 0.1, key=f"compose_{name}_lambda"))
    return settings


def _judge() -> dict[str, Any]:
    hosts = [host.name for host in list_hosts(database(), me())]
    a, b = st.columns([2, 1])
    host = a.selectbox("Judge host", hosts, key="compose_judge_host", help="A call for each response, out of the same budget")  # fmt: skip
    answer = b.selectbox(
        "Answer",
        _option_of("judge", "answer").choices,
        format_func=WORDS.__getitem__,
        key="compose_judge_answer",
    )
    rubric = st.text_area("Rubric", DEFAULT_RUBRIC, height=90, key="compose_judge_rubric")
    said: dict[str, Any] = {"host": host, "answer": answer}
    return said | ({"rubric": rubric} if rubric.strip() else {})


def _constraint(name: str) -> dict[str, Any]:
    with st.container(border=True):
        st.markdown(f"**{CONSTRAINTS[name].title}**  \n:small[{CONSTRAINTS[name].sentence}]")
        return {"kind": name, **_fields(name, list(CONSTRAINTS[name].fields))}


def _fields(name: str, fields: list[Option | Text]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    columns = st.columns(max(1, min(4, len(fields))))
    for i, field in enumerate(fields):
        with columns[i % len(columns)]:
            value = _field(field, f"compose_{name}_{field.name}")
        if value not in ("", [], None):
            found[field.name] = value
    return found


def _field(field: Option | Text, key: str) -> Any:
    help = field.help or None
    if isinstance(field, Text):
        if field.several:
            said = st.text_area(f"{field.label} (one a line)", key=key, height=90, help=help)
            return [line.strip() for line in said.splitlines() if line.strip()]
        return st.text_input(field.label, str(field.default), key=key, help=help).strip()
    if isinstance(field.default, str):
        return st.selectbox(
            field.label, field.choices, field.choices.index(field.default),
            format_func=lambda word: WORDS.get(word, word), key=key, help=help,
        )  # fmt: skip
    if isinstance(field.default, int):
        return int(
            st.number_input(field.label, int(field.low), int(field.high), field.default, key=key, help=help)
        )
    step = 0.05 if field.high == 1.0 else max(field.default / 10, 1e-6)
    return float(st.number_input(field.label, field.low, field.high, float(field.default), step, key=key, help=help))  # fmt: skip


def _option_of(kind: str, name: str) -> Option:
    return next(f for f in COMPONENTS[kind].fields if f.name == name and isinstance(f, Option))
