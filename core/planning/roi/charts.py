"""The charts of a scenario, for the page and the brief alike. Colours work on light and on
dark; text takes the reader's theme."""

from typing import Any

import altair as alt

from core.planning.roi.cashflow import CashFlow
from core.planning.roi.improvements import Improvement
from core.planning.roi.monte_carlo import Simulation
from core.planning.roi.results import shown, unit_text
from core.planning.roi.tornado import Swing
from core.planning.roi.value_of_labels import LabelValue
from core.planning.units import SYMBOLS

# The teal lies between those of the two themes, so that it is seen on both.
TEAL, ORANGE, GREY = "#1f8a85", "#c8632b", "#8a9499"
MOST_BARS = 10
SERIES = (TEAL, ORANGE, "#5a5fb0", "#8a8f2d")
COST_COLOURS = {
    "Labels": "#c8632b",
    "Compute": "#5a5fb0",
    "Model calls": "#8a8f2d",
    "People": "#a23b60",
    "Platform": "#5d6b70",
    "Integration": "#b08d57",
}


def _money(currency: str) -> str:
    """A Vega label: `€12k`."""
    symbol = SYMBOLS.get(currency)
    number = "replace(format(abs(datum.value), '.3~s'), 'G', 'B')"
    sign = "(datum.value < 0 ? '-' : '')"
    return f"{sign} + '{symbol}' + {number}" if symbol else f"{sign} + {number}"


def _axis(currency: str, title: str, **more: Any) -> alt.Axis:
    name = title if currency in SYMBOLS else f"{title} ({currency})"
    return alt.Axis(title=name, labelExpr=_money(currency), tickCount=6, **more)


def _zero(axis: str = "y") -> alt.Chart:
    rule = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=GREY, strokeDash=[4, 3])
    return rule.encode(y="zero:Q") if axis == "y" else rule.encode(x="zero:Q")


def fan(simulation: Simulation, currency: str) -> Any:
    """Cumulative cash flow by month: the median, and the middle 50, 80 and 90 % of futures."""
    data = alt.Data(values=simulation.fan_rows())
    x = alt.X("Month:Q", axis=alt.Axis(tickMinStep=1, format="d", grid=False), title="Month")
    base = alt.Chart(data).encode(x=x)
    bands = [
        base.mark_area(color=TEAL, opacity=opacity).encode(y=y, y2=high)
        for y, high, opacity in (
            (alt.Y("P5:Q", axis=_axis(currency, "Cumulative cash flow")), "P95:Q", 0.16),
            (alt.Y("P10:Q"), "P90:Q", 0.2),
            (alt.Y("P25:Q"), "P75:Q", 0.28),
        )
    ]
    middle = base.mark_line(color=TEAL, strokeWidth=2.5).encode(y="P50:Q")
    touch = base.mark_rule(opacity=0, strokeWidth=12).encode(
        tooltip=[
            alt.Tooltip("Month:Q", format="d"),
            *(
                alt.Tooltip(f"{name}:Q", format=",.0f")
                for name in ("P5", "P10", "P25", "P50", "P75", "P90", "P95")
            ),
        ]
    )
    return alt.layer(*bands, _zero(), middle, touch).properties(height=330)


def tornado_chart(
    swings: list[Swing], best: float, currency: str, most: int = MOST_BARS
) -> alt.TopLevelMixin:
    """Net present value with each input at its P10 and its P90, the others at their best."""
    rows = [
        {
            "Input": item.label,
            "End": end,
            "Value": f"{shown(at, item.percent)} {unit_text(item.unit, currency)}",
            "NPV": outcome,
            "Best": best,
            "Label": shown(at, item.percent) + (" %" if item.percent else ""),
            "Side": 1 if outcome >= best else -1,
        }
        for item in swings[:most]
        for end, at, outcome in (
            ("P10", item.at_p10, item.outcome_p10),
            ("P90", item.at_p90, item.outcome_p90),
        )
    ]
    order: Any = list(dict.fromkeys(row["Input"] for row in rows))
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("Input:N", sort=order, title=None, axis=alt.Axis(labelLimit=170, labelOverlap=False)),
        tooltip=["Input:N", "End:N", "Value:N", alt.Tooltip("NPV:Q", format=",.0f")],
    )
    x = alt.X("NPV:Q", axis=_axis(currency, "Net present value"), scale=alt.Scale(zero=False, padding=34))
    bars = base.mark_bar(size=15).encode(
        x=x,
        x2="Best:Q",
        color=alt.Color(
            "End:N",
            scale=alt.Scale(domain=["P10", "P90"], range=[ORANGE, TEAL]),
            legend=alt.Legend(title="Input at its", orient="top"),
        ),
    )
    text = [
        base.transform_filter(f"datum.Side == {side}")
        .mark_text(align="left" if side > 0 else "right", dx=4 * side, fontSize=11, color=GREY)
        .encode(x="NPV:Q", text="Label:N")
        for side in (1, -1)
    ]
    middle = alt.Chart(alt.Data(values=[{"best": best}])).mark_rule(color=GREY).encode(x="best:Q")
    return alt.layer(bars, middle, *text).properties(height=alt.Step(26))


def cash_chart(flow: CashFlow, currency: str) -> alt.TopLevelMixin:
    """Benefit and costs of each month, with the cumulative sum."""
    rows = [
        {"Month": row["Month"], "What": name, "Money": row[name]}
        for row in flow.rows()
        for name in ("Benefit", *COST_COLOURS)
        if row[name]
    ]
    names = ["Benefit", *COST_COLOURS]
    scale = alt.Scale(domain=[-0.6, len(flow.net) - 0.4], nice=False)
    x = alt.X("Month:Q", title="Month", scale=scale, axis=alt.Axis(tickMinStep=1, format="d", grid=False))
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=max(2, round(260 / len(flow.net))))
        .encode(
            x=x,
            y=alt.Y("Money:Q", axis=_axis(currency, "In the month")),
            color=alt.Color(
                "What:N",
                scale=alt.Scale(domain=names, range=[TEAL, *COST_COLOURS.values()]),
                legend=alt.Legend(title=None, orient="top", columns=3),
            ),
            order=alt.Order("What:N"),
            tooltip=["Month:Q", "What:N", alt.Tooltip("Money:Q", format=",.0f")],
        )
    )
    return alt.layer(bars, _zero()).properties(height=260)


def label_chart(found: LabelValue, currency: str) -> alt.TopLevelMixin:
    """Worth of n more labels for the decision, their cost, and the rest."""
    steps = [item for item in found.steps if item.n > 0]
    rows = [
        {"n": item.n, "What": name, "Money": value}
        for item in steps
        for name, value in (("Worth", item.evsi), ("Cost", item.cost), ("Net", item.net))
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("n:Q", title=f"More labels ({found.known.label})",
                scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~s", grid=False, tickCount=5)),
        y=alt.Y("Money:Q", axis=_axis(currency, "Value for the decision")),
        color=alt.Color(
            "What:N",
            scale=alt.Scale(domain=["Worth", "Cost", "Net"], range=[TEAL, ORANGE, GREY]),
            legend=alt.Legend(title=None, orient="top"),
        ),
        tooltip=[alt.Tooltip("n:Q", format=","), "What:N", alt.Tooltip("Money:Q", format=",.0f")],
    )  # fmt: skip
    lines = base.mark_line(point=True)
    layers = [_zero(), lines]
    if found.best_n > 0:
        best = alt.Chart(alt.Data(values=[{"n": found.best_n}])).mark_rule(color=GREY, strokeDash=[2, 2])
        layers.append(best.encode(x="n:Q"))
    return alt.layer(*layers).properties(height=260)


def narrowing_chart(found: LabelValue) -> alt.TopLevelMixin:
    """How the 95 % interval of the uplift would shrink with n more labels."""
    mean = found.known.mean
    rows = [
        {
            "Labels": f"{item.n:,}",
            "low": 100 * (mean - item.uplift_half),
            "high": 100 * (mean + item.uplift_half),
            "mean": 100 * mean,
        }
        for item in found.steps
    ]
    order: Any = [row["Labels"] for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("Labels:O", sort=order, title="More labels", axis=alt.Axis(labelAngle=-45))
    )
    bars = base.mark_bar(size=8, cornerRadius=3, color=TEAL, opacity=0.5).encode(
        y=alt.Y("low:Q", title="Uplift, points (95 %)"),
        y2="high:Q",
        tooltip=["Labels:O", alt.Tooltip("low:Q", format=".1f"), alt.Tooltip("high:Q", format=".1f")],
    )
    dots = base.mark_point(filled=True, color=TEAL, size=50).encode(y="mean:Q")
    return alt.layer(_zero(), bars, dots).properties(height=260)


def _steps(found: list[Improvement]) -> tuple[list[tuple[str, Improvement]], Any]:
    """The steps from champion to champion by name, and the axis that they share."""
    named = [(f"{i + 1}. {item.prompt}", item) for i, item in enumerate(_taken(found))]
    order = [name for name, _ in named]
    axis = alt.Axis(labelAngle=-30, labelLimit=120)
    return named, alt.X("Step:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=axis)


def _taken(found: list[Improvement]) -> list[Improvement]:
    return [item for item in found if item.prompt and item.before]


def improvement_gains(found: list[Improvement]) -> alt.TopLevelMixin:
    """The win rate of each champion against the one before, with its 95 % interval."""
    named, x = _steps(found)
    rows = [
        {
            "Step": name,
            "Win rate": item.gain.value,
            "low": item.gain.low,
            "high": item.gain.high,
            "n": item.gain.n,
        }
        for name, item in named
        if item.gain is not None
    ]
    tooltip: Any = [
        "Step:N",
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("Win rate", "low", "high")),
        alt.Tooltip("n:Q", format=","),
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, tooltip=tooltip)
    span = base.mark_rule(color=TEAL, strokeWidth=4, opacity=0.5).encode(
        y=alt.Y("low:Q", title="Win rate (95 %)", axis=alt.Axis(format=".0%", minExtent=44),
                scale=alt.Scale(zero=False)),
        y2="high:Q",
    )  # fmt: skip
    dots = base.mark_point(filled=True, color=TEAL, size=80).encode(y="Win rate:Q")
    half = alt.Chart(alt.Data(values=[{"half": 0.5}])).mark_rule(color=GREY, strokeDash=[4, 3])
    return alt.layer(half.encode(y="half:Q"), span, dots).properties(height=260)


def improvement_costs(found: list[Improvement], currency: str) -> alt.TopLevelMixin:
    """What each step cost. Steps that cost more for less gain are diminishing returns."""
    named, x = _steps(found)
    rows = [
        {"Step": name, "What": what, "Money": value}
        for name, item in named
        for what, value in (
            ("Labels", item.label_cost), ("Compute", item.machine_cost), ("Model calls", item.call_cost),
        )
    ]  # fmt: skip
    kinds = ["Labels", "Compute", "Model calls"]
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=max(6, min(26, 320 // max(1, len(named)))))
        .encode(
            x=x,
            y=alt.Y("Money:Q", axis=_axis(currency, "Cost of the step", minExtent=44)),
            color=alt.Color(
                "What:N",
                scale=alt.Scale(domain=kinds, range=[COST_COLOURS[kind] for kind in kinds]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=["Step:N", "What:N", alt.Tooltip("Money:Q", format=",.2f")],
        )
    )
    return alt.layer(bars).properties(height=260)


def overlay(simulations: dict[str, Simulation], currency: str) -> alt.TopLevelMixin:
    """The median cumulative cash flow of each scenario, with its middle 80 %."""
    rows = [
        {"Scenario": name, "Month": row["Month"], "P10": row["P10"], "P50": row["P50"], "P90": row["P90"]}
        for name, simulation in simulations.items()
        for row in simulation.fan_rows()
    ]
    colour = alt.Color(
        "Scenario:N",
        scale=alt.Scale(domain=list(simulations), range=list(SERIES[: len(simulations)])),
        legend=alt.Legend(title=None, orient="top", labelLimit=240),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("Month:Q", title="Month", axis=alt.Axis(tickMinStep=1, format="d", grid=False)), color=colour
    )
    band = base.mark_area(opacity=0.16).encode(
        y=alt.Y("P10:Q", axis=_axis(currency, "Cumulative cash flow"), stack=None), y2="P90:Q"
    )
    line = base.mark_line(strokeWidth=2.5).encode(
        y="P50:Q",
        tooltip=[
            "Scenario:N",
            "Month:Q",
            *(alt.Tooltip(f"{p}:Q", format=",.0f") for p in ("P10", "P50", "P90")),
        ],
    )
    return alt.layer(band, _zero(), line).properties(height=300)
