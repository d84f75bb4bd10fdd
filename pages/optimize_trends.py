"""Figures of a search as cards: the number now, and how it went along as calls were spent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize.policy_figures import FIGURES
from core.optimize.protocol import Scores
from core.optimize.trends import Row, Step
from storage.tables import Run

ACROSS = 3
MANY = 60  # points, whose intervals would hide each other
SHARES = ("clip_fraction", "degenerate")


@dataclass(frozen=True)
class Card:
    """`now`: the number in large; `below`: a line under it. `rows`: over calls; `marked`: the
    candidate with the number in large. `share`: shown in per cent."""

    label: str
    help: str
    now: Scores | None
    below: str = ""
    rows: list[Row] = field(default_factory=list)
    marked: int | None = None
    share: bool = False


def show_cards(cards: Sequence[Card]) -> None:
    for first in range(0, len(cards), ACROSS):
        for place, card in zip(st.columns(ACROSS), cards[first : first + ACROSS], strict=False):
            with place, st.container(border=True, height="stretch", gap="small"):
                _show(card)


def _show(card: Card) -> None:
    if card.now is None:
        st.metric(card.label, "–", help=card.help)
    else:
        value, rest = said(card.now, card.share)
        st.metric(
            card.label, value, rest or None, delta_color="off", delta_arrow="off", help=card.help or None
        )
    if card.below:
        st.caption(card.below)
    if len(card.rows) > 1:
        st.altair_chart(small_chart(card.rows, card.marked, card.share), width="stretch")


def said(of: Scores, share: bool = False) -> tuple[str, str]:
    """(the number, its interval and n)."""
    unit, by, form = (" %", 100, ".0f") if share else ("", 1, ".2f")
    parts = []
    if "low" in of:
        parts.append(f"{by * of['low']:{form}} to {by * of['high']:{form}}{unit}")
    if of.get("n") is not None:
        parts.append(f"n {of['n']:,}")
    return f"{by * of['score']:{form}}{unit}", ", ".join(parts)


def sentence(of: Scores, share: bool = False) -> str:
    """`12.30 (10.10 to 14.50, n 20)`"""
    value, rest = said(of, share)
    return f"{value} ({rest})" if rest else value


def small_chart(rows: list[Row], marked: int | None = None, share: bool = False) -> alt.LayerChart:
    """A line with intervals: bars, or where there are many a band. Dashed: the first; a ring: the one
    with the number in large. The axis of calls has no title: the caption over the cards says it."""
    data = pd.DataFrame(rows)
    x = alt.X("calls:Q", title=None, axis=alt.Axis(tickCount=4), scale=alt.Scale(nice=False, padding=8))
    form = {"format": "~%"} if share else {}  # 0.5% is not 1%
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=share), axis=alt.Axis(tickCount=4, **form))
    which = [f"{name}:Q" for name in ("candidate", "step") if name in data]
    numbers = [alt.Tooltip(f"{name}:Q", format=".1%" if share else ".3f") for name in ("mean", "low", "high")]
    base = alt.Chart(data).encode(x=x, tooltip=[*which, *numbers, "n:Q", "calls:Q"])
    first = alt.Chart(data.head(1)).mark_rule(strokeDash=[5, 4], color="gray", opacity=0.7).encode(y="mean:Q")
    many = len(data) > MANY
    spread = base.mark_area(opacity=0.18) if many else base.mark_rule(color="gray", opacity=0.8)
    layers: list[Any] = [
        first,
        spread.encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        base.mark_line(strokeWidth=1.5, point=False).encode(y=y),
        base.mark_point(filled=True, size=20, opacity=0 if many else 1).encode(y=y),
    ]
    if marked is not None:
        ring = alt.Chart(data[data["candidate"] == marked])
        layers.append(
            ring.mark_point(filled=False, size=150, strokeWidth=2, opacity=1).encode(x="calls:Q", y="mean:Q")
        )
    return alt.layer(*layers).properties(height=150)


def policy(run: Run, steps: Sequence[Step], without: Sequence[str] = ()) -> None:
    """What a policy that learns says of its steps, with any reward."""
    names = [name for name in FIGURES if name not in without and any(name in step.figures for step in steps)]
    if not names:
        return
    newest, most = steps[-1], (run.config.get("options") or {}).get("steps")
    st.subheader("The policy, step by step", anchor=False)
    of = f" of at most {most:,}" if most else ""
    st.caption(
        f"In large, its newest step: {newest.step:,}{of}. Over calls: each step, the first one dashed. Intervals "
        "are at 95 %, over the prompts of the step; n counts prompts, or their tokens."
    )
    show_cards(
        [
            Card(
                *FIGURES[name], newest.figures.get(name), rows=policy_rows(steps, name), share=name in SHARES
            )
            for name in names
        ]
    )


def policy_rows(steps: Sequence[Step], name: str) -> list[Row]:
    return [row for step in steps for row in step.rows(name)]
