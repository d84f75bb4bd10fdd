"""The charts of the decision: for its page and the brief alike."""

from typing import Any

import altair as alt
import pandas as pd

from core.planning.decision.history import History
from core.planning.decision.results import Result
from core.planning.decision.tables import contribution_rows, ranking_rows

TEAL, ORANGE, GREY = "#17827f", "#c8632b", "#8a9599"
FACTOR_COLOURS = [
    "#17827f", "#c8632b", "#7f8cc9", "#a8a63a", "#a23b60", "#8a9599", "#4fb8b0", "#e5a97f",
]  # fmt: skip
_LABELS = alt.Axis(labelLimit=190, labelOverlap=False, ticks=False, domain=False)


def contributions(result: Result) -> alt.Chart:
    """What each factor adds to each alternative's weighted sum."""
    rows = pd.DataFrame(contribution_rows(result))
    names = [result.body.alternatives[i].title for i in result.ranked]
    factors = [factor.title for factor in result.body.factors]
    rows["Place"] = rows["Factor"].map({title: i for i, title in enumerate(factors)})
    colours = [FACTOR_COLOURS[i % len(FACTOR_COLOURS)] for i in range(len(factors))]
    return (
        alt.Chart(rows)
        .mark_bar(size=20)
        .encode(
            x=alt.X("Contribution:Q", title="Score × weight, out of 10", scale=alt.Scale(domain=[0, 10])),
            y=alt.Y("Alternative:N", sort=names, title=None, axis=_LABELS),
            color=alt.Color(
                "Factor:N",
                sort=factors,
                scale=alt.Scale(domain=factors, range=colours),
                legend=alt.Legend(orient="top", title=None, columns=1, labelLimit=260),
            ),
            order=alt.Order("Place:Q"),
            tooltip=[
                "Alternative",
                "Factor",
                alt.Tooltip("Score", format=".1f"),
                alt.Tooltip("Weight", format=".0%"),
                alt.Tooltip("Contribution", format=".2f"),
            ],
        )
        .properties(height=alt.Step(34))
    )


def ranking(result: Result) -> alt.LayerChart:
    """Weighted sums, with what the draws of weights around these make of them."""
    rows = pd.DataFrame(ranking_rows(result))
    names = list(rows["Alternative"])
    x = alt.Scale(domain=[0, 10])
    base = alt.Chart(rows).encode(
        y=alt.Y("Alternative:N", sort=names, title=None, axis=_LABELS),
        color=alt.condition("datum.Rank == 1", alt.value(TEAL), alt.value(GREY)),
        tooltip=[
            "Alternative",
            alt.Tooltip("Weighted sum", format=".2f"),
            alt.Tooltip("Low", title="5 % of draws below", format=".2f"),
            alt.Tooltip("High", title="5 % of draws above", format=".2f"),
            alt.Tooltip("TOPSIS", format=".3f"),
            alt.Tooltip("Wins, weights near these", format=".0%"),
        ],
    )
    bars = base.mark_bar(size=6, opacity=0.55, cornerRadius=3).encode(
        x=alt.X("Low:Q", title="Weighted sum, 0 to 10", scale=x, axis=alt.Axis(tickCount=5)), x2="High:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(x=alt.X("Weighted sum:Q", scale=x))
    return (bars + points).properties(height=alt.Step(34))


def sensitivity(result: Result) -> alt.LayerChart | None:
    """For each weight: its share now (dot), and where the winner stays (bar)."""
    if not result.rooms:
        return None
    titles = [a.title for a in result.body.alternatives]
    rows: list[dict[str, Any]] = [
        {
            "Factor": result.body.factors[room.factor].title,
            "Now": room.share,
            "From": 0.0 if room.down is None else room.down,
            "To": 1.0 if room.up is None else room.up,
            "Below": "the winner stays" if room.down_winner is None else titles[room.down_winner],
            "Above": "the winner stays" if room.up_winner is None else titles[room.up_winner],
        }
        for room in result.rooms
    ]
    names = [row["Factor"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("Factor:N", sort=names, title=None, axis=_LABELS),
        tooltip=[
            "Factor",
            alt.Tooltip("Now", format=".0%"),
            alt.Tooltip("From", title="Winner stays from", format=".1%"),
            alt.Tooltip("To", title="to", format=".1%"),
            alt.Tooltip("Below", title="Below, wins"),
            alt.Tooltip("Above", title="Above, wins"),
        ],
    )
    x = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(size=12, opacity=0.6, cornerRadius=3, color=TEAL).encode(
        x=alt.X(
            "From:Q",
            title="Weight",
            scale=x,
            axis=alt.Axis(format="%", tickCount=5),
        ),
        x2="To:Q",
    )
    points = base.mark_point(filled=True, size=100, opacity=1, color=ORANGE).encode(x=alt.X("Now:Q", scale=x))
    return (bars + points).properties(height=alt.Step(34))


def has_plateau(history: History) -> bool:
    """Whether there is a line of manual versions to draw."""
    return history.basis == "votes" and sum(version.gain is not None for version in history.versions) > 1


def plateau(history: History) -> alt.LayerChart | None:
    """Each manual version against the one the test starts from, with the test's interval,
    and the margin it must reach."""
    known = [version for version in history.versions if version.gain is not None]
    if not has_plateau(history):
        return None
    level = 100 * (1 - 2 * history.verdict.alpha) if history.verdict else 90
    rows = pd.DataFrame(
        [
            {
                "Version": version.name,
                "Gain": version.gain,
                "Low": version.low,
                "High": version.high,
                "Role": "Tested gain" if version.name == history.newest
                else "Starting point" if version.name == history.reference else "Other versions",
                "Votes": version.step_n,
            }
            for version in known
        ]
    )  # fmt: skip
    names = [version.name for version in known]
    base = alt.Chart(rows).encode(
        x=alt.X("Version:N", sort=names, title=None, axis=alt.Axis(labelAngle=-30, labelLimit=110)),
        color=alt.Color(
            "Role:N",
            scale=alt.Scale(
                domain=["Starting point", "Other versions", "Tested gain"], range=[GREY, TEAL, ORANGE]
            ),
            legend=alt.Legend(orient="top", title=None),
        ),
        tooltip=[
            "Version",
            alt.Tooltip("Gain", title="Points against the start", format="+.1f"),
            alt.Tooltip("Low", title=f"{level:g} % from", format="+.1f"),
            alt.Tooltip("High", title=f"{level:g} % to", format="+.1f"),
            alt.Tooltip("Votes", title="Votes against the one before", format=","),
        ],
    )
    y = alt.Y("Low:Q", title=f"Points of win rate, {level:g} % interval")
    bars = base.mark_rule(strokeWidth=3, opacity=0.5).encode(y=y, y2="High:Q")
    points = base.mark_point(filled=True, size=100, opacity=1).encode(y=alt.Y("Gain:Q"))
    margin = (
        alt.Chart(pd.DataFrame([{"Margin": history.margin}]))
        .mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5)
        .encode(y="Margin:Q", tooltip=[alt.Tooltip("Margin", title="Margin, points")])
    )
    return (bars + points + margin).properties(height=260)
