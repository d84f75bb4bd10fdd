"""The active reward model over time: its accuracy on each week's new votes, and what fell."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.reward import drift
from core.reward.drift import Drift
from core.reward.falls import LEAST, LEVEL, Rate, Slice
from core.runs import service
from core.services import database
from pages.reward_charts import GRAY, KINDS, dots
from pages.shared import duration, may, me, percent, plain, problems
from storage.tables import Project

SHOWN_FROM = 5  # new pairs
BY = {
    "all": "All pairs", "prompt": "Prompt", "annotator": "Annotator", "length": "Difference in length",
    "topic": "Topic words", "input": "Inputs",
}  # fmt: skip


def said(rate: Rate) -> str:
    return percent(rate.value, rate.low, rate.high, rate.n)


def the_alarm(found: Drift) -> None:
    """On top of the page, and nothing where nothing fell."""
    if not found.alarms:
        return
    lines = "\n".join(f"- {plain(drift.in_words(item))}" for item in found.alarms[:5])
    st.warning(
        f"**“{plain(found.name)}” has become worse on new votes.**\n{lines}\n\nTrain again with the newer votes, or "
        "look at what changed: new prompts, new annotators, other inputs.",
        icon=":material/trending_down:",
    )


def the_drift(project: Project, found: Drift) -> None:
    if not found.new_pairs:
        st.write(
            "No new votes yet: this shows how the model does on votes cast after its data set was frozen, on pairs "
            "that were not in it, week by week."
        )
        return
    if found.simulated:
        st.markdown(":material/science: There are no new votes of people: these are simulated ones.")
    if found.unscored:
        the_scoring(project, found)
    if not found.weeks:
        return
    with st.container(border=True):
        st.markdown("**Accuracy on each week's new votes**")
        st.altair_chart(weeks_chart(found), width="stretch")
        left = f", {found.even:,} pairs with even votes left out" if found.even else ""
        st.caption(
            f"Dashed: {said(found.held_out)} on held-out pairs when it was trained. Last {drift.WEEKS} weeks: "
            f"{said(found.recent)}. {found.new_votes:,} new votes on pairs that were not in its data{left}. "
            "Intervals over examples."
        )
        if found.chosen_by_model:
            st.caption(
                "This project chooses which pairs are asked next. Where it prefers pairs that the model is unsure "
                "about, accuracy on new votes is lower for that reason alone."
            )
    the_slices(found)


def the_scoring(project: Project, found: Drift) -> None:
    runs = service.list_runs(database(), me(), project.id, "score", limit=1, statuses=["queued", "running"])
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/function: {found.unscored:,} of {found.new_pairs:,} new pairs have no score by this model yet.",
            width="stretch",
        )
        if runs:
            left = f", about {duration(runs[0].eta_s)} left" if runs[0].eta_s else ""
            st.caption(f"Scoring: {100 * runs[0].progress:.0f} %{left}")
        elif st.button(
            "Score all responses",
            icon=":material/function:",
            disabled=not may("run.start"),
            key="score_all_drift",
        ):
            with problems():
                service.start_run(database(), me(), project.id, "score", {"scope": "all"})
                st.rerun()


def the_slices(found: Drift) -> None:
    if not found.slices:
        st.caption("Its held-out pairs were not kept, so parts cannot be compared with what they were.")
        return
    rows: list[dict[str, Any]] = []
    large = [item for item in found.slices if item.now.n >= SHOWN_FROM]
    if not large:
        st.caption(f"Parts are shown from {SHOWN_FROM} new pairs on, and tested from {LEAST} examples on.")
        return
    for item in sorted(large, key=lambda s: (s.by != "all", s.p_adjusted is None, s.p_adjusted or 1.0))[:16]:
        rows.append(
            {
                "name": name_of(item), "value": item.now.value, "low": item.now.low, "high": item.now.high,
                "n": item.now.n, "kind": "marked" if item.alarm else "this", "said": verdict(item),
            }
        )  # fmt: skip
    with st.container(border=True):
        st.markdown(f"**The last {drift.WEEKS} weeks, part by part**")
        st.altair_chart(dots(rows, "accuracy", at=found.held_out.value), width="stretch")
        st.caption(
            f"{found.tested:,} parts have {LEAST} examples new and held out, and were tested for a fall (Fisher's "
            f"exact test, Holm over them, level {LEVEL}): {len(found.alarms):,} fell, marked red."
        )
        with st.expander("As a table"):
            st.dataframe(
                pd.DataFrame(
                    [
                        {
                            "Part": name_of(item),
                            f"Last {drift.WEEKS} weeks": said(item.now),
                            "Held out before": said(item.before),
                            "p of a fall": item.p,
                            "Holm's p": item.p_adjusted,
                        }
                        for item in found.slices
                    ]
                ),
                hide_index=True,
                width="stretch",
                column_config={
                    name: st.column_config.NumberColumn(format="%.4f") for name in ("p of a fall", "Holm's p")
                },
            )


def name_of(item: Slice) -> str:
    return (
        BY[item.by]
        if item.by == "all"
        else f"{BY[item.by]}: {item.name}"
        if item.by != "input"
        else item.name
    )


def verdict(item: Slice) -> str:
    if item.p_adjusted is None:
        return "too few pairs to test"
    before = f"held out before: {said(item.before)}"
    return f"{'fell' if item.alarm else 'not shown to have fallen'} (p {item.p_adjusted:.3f}); {before}"


def weeks_chart(found: Drift) -> alt.LayerChart:
    table = pd.DataFrame([{"week": week.week, "kind": "this", **vars(week.accuracy)} for week in found.weeks])
    whole = alt.Scale(domain=[0, 1])
    x = alt.X(
        "week:O", title=None, axis=alt.Axis(labelAngle=0 if len(table) <= 8 else -40, labelOverlap=True)
    )
    y = alt.Y("value:Q", title="accuracy, 95 % interval", scale=whole, axis=alt.Axis(format="%", tickCount=5))
    color = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())), legend=None)
    tooltip = [
        "week:O",
        alt.Tooltip("value:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("n:Q", title="pairs", format=","),
    ]
    base = alt.Chart(table)
    layers: list[Any] = [
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(
            x=x, y=alt.Y("low:Q", scale=whole), y2="high:Q", color=color
        ),
        base.mark_line(opacity=0.5).encode(x=x, y=y, color=color),
        base.mark_point(filled=True, size=110, opacity=1).encode(x=x, y=y, color=color, tooltip=tooltip),
    ]
    if found.held_out.value is not None:
        band = pd.DataFrame(
            [{"low": found.held_out.low, "high": found.held_out.high, "at": found.held_out.value}]
        )
        before = alt.Chart(band)
        layers = [
            before.mark_rect(opacity=0.12, color=GRAY).encode(y=alt.Y("low:Q", scale=whole), y2="high:Q"),
            before.mark_rule(strokeDash=[4, 4], color=GRAY).encode(y=alt.Y("at:Q", scale=whole)),
            *layers,
        ]
    return alt.layer(*layers).properties(height=280)
