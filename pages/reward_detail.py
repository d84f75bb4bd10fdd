"""One reward model: what a reader must know first, how good it is beside baselines and people,
where and why not, what to do about it, how it compares, and how it was trained."""

from typing import Any

import pandas as pd
import streamlit as st

from core.reward import judged, stages
from core.reward.drift import Drift
from core.reward.stages import Version
from core.runs import service
from core.services import database
from pages.reward_bench import the_bench
from pages.reward_charts import accuracy_chart, calibration_chart, loss_chart, loss_points
from pages.reward_compare import ask_to_activate, the_comparison
from pages.reward_drift import the_drift
from pages.reward_figures import (
    the_accuracy,
    the_calibration,
    the_cards,
    the_leanings,
    the_learning_curve,
    the_slices,
    the_warnings,
)
from pages.reward_mistakes import the_mistakes
from pages.reward_registry import the_files
from pages.shared import duration, may, me, percent, plain, problems
from storage.tables import Project, RewardModel, Run

ACTIVE = ("queued", "running")


def line(text: str, icon: str = ":material/info:") -> None:
    """A sentence of ours behind an icon."""
    st.markdown(f"{icon} {text}")


def the_curve(run: Run, steps: int | None = None) -> None:
    events = service.events_after(database(), me(), run.id, types=["metric"])
    points = loss_points(events)
    if len(points) < 2:
        st.caption("The loss curve appears after the first steps." if run.status in ACTIVE else "")
        return
    st.altair_chart(loss_chart(points, steps), width="stretch")


def simulated_words(model: RewardModel) -> str:
    """Of the votes it learnt from; of an uploaded model, which says not, of those it was judged by."""
    share = model.simulated_share
    part = "simulated votes" if share >= 1 else f"{100 * share:.0f} % simulated votes"
    if model.metrics.get("uploaded"):
        return f"judged by {part if share else 'people'}" if model.metrics.get("n_test") else "not known"
    return ("all simulated" if share >= 1 else f"{100 * share:.0f} % simulated") if share else "by people"


OVER_TIME = "Over time"  # of the active model
TABS = [
    "Summary",
    "Where it is good",
    "What it goes by",
    "More votes",
    "Mistakes",
    "Compare",
    "Benchmarks",
    OVER_TIME,
    "Training",
    "Card and files",
]


def the_model(
    project: Project, version: Version, models: list[RewardModel], over_time: Drift | None = None
) -> None:
    """Everything about one model: its warnings first, then a tab for each question. Only the tab
    that is open is drawn. `models` it can be compared with; `over_time`: how the active model does
    on new votes."""
    model = version.model
    told = judged.judgement(model)
    the_name(version)
    for note in model.metrics.get("notes") or [] if told is None else []:
        line(plain(note))
    if told is not None:
        the_warnings(told)
        the_cards(told)
    left_out = set() if model.id == project.reward_model_id else {OVER_TIME}
    if told is None and model.metrics.get("uploaded"):  # as it says above: there was nothing to judge it on
        left_out |= {"Summary", "Where it is good", "What it goes by", "More votes", "Mistakes"}
    names = [name for name in TABS if name not in left_out]
    tabs = dict(zip(names, st.tabs(names, on_change="rerun", key=f"reward_tab_{model.id}"), strict=True))

    def opened(name: str) -> bool:
        return name in tabs and bool(tabs[name].open)

    if opened("Summary"):
        with tabs["Summary"]:
            the_summary(model, told)
    if opened("Where it is good"):
        with tabs["Where it is good"]:
            the_slices(told, model.id) if told is not None else unjudged()
    if opened("What it goes by"):
        with tabs["What it goes by"]:
            the_leanings(told) if told is not None else unjudged()
    if opened("More votes"):
        with tabs["More votes"]:
            the_learning_curve(told, model.id) if told is not None else unjudged()
    if opened("Mistakes"):
        with tabs["Mistakes"], problems():
            the_mistakes(project, model)
    if opened("Compare"):
        with tabs["Compare"], problems():
            the_comparison(project, model, models)
    if opened("Benchmarks"):
        with tabs["Benchmarks"], problems():
            the_bench(project, model)
    if opened(OVER_TIME) and over_time is not None:
        with tabs[OVER_TIME], problems():
            the_drift(project, over_time)
    if opened("Training"):
        with tabs["Training"], problems():
            the_training_of(model)
    if opened("Card and files"):
        with tabs["Card and files"], problems():
            the_files(version)


def unjudged() -> None:
    st.write(
        "This model was made before models were judged in detail. Train it anew, or upload it again, to see this."
    )


def the_name(version: Version) -> None:
    model = version.model
    found: dict[str, Any] = model.metrics
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(model.name, anchor=False, width="content")
        if version.stage == stages.ACTIVE:
            st.badge("active", icon=":material/check:", color="green")
        if version.stage == stages.ARCHIVED:
            st.badge("archived", icon=":material/archive:", color="gray")
        if model.simulated_share > 0:
            st.badge(simulated_words(model), icon=":material/science:", color="orange")
        if found.get("uploaded"):
            st.badge("uploaded", icon=":material/upload:", color="blue")
        elif found.get("machine_votes"):
            st.badge(f"{found['machine_votes']:,} votes by machine", icon=":material/gavel:", color="orange")
        if found.get("partial"):
            st.badge("stopped early", icon=":material/cancel:", color="yellow")
        if found.get("allowed_leaks"):
            st.badge("data with a leak", icon=":material/leak_remove:", color="red")
        offered = version.stage == stages.CANDIDATE and may("reward.activate")
        if offered and st.button(
            "Make it the active one", icon=":material/check:", key=f"activate_{model.id}"
        ):
            ask_to_activate(model.id)


def the_summary(model: RewardModel, told: dict[str, Any] | None) -> None:
    if told is None:
        the_old_summary(model.metrics)
        return
    left, right = st.columns([1.15, 1])
    with left, st.container(border=True, height="stretch"):
        the_accuracy(told)
    with right, st.container(border=True, height="stretch"):
        the_calibration(told)


def the_training_of(model: RewardModel) -> None:
    if model.metrics.get("uploaded"):
        came_as(model)
        return
    chosen(model)
    run = service.get_run(database(), me(), model.run_id)
    the_curve(run)
    st.page_link("runs.py", label="See the run", icon=":material/sync:", query_params={"run": model.run_id})


# --- of a model without a judgement file -----------------------------------------------------


def the_old_summary(found: dict[str, Any]) -> None:
    cells = [
        (
            "Held-out accuracy",
            percent(found.get("accuracy")),
            interval(found, "accuracy", found.get("n_test")),
            "Share of the decided test pairs of which the model scores the preferred response higher.",
        ),
        (
            "Log-loss",
            f"{found['log_loss']:.3f}" if found.get("log_loss") is not None else "—",
            f"a coin has 0.693 · n {found.get('n_test_pairs', 0):,}",
            "Mean surprise at the votes, in nats, with calibrated probabilities. Lower is better.",
        ),
        (
            "Calibration error",
            percent(found.get("ece")),
            f"temperature {found.get('temperature', 1.0):.2f} from {found.get('n_dev', 0):,} dev pairs",
            "How far the model's confidence is from how often it is right, on average over ten bins.",
        ),
        (
            "Goes by length",
            f"{found['length']['spearman']:+.2f}"
            if (found.get("length") or {}).get("spearman") is not None
            else "—",
            f"rank correlation · n {found.get('n_test_pairs', 0):,}",
            "Correlation of the differences in score and in length, on the test pairs. Far from zero means "
            "that optimising against this model will drive length.",
        ),
    ]
    for column, (label, value, detail, help) in zip(st.columns(4), cells, strict=True):
        with column, st.container(border=True, height="stretch", gap="xxsmall"):
            st.metric(label, value, help=help)
            st.caption(detail)
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.markdown("**Accuracy beside choosing without reading**")
        if found.get("accuracy") is not None:
            st.altair_chart(accuracy_chart(found), width="stretch")
            leaning(found)
    with right, st.container(border=True, height="stretch"):
        st.markdown("**Is it as good as it believes?**")
        if found.get("reliability"):
            st.altair_chart(calibration_chart(found["reliability"]), width="stretch")
            st.caption("Each dot is a bin of test pairs, its line the 95 % interval; larger dots hold more.")


def interval(found: dict[str, Any], name: str, n: int | None) -> str:
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    if low is None or high is None:
        return ""
    return f"{100 * low:.1f} to {100 * high:.1f} % · n {n or 0:,} · {found.get('n_test_ties', 0):,} ties left out"


def leaning(found: dict[str, Any]) -> None:
    length = found.get("length") or {}
    longer, shorter = length.get("preferred_longer") or {}, length.get("preferred_shorter") or {}
    if longer.get("n") and shorter.get("n"):
        st.caption(
            "Where people preferred the longer response it is right in "
            + percent(longer["accuracy"], longer["low"], longer["high"], longer["n"])
            + ", where the shorter one in "
            + percent(shorter["accuracy"], shorter["low"], shorter["high"], shorter["n"])
            + "."
        )
    human = found.get("human_test") or {}
    if human.get("n") and human["n"] != found.get("n_test"):
        st.caption(
            "On test pairs judged by people alone: "
            + percent(human["accuracy"], human["low"], human["high"], human["n"])
            + "."
        )


def came_as(model: RewardModel) -> None:
    """What is known of a model that was not trained here."""
    found: dict[str, Any] = model.metrics
    settings: dict[str, Any] = found.get("settings") or {}
    cut, scale = (found.get("cut") or {}).get("test") or {}, found.get("normalisation") or {}
    brought = found.get("card_was_there")
    rows = [
        ("Model", model.backbone),
        ("Tokens read", f"{settings.get('max_length', '—')} of input and response together"),
        (
            "Too long for that",
            f"{100 * cut['input']:.1f} % of the {cut['n']:,} test pairs lost the beginning of the input, {100 * cut['response']:.1f} % "
            "the end of a response" if cut.get("n") else "not known: there are no test pairs",
        ),
        ("Members", f"{settings.get('members', 1)}"),
        (
            "Temperature",
            f"{found.get('temperature', 1.0):.2f}, "
            + ("its own" if brought else f"from {found.get('n_dev', 0):,} dev pairs of this project"),
        ),
        (
            "Scale",
            "its own" if brought
            else f"mean {scale['mean']:+.3g}, deviation {scale['std']:.3g} on {scale['n']:,} responses of this project"
            if scale else "not known: there were no responses to measure it on",
        ),
        ("Judged on", f"{found.get('n_test_pairs', 0):,} test pairs; {found.get('n_dev', 0):,} dev pairs"),
        ("Size", f"{found.get('bytes', 0) / 2**20:,.1f} MB"),
        ("Took", duration(found.get("seconds"))),
    ]  # fmt: skip
    st.write(
        "It was not trained here, so there is no loss curve, and its votes, steps and settings are not known. What "
        "came with it, and what was measured when it was taken in:"
    )
    st.dataframe(
        pd.DataFrame(rows, columns=["What", "Known"]),
        hide_index=True,
        height="content",
        column_config={"Known": st.column_config.TextColumn(width="large")},
    )
    st.page_link(
        "runs.py", label="See the run that took it in", icon=":material/sync:", query_params={"run": model.run_id}
    )  # fmt: skip


def chosen(model: RewardModel) -> None:
    found: dict[str, Any] = model.metrics
    settings: dict[str, Any] = found.get("settings") or {}
    cut = (found.get("cut") or {}).get("train") or {}
    rows = [
        ("Backbone", "all-MiniLM-L6-v2, embedded" if model.backbone == "embedded" else model.backbone),
        ("Tokens read", f"{settings.get('max_length', '—')} of input and response together"),
        (
            "Too long for that",
            f"{100 * (cut.get('input', 0)):.1f} % of the pairs lost the beginning of the input, "
            f"{100 * (cut.get('response', 0)):.1f} % the end of a response",
        ),
        ("Layers", f"{settings.get('frozen_layers', '—')} of {settings.get('layers', '—')} frozen"),
        (
            "Training",
            f"{settings.get('epochs', '—')} epochs of {settings.get('batch_size', '—')} pairs a step, "
            f"{settings.get('steps', '—')} steps, learning rate {settings.get('learning_rate', '—')}",
        ),
        ("State kept", f"step {settings.get('best_step') or settings.get('steps', '—')}"),
        ("Pairs", f"{found.get('n_train', 0):,} train, {found.get('n_dev', 0):,} dev, "
                  f"{found.get('n_test_pairs', 0):,} test"),
        ("Seed", str(settings.get("seed", "—"))),
        ("Machine", f"{settings.get('device', '—')}, {settings.get('precision', '—')}"),
        ("Took", duration(found.get("seconds"))),
    ]  # fmt: skip
    st.dataframe(
        pd.DataFrame(rows, columns=["What", "Chosen"]),
        hide_index=True,
        height="content",
        column_config={"Chosen": st.column_config.TextColumn(width="large")},
    )
