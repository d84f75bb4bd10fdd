"""Reward hacking, watched: on a search's page, the reward beside gold, and what else tells whether a
search exploits its reward. And, in the form, who watches."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.gold import watcher
from core.optimize.lineage import best_number
from core.optimize.trends import Step, correlations, figure, gold_rows, looked_at, trend
from core.optimize.view import events_over
from core.optimize.watched import WARN_AFTER, fall, falling
from core.reward.registry import list_models
from core.runs.service import latest_events
from core.services import database
from pages.optimize_halves import show_halves
from pages.optimize_trends import Card, policy_rows, sentence, show_cards
from pages.shared import me, percent, plain
from storage.tables import Candidate, Run

LINES = ("reward", "gold")


def watch(project_id: str, run: Run, candidates: list[Candidate], steps: Sequence[Step]) -> bool:
    """Nothing for labels, which cannot be hacked: what is counted there is what is wanted. Answers
    whether there was something to watch. `steps`: of a policy, where one is trained."""
    if candidates[0].scores.get("train", {}).get("watch") is None:
        return False
    st.subheader("Is the reward being exploited?", anchor=False)
    if "gold" in candidates[0].scores["train"]["watch"]:
        _gold(candidates)
    else:
        _no_gold(project_id)
    best, newest = _best(candidates), looked_at(candidates)[-1]
    newer = f"below it, the newest that was scored in full, candidate {newest.number}"
    st.caption(
        f"In large, the best prompt so far, candidate {best.number} (the ring); "
        f"{'which is the newest, too' if newest.number == best.number else newer}. Over calls: each prompt that "
        "was scored in full, the start dashed. Intervals are at 95 %."
    )
    show_cards(cards(run, candidates, steps))
    _people(run)
    return True


def cards(run: Run, candidates: list[Candidate], steps: Sequence[Step]) -> list[Card]:
    """KL where a method moves away from something; disagreement where the reward is an ensemble."""
    both = _best(candidates), looked_at(candidates)[-1]
    found = [_kl(candidates, both, steps), _words(candidates, both), _disagreement(candidates, both)]
    return [*(card for card in found if card), _degenerate(candidates, both), _correlation(run)]


def _best(candidates: list[Candidate]) -> Candidate:
    number = best_number(candidates)
    return next(candidate for candidate in candidates if candidate.number == number)


def _gold(seen: list[Candidate]) -> None:
    data = pd.DataFrame(gold_rows(seen))
    tips = ["which:N", "candidate:Q", *(alt.Tooltip(f"{k}:Q", format=".3f") for k in ("mean", "low", "high")), "n:Q"]  # fmt: skip
    base = alt.Chart(data).encode(
        x=alt.X(
            "calls:Q",
            title="Calls spent",
            axis=alt.Axis(tickCount=8),
            scale=alt.Scale(nice=False, padding=12),
        ),
        color=alt.Color(
            "which:N", title=None, sort=list(LINES), legend=alt.Legend(orient="top", symbolOpacity=1)
        ),
        tooltip=tips,
    )
    y = alt.Y("mean:Q", title="Mean", scale=alt.Scale(zero=False))
    better = base.transform_filter("datum.check")
    line = better.mark_line(point=True).encode(y=y)
    bars = better.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q")
    others = base.transform_filter("!datum.check").mark_point(filled=True, size=16, opacity=0.35).encode(y=y)
    st.altair_chart((others + line + bars).properties(height=260), width="stretch")
    row, peak = falling(seen)
    lost = fall(seen)
    if row >= WARN_AFTER and peak is not None and lost is not None:
        st.warning(
            f"Gold fell while the reward rose, {row} checks in a row: it was highest at candidate {peak.number}, and is "
            f"now {lost['score']:+.2f} ({lost['low']:+.2f} to {lost['high']:+.2f}, n {lost['n']}). Prefer what was "
            "found before that, and let annotators compare.",
            icon=":material/trending_down:",
        )
    n = seen[0].scores["train"]["n"]
    st.caption(
        "The lines join the prompts that beat all before them by the reward; small dots are the others "
        f"({n} train examples each). Gold is a reward model that learned from other votes, on the same outputs: no "
        "call is spent on it. Where it falls while the reward rises, the search exploits the reward (Gao et al. "
        "2022). Intervals are at 95 %."
    )


def _no_gold(project_id: str) -> None:
    st.info(
        "There is no gold reward model beside this reward: nothing here could tell whether the reward rises for "
        "the wrong reasons. It takes a second model that learned from other votes. A pair of models on two halves "
        "of the votes does it: make one of them active, and the other one watches by itself.",
        icon=":material/visibility_off:",
    )
    show_halves(project_id)


# --- the cards -----------------------------------------------------------------------------------

Both = tuple[Candidate, Candidate]  # the best, and the newest


def _card(
    label: str, help: str, name: str, candidates: list[Candidate], both: Both, share: bool = False
) -> Card | None:
    """One figure of the best prompt, of the newest, and of all; the start's is in its definition."""
    best, newest = (figure(one.scores["train"]["watch"], name) for one in both)
    start = figure(candidates[0].scores["train"]["watch"], name)
    if best is None and newest is None:
        return None
    below = ""
    if newest is not None and both[0].number != both[1].number:
        below = f"Newest, candidate {both[1].number}: {sentence(newest, share)}"
    if start is not None:
        help = f"{help} Start: {sentence(start, share)}."
    marked = both[0].number if best is not None else None
    return Card(label, help, best, below, trend(candidates, name), marked, share)


def _kl(candidates: list[Candidate], both: Both, steps: Sequence[Step]) -> Card | None:
    """The policy goes on moving after it wrote the best: its newest step says where it is."""
    label = "KL to the reference (nats)"
    help = (
        "How far what proposes has moved from where it began: a policy, over the prompts of its last step before "
        "the prompt was scored; the best of n draws by the formula log n − (n − 1) / n."
    )
    rows = policy_rows(steps, "kl")
    if not rows:
        return _card(label, help, "kl", candidates, both)
    newest = steps[-1]
    below = (
        f"Newest, step {newest.step:,}: {sentence(newest.figures['kl'])}" if "kl" in newest.figures else ""
    )
    return Card(label, help, figure(both[0].scores["train"]["watch"], "kl"), below, rows)


def _words(candidates: list[Candidate], both: Both) -> Card | None:
    help = "Mean length of a prompt's outputs. Length is the usual way to cheat a reward model."
    return _card("Words an output", help, "words", candidates, both)


def _disagreement(candidates: list[Candidate], both: Both) -> Card | None:
    help = "Standard deviation over the members of the reward's ensemble, mean over the outputs."
    return _card("Members disagree by", help, "disagreement", candidates, both)


def _degenerate(candidates: list[Candidate], both: Both) -> Card:
    each = [_faults(one) for one in both]
    help = (
        "Outputs that are empty, repeat themselves, copy the input, or were cut off at their length limit. Of the "
        f"best: {each[0]}; of the newest: {each[1]}."
    )
    card = _card("Degenerate outputs", help, "degenerate", candidates, both, share=True)
    assert card is not None  # it is watched of every prompt
    return card


def _faults(candidate: Candidate) -> str:
    faults = candidate.scores["train"]["watch"]["degenerate"]["faults"]
    return ", ".join(f"{count} {name}" for name, count in faults.items() if count) or "none"


def _correlation(run: Run) -> Card:
    events = events_over(database(), me(), run.id, "watch")
    found = events[-1].data.get("length_correlation") if events else None
    label = "Reward and length"
    if found is None:
        return Card(label, "Their rank correlation, once outputs differ in both.", None)
    help = (
        f"Spearman's correlation of reward and words over all {found['n']:,} outputs on train so far; the interval "
        f"resamples the {found['examples']} examples. Far from 0, the reward follows length."
    )
    return Card(label, help, found, "Over all outputs so far", correlations(events))


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
