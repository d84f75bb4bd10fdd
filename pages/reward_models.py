"""Reward models: what there is to learn from, training, the registry."""

from contextlib import nullcontext
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import Invalid
from core.reward import drift, registry
from core.reward.data import Summary, summary
from core.reward.estimate import estimate
from core.reward.presets import DEFAULT, PRESETS, schedule
from core.reward.runs import check_enough, default_simulated, length_for
from core.runs import service
from core.services import database
from pages.reward_detail import ACTIVE, line, simulated_words, the_curve, the_model
from pages.reward_drift import the_alarm
from pages.reward_registry import show_registry
from pages.shared import ago, duration, empty, header, may, me, percent, problems
from storage.tables import Project, RewardModel, Run

STOPPED = {
    "failed": "The last training failed.",
    "interrupted": "The last training was interrupted.",
}
VOTES = {"exclude": "People's votes only", "include": "Also simulated votes"}


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
    with st.popover("By split, and what is left out", width="content"):
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
            "A pair's split follows from its example, so no example is trained on and judged by. A tie "
            "teaches that neither is better, and is not counted in the accuracy. Pairs that everybody "
            "calls “both bad”, and pairs whose responses are the same text, are left out."
        )


# --- training -----------------------------------------------------------------------------


def the_form(project: Project, people: Summary, everything: Summary) -> None:
    with st.container(border=True):
        st.subheader("Train a reward model", anchor=False)
        name = st.segmented_control(
            "How thorough",
            list(PRESETS),
            default=DEFAULT,
            required=True,
            format_func=str.capitalize,
            key=f"preset_{project.id}",
        )
        preset = PRESETS[name or DEFAULT]
        simulated = default_simulated(people, everything)
        if everything.votes > people.votes:
            simulated = (
                st.segmented_control(
                    "Votes to learn from",
                    list(VOTES),
                    default=simulated,
                    required=True,
                    format_func=VOTES.__getitem__,
                    key=f"votes_{project.id}",
                )
                or simulated
            )
        used = everything if simulated == "include" else people
        train = used.splits["train"].pairs
        batch, epochs = schedule(preset, train)
        held_out = used.splits["dev"].pairs + used.splits["test"].pairs
        length = length_for(preset, used)
        st.text(preset.words)
        shorter = " (shortened, to take less long)" if length < preset.max_length else ""
        layers = f"{preset.frozen:.0%} of the layers frozen" if preset.frozen else "all layers trained"
        passes = "one pass" if epochs == 1 else f"{epochs} passes"
        if epochs > preset.epochs:
            passes += " (as there are few)"
        st.caption(
            f"{length} tokens{shorter} · {layers} · {passes} over {train:,} pairs, {batch} at a time, "
            "keeping the state that does best on the dev split · "
            f"**about {duration(estimate(preset, train, held_out, used.characters, max_length=length).seconds)}** on two "
            "processor cores"
        )
        if used.simulated_share > 0:
            line(
                f"{used.simulated_share:.0%} of these votes are simulated: the model will prefer what the "
                "simulation prefers.",
                ":material/science:",
            )
        if used.machine_votes:
            line(
                f"{used.machine_votes:,} of these {used.votes:,} votes are by machine judges, which a lead has taken "
                "in.",
                ":material/gavel:",
            )
        reason = missing(used, everything if simulated == "exclude" else None)
        if reason:
            line(str(reason), ":material/block:")
        elif used.splits["test"].decided < 20:
            line(
                f"Only {used.splits['test'].decided} decided pairs to judge by: the accuracy will have a "
                "wide interval.",
            )
        pressed = st.button(
            "Train",
            type="primary",
            icon=":material/model_training:",
            disabled=bool(reason) or not may("run.start"),
            help=None if may("run.start") else "Engineers and admins start trainings.",
            key="train",
        )
        if pressed:
            with problems():
                service.start_run(
                    database(),
                    me(),
                    project.id,
                    "reward_model",
                    {"preset": preset.name, "simulated": simulated},
                )
                st.rerun()


def missing(used: Summary, with_simulated: Summary | None) -> Invalid | None:
    try:
        check_enough(used, with_simulated)
    except Invalid as problem:
        return problem
    return None


def the_training(run_id: str) -> None:
    """The run at work. Its end reruns the page, so that the model appears below."""
    run = service.get_run(database(), me(), run_id)
    if run.status not in ACTIVE:
        st.rerun()
    with st.container(border=True):
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.subheader("Training" if run.status == "running" else "Waiting for its turn", anchor=False)
        with right, problems():
            asked = st.button(
                "Stopping…" if run.cancel_requested else "Cancel",
                icon=":material/cancel:",
                disabled=run.cancel_requested or not may("run.control"),
                key=f"cancel_{run.id}",
                width="stretch",
                help="The best state so far is kept.",
            )
            if asked:
                service.cancel_run(database(), me(), run.id)
                st.rerun()
        parts = [f"{run.progress:.0%}"]
        if run.message:
            parts.append(run.message)
        if run.eta_s is not None:
            parts.append(f"about {duration(run.eta_s)} left")
        if run.status == "queued":
            parts = ["It starts when a slot is free."]
        st.progress(min(max(run.progress, 0.0), 1.0), text=" · ".join(parts))
        the_curve(run)
        settings = run.config
        st.caption(f"{str(settings.get('preset', '')).capitalize()} · seed {run.seed}")


def the_last_end(run: Run) -> None:
    """A training that ended badly, until the next one."""
    with st.container(border=True):
        line(f"**{STOPPED[run.status]}**", ":red[:material/error:]")
        if said := f"{run.error or ''} {run.hint or ''}".strip():
            st.text(said)  # a library's own words may be in it
        with st.container(horizontal=True, vertical_alignment="center"):
            if may("run.control") and st.button(
                "Resume", icon=":material/play_arrow:", key=f"resume_{run.id}"
            ):
                with problems():
                    service.resume_run(database(), me(), run.id)
                    st.rerun()
            st.page_link("runs.py", label="See its log", icon=":material/sync:", query_params={"run": run.id})


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
    with st.expander("Train another one", icon=":material/model_training:") if models else nullcontext():
        the_data(people, everything)
        if not at_work:
            the_form(project, people, everything)
    show_registry(project)


with problems():
    show()
