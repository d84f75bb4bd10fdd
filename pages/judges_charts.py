"""The charts of the page Machine judges."""

from typing import Any

import altair as alt
import pandas as pd

from core.annotation.judge.figures import JudgeState

BY = ["judge with people", "people with each other"]
COLOURS = ["#0f6b6b", "#c8632b"]


def agreement_chart(found: list[JudgeState]) -> alt.LayerChart | None:
    """Each judge's agreement with people, next to people's with each other, with and without
    ties; 95 % intervals."""
    rows = []
    for judge in found:
        of = judge.agreement
        for measure, own, people in (
            ("all choices", of.share, of.people_share),
            ("without ties", of.decisive, of.people_decisive),
        ):
            for who, figure in zip(BY, (own, people), strict=True):
                if figure.value is not None:
                    rows.append(_row(judge, figure, measure, who))
    if not rows:
        return None
    color = alt.Color("Who:N", sort=BY, scale=alt.Scale(domain=BY, range=COLOURS))
    return _dots(rows, "Agreement", color, half=False)


def leaning_chart(found: list[JudgeState]) -> alt.LayerChart | None:
    """Share of answers for the response that stood first, and for the longer one; the dashed
    line is no pull."""
    rows = []
    for judge in found:
        for measure, who, figure in (
            ("picks the first", BY[0], judge.first),
            ("picks the longer", BY[0], judge.longer),
            ("picks the longer", BY[1], judge.people_longer),
        ):
            if figure.value is not None:
                rows.append(_row(judge, figure, measure, who.split(" ")[0]))
    if not rows:
        return None
    who = [name.split(" ")[0] for name in BY]
    color = alt.Color("Who:N", sort=who, scale=alt.Scale(domain=who, range=COLOURS))
    return _dots(rows, "Share", color, half=True)


def _row(judge: JudgeState, figure: object, measure: str, who: str) -> dict[str, object]:
    value, low, high, n = (getattr(figure, name) for name in ("value", "low", "high", "n"))
    name = judge.name if len(judge.name) <= 48 else judge.name[:47] + "…"
    return {
        "Judge": name, "Measure": measure, "Who": who, "Value": value, "Low": low, "High": high,
        "Pairs": n, "Row": f"{name}: {measure}",
    }  # fmt: skip


def _dots(rows: list[dict[str, object]], title: str, color: alt.Color, *, half: bool) -> alt.LayerChart:
    one = len({row["Judge"] for row in rows}) == 1
    label = "Measure" if one else "Row"
    names = list(dict.fromkeys(row[label] for row in rows))
    y = alt.Y(f"{label}:N", sort=names, title=None, axis=alt.Axis(labelLimit=320))
    color.legend = alt.Legend(orient="top", title=None)  # type: ignore[attr-defined]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=y,
        yOffset=alt.YOffset("Who:N"),
        color=color,
        tooltip=[
            "Judge", "Measure", "Who",
            alt.Tooltip("Value:Q", title=title, format=".1%"),
            alt.Tooltip("Low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("High:Q", title="95 % to", format=".1%"),
            alt.Tooltip("Pairs:Q", title="n", format=","),
        ],
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(size=5, opacity=0.45, cornerRadius=2).encode(
        x=alt.X(
            "Low:Q",
            scale=scale,
            title=f"{title}, with its 95 % interval",
            axis=alt.Axis(format="%", tickCount=5),
        ),
        x2="High:Q",
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=alt.X("Value:Q", scale=scale))
    layers: list[Any] = [bars, points]
    if half:
        rule = alt.Chart(pd.DataFrame({"half": [0.5]})).mark_rule(strokeDash=[4, 4], opacity=0.5)
        layers.insert(0, rule.encode(x="half:Q"))
    return alt.layer(*layers).properties(height=110 + 46 * len(names))
