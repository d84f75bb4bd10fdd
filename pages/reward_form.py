"""The form that starts a training: the preset first, everything else one click away, and what
it will cost in time and memory."""

from typing import Any

import streamlit as st

from core.errors import Invalid
from core.reward import registry
from core.reward.data import Summary
from core.reward.estimate import Estimate, Shape, estimate, shape_of, speed_here
from core.reward.options import (
    AVERAGES,
    LOSSES,
    MOST_MEMBERS,
    OVERALL,
    PRECISIONS,
    WEIGHTS,
    Options,
    installed_reporters,
    read_options,
)
from core.reward.presets import DEFAULT, PRESETS, Preset, schedule
from core.reward.runs import check_enough, length_for
from core.runs import service
from core.services import database
from core.settings import get_settings
from pages.reward_detail import line
from pages.shared import duration, may, me, problems
from pages.snapshots_choose import the_choice
from storage.tables import Project


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
        st.text(preset.words)
        config: dict[str, Any] = {"preset": preset.name}
        data = the_choice(project, people, everything)
        used = data.used
        config |= data.config
        with st.expander("More choices", key=f"more_{project.id}"):
            config |= the_choices(project, preset)
        options: Options | None = None
        reason: Invalid | None = None
        try:
            options = read_options(config)
            check_enough(used, data.more)
        except Invalid as problem:
            reason = problem
        if options is not None:
            the_estimate(project, preset, used, options, str(config.get("backbone") or ""))
        the_warnings(used)
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
            disabled=bool(reason) or data.refused or not may("run.start"),
            help=None if may("run.start") else "Engineers and admins start trainings.",
            key="train",
        )
        if pressed:
            with problems():
                service.start_run(database(), me(), project.id, "reward_model", config)
                st.rerun()


# --- everything else ----------------------------------------------------------------------------


def the_choices(project: Project, preset: Preset) -> dict[str, Any]:
    """Only what differs from the default, as the run's config takes it."""
    config: dict[str, Any] = {}
    key = project.id
    st.markdown("**What is learned**")
    if objective := the_objective(key):
        config["objective"] = objective
    if project.criteria:
        config |= the_heads(project)
    st.markdown("**Which model**")
    config |= the_backbone(key, preset)
    st.markdown("**How many, and when to stop**")
    config |= the_members(key)
    return config


def the_objective(key: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    left, right = st.columns(2)
    loss = left.selectbox(
        "Loss",
        list(LOSSES),
        format_func=LOSSES.__getitem__,
        key=f"loss_{key}",
        help="How the difference of two scores becomes a probability. Models of ties learn from “tie” as an "
        "answer of its own, and say how likely one is.",
    )
    ties = loss != "bradley_terry"
    weights = right.selectbox(
        "Weight of a pair",
        list(WEIGHTS),
        format_func=WEIGHTS.__getitem__,
        key=f"weights_{key}",
        help="By skill: pairs voted on by annotators who agree with others more often count more.",
    )
    first, second = st.columns(2)
    soft = first.toggle(
        "Soft labels",
        value=True,
        key=f"soft_{key}",
        help="Learn the share of votes (three of four is 75 %). Off: what most of them say, as if all did.",
    )
    margin = second.toggle(
        "Margin by strength",
        value=True,
        disabled=ties,
        key=f"margin_{key}",
        help="A clear preference asks for a larger difference of scores than a slight one (Llama 2). Models of "
        "ties have none.",
    )
    third, fourth, fifth = st.columns(3)
    smoothing = third.number_input(
        "Label smoothing",
        0.0,
        0.49,
        0.0,
        0.01,
        key=f"smoothing_{key}",
        help="The share of votes that is taken to be mistaken: makes the model less sure of itself.",
    )
    centre = fourth.number_input(
        "Centring",
        0.0,
        100.0,
        0.0,
        0.01,
        key=f"centre_{key}",
        help="Coefficient on the squared sum of a pair's scores, which keeps them around zero; 0.01 is usual, 0 "
        "leaves it out.",
    )
    if ties:
        fixed = fifth.number_input(
            "Tie parameter",
            0.0,
            100.0,
            0.0,
            0.1,
            key=f"tie_{key}",
            help="How wide a tie is. 0: it is learned from the votes.",
        )
        if fixed:
            said["tie"] = float(fixed)
    if ties:
        said["loss"] = loss
    if weights != "none":
        said["weights"] = weights
    if not soft:
        said["soft"] = False
    if not margin and not ties:
        said["margin"] = False
    if smoothing:
        said["label_smoothing"] = float(smoothing)
    if centre:
        said["centre"] = float(centre)
    return said


def the_heads(project: Project) -> dict[str, Any]:
    chosen = st.multiselect(
        "Criteria with a score of their own",
        project.criteria,
        key=f"criteria_{project.id}",
        placeholder="None: one overall score",
        help="Each gets a head on the same model, trained on what annotators marked by that criterion.",
    )
    if not chosen:
        return {}
    st.caption("How they become one score. This can be chosen anew whenever something is scored.")
    weights: dict[str, float] = {}
    least: dict[str, float] = {}
    for name in (OVERALL, *chosen):
        left, right = st.columns(2)
        default = 1.0 if name == OVERALL else 0.0
        weights[name] = left.number_input(
            f"Weight of “{name}”", -10.0, 10.0, default, 0.1, key=f"weight_{name}_{project.id}"
        )
        if name != OVERALL:
            floor = right.number_input(
                f"“{name}” at least",
                -5.0,
                5.0,
                None,
                0.1,
                key=f"least_{name}_{project.id}",
                placeholder="No limit",
                help="In standard deviations of training responses. What falls short costs the score as much.",
            )
            if floor is not None:
                least[name] = float(floor)
    if not least and weights == {OVERALL: 1.0, **dict.fromkeys(chosen, 0.0)}:
        return {"criteria": chosen}
    return {"criteria": chosen, "combination": {"weights": weights, "at_least": least}}


def the_backbone(key: str, preset: Preset) -> dict[str, Any]:
    said: dict[str, Any] = {}
    left, right = st.columns(2)
    backbone = left.text_input(
        "Backbone",
        placeholder=get_settings().reward_backbone,
        key=f"backbone_{key}",
        help="“embedded” (MiniLM, 22 M parameters), a folder on this machine, or a Hugging Face id: BERT-like, "
        "ModernBERT, Qwen, Llama. Its weights must be safetensors.",
    ).strip()
    if backbone:
        said["backbone"] = backbone
    length = right.number_input(
        "Tokens read",
        16,
        32_768,
        None,
        16,
        key=f"length_{key}",
        placeholder=f"By the preset: {preset.max_length}",
        help="Of input and response together. What is too long loses the beginning of the input.",
    )
    if length:
        said["max_length"] = int(length)
    first, second, third = st.columns(3)
    precision = first.selectbox(
        "Precision", list(PRECISIONS), format_func=PRECISIONS.__getitem__, key=f"precision_{key}",
        help="bfloat16 takes half the time where the processor has it.",
    )  # fmt: skip
    if precision != "auto":
        said["precision"] = precision
    accumulation = second.number_input(
        "Parts of a batch", 1, 1024, 1, key=f"accumulation_{key}",
        help="Gradient accumulation: so many passes make one step. Less memory, the same steps.",
    )  # fmt: skip
    if accumulation > 1:
        said["accumulation"] = int(accumulation)
    processes = third.number_input(
        "Processes", 1, 64, 1, key=f"processes_{key}",
        help="One for each GPU, started by `accelerate launch`. On processors alone it gains little.",
    )  # fmt: skip
    if processes > 1:
        said["processes"] = int(processes)
    if st.toggle(
        "LoRA",
        key=f"lora_{key}",
        help="Train thin adapters beside the layers instead of the layers: for backbones of hundreds of millions "
        "of parameters. They are added into the weights at the end.",
    ):
        one, two, three = st.columns(3)
        said["lora"] = {
            "r": int(one.number_input("Rank", 1, 1024, 16, key=f"rank_{key}")),
            "alpha": int(two.number_input("Alpha", 1, 10_000, 32, key=f"alpha_{key}")),
            "dropout": float(three.number_input("Dropout", 0.0, 0.9, 0.0, 0.05, key=f"dropout_{key}")),
        }
    return said


def the_members(key: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    left, right = st.columns(2)
    members = left.number_input(
        "Members", 1, MOST_MEMBERS, 1, key=f"members_{key}",
        help="An ensemble: as many models on other seeds and data orders, sharing the frozen layers. How far they "
        "lie apart says where the model does not know.",
    )  # fmt: skip
    if members > 1:
        said["members"] = int(members)
        average = right.selectbox(
            "Of their weights", list(AVERAGES), format_func=AVERAGES.__getitem__, key=f"average_{key}",
            help="An average (WARM) is asked as fast as one model, and loses the spread.",
        )  # fmt: skip
        if average != "none":
            said["average"] = average
    first, second = st.columns(2)
    early = first.number_input(
        "Stop early after checks without gain", 0, 100, 0, key=f"early_{key}",
        help="The dev split is asked four times a pass. 0: train to the end. The best state is kept either way.",
    )  # fmt: skip
    if early:
        said["early_stopping"] = int(early)
    if there := installed_reporters():
        chosen = second.multiselect(
            "Also log to", there, key=f"report_{key}", help="Set up by their own environment variables."
        )
        if chosen:
            said["report_to"] = chosen
    return said


# --- what it will take --------------------------------------------------------------------------


def the_estimate(project: Project, preset: Preset, used: Summary, options: Options, backbone: str) -> None:
    train = used.splits["train"].pairs
    held_out = used.splits["dev"].pairs + used.splits["test"].pairs
    batch, epochs = schedule(preset, train)
    length = options.max_length or length_for(preset, used)
    shape = shape_of(backbone or get_settings().reward_backbone)
    earlier = [model.metrics for model in registry.list_models(database(), me(), project.id)]
    found = estimate(
        preset,
        train,
        held_out,
        used.characters,
        options,
        max_length=length,
        shape=shape,
        speed=speed_here(earlier),
    )
    shorter = (
        " (shortened, to take less long)" if not options.max_length and length < preset.max_length else ""
    )
    frozen = preset.frozen if options.lora is None else 0.0
    layers = f"{100 * frozen:.0f} % of the layers frozen" if frozen else "all layers trained"
    if options.lora:
        layers = "adapters trained"
    passes = "one pass" if epochs == 1 else f"{epochs} passes"
    if epochs > preset.epochs:
        passes += " (as there are few)"
    times = f" · {options.members} members" if options.members > 1 else ""
    st.caption(
        f"{length} tokens{shorter} · {layers} · {passes} over {train:,} pairs, {batch} at a time{times}, "
        "keeping the state that does best on the dev split"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/schedule: **about {duration(found.seconds)}** {_where(found, shape)}", width="content"
        )
        st.markdown(f":material/memory: about {_gigabytes(found.bytes)} of memory", width="content")


def _where(found: Estimate, shape: Shape) -> str:
    if not shape.known:
        return "if the backbone were MiniLM; this one's size is not known here yet"
    return "going by earlier trainings here" if found.corrected else "on two processor cores"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def the_warnings(used: Summary) -> None:
    if used.simulated_share > 0:
        line(
            f"{100 * used.simulated_share:.0f} % of these votes are simulated: the model will prefer what the "
            "simulation prefers.",
            ":material/science:",
        )
    if used.machine_votes:
        line(
            f"{used.machine_votes:,} of these {used.votes:,} votes are by machine judges, which a lead has taken "
            "in.",
            ":material/gavel:",
        )
