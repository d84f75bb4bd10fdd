"""Charts of reward models: the loss curve, accuracy beside baselines, calibration."""

from textwrap import wrap
from typing import Any

import altair as alt
import pandas as pd

from core.reward.metrics import COIN
from storage.tables import RunEvent

BASELINES = {
    "longer": "Always the longer one",
    "shorter": "Always the shorter one",
    "left": "Always the left one",
}
GRAY = "#8a9396"  # readable on light and dark
TRAIN, DEV = "training batches", "dev split"


def loss_points(events: list[RunEvent]) -> pd.DataFrame:
    """One row per step and series; a step told twice (before and after a resume) counts
    as it was told last."""
    found: dict[tuple[str, int], float] = {}
    for event in events:
        for name, series in (("loss", TRAIN), ("dev_loss", DEV)):
            if isinstance(event.data.get(name), int | float):
                found[series, int(event.data["step"])] = float(event.data[name])
    rows = [(series, step, loss) for (series, step), loss in sorted(found.items())]
    return pd.DataFrame(rows, columns=["series", "step", "loss"])


def loss_chart(points: pd.DataFrame, steps: int | None = None) -> alt.LayerChart:
    """The coin's loss is drawn in: what stays above it has learnt nothing."""
    last = steps or int(points["step"].max())
    x = alt.X("step:Q", title="step", scale=alt.Scale(domain=[0, last]), axis=alt.Axis(tickMinStep=1))
    y = alt.Y("loss:Q", title="log-loss", scale=alt.Scale(zero=False))
    color = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=[TRAIN, DEV]),
        legend=alt.Legend(orient="top"),
    )
    tooltip = ["series", "step", alt.Tooltip("loss", format=".3f")]
    base = alt.Chart(points)
    train = base.transform_filter(alt.datum.series == TRAIN)
    dev = base.transform_filter(alt.datum.series == DEV)
    coin = alt.Chart(pd.DataFrame({"loss": [COIN], "label": ["a coin"]}))
    return alt.layer(
        coin.mark_rule(strokeDash=[4, 4], color=GRAY).encode(y="loss:Q"),
        coin.mark_text(align="right", dx=-4, dy=-7, color=GRAY).encode(
            y="loss:Q", x=alt.value("width"), text="label:N"
        ),
        train.mark_line(opacity=0.85).encode(x=x, y=y, color=color, tooltip=tooltip),
        dev.mark_line(point=alt.OverlayMarkDef(size=70, filled=True)).encode(
            x=x, y=y, color=color, tooltip=tooltip
        ),
    ).properties(height=240)


WRAP = 26  # characters of a label's line: on a phone the chart must keep some room
LABELS = alt.Axis(ticks=False, labelExpr="split(datum.label, '\\n')", labelLineHeight=12, labelLimit=200)
AXIS = 74  # pixels of an axis and its title, within a chart's height
KINDS = {  # what a dot stands for -> its colour, the same wherever it is drawn
    "this": "#178f88",
    "other": "#d0703a",
    "people": "#6f74c8",
    "plain": GRAY,
    "marked": "#c2476b",
}


def dots(
    rows: list[dict[str, Any]],
    title: str,
    *,
    shares: bool = True,
    at: float | None = 0.5,
    domain: tuple[float, float] | None = None,
    height: int | None = None,
) -> alt.LayerChart:
    """A point with its 95 % interval for each row, in their order. A row has name, value, low,
    high, n, and may have unit, kind (KINDS) and said, which the tooltip shows too; `at` draws a
    line there. Rows without a value are left out."""
    drawn = [
        {
            "name": row["name"],
            "value": row["value"],
            "low": row["value"] if row.get("low") is None else row["low"],
            "high": row["value"] if row.get("high") is None else row["high"],
            "n": row["n"],
            "kind": row.get("kind") or "this",
            "said": row.get("said") or "",
            "at": "\n".join(
                [*wrap(str(row["name"]), WRAP)[:2], f"n {row['n']:,} {row.get('unit') or ''}".strip()]
            ),
        }
        for row in rows
        if row.get("value") is not None
    ]
    if domain is None and shares:
        domain = (0.0, 1.0)
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    shown = ".1%" if shares else ".3f"
    axis = alt.Axis(format="%" if shares else "~g", tickCount=5)
    tooltip = [
        alt.Tooltip("name:N", title="of"),
        alt.Tooltip("value:Q", title=title, format=shown),
        alt.Tooltip("low:Q", title="from", format=shown),
        alt.Tooltip("high:Q", title="to", format=shown),
        alt.Tooltip("n:Q", format=","),
    ]
    if any(row["said"] for row in drawn):
        tooltip.append(alt.Tooltip("said:N", title="what it is"))
    base = alt.Chart(pd.DataFrame(drawn)).encode(
        y=alt.Y("at:N", sort=None, title=None, axis=LABELS),
        color=alt.Color(
            "kind:N", scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())), legend=None
        ),
        tooltip=tooltip,
    )
    x = alt.X("value:Q", title=f"{title}, 95 % interval", scale=scale, axis=axis)
    layers = [
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=120, opacity=1).encode(x=x),
    ]
    if at is not None:
        line = alt.Chart(pd.DataFrame({"x": [at]})).mark_rule(strokeDash=[4, 4], color=GRAY)
        layers.insert(0, line.encode(x=alt.X("x:Q", scale=scale)))
    lines = max((row["at"].count("\n") + 1 for row in drawn), default=1)
    return alt.layer(*layers).properties(height=(height or 14 + 13 * lines) * max(1, len(drawn)) + AXIS)


def reliability_chart(calibration: dict[str, Any]) -> alt.LayerChart:
    """Reliability diagram before and after temperature scaling: on the dashed line the model is
    right as often as it believes."""
    names = {"before": "as trained", "after": "after temperature scaling"}
    table = pd.DataFrame(
        [
            {
                "series": names[key],
                "confidence": bin_["confidence"],
                **{k: bin_[k] for k in ("value", "low", "high", "n")},
            }
            for key in names
            for bin_ in (calibration.get(key) or {}).get("bins") or []
        ],
        columns=["series", "confidence", "value", "low", "high", "n"],
    )
    half, whole = alt.Scale(domain=[0.5, 1]), alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", title="how sure the model is", scale=half, axis=alt.Axis(format="%"))
    y = alt.Y("value:Q", title="how often it is right", scale=whole, axis=alt.Axis(format="%"))
    color = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=list(names.values()), range=[KINDS["other"], KINDS["this"]]),
        legend=alt.Legend(orient="top"),
    )
    line = pd.DataFrame({"confidence": [0.5, 1.0], "value": [0.5, 1.0]})
    base = alt.Chart(table)
    return alt.layer(
        alt.Chart(line).mark_line(strokeDash=[4, 4], color=GRAY).encode(x=x, y=y),
        base.mark_rule(strokeWidth=3, opacity=0.4).encode(x=x, y="low:Q", y2="high:Q", color=color),
        base.mark_circle(opacity=1).encode(
            x=x,
            y=y,
            color=color,
            size=alt.Size("n:Q", scale=alt.Scale(range=[40, 280]), legend=None),
            tooltip=[
                "series",
                alt.Tooltip("confidence", format=".1%"),
                alt.Tooltip("value", title="right", format=".1%"),
                alt.Tooltip("low", title="from", format=".1%"),
                alt.Tooltip("high", title="to", format=".1%"),
                "n",
            ],
        ),
    ).properties(height=280)


def learning_chart(curve: dict[str, Any], what: str) -> alt.LayerChart:
    """`what`: accuracy or log_loss against the votes trained on: what was measured, and the
    fitted curve with its band, dashed beyond the votes there are."""
    points = pd.DataFrame(
        [
            {"votes": p["votes"], **{k: p[what][k] for k in ("value", "low", "high", "n")}}
            for p in curve["points"]
            if p[what]["value"] is not None
        ],
        columns=["votes", "value", "low", "high", "n"],
    ).assign(kind="this")
    last = float(points["votes"].max()) if len(points) else 0.0
    fit = pd.DataFrame(
        (curve.get(what) or {}).get("fit") or [], columns=["pairs", "votes", "value", "low", "high"]
    )
    form = "%" if what == "accuracy" else "~g"
    shown = ".1%" if what == "accuracy" else ".3f"
    scale = alt.Scale(zero=False)
    x = alt.X("votes:Q", title="votes trained on", axis=alt.Axis(format=",d", tickCount=6))
    y = alt.Y(
        "value:Q",
        title="accuracy" if what == "accuracy" else "log-loss",
        scale=scale,
        axis=alt.Axis(format=form),
    )
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())), legend=None)
    tooltip = [
        alt.Tooltip("votes:Q", format=",.0f"),
        alt.Tooltip("value:Q", format=shown),
        alt.Tooltip("low:Q", title="from", format=shown),
        alt.Tooltip("high:Q", title="to", format=shown),
    ]
    layers: list[Any] = []
    if len(fit):
        fit = fit.assign(kind="this")
        inside = fit[fit["votes"] <= last]
        beyond = fit[fit["votes"] >= (inside["votes"].max() if len(inside) else 0)]
        band = (
            alt.Chart(fit)
            .mark_area(opacity=0.15)
            .encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color)
        )
        layers.append(band)
        for part, dash in ((inside, [1, 0]), (beyond, [6, 4])):
            layers.append(
                alt.Chart(part).mark_line(strokeDash=dash).encode(x=x, y=y, color=color, tooltip=tooltip)
            )
    base = alt.Chart(points)
    layers += [
        base.mark_rule(strokeWidth=3, opacity=0.5).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
        ),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y=y, color=color, tooltip=[*tooltip, alt.Tooltip("n:Q", title="test pairs", format=",")]
        ),
    ]
    return alt.layer(*layers).properties(height=300)


def accuracy_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The model first, then the baselines that have anything to be measured on."""
    rows = [
        {
            "what": "This model",
            "kind": "model",
            "accuracy": metrics.get("accuracy"),
            "low": metrics.get("accuracy_low"),
            "high": metrics.get("accuracy_high"),
            "n": metrics.get("n_test", 0),
            "unit": "pairs",
        }
    ]
    for name, title in BASELINES.items():
        of = (metrics.get("baselines") or {}).get(name) or {}
        if of.get("n"):
            rows.append({"what": title, "kind": "baseline", "unit": "pairs", **of})
    return [row for row in rows if row["accuracy"] is not None]


def accuracy_chart(metrics: dict[str, Any]) -> alt.LayerChart:
    rows = [
        {
            "name": row["what"],
            "value": row["accuracy"],
            "kind": "this" if row["kind"] == "model" else "other",
            **{key: row.get(key) for key in ("low", "high", "n", "unit")},
        }
        for row in accuracy_rows(metrics)
    ]
    return dots(rows, "held-out accuracy", height=44)


def calibration_chart(bins: list[dict[str, Any]]) -> alt.LayerChart:
    """Reliability diagram: on the dashed line the model is right as often as it believes."""
    table = pd.DataFrame(bins).assign(kind="model")  # for the first colour of the theme
    half = alt.Scale(domain=[0.5, 1])
    line = pd.DataFrame({"confidence": [0.5, 1.0], "accuracy": [0.5, 1.0]})
    x = alt.X("confidence:Q", title="how sure the model is", scale=half, axis=alt.Axis(format="%"))
    y = alt.Y(
        "accuracy:Q", title="how often it is right", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
    )
    base = alt.Chart(table)
    return alt.layer(
        alt.Chart(line).mark_line(strokeDash=[4, 4], color=GRAY).encode(x=x, y=y),
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(
            x=x, y="low:Q", y2="high:Q", color=alt.Color("kind:N", legend=None)
        ),
        base.mark_circle(opacity=1).encode(
            x=x,
            y=y,
            size=alt.Size("n:Q", title="pairs", scale=alt.Scale(range=[40, 320]), legend=None),
            tooltip=[
                alt.Tooltip("confidence", format=".1%"),
                alt.Tooltip("accuracy", format=".1%"),
                alt.Tooltip("low", format=".1%"),
                alt.Tooltip("high", format=".1%"),
                "n",
            ],
        ),
    ).properties(height=260)
