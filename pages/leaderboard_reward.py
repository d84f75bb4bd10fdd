"""The leaderboard by reward: the active model's opinion beside people's, and where they differ."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.reward.board import board
from core.services import database
from pages.leaderboard_reward_pairs import show_worst
from pages.reward_charts import GRAY
from pages.shared import csv_of, me, percent, plain
from storage.tables import Project

SHARE = (
    "Of all couples of a response of this prompt and one of another prompt to the same example: how often its "
    "reward is higher. 95 %, over examples."
)
RANGE = "The ranks that the intervals leave open: from 1 + the prompts wholly above it, to before those wholly below."
DIFFERS = (
    "The ranks that people's intervals leave open and those that the model's leave open have none in common, among "
    "the prompts that people have rated."
)
VERSUS = (
    "On the pairs that people have voted on: the share of the votes for the first prompt, the share of the pairs on "
    "which the model prefers it, and the difference. Intervals over examples, wide enough to hold all at once "
    "(Bonferroni)."
)


def show_by_reward(project: Project, simulated: str | None) -> None:
    """The whole section; says what to do while there are no scores."""
    held_out = bool(st.session_state.get(f"board_held_{project.id}", False))
    found = board(database(), me(), project.id, held_out=held_out, simulated=simulated)
    if found is None:
        st.info(
            "The active reward model has not scored this project's responses yet. Do that on the page Scores.",
            icon=":material/monitoring:",
        )
        st.page_link("reward_scores.py", label="Scores", icon=":material/monitoring:")
        return
    st.info(
        f"This is the opinion of the model “{plain(found['model']['name'])}”, not of people. {_agrees(found)}",
        icon=":material/smart_toy:",
    )
    _held_out(project, found)
    if not found["items"]:
        st.write("No response is left: the model was trained or chosen on every example.")
        return
    st.subheader("By reward", anchor=False, help=found["definition"])
    st.caption(
        f"{found['responses']:,} responses to {found['examples']:,} examples, by {len(found['items'])} prompts"
    )
    st.altair_chart(chart(found["items"]), width="stretch")
    _table(found)
    _differing(found)
    _versus(found)
    show_worst(found)


def _agrees(found: dict[str, Any]) -> str:
    of = found["agreement"]
    if not of["n"]:
        return "Nobody has voted on what it has scored."
    said = percent(of["value"], of["low"], of["high"])
    who = "what people prefer"
    if found["simulated_votes"]:
        everything = found["simulated_votes"] == found["human_votes"]
        who = (
            "what the votes say, all of them simulated,"
            if everything
            else "what the votes say, some of them simulated,"
        )
    return f"It prefers {who} on {said} of {of['pairs']:,} decided pairs ({of['n']:,} examples)."


def _held_out(project: Project, found: dict[str, Any]) -> None:
    if found["seen"] is None:
        st.caption(
            ":material/help: It is not known which responses this model was trained on: it may only remember them."
        )
        return
    left, right = st.columns([2.4, 1], vertical_alignment="center")
    left.caption(
        f"{100 * found['seen']:.0f} % of the {found['all_responses']:,} responses are to examples that the model was trained "
        "or chosen on; there it may only remember what people said."
    )
    right.toggle(
        "Held-out only",
        key=f"board_held_{project.id}",
        help="Only responses to examples in neither its train nor its dev pairs.",
    )


def chart(items: list[dict[str, Any]]) -> alt.LayerChart:
    rows = [
        {
            "Prompt": item["name"], "Reward": item["reward"]["value"], "Low": item["reward"]["low"],
            "High": item["reward"]["high"], "Responses": item["responses"], "Examples": item["reward"]["n"],
        }
        for item in items
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    y = alt.Y(
        "Prompt:N", sort=list(table["Prompt"]), title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)
    )
    x = alt.X(
        "Reward:Q",
        title="mean reward, 95 % interval",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(orient="top"),
    )
    tooltip = ["Prompt", *(alt.Tooltip(name, format="+.2f") for name in ("Reward", "Low", "High")),
               alt.Tooltip("Responses", format=","), alt.Tooltip("Examples", format=",")]  # fmt: skip
    base = alt.Chart(table).encode(y=y, tooltip=tooltip)
    mean = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4], color=GRAY).encode(x="x:Q")
    bars = base.mark_bar(size=5, opacity=0.4, cornerRadius=2).encode(
        x=alt.X("Low:Q", title="mean reward, 95 % interval"), x2="High:Q"
    )
    points = base.mark_point(filled=True, size=90, opacity=1, shape="diamond").encode(x=x)
    return (mean + bars + points).properties(height=alt.Step(30))


def _ranks(best: int, worst: int) -> str:
    return f"{best}" if best == worst else f"{best} to {worst}"


def _signed(of: dict[str, Any] | None) -> str:
    if of is None:
        return "—"
    if of["low"] is None:
        return f"{of['value']:+.2f}"
    return f"{of['value']:+.2f} ({of['low']:+.2f} to {of['high']:+.2f})"


def _table(found: dict[str, Any]) -> None:
    rows = []
    for item in found["items"]:
        human, share = item["human"], item["win_share"]
        rows.append(
            {
                "Rank": _ranks(item["rank"], item["rank_worst"]),
                "Prompt": item["name"],
                "Mean reward (95 %)": _signed(item["reward"]),
                "Responses": item["responses"],
                "Examples": item["reward"]["n"],
                "Win share (95 %)": percent(share["value"], share["low"], share["high"], share["n"])
                if share
                else "—",
                "Rank by votes": _ranks(human["rank"], human["rank_worst"]) if human else "—",
                "Rating by votes": f"{human['rating']:.0f} ({human['low']:.0f} to {human['high']:.0f})"
                if human
                else "—",
                "Votes": human["n"] if human else 0,
                "Differs": "differs" if human and human["differs"] else "",
            }
        )
    table = pd.DataFrame(rows)
    if not table["Differs"].any():
        table = table.drop(columns="Differs")
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Rank": st.column_config.TextColumn(help=RANGE),
            "Rank by votes": st.column_config.TextColumn(
                help=RANGE + " Among the prompts that people have rated."
            ),
            "Win share (95 %)": st.column_config.TextColumn(help=SHARE),
            "Mean reward (95 %)": st.column_config.TextColumn(help=found["definition"]),
            "Differs": st.column_config.TextColumn(help=DIFFERS),
        },
    )
    st.download_button(
        "Download as CSV",
        csv_of(table),
        file_name="leaderboard-by-reward.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="board_csv",
    )


def _differing(found: dict[str, Any]) -> None:
    rated = [item for item in found["items"] if item["human"]]
    differ = [item for item in rated if item["human"]["differs"]]
    if not rated:
        st.caption("People have rated none of these prompts, so there is nothing to compare.")
    elif not differ:
        st.caption(
            f":material/check: Among the {len(rated)} prompts that people have rated, no rank differs beyond what the "
            "intervals leave open."
        )
    for item in differ:
        human = item["human"]
        st.warning(
            f"**{plain(item['name'])}**: people rank it {_ranks(human['rank'], human['rank_worst'])} of {len(rated)}, "
            f"the model {_ranks(human['rank_by_reward'], human['rank_by_reward_worst'])}.",
            icon=":material/compare_arrows:",
        )


def _versus(found: dict[str, Any]) -> None:
    if not found["versus"]:
        return
    st.subheader("Prompt against prompt", anchor=False, help=VERSUS)
    rows = [
        {
            "First": row["first"],
            "Second": row["second"],
            "Pairs": row["pairs"],
            "Examples": row["people"]["n"],
            "Votes prefer the first": _three(row["people"]),
            "The model does": _three(row["model"]),
            "Difference": _points(row["difference"]),
            "": "opposite" if row["opposite"] else "differs" if row["differs"] else "",
        }
        for row in found["versus"]
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, width="stretch", height="content" if len(rows) <= 10 else 380
    )
    opposite = sum(row["opposite"] for row in found["versus"])
    differs = sum(row["differs"] for row in found["versus"])
    st.caption(
        f"Of {len(rows)} {'couple' if len(rows) == 1 else 'couples'} of prompts the model and people differ on {differs}, and prefer opposite sides on "
        f"{opposite}, beyond what the intervals leave open."
    )


def _three(of: dict[str, Any]) -> str:
    # The t interval of a share may leave 0 to 1: shown as far as a share can go.
    low, high = (None, None) if of["low"] is None else (max(0.0, of["low"]), min(1.0, of["high"]))
    return percent(of["value"], low, high)


def _points(of: dict[str, Any]) -> str:
    if of["low"] is None:
        return f"{100 * of['value']:+.1f}"
    return f"{100 * of['value']:+.1f} ({100 * of['low']:+.1f} to {100 * of['high']:+.1f})"
