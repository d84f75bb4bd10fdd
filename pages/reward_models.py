"""Reward models: what there is to learn from, training, the registry."""

from typing import Any

import pandas as pd
import streamlit as st

from core.reward import drift, stages
from core.reward.data import Summary, summary
from core.reward.stages import Version
from core.runs import service
from core.services import database
from pages.reward_detail import ACTIVE, simulated_words, the_model
from pages.reward_drift import the_alarm
from pages.reward_form import the_form
from pages.reward_registry import the_upload
from pages.reward_run import STOPPED, the_last_end, the_training
from pages.shared import ago, empty, header, me, percent, problems
from storage.tables import Project

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


def the_models(project: Project, found: list[Version]) -> Version | None:
    """One table of all versions, and the one to look at; None where only archived ones are there
    and nobody asked for them."""
    st.subheader("Models", anchor=False)
    asked = next((one for one in found if one.model.id == st.query_params.get("model")), None)
    archived = sum(one.stage == stages.ARCHIVED for one in found)
    place = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choice = st.container(width=320)
        if archived and not st.toggle(
            f"Show {archived} archived",
            value=asked is not None and asked.stage == stages.ARCHIVED,
            key=f"archived_{project.id}",
        ):
            found = [one for one in found if one.stage != stages.ARCHIVED]
    if not found:
        place.caption("None but archived ones.")
        return None
    place.dataframe(
        pd.DataFrame([_row(one) for one in found]),
        hide_index=True,
        width="stretch",
        height="content" if len(found) <= 8 else 320,
    )
    with choice:
        return the_one(project, found, asked)


def _row(one: Version) -> dict[str, str]:
    told: dict[str, Any] = one.model.metrics
    judged = told.get("accuracy") is not None
    # Of runs from before it was kept: the best of those that need no judgement.
    simple = (of["accuracy"] or 0.0 for of in (told.get("baselines") or {}).values() if of.get("n"))
    judged_best = (told.get("judgement") or {}).get("best_baseline")
    best = judged_best["value"] if judged_best else max(simple, default=None)
    interval = (told.get(key) for key in ("accuracy", "accuracy_low", "accuracy_high", "n_test"))
    return {
        "Stage": one.stage.capitalize(),
        "Model": one.model.name,
        "Accuracy (95 % interval)": percent(*interval) if judged else "not judged",
        "Best baseline": percent(best),
        "Trained on": "not known" if one.uploaded else f"{told.get('n_train') or 0:,} pairs",
        "Votes": simulated_words(one.model),
        "Preset": str(told.get("preset") or "").capitalize(),
        "Size": f"{one.bytes / 2**20:,.1f} MB" if one.files else "files are gone",
        "Made": ago(one.model.created_at),
    }


def the_one(project: Project, found: list[Version], asked: Version | None) -> Version:
    """The version to look at: the one the reader chose, or the address names, or the active one."""
    ids = {one.model.id: one for one in found}
    named = asked.model.id if asked is not None else None
    first = next((key for key in (named, project.reward_model_id) if key in ids), found[0].model.id)
    if len(found) == 1:
        return found[0]

    def words(key: str) -> str:
        stage = ids[key].stage
        return ids[key].model.name + (f" ({stage})" if stage != stages.CANDIDATE else "")

    chosen = st.selectbox(
        "Look at", list(ids), index=list(ids).index(first), format_func=words, key=f"model_{project.id}", width=320
    )  # fmt: skip
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
    versions = stages.versions(database(), me(), project.id)
    models = [one.model for one in versions if one.stage != stages.ARCHIVED]
    newest = service.list_runs(database(), me(), project.id, "reward_model", limit=1)
    if not everything.votes and not versions and not newest:
        empty(
            "There are no votes to learn from yet.",
            "Compare some pairs, or import comparisons that people have made already. A first model "
            "takes about 30 decided pairs, a useful one several hundred.",
            "annotate.py",
            "Annotate",
        )
        st.page_link("data.py", label="Import comparisons", icon=":material/upload:")
        the_upload(project)  # one that was trained elsewhere needs no votes
        return
    over_time = drift.drift(database(), me(), project.id)
    the_alarm(over_time)
    at_work = bool(newest) and newest[0].status in ACTIVE
    if at_work:
        st.fragment(the_training, run_every=1.0)(newest[0].id)
    elif newest and newest[0].status in STOPPED:
        the_last_end(newest[0])
    if versions and (chosen := the_models(project, versions)) is not None:
        the_model(project, chosen, models, over_time)
    # What is asked of a reader first: without a model to train one, with one to know it.
    train, other = (
        st.tabs(["Train another one", "Take one in"]) if versions else (st.container(), st.container())
    )
    with train:
        the_data(people, everything)
        if not at_work:
            the_form(project, people, everything)
    with other:
        the_upload(project)


with problems():
    show()
