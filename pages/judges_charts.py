"""The charts of the page Machine judges: one judge's figures beside people's."""

from typing import Any

import altair as alt
import pandas as pd

from core.annotation.judge.agreement import Figure
from core.annotation.judge.figures import JudgeState

JUDGE, PEOPLE = "judge", "people"
COLOURS = ["#1f8a8a", "#c8632b"]
Row = tuple[str, str, Figure]


def agreement_chart(judge: JudgeState) -> alt.LayerChart | None:
    """Agreement with people, next to people's with each other, with and without ties."""
    of = judge.agreement
    return _dots(
        [
            ("All choices", JUDGE, of.share),
            ("All choices", PEOPLE, of.people_share),
            ("Without ties", JUDGE, of.decisive),
            ("Without ties", PEOPLE, of.people_decisive),
        ],
        "Agreement with people",
        half=False,
    )


def leaning_chart(judge: JudgeState) -> alt.LayerChart | None:
    """Answers for the response that stood first, votes for the longer one; the dashed line is
    no pull."""
    return _dots(
        [
            ("Picks the first", JUDGE, judge.first),
            ("Picks the longer", JUDGE, judge.longer),
            ("Picks the longer", PEOPLE, judge.people_longer),
        ],
        "Share",
        half=True,
    )


def _dots(rows: list[Row], title: str, *, half: bool) -> alt.LayerChart | None:
    data = [
        {"Measure": measure, "Who": who, "Value": f.value, "Low": f.low, "High": f.high, "n": f.n}
        for measure, who, f in rows
        if f.value is not None
    ]
    if not data:
        return None
    names = list(dict.fromkeys(row["Measure"] for row in data))
    base = alt.Chart(pd.DataFrame(data)).encode(
        y=alt.Y("Measure:N", sort=names, title=None),
        yOffset=alt.YOffset("Who:N", sort=[JUDGE, PEOPLE]),
        color=alt.Color(
            "Who:N",
            scale=alt.Scale(domain=[JUDGE, PEOPLE], range=COLOURS),
            legend=alt.Legend(orient="top", title=None, symbolOpacity=1),
        ),
        tooltip=[
            "Measure", "Who",
            alt.Tooltip("Value:Q", title=title, format=".1%"),
            alt.Tooltip("Low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("High:Q", title="95 % to", format=".1%"),
            alt.Tooltip("n:Q", format=","),
        ],
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format="%", tickCount=5)
    bars = base.mark_bar(size=5, opacity=0.5, cornerRadius=2).encode(
        x=alt.X("Low:Q", scale=scale, title=f"{title}, 95 %", axis=axis), x2="High:Q"
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=alt.X("Value:Q", scale=scale))
    layers: list[Any] = [bars, points]
    if half:
        rule = alt.Chart(pd.DataFrame({"half": [0.5]})).mark_rule(strokeDash=[4, 4], color="#888888")
        layers.insert(0, rule.encode(x="half:Q"))
    return alt.layer(*layers).properties(height=120 + 44 * len(names))
