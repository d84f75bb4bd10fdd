"""How far the judgements can be trusted: agreement, position bias, ties, pace."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.annotation.quality import quality
from core.services import database
from pages.shared import duration, empty, header, me, number, percent, problems

KINDS = {"exclude": "People", "only": "Simulated", "include": "Both"}
MOST_SHOWN = 30
ALPHA = (
    "Krippendorff's alpha, nominal, on who won, tie, or both bad: 1 is perfect agreement, 0 what chance gives. "
    "Krippendorff asks for 0.8, and 0.667 for tentative conclusions; preferences between close responses are "
    "often far below. Interval: bootstrap over pairs."
)
LEFT = (
    "How often the response on the left won, of the decisive votes of which the sides are known. Without "
    "a pull to one side it is 50 %. Interval: Wilson's."
)
AGREES = (
    "Mean share of the others' votes on the same pair that are the same; n: votes on pairs others judged too."
)


def choose_kind(project_id: str, found: dict[str, Any]) -> dict[str, Any]:
    """Let the reader choose whose votes count, where there are both kinds."""
    people, machine = found["all_human_votes"], found["all_simulated_votes"]
    if not machine:
        return found
    counts = {"exclude": people, "only": machine, "include": people + machine}
    kind = st.segmented_control(
        "Votes of",
        list(KINDS),
        default=found["simulated"],
        format_func=lambda item: f"{KINDS[item]} ({counts[item]:,})",
        required=True,
        key=f"quality_kind_{project_id}",
    )
    return found if kind == found["simulated"] else quality(database(), me(), project_id, simulated=kind)


def show_attention(found: dict[str, Any]) -> None:
    """What a lead should look at, or nothing."""
    if found["simulated_votes"]:
        st.info(
            f"{found['simulated_votes']:,} of the {found['votes']:,} votes counted here are simulated.",
            icon=":material/science:",
        )
    if found["left_low"] is not None and not found["left_low"] <= 0.5 <= found["left_high"]:
        side = "left" if found["left_share"] > 0.5 else "right"
        text = percent(found["left_share"], found["left_low"], found["left_high"], found["decisive"])
        st.warning(
            f"Annotators lean to the {side}: {text} of decisive votes go to the left response. Where sides are "
            "drawn by lot, as on the annotate page, this adds noise to ratings but favours no prompt.",
            icon=":material/compare_arrows:",
        )
    judged = [
        item for item in found["per_annotator"] if item["left_low"] is not None and item["decisive"] >= 10
    ]
    pulled = [item for item in judged if not item["left_low"] <= 0.5 <= item["left_high"]]
    if pulled:
        st.caption(
            f"{len(pulled)} of {len(judged)} annotators with ten decisive votes or more have an interval without "
            f"50 %; chance alone would give about {0.05 * len(judged):.1f}."
        )


def show_figures(found: dict[str, Any]) -> None:
    alpha = number(found["alpha_nominal"], found["alpha_low"], found["alpha_high"], found["pairs_shared"])
    left = percent(found["left_share"], found["left_low"], found["left_high"], found["decisive"])
    ties = percent(found["tie_share"], found["tie_low"], found["tie_high"], found["votes"])
    bad = percent(found["both_bad_share"], found["both_bad_low"], found["both_bad_high"], found["votes"])
    median = found["median_duration_ms"]
    cards = [
        (
            "Votes",
            f"{found['votes']:,}",
            f"by {found['annotators']:,} on {found['pairs_voted']:,} pairs",
            None,
        ),
        ("Agreement", number(found["alpha_nominal"]), interval(alpha, "pairs with two votes"), ALPHA),
        ("Left share", percent(found["left_share"]), interval(left, "decisive"), LEFT),
        ("Ties", percent(found["tie_share"]), interval(ties, "votes"), "Votes that chose neither."),
        ("Both bad", percent(found["both_bad_share"]), interval(bad, "votes"), "Votes that refused both."),
        (
            "Median time",
            duration(median / 1000) if median is not None else "—",
            f"n {found['timed_votes']:,} votes with a time",
            "From the moment a pair is shown to the vote.",
        ),
    ]
    for column, (name, value, caption, help_text) in zip(st.columns(len(cards)), cards, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.metric(name, value, help=help_text)
            st.caption(caption)


def interval(text: str, of: str) -> str:
    """The bracket of `61 % (57 to 65, n 512)`, as a caption: `57 to 65 · n 512 votes`."""
    if "(" not in text:
        return "nothing to compute it from yet"
    inside = text.split("(", 1)[1].rstrip(")")
    return f"95 %: {inside.replace(', n ', ' · n ')} {of}"


def show_annotators(found: dict[str, Any]) -> None:
    judges = found["per_annotator"]
    st.subheader("Annotators", anchor=False)
    table = pd.DataFrame(
        [
            {
                "Annotator": item["name"] + (" (simulated)" if item["simulated"] else ""),
                "Votes": item["votes"],
                "Agrees with others": percent(
                    item["agreement"], item["agreement_low"], item["agreement_high"], item["compared"]
                ),
                "Left share": percent(
                    item["left_share"], item["left_low"], item["left_high"], item["decisive"]
                ),
                "Ties": percent(item["tie_share"], item["tie_low"], item["tie_high"]),
                "Median time, s": item["median_duration_ms"] / 1000 if item["median_duration_ms"] else None,
                "Last vote": pd.Timestamp(item["last_vote"]),
            }
            for item in judges
        ]
    )
    st.dataframe(
        table.dropna(axis="columns", how="all"),
        hide_index=True,
        width="stretch",
        column_config={
            "Agrees with others": st.column_config.TextColumn(help=AGREES),
            "Left share": st.column_config.TextColumn(help=LEFT),
            "Median time, s": st.column_config.NumberColumn(format="%.1f"),
            "Last vote": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    st.download_button(
        "Download as CSV",
        pd.DataFrame(judges).to_csv(index=False),
        file_name="annotators.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    sided = [item for item in judges if item["left_share"] is not None][:MOST_SHOWN]
    compared = [item for item in judges if item["agreement"] is not None][:MOST_SHOWN]
    left, right = st.columns(2)
    with left:
        st.caption(f"Left share with its 95 % interval{_most(sided)}")
        if sided:
            st.altair_chart(
                intervals(sided, "left_share", "left_low", "left_high", "decisive", 0.5), width="stretch"
            )
    with right:
        st.caption(f"Agreement with others, with its 95 % interval{_most(compared)}")
        if compared:
            chart = intervals(compared, "agreement", "agreement_low", "agreement_high", "compared", None)
            st.altair_chart(chart, width="stretch")
        else:
            st.write("Nobody has voted on a pair that somebody else voted on too.")


def _most(items: list[dict[str, Any]]) -> str:
    return f" · the {MOST_SHOWN} with most votes" if len(items) == MOST_SHOWN else ""


def intervals(
    items: list[dict[str, Any]], value: str, low: str, high: str, n: str, middle: float | None
) -> alt.LayerChart:
    """A point and its interval for each annotator, on a scale from 0 to 1."""
    data = pd.DataFrame(
        [{"name": i["name"], "value": i[value], "low": i[low], "high": i[high], "n": i[n]} for i in items]
    )
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(format=".0%", orient="top")
    base = alt.Chart(data).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
        tooltip=[
            alt.Tooltip("name", title="Annotator"),
            alt.Tooltip("value", title="Share", format=".1%"),
            alt.Tooltip("low", title="95 % from", format=".1%"),
            alt.Tooltip("high", title="95 % to", format=".1%"),
            alt.Tooltip("n"),
        ],
    )
    layers = [
        base.mark_bar(size=5, opacity=0.4, cornerRadius=2).encode(
            x=alt.X("low:Q", scale=scale, axis=axis, title=None), x2="high:Q"
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("value:Q", scale=scale)),
    ]
    if middle is not None:
        layers.append(
            alt.Chart(pd.DataFrame({"x": [middle]}))
            .mark_rule(strokeDash=[4, 4], color="#888888")
            .encode(x="x:Q")
        )
    return alt.layer(*layers).properties(height=60 + 22 * len(data))  # 60: the axis


def show_days(found: dict[str, Any]) -> None:
    st.subheader("Votes a day", anchor=False)
    data = pd.DataFrame(
        [
            {
                "Day": item["day"],
                "Votes": item["votes"],
                "By": "simulation" if item["simulated"] else "people",
            }
            for item in found["per_day"]
        ]
    )
    chart = (
        alt.Chart(data)
        .mark_bar(size=14)
        .encode(
            x=alt.X("Day:O", title=None, axis=alt.Axis(labelAngle=-45, labelOverlap=True)),
            y=alt.Y("Votes:Q", title="Votes", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("By:N", legend=alt.Legend(title=None, orient="top")),
            tooltip=["Day", "By", "Votes"],
        )
        .properties(height=220)
    )
    st.altair_chart(chart, width="stretch")


project = header("Quality")
with problems():
    figures = quality(database(), me(), project.id)
    if not figures["all_human_votes"] + figures["all_simulated_votes"]:
        empty(
            "There are no votes yet.",
            "Agreement needs pairs that two people have judged: set two votes per pair or more in the settings.",
            "annotate.py",
            "Annotate",
        )
    else:
        figures = choose_kind(project.id, figures)
        show_attention(figures)
        show_figures(figures)
        if figures["slots"]:
            voted = f"{figures['slots_voted']:,} of {figures['slots']:,} votes that were asked for"
            st.progress(
                figures["slots_voted"] / figures["slots"], text=f"{voted} · {figures['skips']:,} skips"
            )
        if figures["alpha_nominal"] is None:
            st.caption("Agreement needs pairs that two people have judged, and votes that differ.")
        show_annotators(figures)
        show_days(figures)
