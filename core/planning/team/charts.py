"""Charts of a team: coverage by phase and role, load over time, cost by month."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from core.planning.team.model import phase_title
from core.planning.team.results import Results, load_rows, month_rows
from core.planning.units import SYMBOLS

TEAL, ORANGE = "#0f6b6b", "#c8632b"
COLUMNS = ["Phase", "Role", "Needed", "Available", "Covered", "said"]
ROLE_COLOURS = ("#23908a", "#c8632b", "#7478c9", "#a3a83a", "#b8527a", "#7b898e", "#4a90c4", "#94673c")


def coverage_map(found: Results) -> Any:
    """Phase by role: which part of the needed time is there, with available / needed FTE;
    without a team, what is needed. Empty when nothing is needed."""
    anybody = bool(found.team.members)
    rows = [
        {
            "Phase": phase_title(row.phase),
            "Role": row.role,
            "Needed": row.needed,
            "Available": row.available,
            "Covered": min(1.0, row.available / row.needed),
            "said": f"{row.available:.2g} / {row.needed:.2g}" if anybody else f"{row.needed:.2g}",
        }
        for row in found.found.roles
        if row.needed > 0
    ]
    phases = list(dict.fromkeys(window.title for window in found.windows))
    roles = [role for role in found.team.roles() if any(row["Role"] == role for row in rows)]
    gaps = alt.Scale(paddingInner=0.05, paddingOuter=0)
    words: dict[str, Any] = {"title": None, "scale": gaps}
    names: dict[str, Any] = {
        "labelFlush": False,
        "labelExpr": "split(datum.label, ' ')",
    }  # a word a line: phones
    base = alt.Chart(pd.DataFrame(rows, columns=COLUMNS)).encode(
        x=alt.X("Role:N", sort=roles, axis=alt.Axis(labelAngle=0, orient="top", **names), **words),
        y=alt.Y("Phase:N", sort=phases, axis=alt.Axis(labelBaseline="middle", **names), **words),
        tooltip=[
            alt.Tooltip("Phase:N"), alt.Tooltip("Role:N"), alt.Tooltip("Needed:Q", title="Needed FTE", format=".2f"),
            alt.Tooltip("Available:Q", title="Available FTE", format=".2f"),
            alt.Tooltip("Covered:Q", format=".0%"),
        ],
    )  # fmt: skip
    if anybody:
        scale = alt.Scale(domain=[0, 0.5, 1], range=[ORANGE, "#efe3d0", TEAL])
        legend = alt.Legend(title="Covered", format=".0%", orient="bottom", gradientLength=160)
        color = alt.Color("Covered:Q", scale=scale, legend=legend)
        bright = "datum.Covered > 0.8 || datum.Covered < 0.2"
    else:
        color = alt.Color(
            "Needed:Q", scale=alt.Scale(domain=[0, 1], range=["#e4efec", TEAL], clamp=True), legend=None
        )
        bright = "datum.Needed > 0.55"
    ink = alt.condition(bright, alt.value("white"), alt.value("#1d2528"))
    cells = base.mark_rect(cornerRadius=3).encode(color=color)
    said = base.mark_text(fontWeight="bold", fontSize=12).encode(text="said:N", color=ink)
    return (cells + said).properties(height=alt.Step(38))


def load_chart(found: Results) -> Any:
    """Person by week: the booked share of full time; orange where it is more than they have."""
    table = pd.DataFrame(load_rows(found))
    table["State"] = np.where(table["Load"] > table["Availability"] + 0.005, "Beyond availability", "Booked")
    table["From"], table["To"] = table["Week"] - 0.5, table["Week"] + 0.5
    people = [member.name for member in found.team.members]
    opacity = alt.Opacity("Load:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 1], clamp=True), legend=None)
    return (
        alt.Chart(table)
        .mark_rect(stroke=None)
        .encode(
            x=alt.X(
                "From:Q",
                title="Week of the plan",
                scale=alt.Scale(domain=[0.5, len(found.load) + 0.5], nice=False),
                axis=alt.Axis(grid=False, tickMinStep=1, tickCount=12, format="d"),
            ),
            x2="To:Q",
            y=alt.Y("Person:N", sort=people, title=None, axis=alt.Axis(labelLimit=150, labelFlush=False), scale=alt.Scale(paddingInner=0.15)),
            color=alt.Color(
                "State:N",
                scale=alt.Scale(domain=["Booked", "Beyond availability"], range=["#23908a", ORANGE]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            opacity=opacity,
            tooltip=[
                alt.Tooltip("Person"), alt.Tooltip("Week"), alt.Tooltip("Load", title="Booked", format=".0%"),
                alt.Tooltip("Availability", format=".0%"),
            ],
        )
        .properties(height=alt.Step(32))
    )  # fmt: skip


def cost_chart(found: Results) -> Any:
    """Cost by month, stacked by role."""
    table = pd.DataFrame(month_rows(found))
    totals = table.groupby("Role")["Cost"].sum().sort_values(ascending=False)
    order = [str(role) for role in totals.index]
    table["Place"] = table["Role"].map({role: place for place, role in enumerate(order)})
    symbol = SYMBOLS.get(found.units.currency, found.units.currency)
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("Month:O", title="Month from today", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("Cost:Q", title=f"Cost of the month, {symbol}", axis=alt.Axis(format="~s", tickCount=5)),
            color=alt.Color(
                "Role:N",
                scale=alt.Scale(
                    domain=order, range=[ROLE_COLOURS[i % len(ROLE_COLOURS)] for i in range(len(order))]
                ),
                legend=alt.Legend(title=None, orient="top", columns=2, labelLimit=200),
            ),
            order="Place:Q",
            tooltip=[alt.Tooltip("Month"), alt.Tooltip("Role:N"), alt.Tooltip("Cost", format=",.0f")],
        )
        .properties(height=340)
    )
