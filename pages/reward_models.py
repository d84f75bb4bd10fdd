"""Reward models: what there is to learn from, training, the registry."""

from typing import Any

import pandas as pd
import streamlit as st

from core.reward import drift, registry
from core.reward.data import Summary, summary
from core.runs import service
from core.services import database
from pages.reward_detail import ACTIVE, simulated_words, the_model
from pages.reward_drift import the_alarm
from pages.reward_form import the_form
from pages.reward_registry import show_registry
from pages.reward_run import STOPPED, the_last_end, the_training
from pages.shared import ago, empty, header, me, percent, problems
from storage.tables import Project, RewardModel

# --- what there is to learn from ----------------------------------------------------------


def the_data(people: Summary, everything: Summary) -> None:
    counts = people.splits
    simulated = everything.votes - people.votes
    cells = [
        (
            "To train on",
            f"{counts['train'].decided:,}",
            "Decided pairs of the train split, by people's votes.",
        ),
        ("To choose and calibrate", f"{counts['dev'].decided:,}", "Decided pairs of the dev split."),
        (
            "To judge by",
            f"{counts['test'].decided:,}",
            "Decided pairs of the test split, read once at the end of a training.",
        ),
        (
            "Simulated votes",
            f"{simulated:,}",
            "On pairs that no person has voted on. Used only if you say so, or while there are too few "
            "votes by people.",
        ),
    ]
    splits = ("train", "dev", "test", None)
    for column, split, (label, value, help) in zip(st.columns(4), splits, cells, strict=True):
        more = everything.splits[split].decided - counts[split].decided if split else 0
        column.metric(
            label,
            value,
            delta=f"+ {more:,} by simulation" if more else None,
            delta_color="off",
            delta_arrow="off",
            help=help,
            border=True,
            height="stretch",
        )
    with st.expander("By split, and what is left out"):
        rows = []
        for split, of in everything.splits.items():
            own = people.splits[split]
            rows.append(
                {
                    "Split": split,
                    "Decided by people": own.decided,
                    "Ties": own.ties,
                    "Votes by people": own.votes - own.machine_votes,
                    "Votes by machine judges": own.machine_votes,
                    "Decided by simulation": of.decided - own.decided,
                    "Both bad": of.both_bad,
                    "Same text": of.identical,
                }
            )
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
        st.caption(
            "A pair's split follows from its example, and near-duplicates of an example go with it, so that no "
            "example is trained on and judged by. A tie "
            "teaches that neither is better, and is not counted in the accuracy. Pairs that everybody "
            "calls “both bad”, and pairs whose responses are the same text, are left out."
        )


# --- the registry -------------------------------------------------------------------------


def the_models(project: Project, models: list[RewardModel]) -> RewardModel:
    st.subheader("Models", anchor=False)
    rows = []
    for model in models:
        found: dict[str, Any] = model.metrics
        best = max(
            (of["accuracy"] or 0.0 for of in (found.get("baselines") or {}).values() if of.get("n")),
            default=None,
        )
        rows.append(
            {
                "": "Active" if model.id == project.reward_model_id else "",
                "Model": model.name,
                "Accuracy (95 % interval)": percent(
                    found.get("accuracy"),
                    found.get("accuracy_low"),
                    found.get("accuracy_high"),
                    found.get("n_test"),
                ),
                "Best baseline": percent(best),
                "Trained on": f"{found.get('n_train', 0):,} pairs",
                "Votes": simulated_words(model),
                "Preset": str(found.get("preset", "")).capitalize(),
                "Made": ago(model.created_at),
            }
        )
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, width="stretch", height="content" if len(rows) <= 8 else 320
    )
    return the_one(project, models)


def the_one(project: Project, models: list[RewardModel]) -> RewardModel:
    """The model to look at: the one the reader chose, or the address names, or the active one."""
    ids = {model.id: model for model in models}
    asked = st.query_params.get("model")
    first = next((key for key in (asked, project.reward_model_id) if key in ids), models[0].id)
    if len(models) == 1:
        return models[0]
    chosen = st.selectbox(
        "Look at",
        list(ids),
        index=list(ids).index(first),
        format_func=lambda key: ids[key].name + (" (active)" if key == project.reward_model_id else ""),
        key=f"model_{project.id}",
        width=320,
    )
    return ids[chosen]


def show() -> None:
    if said := st.session_state.pop("reward_said", ""):
        st.toast(said, icon=":material/check:")
    project = header(
        "Reward models",
        "A reward model learns from votes which response people prefer, so that optimisers can ask it "
        "where people cannot vote on everything.",
    )
    found = summary(database(), me(), project.id)
    people, everything = found["exclude"], found["include"]
    models = registry.list_models(database(), me(), project.id)
    newest = service.list_runs(database(), me(), project.id, "reward_model", limit=1)
    if not everything.votes and not models and not newest:
        empty(
            "There are no votes to learn from yet.",
            "Compare some pairs, or import comparisons that people have made already. A first model "
            "takes about 30 decided pairs, a useful one several hundred.",
            "annotate.py",
            "Annotate",
        )
        st.page_link("data.py", label="Import comparisons", icon=":material/upload:")
        show_registry(project)  # one that was trained elsewhere needs no votes
        return
    over_time = drift.drift(database(), me(), project.id)
    the_alarm(over_time)
    at_work = bool(newest) and newest[0].status in ACTIVE
    if at_work:
        st.fragment(the_training, run_every=1.0)(newest[0].id)
    elif newest and newest[0].status in STOPPED:
        the_last_end(newest[0])
    if models:
        the_model(project, the_models(project, models), models, over_time)
    # What is asked of a reader first: without a model to train one, with one to know it.
    train, files = (
        st.tabs(["Train another one", "Versions and files"]) if models else (st.container(), st.container())
    )
    with train:
        the_data(people, everything)
        if not at_work:
            the_form(project, people, everything)
    with files:
        show_registry(project)


with problems():
    show()
