"""Charts of a data set: how balanced it is, with intervals."""

from typing import Any

import altair as alt
import pandas as pd

Row = dict[str, Any]
GRAY = "#8a9396"  # readable on light and dark
MOST = 14  # rows of a chart


def balance_chart(counts: Row) -> alt.LayerChart | None:
    """Which side and which length is preferred, in all and by split; dashed: no pull."""
    rows = []
    for name, of in (("all", counts), *counts["splits"].items()):
        rows.append(("The left one", name, of["left"], "votes whose sides are known"))
        rows.append(("The longer one", name, of["longer"], "decided pairs of different length"))
    return shares_chart(rows, "preferred", by="split", order=["all", "train", "dev", "test"])


def prompts_chart(counts: Row) -> alt.LayerChart | None:
    """How often a prompt's response is preferred over another prompt's."""
    rows = [(of["name"], "", of["preferred"], "pairs with another prompt") for of in counts["prompts"][:MOST]]
    return shares_chart(rows, "preferred over other prompts")


def annotators_chart(counts: Row) -> alt.LayerChart | None:
    """How often each annotator prefers the left one."""
    rows = [
        (of["name"], "", of["left"], "votes whose sides are known") for of in counts["by_annotator"][:MOST]
    ]
    return shares_chart(rows, "votes for the left one")


def criteria_chart(counts: Row) -> alt.LayerChart | None:
    """How often a criterion prefers the response that is preferred on the whole."""
    rows = [(of["name"], "", of["as_whole"], "pairs decided by both") for of in counts["criteria"][:MOST]]
    return shares_chart(rows, "prefers the same response as the whole")


def shares_chart(
    rows: list[tuple[str, str, Row, str]], title: str, by: str | None = None, order: list[str] | None = None
) -> alt.LayerChart | None:
    """Points with 95 % intervals. rows: (label, series, {share, low, high, n}, of what); those
    without data are left out. None when nothing is left."""
    found = [
        {
            "label": label, "series": series, "share": of["share"], "low": of["low"], "high": of["high"],
            "n": of["n"], "of": what,
        }
        for label, series, of, what in rows
        if of["share"] is not None
    ]  # fmt: skip
    if not found:
        return None
    labels = list(dict.fromkeys(row["label"] for row in found))
    scale = alt.Scale(domain=[0, 1])
    encodings: dict[str, Any] = {
        "y": alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=170, ticks=False)),
        "tooltip": [
            alt.Tooltip("label", title="what"),
            *([alt.Tooltip("series", title=by)] if by else []),
            alt.Tooltip("share", title=title, format=".1%"),
            alt.Tooltip("low", title="95 % from", format=".1%"),
            alt.Tooltip("high", title="95 % to", format=".1%"),
            alt.Tooltip("n", format=","),
            alt.Tooltip("of", title="n counts"),
        ],
    }
    if by:
        encodings["yOffset"] = alt.YOffset("series:N", sort=order)
        encodings["color"] = alt.Color(
            "series:N", sort=order, title=None, legend=alt.Legend(orient="top", symbolOpacity=1),
            scale=alt.Scale(domain=order) if order else alt.Undefined,
        )  # fmt: skip
    else:
        encodings["color"] = alt.Color("series:N", legend=None)
    base = alt.Chart(pd.DataFrame(found)).encode(**encodings)
    half = alt.Chart(pd.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color=GRAY)
    x = alt.X("low:Q", scale=scale, title=f"{title}, 95 % interval", axis=alt.Axis(format="%", tickCount=5))
    each = 84 if by else 30
    return alt.layer(
        half.encode(x=alt.X("x:Q", scale=scale)),
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(x=x, x2="high:Q"),
        base.mark_point(filled=True, size=85, opacity=1).encode(x=alt.X("share:Q", scale=scale)),
    ).properties(height=each * len(labels) + (90 if by else 50))


def votes_chart(counts: Row) -> alt.Chart | None:
    """How many pairs have how many votes."""
    found = counts["votes_per_pair"]
    if not found:
        return None
    table = pd.DataFrame({"votes": [int(n) for n in found], "pairs": list(found.values()), "kind": "pairs"})
    return (
        alt.Chart(table)
        .mark_bar(cornerRadiusEnd=3, size=18)
        .encode(
            x=alt.X("votes:O", title="votes that compare, on a pair", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("pairs:Q", title="pairs", axis=alt.Axis(tickMinStep=1, format=",d")),
            color=alt.Color("kind:N", legend=None),
            tooltip=["votes", alt.Tooltip("pairs", format=",")],
        )
        .properties(height=220)
    )
