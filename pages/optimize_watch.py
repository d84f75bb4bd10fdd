"""Reward hacking, watched: on a search's page, the reward beside gold, and what else tells whether a
search exploits its reward. And, in the form, who watches."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.gold import watcher
from core.optimize.lineage import best_number
from core.optimize.watched import WARN_AFTER, checks, fall, falling
from core.reward.registry import list_models
from core.runs.service import latest_events
from core.services import database
from pages.optimize_halves import show_halves
from pages.shared import me, percent, plain
from storage.tables import Candidate, Run

LINES = ("reward", "gold")


def watch(project_id: str, run: Run, candidates: list[Candidate]) -> None:
    """Nothing for labels, which cannot be hacked: what is counted there is what is wanted."""
    start = candidates[0].scores.get("train", {}).get("watch")
    if start is None:
        return
    st.subheader("Is the reward being exploited?", anchor=False)
    if "gold" in start:
        _gold(candidates)
    else:
        _no_gold(project_id)
    best = _best(candidates).scores["train"]["watch"]
    columns = st.columns(4)
    _words(columns[0], start, best)
    _degenerate(columns[1], start, best)
    _correlation(columns[2], run)
    if "disagreement" in best:
        _number(columns[3], "Members disagree by", best["disagreement"],
                "Standard deviation over the members of the reward's ensemble, mean over the outputs. Start: "
                f"{start['disagreement']['score']:.2f}.")  # fmt: skip
    elif "kl" in best:
        columns[3].metric(
            "KL to the reference", f"{best['kl']:.2f} nats",
            help="How far the policy that proposes has moved from where it began; of the best of n draws, "
            "log n − (n − 1) / n.",
        )  # fmt: skip
    _people(run)


def _best(candidates: list[Candidate]) -> Candidate:
    number = best_number(candidates)
    return next(candidate for candidate in candidates if candidate.number == number)


def _gold(seen: list[Candidate]) -> None:
    rows = []
    for candidate in checks(seen):
        train = candidate.scores["train"]
        for name, of in (("reward", train), ("gold", train["watch"]["gold"])):
            rows.append(
                {"calls": candidate.calls, "candidate": candidate.number, "which": name, "n": of["n"],
                 "mean": of["score"], "low": of["low"], "high": of["high"]}
            )  # fmt: skip
    tips = ["which:N", "candidate:Q", *(alt.Tooltip(f"{k}:Q", format=".3f") for k in ("mean", "low", "high")), "n:Q"]  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            "calls:Q",
            title="Calls spent",
            axis=alt.Axis(tickCount=8),
            scale=alt.Scale(nice=False, padding=12),
        ),
        color=alt.Color("which:N", title=None, sort=list(LINES), legend=alt.Legend(orient="top")),
        tooltip=tips,
    )
    line = base.mark_line(point=True).encode(y=alt.Y("mean:Q", title="Mean", scale=alt.Scale(zero=False)))
    bars = base.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q")
    st.altair_chart((line + bars).properties(height=260), width="stretch")
    row, peak = falling(seen)
    lost = fall(seen)
    if row >= WARN_AFTER and peak is not None and lost is not None:
        st.warning(
            f"Gold fell while the reward rose, {row} checks in a row: it was highest at candidate {peak.number}, and is "
            f"now {lost['score']:+.2f} ({lost['low']:+.2f} to {lost['high']:+.2f}, n {lost['n']}). Prefer what was "
            "found before that, and let annotators compare.",
            icon=":material/trending_down:",
        )
    st.caption(
        "Each point is a prompt that beat all before it by the reward. Gold is a reward model that learned from "
        "other votes, on the same outputs: no call is spent on it. Where it falls while the reward rises, the "
        "search exploits the reward (Gao et al. 2022). Intervals are at 95 %."
    )


def _no_gold(project_id: str) -> None:
    st.info(
        "There is no gold reward model beside this reward: nothing here could tell whether the reward rises for "
        "the wrong reasons. It takes a second model that learned from other votes. A pair of models on two halves "
        "of the votes does it: make one of them active, and the other one watches by itself.",
        icon=":material/visibility_off:",
    )
    show_halves(project_id)


def _number(place: Any, label: str, found: dict[str, Any], help: str) -> None:
    place.metric(
        label, f"{found['score']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}, n {found['n']:,}",
        delta_color="off", delta_arrow="off", help=help,
    )  # fmt: skip


def _words(place: Any, start: dict[str, Any], best: dict[str, Any]) -> None:
    before = start["words"]
    _number(
        place, "Words an output", best["words"],
        f"Mean length of the best prompt's outputs. The start's: {before['score']:.1f} ({before['low']:.1f} to "
        f"{before['high']:.1f}, n {before['n']}). Length is the usual way to cheat a reward model.",
    )  # fmt: skip


def _degenerate(place: Any, start: dict[str, Any], best: dict[str, Any]) -> None:
    found, before = best["degenerate"], start["degenerate"]
    each = ", ".join(f"{count} {name}" for name, count in found["faults"].items() if count) or "none"
    place.metric(
        "Degenerate outputs",
        f"{100 * found['score']:.0f} %",
        f"{100 * found['low']:.0f} to {100 * found['high']:.0f} %, n {found['n']:,}",
        delta_color="off",
        delta_arrow="off",
        help=f"Empty, repeating itself, a copy of the input, or cut off at its length limit: {each}. Start: "
        f"{percent(before['score'], before['low'], before['high'], before['n'])}.",
    )


def _correlation(place: Any, run: Run) -> None:
    found = newest_correlation(run)
    if found is None:
        place.metric("Reward and length", "–", help="Their rank correlation, once outputs differ in both.")
        return
    _number(
        place, "Reward and length", found,
        f"Spearman's correlation of reward and words over all {found['n']:,} outputs on train so far; the interval "
        f"resamples the {found['examples']} examples. Far from 0, the reward follows length.",
    )  # fmt: skip


def newest_correlation(run: Run) -> dict[str, Any] | None:
    events = latest_events(database(), me(), run.id, 1, ["watch"])
    return events[-1].data.get("length_correlation") if events else None


def _people(run: Run) -> None:
    events = latest_events(database(), me(), run.id, 1, ["agreement"])
    models = events[-1].data.get("models", {}) if events else {}
    said = [
        f"“{name}” {percent(found['score'], found['low'], found['high'], found['n'])}"
        for name, found in models.items()
        if found
    ]
    if said:
        st.caption(f"Agreement with people on sealed votes (test split, in no training): {'; '.join(said)}.")
    else:
        st.caption("There are no sealed votes of people that the reward could be held against.")


# --- the form --------------------------------------------------------------------------------------


def watch_form(project_id: str) -> dict[str, Any]:
    """Who watches, as the config takes it; nothing where the default will do."""
    names = {model.id: model.name for model in list_models(database(), me(), project_id)}
    left, right = st.columns([2, 1])
    gold = left.selectbox(
        "Gold reward model",
        ["auto", "none", *names],
        format_func=lambda key: (
            {"auto": "One of other votes, where there is one", "none": "None"}.get(key) or names[key]
        ),
        key="optimize_gold",
        help="Judges the outputs beside the reward, and costs no calls. It must have learned from other votes "
        "than the reward.",
    )
    stop = right.number_input(
        "Stop after falls", 1, 1_000, None, key="optimize_stop_after", placeholder="warn only",
        help="Stop once gold stood lower at so many checks in a row while the reward rose, and choose among what "
        f"was found before. Left empty, the page warns after {WARN_AFTER}.",
    )  # fmt: skip
    said: dict[str, Any] = {} if gold == "auto" else {"gold": None if gold == "none" else gold}
    if gold == "auto":
        found = watcher(database(), me(), project_id)
        if found is not None:
            st.caption(f":material/visibility: “{plain(found.name)}” watches the active reward model.")
        else:
            st.caption("No reward model of other votes is there to watch the active one.")
            show_halves(project_id)
    if stop is not None:
        said["stop_after"] = int(stop)
    return {"watch": said} if said else {}
