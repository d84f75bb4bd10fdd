"""Charts of reward models: the loss curve, accuracy beside baselines, calibration."""

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
    rows = accuracy_rows(metrics)
    table = pd.DataFrame(rows)
    table["said"] = [
        f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f}, "
        f"n {row['n']:,} {row['unit']})"
        for row in rows
    ]
    table["at"] = [f"{row['what']} · n {row['n']:,}" for row in rows]
    y = alt.Y("at:N", sort=list(table["at"]), title=None, axis=alt.Axis(labelLimit=260, ticks=False))
    title = "held-out accuracy, 95 % interval"
    whole = alt.Scale(domain=[0, 1])
    x = alt.X("accuracy:Q", title=title, scale=whole, axis=alt.Axis(format="%", tickCount=5))
    color = alt.Color("kind:N", scale=alt.Scale(domain=["model", "baseline"]), legend=None)
    tooltip = [alt.Tooltip("what", title="choice"), alt.Tooltip("said", title="accuracy")]
    base = alt.Chart(table).encode(y=y, color=color, tooltip=tooltip)
    coin = alt.Chart(pd.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color=GRAY)
    return alt.layer(
        coin.encode(x=alt.X("x:Q", scale=whole)),
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(x=alt.X("low:Q", scale=whole), x2="high:Q"),
        base.mark_point(filled=True, size=140, opacity=1).encode(x=x),
    ).properties(height=44 * len(rows) + 40)


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
