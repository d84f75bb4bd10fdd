"""Charts of the plan: phases against what happened, and a metric on its way to its target.

Used by the page and the brief alike. Colours read on light and on dark.
"""

from datetime import date, timedelta
from typing import Any

import altair as alt
import pandas as pd

from core.planning.milestones.catalogue import KIND
from core.planning.milestones.forecast import Futures
from core.planning.milestones.metrics import Metric
from core.planning.milestones.model import Milestone
from core.planning.milestones.schedule import Planned
from core.planning.milestones.status import Status

TEAL, ORANGE, GRAY, RED = "#2b8a87", "#d0703a", "#8a9396", "#b8475a"
COLORS = {"met": TEAL, "on track": "#5b8fb9", "at risk": ORANGE, "late": RED}
ROW = 46  # height of a phase
FRAME = 80  # what legend and axis take of a chart's height
MOST = 46  # characters of a name that fit at 400 px


def gantt(
    phases: list[Planned], statuses: list[Status], on: date, seen: dict[str, tuple[date, date]] | None = None
) -> Any:
    """Each phase as planned (pale), as it went or is expected to go (full), its milestones
    on their due dates, and today. A name stands above its bars, so that a long one takes
    no room from them. `seen`: phase key -> first and last day of its kind of work,
    drawn where the plan has no actual dates."""
    order = [phase.key for phase in phases]
    bars, labels = [], []
    for phase in phases:
        critical = "no slack" if phase.critical else f"{phase.slack} days of slack"
        row = {"key": phase.key, "Phase": phase.title, "Slack": critical, "Owner": phase.owner or "—"}
        bars.append({**row, "what": "planned", "from": phase.start, "to": phase.end})
        happened = phase.actual_start is not None
        if happened:
            until = phase.actual_end or min(on, phase.expected_end)
            until = max(until, phase.expected_start + timedelta(days=1))
            bars.append({**row, "what": "actual", "from": phase.expected_start, "to": until})
        if phase.actual_end is None and (happened or phase.slip > 0):
            begin = max(on, phase.expected_start) if happened else phase.expected_start
            if begin < phase.expected_end:
                bars.append({**row, "what": "expected", "from": begin, "to": phase.expected_end})
        if not happened and seen and phase.key in seen:
            first, last = seen[phase.key]
            bars.append({**row, "what": "work seen", "from": first, "to": last + timedelta(days=1)})
        both = f"{phase.title} · {phase.owner}"
        fits = phase.owner and len(both) <= MOST
        labels.append({"key": phase.key, "text": both if fits else _short(phase.title, MOST)})
    frame = pd.DataFrame(bars)
    for column in ("from", "to"):
        frame[column] = pd.to_datetime(frame[column])
    lo, hi = frame["from"].min(), frame["to"].max()
    lo, hi = min(lo, pd.Timestamp(on)), max(hi, pd.Timestamp(on))
    pad = (hi - lo) * 0.02
    x_scale = alt.Scale(domain=[_js(lo - pad), _js(hi + pad)])
    x = alt.X(
        "from:T", title=None, scale=x_scale, axis=alt.Axis(labelOverlap="greedy", tickCount=8, grid=True)
    )
    y = alt.Y("key:N", sort=order, axis=None, scale=alt.Scale(paddingInner=0.0))
    kinds = [kind for kind in ("planned", "actual", "expected", "work seen") if kind in set(frame["what"])]
    paint = {"planned": GRAY, "actual": TEAL, "expected": ORANGE, "work seen": "#5b8fb9"}
    color = alt.Color(
        "what:N",
        scale=alt.Scale(domain=kinds, range=[paint[kind] for kind in kinds]),
        legend=alt.Legend(title=None, orient="top", columns=4, symbolOpacity=1, symbolType="square"),
    )
    tips = [
        alt.Tooltip("Phase"), alt.Tooltip("what", title="bar"), alt.Tooltip("from:T", title="from"),
        alt.Tooltip("to:T", title="to"), alt.Tooltip("Slack"), alt.Tooltip("Owner"),
    ]  # fmt: skip
    base = alt.Chart(frame).encode(y=y, x=x, x2="to:T", color=color, tooltip=tips)
    plan = base.transform_filter("datum.what == 'planned'").mark_bar(
        height=9, yOffset=2, opacity=0.55, cornerRadius=2
    )
    real = base.transform_filter("datum.what != 'planned'").mark_bar(height=7, yOffset=12, cornerRadius=2)
    name = (
        alt.Chart(pd.DataFrame(labels))
        .mark_text(align="left", baseline="middle", dy=-13, fontSize=12, color=GRAY)
        .encode(y=y, x=alt.value(2), text="text:N")
    )
    layers = [plan, real, name, *_flags(statuses, y, x_scale), _today(on, x_scale)]
    return alt.layer(*layers).properties(height=ROW * len(phases) + FRAME)


def _flags(statuses: list[Status], y: Any, x_scale: alt.Scale) -> list[Any]:
    if not statuses:
        return []
    rows = pd.DataFrame(
        {
            "key": item.milestone.phase,
            "due": pd.Timestamp(item.due),
            "status": item.word,
            "Milestone": item.milestone.name,
            "Reason": item.reason,
            "color": COLORS[item.word],
        }
        for item in statuses
    )
    tips = [alt.Tooltip(name) for name in ("Milestone", "status", "Reason")] + [
        alt.Tooltip("due:T", title="due")
    ]
    flags = alt.Chart(rows).mark_point(shape="diamond", filled=True, size=85, opacity=1, yOffset=2)
    return [
        flags.encode(
            y=y, x=alt.X("due:T", scale=x_scale), color=alt.Color("color:N", scale=None), tooltip=tips
        )
    ]


def burn_up(metric: Metric, item: Milestone, due: date, futures: Futures, on: date) -> Any:
    """The metric so far with its interval, the fan of its futures, the target and the due
    date. The fan ends a little after the forecast, or the due date."""
    kind = KIND[metric.kind.key]
    percent = kind.scale == "share"
    target = float(item.target or 0)
    past = pd.DataFrame(
        {
            "day": pd.Timestamp(point.day), "value": point.value,
            "low": point.value if point.low is None else point.low,
            "high": point.value if point.high is None else point.high,
            "n": point.n, "what": "so far",
        }
        for point in _thin(metric.series)
    )  # fmt: skip
    forecast = futures.reach(target, item.direction)
    ends = [when for when in (forecast.high or forecast.day, due) if when is not None]
    first = metric.series[0].day
    until = max([on + timedelta(days=14), *(when + (when - on) / 6 for when in ends)])
    until = min(until, on + timedelta(days=max(120, 2 * (on - first).days, 2 * max(0, (due - on).days))))
    bands = futures.bands(until) if forecast.state != "reached" else []
    axis_y = alt.Axis(format="%" if percent else "~s" if kind.family == "count" else "~g")
    lows = [*past["low"], target, *(band.low for band in bands)]
    highs = [*past["high"], target, *(band.high for band in bands)]
    lo, hi = min(lows), max(highs)
    if kind.family == "count":
        # A fan that runs far beyond the target would flatten all that happened.
        hi = min(hi, 2.2 * max(target, float(past["value"].max())))
        lo = 0.0
    pad = (hi - lo) * 0.06 or 0.05
    lo, hi = (lo if kind.family == "count" else lo - pad), hi + pad
    if percent:
        lo, hi = max(0.0, lo), min(1.0, hi)
    y_scale = alt.Scale(domain=[lo, hi], zero=False, clamp=True)
    x = alt.X("day:T", title=None, axis=alt.Axis(labelOverlap="greedy", tickCount=6))
    title = f"{metric.kind.title.split(':')[0].lower()}, {metric.kind.unit}"
    y = alt.Y("value:Q", title=title, scale=y_scale, axis=axis_y)
    shown = ".1%" if percent else ",.0f" if kind.family == "count" else ".3f"
    domain = ["so far", "forecast, 80 %"]
    color = alt.Color(
        "what:N", scale=alt.Scale(domain=domain, range=[TEAL, ORANGE]),
        legend=alt.Legend(title=None, orient="top", symbolOpacity=1, symbolType="square"),
    )  # fmt: skip
    tip = [alt.Tooltip("day:T"), alt.Tooltip("value:Q", format=shown), alt.Tooltip("n:Q", format=",")]
    base = alt.Chart(past).encode(x=x, color=color)
    layers = [
        base.mark_area(opacity=0.18).encode(
            y=alt.Y("low:Q", title=title, scale=y_scale, axis=axis_y), y2="high:Q"
        )
    ]
    if bands:
        last = metric.series[-1].value
        fan = pd.DataFrame(
            [{"day": pd.Timestamp(on), "low": last, "value": last, "high": last, "what": domain[1]}]
            + [
                {
                    "day": pd.Timestamp(b.day),
                    "low": b.low,
                    "value": b.middle,
                    "high": b.high,
                    "what": domain[1],
                }
                for b in bands
            ]
        )
        ahead = alt.Chart(fan).encode(x=x, color=color)
        layers.append(
            ahead.mark_area(opacity=0.22, clip=True).encode(
                y=alt.Y("low:Q", title=title, scale=y_scale, axis=axis_y), y2="high:Q"
            )
        )
        layers.append(
            ahead.mark_line(strokeDash=[5, 4], clip=True).encode(
                y=y, tooltip=[alt.Tooltip("day:T"), alt.Tooltip("value:Q", title="median", format=shown)]
            )
        )
    mark = base.mark_line(point=alt.OverlayMarkDef(size=28, filled=True) if len(past) < 40 else False)
    layers.append(mark.encode(y=y, tooltip=tip))
    word = "target" if item.direction == "at_least" else "target (at most)"
    goal = alt.Chart(pd.DataFrame({"value": [target], "text": [word]}))
    layers.append(goal.mark_rule(strokeDash=[6, 3], color=GRAY).encode(y=y))
    layers.append(
        goal.mark_text(align="right", dx=-4, dy=-7, color=GRAY).encode(
            y=y, x=alt.value("width"), text="text:N"
        )
    )
    layers += [_line(on, "today", GRAY), _line(due, "due", COLORS["late"] if due < on else GRAY, dy=14)]
    return alt.layer(*layers).properties(height=300 + FRAME)


def _line(when: date, text: str, color: str, dy: int = 0) -> Any:
    rows = pd.DataFrame({"day": [pd.Timestamp(when)], "text": [text]})
    rule = alt.Chart(rows).mark_rule(color=color, strokeWidth=1.3).encode(x="day:T")
    words = alt.Chart(rows).mark_text(align="left", baseline="top", dx=4, dy=dy, color=color).encode(
        x="day:T", y=alt.value(2), text="text:N"
    )  # fmt: skip
    return rule + words


def _today(on: date, x_scale: alt.Scale) -> Any:
    rows = pd.DataFrame({"day": [pd.Timestamp(on)], "text": ["today"]})
    x = alt.X("day:T", scale=x_scale)
    rule = (
        alt.Chart(rows)
        .mark_rule(color=RED, strokeWidth=1.5)
        .encode(x=x, tooltip=[alt.Tooltip("day:T", title="today")])
    )
    words = alt.Chart(rows).mark_text(align="center", baseline="bottom", color=RED).encode(
        x=x, y=alt.value(-3), text="text:N"
    )  # fmt: skip
    return rule + words


def _thin(points: list[Any], most: int = 200) -> list[Any]:
    """Every so many points, the last one always."""
    step = -(-len(points) // most)
    return points[(len(points) - 1) % step :: step]


def _js(moment: pd.Timestamp) -> alt.DateTime:
    return alt.DateTime(year=moment.year, month=moment.month, date=moment.day)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
