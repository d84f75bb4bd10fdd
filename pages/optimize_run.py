"""One search: how far it is, what it found, where each candidate came from, what it cost."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core.llm.soft_names import names_in
from core.optimize.policy_figures import FIGURES
from core.optimize.promote import queue_candidates
from core.optimize.rewards.kinds import kind_of_reward
from core.optimize.trends import Step
from core.optimize.view import candidates_of, policy_steps, soft_card_of
from core.runs.service import cancel_run, get_run, pause_run, pausing, resume_run
from core.runs.states import RESUMABLE
from core.services import database
from pages.optimize_books import books
from pages.optimize_curve import curve
from pages.optimize_lineage import coloured, lineage
from pages.optimize_log import log
from pages.optimize_rewards import by_component, reward_columns
from pages.optimize_send import send
from pages.optimize_transfer import transfer
from pages.optimize_trends import policy
from pages.optimize_watch import watch
from pages.shared import ago, duration, may, me, percent, problems, say_problem
from pages.soft_prompt import show_soft
from storage.tables import Candidate, Project, Run

ACTIVE = ("queued", "running")
STATES = {
    "queued": (":material/schedule:", "gray", "Waiting for a free slot"),
    "running": (":material/sync:", "blue", "At work"),
    "succeeded": (":material/check_circle:", "green", "Done"),
    "failed": (":material/error:", "red", "Failed"),
    "cancelled": (":material/cancel:", "gray", "Cancelled"),
    "interrupted": (":material/power_off:", "orange", "Interrupted"),
    "paused": (":material/pause_circle:", "violet", "Paused"),
}


def show_run(project: Project, run: Run) -> None:
    if run.status in ACTIVE:
        st.fragment(_show, run_every=2.0)(project, run.id, active=True)
    else:
        _show(project, run.id, active=False)


def _show(project: Project, run_id: str, active: bool) -> None:
    run = get_run(database(), me(), run_id)
    if active and run.status not in ACTIVE:
        st.rerun()
    candidates = candidates_of(database(), me(), run_id)
    steps = policy_steps(database(), me(), run_id)
    _state(run)
    if run.result:
        _result(project, run, candidates, steps)
    if candidates:
        st.subheader("Best so far" if active else "How it went", anchor=False)
        curve(run, candidates)
        by_component(run, candidates)
        watched = watch(project.id, run, candidates, steps)
        policy(run, steps, without=["kl"] if watched else [])
        st.subheader("Candidates", anchor=False)
        table, origins = st.tabs(["As a table", "Where they came from"])
        with table:
            _candidates(run, candidates)
        with origins:
            lineage(run, candidates)
    elif active:
        st.caption("The first score appears when the start prompt was tried on the train examples.")
    if not active:
        if names_in(((run.result or {}).get("best") or {}).get("text", "")):
            st.subheader("Transfer", anchor=False)
            st.caption("A soft prompt is bound to the model it was trained for: no other host can try it.")
        else:
            transfer(project, run, candidates)
    books(run)
    log(run)


def _state(run: Run) -> None:
    icon, colour, words = STATES[run.status]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(words, icon=icon, color=colour)  # type: ignore[arg-type]
        when = run.finished_at or run.started_at or run.created_at
        ended = "paused" if run.status == "paused" else "ended"
        said = ended if run.finished_at else "started" if run.started_at else "queued"
        st.caption(f"{said} {ago(when)} · host {run.config.get('host')} · seed {run.seed}")
        if run.status in ACTIVE and not run.cancel_requested and may("run.control"):
            asked = pausing(run)
            if st.button(
                "Pausing …" if asked else "Pause",
                icon=":material/pause:",
                disabled=asked,
                help="Ends after the step in hand and keeps its state; others get its slot until you resume it.",
                key="optimize_pause",
            ):
                with problems():
                    pause_run(database(), me(), run.id)
                    st.rerun()
        if run.status in (*ACTIVE, "paused") and may("run.control"):
            label = "Stopping …" if run.cancel_requested else "Stop and keep the best"
            if st.button(label, icon=":material/stop:", disabled=run.cancel_requested, key="optimize_cancel"):
                with problems():
                    cancel_run(database(), me(), run.id)
                    st.rerun()
        can_resume = run.status in RESUMABLE and may("run.control")
        if can_resume and st.button("Resume", icon=":material/resume:", key="optimize_resume"):
            with problems():
                resume_run(database(), me(), run.id)
                st.rerun()
    if run.status in ACTIVE:
        left = f" · about {duration(run.eta_s)} left" if run.eta_s is not None else ""
        st.progress(run.progress, text=f"{run.message or 'Waiting'}{left}")
    if run.error:
        say_problem(run.error, run.hint or "")


# --- what it found ---------------------------------------------------------------------------


def _result(project: Project, run: Run, candidates: list[Candidate], steps: Sequence[Step]) -> None:
    result = run.result or {}
    best, start, gain = result["best"], result["start"], result.get("gain")
    with st.container(border=True):
        st.subheader(_headline(result), anchor=False)
        st.caption(f"{result['finish_words']} {counted(result)}")
        if result.get("breaks"):
            which = "found" if result["improved"] else "start"
            st.warning(f"The {which} prompt is infeasible: {result['breaks']}.", icon=":material/block:")
        if gain is not None and result["improved"]:
            a, b, c = st.columns(3)
            _score(a, "Start, on test", start["test"], _scale(run))
            _score(b, "Found, on test", best["test"], _scale(run))
            _score(
                c,
                "Gain on test",
                gain,
                "Found less start, on the same test examples. The interval (95 %) is a paired bootstrap.",
                sign="+",
            )
            if run.config["reward"] == "labels":
                a.caption("Accuracy " + _accuracy(start["test"]))
                b.caption("Accuracy " + _accuracy(best["test"]))
        elif start.get("test"):
            _score(st, "Start, on test", start["test"], _scale(run))
        # Those of a policy's steps stand below, with n and interval.
        below = {label for label, _ in FIGURES.values()} if steps else set()
        figures = [figure for figure in result.get("figures", []) if figure["label"] not in below]
        columns = st.columns(min(4, len(figures))) if figures else []
        for i, figure in enumerate(figures):
            columns[i % 4].metric(figure["label"], _figure(figure["value"]), help=figure["help"])
        if result["improved"] and names_in(best["text"]):
            _soft(run, best["text"], "found")
        elif result["improved"]:
            what = (
                "section: the rest of the prompt is as it was" if run.config.get("section") else "instruction"
            )
            _diff(f"The found {what}, against the start", start["text"], best["text"])
        if run.status == "paused":
            st.caption(
                "It goes on from here when it is resumed. To send this to the annotators, stop it first."
            )
        else:
            send(project, run, candidates)


def _figure(value: float) -> str:
    """Counts in full, other numbers to three digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _score(place: Any, label: str, scores: dict[str, Any], help: str, sign: str = "") -> None:
    place.metric(
        label,
        f"{scores['score']:{sign}.3g}",
        f"{scores['low']:{sign}.3g} to {scores['high']:{sign}.3g}, n {scores['n']:,}",
        delta_color="off",
        delta_arrow="off",
        help=help,
    )


def _headline(result: dict[str, Any]) -> str:
    gain = result.get("gain")
    if not result["improved"]:
        when = "so far" if result.get("partial") else "was found"
        return f"Nothing better than the start {when}"
    if gain is None:
        where = "dev, and was not read on test" if result["best"]["dev"] else "train only"
        so_far = " so far," if result.get("partial") else ""
        return f"Candidate {result['best']['number']} is the best{so_far} on {where}"
    if gain["low"] > 0:
        return f"Candidate {result['best']['number']} is better than the start"
    if gain["score"] <= 0:
        return f"Candidate {result['best']['number']} did better on train and dev, but not on test"
    return f"Candidate {result['best']['number']} looks better; the test set is too small to be sure"


def counted(result: dict[str, Any]) -> str:
    """How much was tried, and what became of what was not."""
    said = (
        f"{_many(result['candidates'] - 1, 'candidate')}, {result['accepted'] - 1:,} of them accepted, "
        f"{result['calls']:,} of {result['budget']:,} calls."
    )
    if result["improved"] and not result["best"]["dev"] and not result.get("partial"):
        said += " It was chosen on train, which flatters it: nothing was left to score it on dev."
    dropped = result.get("dropped", {})
    if total := sum(dropped.values()):
        each = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        said += f" {_many(total, 'proposal was', 'proposals were')} dropped ({each})."
    if broken := result.get("infeasible"):
        said += f" {_many(broken, 'candidate breaks', 'candidates break')} a constraint and cannot be chosen."
    if failed := result.get("failed_calls"):
        said += f" {_many(failed, 'call failed and counted as an empty answer', 'calls failed and counted as empty answers')}."
    if free := result.get("free_answers"):
        said += (
            f" {_many(free, 'answer was', 'answers were')} known from earlier runs, and not asked for again."
        )
    if lost := result.get("lost_calls"):
        said += f" {_many(lost, 'call was', 'calls were')} lost when the worker was stopped."
    return said


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


# --- the candidates ----------------------------------------------------------------------------


def _candidates(run: Run, candidates: list[Candidate]) -> None:
    table = pd.DataFrame([_row(candidate) for candidate in candidates])
    picked = st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=min(38 + 35 * len(table), 380),
        on_select="rerun",
        selection_mode="single-row",
        key=f"optimize_candidates_{run.id}",
        column_config={
            "#": st.column_config.NumberColumn(width=40, pinned=True),
            "Edit": st.column_config.TextColumn(width=95),
            "Parent": st.column_config.TextColumn(width=60),
            "Train": st.column_config.NumberColumn(format="%.3f", width=75, help=_scale(run)),
            "95 %": st.column_config.TextColumn(
                width=140,
                help="Interval of the train score, and on how many examples: some methods score in parts",
            ),
            "Dev": st.column_config.TextColumn(width=150, help="Only the start and the finalists see dev"),
            "Test": st.column_config.TextColumn(width=150, help="Only the start and the chosen one see test"),
            "Accepted": st.column_config.CheckboxColumn(width=75),
            "Calls": st.column_config.NumberColumn(width=60, help="Spent in the run when it was scored"),
            "Instruction": st.column_config.TextColumn(width="large"),
        },
    )
    rows = picked["selection"]["rows"]  # type: ignore[index]
    chosen = candidates[rows[0]] if rows and rows[0] < len(candidates) else None
    if chosen is None:
        st.caption("Choose a row to see its words against its parent's.")
        return
    parent = next((item for item in candidates if item.number == chosen.parent), None)
    if parent is None:
        st.caption("The start")
        st.code(chosen.text, language=None, wrap_lines=True)
        return
    if names_in(chosen.text):
        st.caption(f"Candidate {chosen.number}, after {chosen.operation}")
        _soft(run, chosen.text, "chosen")
    else:
        _diff(f"Candidate {chosen.number} ({chosen.operation}), against its parent {parent.number}",
              parent.text, chosen.text)  # fmt: skip
    _send_one(run, chosen)


def _send_one(run: Run, chosen: Candidate) -> None:
    """A person may want to see what annotators say of any candidate, whatever its score."""
    if chosen.prompt_id or run.status not in ("succeeded", "cancelled") or not may("run.start"):
        return
    label = f"Send candidate {chosen.number} to the annotators"
    if st.button(label, icon=":material/send:", key=f"optimize_send_{chosen.number}"):
        with problems():
            queue_candidates(database(), me(), run.id, [chosen.number])
            st.rerun()


def _row(candidate: Candidate) -> dict[str, Any]:
    train = candidate.scores.get("train", {})
    return {
        "#": candidate.number,
        "Edit": candidate.operation,
        "Parent": "" if candidate.parent is None else str(candidate.parent),
        "Train": train.get("score"),
        "95 %": f"{train['low']:.3g} to {train['high']:.3g}, n {train['n']}" if train else "",
        "Dev": _cell(candidate.scores.get("dev")),
        "Test": _cell(candidate.scores.get("test")),
        **reward_columns(candidate),
        "Accepted": candidate.accepted,
        "Calls": candidate.calls,
        "Instruction": candidate.text,
    }


def _cell(scores: dict[str, Any] | None) -> str:
    return f"{scores['score']:.3g} ({scores['low']:.3g} to {scores['high']:.3g})" if scores else ""


def _accuracy(scores: dict[str, Any]) -> str:
    return percent(scores["accuracy"], scores["accuracy_low"], scores["accuracy_high"], scores["n"])


def _scale(run: Run) -> str:
    if run.config["reward"] == "labels":
        return "100 × balanced accuracy + 10 × entropy (nats) of the predicted labels, as GrIPS has it."
    if kind_of_reward(run.config["reward"]) == "composed":
        return "The sum of the components' means, each on its own scale, times their weights."
    return "Mean reward of the responses. Over the reward model's training responses: mean 0, deviation 1."


def _soft(run: Run, text: str, key: str) -> None:
    show_soft(soft_card_of(database(), me(), run.id, text), f"{run.id}_{key}")


def _diff(title: str, old: str, new: str) -> None:
    st.caption(title)
    coloured(old, new)
