"""Charts of build or buy: cost with ranges, what it is made of, cost over volume, points,
and how far weights can move."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from core.planning.sourcing.results import Results, room_rows
from core.planning.sourcing.tco import over_volume
from core.planning.units import SYMBOLS

OPTION_COLOURS = ("#23908a", "#c8632b", "#7478c9", "#a3a83a", "#b8527a", "#7b898e", "#4a90c4", "#94673c")
KINDS = {
    ("people", "once"): "People, once",
    ("money", "once"): "Money, once",
    ("people", "year"): "People, yearly",
    ("money", "year"): "Money, yearly",
    ("money", "use"): "Per use",
}
KIND_COLOURS = ("#0f6b6b", "#7d6a9c", "#4fa8a1", "#b8aed0", "#c8632b")
BAND = "#23908a"


def _symbol(found: Results) -> str:
    return SYMBOLS.get(found.currency, found.currency)


def _order(found: Results) -> list[str]:
    """Best first."""
    return [found.plan.options[i].name for i in found.ranking.order]


def _colours(found: Results) -> alt.Scale:
    names = [option.name for option in found.plan.options]
    return alt.Scale(domain=names, range=[OPTION_COLOURS[i % len(OPTION_COLOURS)] for i in range(len(names))])


def cost_ranges(found: Results) -> Any:
    """P10 to P90 of each option's total cost, with P50; not discounted."""
    rows = [
        {"Option": o.name, "P10": o.total.p10, "P50": o.total.p50, "P90": o.total.p90, "Discounted": o.discounted.p50}
        for o in found.costs.options
    ]  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("Option:N", sort=_order(found), title=None, axis=alt.Axis(labelLimit=140)),
        color=alt.Color("Option:N", scale=_colours(found), legend=None),
        tooltip=[
            alt.Tooltip("Option:N"),
            *(alt.Tooltip(f"{p}:Q", format=",.0f") for p in ("P10", "P50", "P90")),
            alt.Tooltip("Discounted:Q", title="P50, discounted", format=",.0f"),
        ],
    )
    title = f"Cost over {found.plan.years} years, {_symbol(found)}: P10 to P90, with P50"
    bars = base.mark_bar(size=7, opacity=0.45, cornerRadius=3).encode(
        x=alt.X("P10:Q", title=title, axis=alt.Axis(format="~s", tickCount=6), scale=alt.Scale(zero=True)),
        x2="P90:Q",
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(x="P50:Q")
    return (bars + points).properties(height=alt.Step(38))


def cost_parts(found: Results) -> Any:
    """What the mean cost is made of: people and money, once, yearly and per use."""
    rows = [
        {
            "Option": option.name,
            "Line": item.line.name,
            "Kind": KINDS[item.line.what, item.line.when],
            "Cost": item.cost.mean,
            "Place": list(KINDS).index((item.line.what, item.line.when)),
        }
        for option in found.costs.options
        for item in option.lines
    ]
    shown = [kind for kind in KINDS.values() if any(row["Kind"] == kind for row in rows)]
    colours = dict(zip(KINDS.values(), KIND_COLOURS, strict=True))
    return (
        alt.Chart(pd.DataFrame(rows, columns=["Option", "Line", "Kind", "Cost", "Place"]))
        .mark_bar()
        .encode(
            y=alt.Y("Option:N", sort=_order(found), title=None, axis=alt.Axis(labelLimit=140)),
            x=alt.X("sum(Cost):Q", title=f"Mean cost over {found.plan.years} years, {_symbol(found)}", axis=alt.Axis(format="~s", tickCount=6)),
            color=alt.Color(
                "Kind:N",
                scale=alt.Scale(domain=shown, range=[colours[kind] for kind in shown]),
                legend=alt.Legend(title=None, orient="top", columns=3),
            ),
            order=alt.Order("Place:Q"),
            detail="Line:N",
            tooltip=[
                alt.Tooltip("Option:N"), alt.Tooltip("Line:N"), alt.Tooltip("Kind:N"),
                alt.Tooltip("sum(Cost):Q", title="Mean cost", format=",.0f"),
            ],
        )
        .properties(height=alt.Step(42))
    )  # fmt: skip


def cost_over_volume(found: Results) -> Any:
    """Discounted cost against uses a month: P50, with P10 to P90; the dashed line is today."""
    now = max(1.0, found.plan.interactions_per_month.value)
    volumes = np.geomspace(now / 30, now * 30, 31)
    rows = []
    for option in found.costs.options:
        for volume, (p10, p50, p90) in zip(volumes, over_volume(option, volumes), strict=True):
            rows.append({"Option": option.name, "Uses": volume, "P10": p10, "P50": p50, "P90": p90})
    x = alt.X(
        "Uses:Q",
        title="Uses a month today (logarithmic)",
        scale=alt.Scale(type="log", nice=False, domain=[float(volumes[0]), float(volumes[-1])]),
        axis=alt.Axis(format="~s", tickCount=6, grid=False),
    )
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=x,
        color=alt.Color(
            "Option:N",
            scale=_colours(found),
            legend=alt.Legend(
                title=None, orient="top", symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3
            ),
        ),
    )
    title = f"Discounted cost over {found.plan.years} years, {_symbol(found)}"
    band = base.mark_area(opacity=0.13).encode(
        y=alt.Y("P10:Q", title=title, axis=alt.Axis(format="~s", tickCount=6)), y2="P90:Q"
    )
    line = base.mark_line(strokeWidth=2.5).encode(
        y="P50:Q",
        tooltip=[
            alt.Tooltip("Option:N"), alt.Tooltip("Uses:Q", format=",.0f"),
            *(alt.Tooltip(f"{p}:Q", format=",.0f") for p in ("P10", "P50", "P90")),
        ],
    )  # fmt: skip
    today = (
        alt.Chart(pd.DataFrame([{"Uses": now}]))
        .mark_rule(strokeDash=[5, 4], color="#8a9498", strokeWidth=1.5)
        .encode(x=x, tooltip=[alt.Tooltip("Uses:Q", title="Uses a month now", format=",.0f")])
    )
    return (band + line + today).properties(height=340)


def points(found: Results) -> Any:
    """What each factor adds to an option's points."""
    parts = found.ranking.contributions
    rows = [
        {
            "Option": option.name,
            "Factor": found.ranking.names[j],
            "Points": float(parts[i, j]),
            "Score": float(found.ranking.scores[i, j]),
            "Weight": float(found.ranking.weights[j]),
            "Place": j,
        }
        for i, option in enumerate(found.plan.options)
        for j in range(len(found.ranking.names))
    ]
    totals = pd.DataFrame(
        [{"Option": option.name, "Total": float(found.ranking.totals[i]), "said": f"{found.ranking.totals[i]:.1f}"}
         for i, option in enumerate(found.plan.options)]
    )  # fmt: skip
    y = alt.Y("Option:N", sort=_order(found), title=None, axis=alt.Axis(labelLimit=140))
    bars = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            y=y,
            x=alt.X("Points:Q", title="Points of 10, by factor", scale=alt.Scale(domain=[0, 10]), axis=alt.Axis(tickCount=10, format="d")),
            color=alt.Color(
                "Factor:N",
                scale=alt.Scale(
                    domain=found.ranking.names,
                    range=[OPTION_COLOURS[i % len(OPTION_COLOURS)] for i in range(len(found.ranking.names))],
                ),
                legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=180),
            ),
            order=alt.Order("Place:Q"),
            tooltip=[
                alt.Tooltip("Option:N"), alt.Tooltip("Factor:N"), alt.Tooltip("Score:Q", format=".1f"),
                alt.Tooltip("Weight:Q", format=".0%"), alt.Tooltip("Points:Q", format=".2f"),
            ],
        )
    )  # fmt: skip
    said = (
        alt.Chart(totals)
        .mark_text(align="left", dx=6, fontWeight="bold", color="#8a9498")
        .encode(y=y, x="Total:Q", text="said:N")
    )
    return (bars + said).properties(height=alt.Step(42))


def weight_rooms(found: Results) -> Any:
    """The range of each weight within which the same option wins; the point is today."""
    table = pd.DataFrame(room_rows(found))
    # No tooltip may say “0 %” where there is no end.
    table["Below"] = np.where(table["Below wins"] == "", "nobody else", table["Below wins"])
    table["Above"] = np.where(table["Above wins"] == "", "nobody else", table["Above wins"])
    base = alt.Chart(table).encode(
        y=alt.Y("Factor:N", sort=found.ranking.names, title=None, axis=alt.Axis(labelLimit=170)),
        tooltip=[
            alt.Tooltip("Factor:N"), alt.Tooltip("Weight:Q", title="Weight now", format=".0%"),
            alt.Tooltip("From:Q", format=".0%"), alt.Tooltip("To:Q", format=".0%"),
            alt.Tooltip("Below:N", title="Below it wins"), alt.Tooltip("Above:N", title="Above it wins"),
        ],
    )  # fmt: skip
    winner = found.plan.options[found.ranking.winner].name
    bars = base.mark_bar(size=9, cornerRadius=3, opacity=0.5, color=BAND).encode(
        x=alt.X(
            "From:Q",
            title=f"Share of the weight within which {winner} wins",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%", tickCount=10),
        ),
        x2="To:Q",
    )
    here = base.mark_point(filled=True, size=90, color="#c8632b", opacity=1).encode(x="Weight:Q")
    return (bars + here).properties(height=alt.Step(30))
