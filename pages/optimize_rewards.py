"""What a composed reward is made of, on a search's page: components of the found prompt beside
the start's, constraints, and their columns in the table of candidates."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.rewards.lengths import explained
from core.optimize.rewards.scores import what_breaks
from pages.shared import percent, plain
from storage.tables import Candidate, Run

UNITS = {
    "labels": "Score: 100 × balanced accuracy + 10 × entropy",
    "reward_model": "Mean reward, in standard deviations",
    "composed": "Mean composed reward",
}
_LAST_FIRST = ("test", "dev", "train")


def by_component(run: Run, candidates: list[Candidate]) -> None:
    """The best against the start, on the last split that both were scored on."""
    start = candidates[0]
    if "parts" not in start.scores.get("train", {}):
        return
    best = _best(run, candidates)
    split = next(s for s in _LAST_FIRST if s in start.scores and s in best.scores)
    st.subheader("Rewards by component", anchor=False)
    both = {"start": start} | ({f"candidate {best.number}": best} if best.number else {})
    rows = [
        {
            "which": which, "component": f"{name} × {part['weight']:g}", "mean": part["score"],
            "low": part["low"], "high": part["high"], "n": part["n"],
        }
        for which, candidate in both.items()
        for name, part in candidate.scores[split]["parts"].items()
    ]  # fmt: skip
    data = pd.DataFrame(rows)
    order = list(dict.fromkeys(data["component"]))
    base = alt.Chart(data).encode(
        y=alt.Y("component:N", title=None, sort=order, axis=alt.Axis(labelLimit=140)),
        yOffset=alt.YOffset("which:N", sort=list(both)),
        color=alt.Color("which:N", title=None, sort=list(both), legend=alt.Legend(orient="top")),
        tooltip=[
            "which:N", "component:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean", "low", "high")), "n:Q",
        ],
    )  # fmt: skip
    x = alt.X("low:Q", title="Mean, on the component's own scale", scale=alt.Scale(zero=False))
    lines = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("mean:Q"))
    height = 110 + 30 * len(both) * len(order)
    st.altair_chart((lines + dots).properties(height=height), width="stretch")
    n = start.scores[split]["n"]
    st.caption(
        f"Means on the {n} {split} examples with their 95 % intervals, each component on its own scale. "
        f"{_unparsed(both, split)}".strip()
    )
    for name, found in ((run.result or {}).get("lengths") or {}).items():
        st.caption(f"{plain(name)}: {explained(found)}")
    constraints(both)


def _best(run: Run, candidates: list[Candidate]) -> Candidate:
    """What the search chose; while it is at work, the best on train that keeps its constraints."""
    if run.result:
        number = run.result["best"]["number"]
        return next((c for c in candidates if c.number == number), candidates[0])
    n = candidates[0].scores["train"]["n"]
    able = [c for c in candidates if c.scores.get("train", {}).get("n") == n and not what_breaks(c.scores)]
    return max(able, key=lambda c: (c.scores["train"]["score"], -c.number), default=candidates[0])


def _unparsed(both: dict[str, Candidate], split: str) -> str:
    said = [
        f"{which}: {part['unparsed']} of {part['n']} answers of “{name}” could not be read and count as the "
        "lowest grade."
        for which, candidate in both.items()
        for name, part in candidate.scores[split]["parts"].items()
        if part.get("unparsed")
    ]
    return " ".join(said)


def constraints(both: dict[str, Candidate]) -> None:
    """How often each was broken, by split, and what may be."""
    rows = [
        {
            "Constraint": name,
            "Of": which,
            "Split": split,
            "Broken": percent(found["score"], found["low"], found["high"], found["n"]),
            "Allowed": f"{100 * found['threshold']:g} %",
            "Kept": found["feasible"],
        }
        for which, candidate in both.items()
        for split in ("train", "dev", "test")
        for name, found in candidate.scores.get(split, {}).get("constraints", {}).items()
    ]
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def reward_columns(candidate: Candidate) -> dict[str, Any]:
    """Of a row in the table of candidates: each component's mean on train, and whether the
    constraints are kept."""
    train = candidate.scores.get("train", {})
    found: dict[str, Any] = {
        name: f"{part['score']:.2f} ({part['low']:.2f} to {part['high']:.2f})"
        for name, part in train.get("parts", {}).items()
    }
    if "constraints" in train:
        found["Constraints"] = what_breaks(candidate.scores) or "kept"
    return found
