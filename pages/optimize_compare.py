"""Searches beside each other, on one chart, at equal calls."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.comparing import Curve, curves, equal_calls
from core.optimize.protocol import Scores
from core.services import database
from pages.shared import ago, empty, me
from storage.tables import Run

AT_FIRST = 4  # searches shown before anybody chooses
READABLE = 8


def compare(runs: list[Run], first: Run) -> None:
    found = [curve for curve in curves(database(), me(), [run.id for run in runs]) if curve.points]
    alike = _alike(found, first)
    if len(alike) < 2:
        empty(
            "There is nothing to compare yet.",
            "Two searches with the same reward on the same host can be laid on one chart. Start a second "
            "one: random search, for example, which any other should beat.",
        )
        return
    names = {curve.run.id: f"{curve.label} · {ago(curve.run.created_at)}" for curve in alike}
    chosen = st.multiselect(
        "Searches",
        list(names),
        list(names)[:AT_FIRST],
        format_func=names.__getitem__,
        max_selections=READABLE,
        key=f"optimize_compare_{first.id}",
        help="Only searches with the same reward on the same host as the one you came from: "
        "others are on another scale.",
    )
    shown = [curve for curve in alike if curve.run.id in chosen]
    if not shown:
        st.caption("Choose at least one.")
        return
    calls = equal_calls(shown)
    labels = _labels(shown)
    st.altair_chart(_chart(shown, labels, calls), width="stretch")
    st.caption(
        "The best train score so far with its 95 % interval. Dashed: as many calls as each of them has spent; "
        "only there they are on a par. The best of many train scores is flattered by chance: quote test."
    )
    st.dataframe(
        pd.DataFrame([_row(curve, labels[curve.run.id], calls) for curve in shown]),
        hide_index=True,
        width="stretch",
    )
    if (
        len({tuple(sorted(curve.run.config["examples"].items())) for curve in shown}) > 1
        or len({c.run.seed for c in shown}) > 1
    ):
        st.caption(
            "These searches drew their examples with different seeds or in different numbers, so part of any "
            "difference is the examples'. Start them with one seed and the same numbers of examples to take that away."
        )  # fmt: skip


def _alike(found: list[Curve], first: Run) -> list[Curve]:
    """The one that was open, then the others on its scale, newest first."""
    own = next((curve for curve in found if curve.run.id == first.id), None)
    if own is None:
        return []
    return [own, *(curve for curve in found if curve.like == own.like and curve is not own)]


def _labels(shown: list[Curve]) -> dict[str, str]:
    """Short names that differ."""
    counts: dict[str, int] = {}
    labels = {}
    for curve in shown:
        counts[curve.label] = counts.get(curve.label, 0) + 1
        again = f" ({counts[curve.label]})" if counts[curve.label] > 1 else ""
        labels[curve.run.id] = curve.label + again
    return labels


def _chart(shown: list[Curve], labels: dict[str, str], calls: int) -> alt.LayerChart:
    rows = []
    for curve in shown:
        last = curve.points[-1][1]
        for spent, scores in [*curve.points, (curve.searched, last)]:
            rows.append(
                {"search": labels[curve.run.id], "calls": spent, "best": scores["score"],
                 "low": scores["low"], "high": scores["high"], "n": scores["n"]}
            )  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows))
    x = alt.X(
        "calls:Q", title="Calls spent", axis=alt.Axis(tickCount=8), scale=alt.Scale(nice=False, padding=12)
    )
    colour = alt.Color(
        "search:N",
        title=None,
        legend=alt.Legend(orient="top", columns=2, labelLimit=300, symbolOpacity=1, symbolType="circle"),
    )
    band = base.mark_area(opacity=0.12, interpolate="step-after").encode(
        x, alt.Y("low:Q", title="Best train score"), alt.Y2("high:Q"), color=colour
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2.5, point=True).encode(
        x, alt.Y("best:Q", scale=alt.Scale(zero=False)), color=colour,
        tooltip=["search:N", "calls:Q", alt.Tooltip("best:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f"),
                 alt.Tooltip("high:Q", format=".3f"), "n:Q"],
    )  # fmt: skip
    rule = (
        alt.Chart(pd.DataFrame({"calls": [calls]}))
        .mark_rule(strokeDash=[5, 4], color="gray")
        .encode(x="calls:Q")
    )
    return (band + line + rule).properties(height=320)


def _row(curve: Curve, label: str, calls: int) -> dict[str, Any]:
    result = curve.run.result or {}
    return {
        "Search": label,
        f"Train, at {calls:,} calls": _cell(curve.at(calls)),
        "Train, in the end": _cell(curve.points[-1][1]),
        "Calls in the end": curve.searched,
        "Found, on test": _cell((result.get("best") or {}).get("test")),
        "Gain on test": _cell(result.get("gain"), "+") if result.get("improved") else "nothing better" if result else "",
        "State": curve.run.status,
    }  # fmt: skip


def _cell(scores: Scores | None, sign: str = "") -> str:
    if not scores:
        return ""
    low, high = f"{scores['low']:{sign}.3g}", f"{scores['high']:{sign}.3g}"
    return f"{scores['score']:{sign}.3g} ({low} to {high}, n {scores['n']:,})"
