"""The curve of one search: the best train score so far against calls."""

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.curve import best_so_far
from core.optimize.rewards.kinds import kind_of_reward
from pages.optimize_rewards import UNITS
from storage.tables import Candidate, Run

KINDS = ["start", "accepted", "not accepted", "scored in part"]


def curve(run: Run, candidates: list[Candidate]) -> None:
    """With its interval; every candidate as a dot where its score was known."""
    data = curve_data(candidates)
    if data.empty:
        return
    calls = alt.Scale(nice=False, padding=12)
    if len(data) == 1:  # else its axis would have no width
        calls = alt.Scale(domain=[0, run.config["budget"]["calls"]])
    x = alt.X("calls:Q", title="Calls spent", axis=alt.Axis(tickCount=8, format=",d"), scale=calls)
    y = alt.Y("best:Q", title=UNITS[kind_of_reward(run.config["reward"])], scale=alt.Scale(zero=False))
    base = alt.Chart(data)
    band = base.mark_area(opacity=0.18, interpolate="step-after").encode(
        x, alt.Y("best_low:Q"), alt.Y2("best_high:Q")
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2.5).encode(x, y)
    start = alt.Chart(data.head(1)).mark_rule(strokeDash=[5, 4], color="gray").encode(y=alt.Y("score:Q"))
    kinds = [*KINDS, *(["infeasible"] if "infeasible" in set(data["kind"]) else [])]
    dots = base.mark_point(filled=True, size=60, opacity=0.9).encode(
        x,
        alt.Y("score:Q"),
        color=alt.Color(
            "kind:N", title=None, scale=alt.Scale(domain=kinds), legend=alt.Legend(orient="top", columns=3)
        ),
        tooltip=["candidate:Q", "edit:N", alt.Tooltip("score:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
                 alt.Tooltip("high:Q", format=".3f"), "n:Q", "calls:Q"],
    )  # fmt: skip
    st.altair_chart((band + line + start + dots).properties(height=280), width="stretch")
    n = data["n"].iloc[0]
    st.caption(
        f"Line: the best score so far on the {n} train examples, with its 95 % interval. Dashed: the start. "
        "The best of many is flattered by chance; only the test score at the end is not."
    )


def curve_data(candidates: list[Candidate]) -> pd.DataFrame:
    """One row a candidate, in the order in which scores were known; the start first."""
    return pd.DataFrame(
        [
            {
                "calls": point.candidate.calls,
                "candidate": point.candidate.number,
                "edit": point.candidate.operation,
                "score": point.scores["score"],
                "low": point.scores["low"],
                "high": point.scores["high"],
                "n": point.scores["n"],
                "best": point.best["score"],
                "best_low": point.best["low"],
                "best_high": point.best["high"],
                "kind": point.kind,
            }
            for point in best_so_far(candidates)
        ]
    )
