"""Which prompt people prefer: ratings with intervals, and who beat whom how often."""

from datetime import UTC, datetime, timedelta
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.annotation.leaderboard import DEFINITION, judges, leaderboard
from core.annotation.styled import composite, style_controlled
from core.services import database
from pages.leaderboard_reward import show_by_reward
from pages.shared import csv_of, empty, header, me, number, percent, plain, problems
from storage.tables import Project

KINDS = {"exclude": "People", "only": "Simulated", "include": "Both"}
PERIODS = {"All time": None, "Last 24 hours": 1, "Last 7 days": 7, "Last 30 days": 30}
CELLS_WITH_TEXT = 14
MACHINE = "by machine judges, which a lead has taken in (page Machine judges)."
STYLE = (
    "The ratings that are left when responses are equally long and equally laid out: differences in length, headers, "
    "lists and bold are added to the model and held at zero, as in Chatbot Arena's style control."
)
COMPOSITE = (
    "Bradley-Terry ratings from the marks on each criterion, and their weighted mean. Its interval is the weighted "
    "mean of theirs: as wide as it could be."
)


def filters(
    project: Project, who_voted: list[tuple[str, str, bool, int]], only_kind: bool = False
) -> dict[str, Any]:
    """What the reader chose: keyword arguments of `leaderboard`."""
    chosen: dict[str, Any] = {}
    people = sum(votes for *_, simulated, votes in who_voted if not simulated)
    machine = sum(votes for *_, simulated, votes in who_voted if simulated)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if machine:
            counts = {"exclude": people, "only": machine, "include": people + machine}
            chosen["simulated"] = st.segmented_control(
                "Votes of",
                list(KINDS),
                default="exclude" if people else "include",
                format_func=lambda kind: f"{KINDS[kind]} ({counts[kind]:,})",
                required=True,
                key=f"kind_{project.id}",
            )
        if only_kind:
            return chosen
        names = {key: f"{name} ({votes:,})" for key, name, _, votes in who_voted}
        chosen["annotators"] = st.multiselect(
            "Annotators",
            list(names),
            format_func=names.__getitem__,
            placeholder="All",
            key=f"who_{project.id}",
        )
        days = PERIODS[st.selectbox("Time", list(PERIODS), width=180, key=f"time_{project.id}")]
        if days:
            chosen["since"] = datetime.now(UTC) - timedelta(days=days)
    return chosen


def table_of(board: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Rank": item["rank"],
                "Prompt": item["name"],
                "Rating": item["rating"],
                "Low": item["low"],
                "High": item["high"],
                "Votes": item["n"],
                "Wins": item["wins"],
                "Ties": item["ties"],
                "Losses": item["losses"],
                "Win rate": percent(item["win_rate"], item["win_rate_low"], item["win_rate_high"]),
                "Group": item["group"] + 1,
            }
            for item in board["items"]
        ]
    )


def ranking(table: pd.DataFrame) -> alt.LayerChart:
    order = alt.EncodingSortField("Position", order="ascending")
    data = table.assign(Position=range(len(table)))
    y = alt.Y("Prompt:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False))
    tooltip = [
        alt.Tooltip("Prompt"),
        alt.Tooltip("Rank"),
        alt.Tooltip("Rating", format=".0f"),
        alt.Tooltip("Low", title="95 % from", format=".0f"),
        alt.Tooltip("High", title="95 % to", format=".0f"),
        alt.Tooltip("Votes", format=","),
        alt.Tooltip("Win rate"),
    ]
    scale = alt.Scale(zero=False, nice=True)
    base = alt.Chart(data).encode(y=y, tooltip=tooltip)
    bars = base.mark_bar(size=5, opacity=0.4, cornerRadius=2).encode(
        x=alt.X("Low:Q", title="Rating, with its 95 % interval", scale=scale, axis=alt.Axis(orient="top")),
        x2="High:Q",
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=alt.X("Rating:Q", scale=scale))
    return (bars + points).properties(height=alt.Step(30))


def matrix(board: dict[str, Any]) -> alt.LayerChart:
    names = [item["name"] for item in board["items"]]
    wins, met = board["matrix"]["wins"], board["matrix"]["n"]
    cells = [
        {"Prompt": a, "Against": b, "Votes": met[i][j], "Wins": wins[i][j], "Share": wins[i][j] / met[i][j],
         "n": f"n {met[i][j]:,}"}
        for i, a in enumerate(names) for j, b in enumerate(names) if met[i][j]
    ]  # fmt: skip
    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X("Against:N", sort=names, title="against", axis=alt.Axis(labelAngle=-45, labelLimit=140)),
        y=alt.Y("Prompt:N", sort=names, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
        tooltip=[
            alt.Tooltip("Prompt"),
            alt.Tooltip("Against"),
            alt.Tooltip("Share", title="Win share", format=".1%"),
            alt.Tooltip("Wins", title="Wins, ties as halves"),
            alt.Tooltip("Votes"),
        ],
    )
    heat = base.mark_rect().encode(
        color=alt.Color(
            "Share:Q",
            scale=alt.Scale(domain=[0, 0.5, 1], range=["#c8632b", "#f1efe8", "#0f6b6b"]),
            legend=alt.Legend(title="Win share", format=".0%", orient="top"),
        )
    )
    # Streamlit's height holds the axes and the legend too.
    height = 200 + (44 if len(names) <= CELLS_WITH_TEXT else 18) * len(names)
    if len(names) > CELLS_WITH_TEXT:
        return alt.layer(heat).properties(height=height)
    ink = alt.condition("datum.Share > 0.8 || datum.Share < 0.15", alt.value("white"), alt.value("#1d2528"))
    share = base.mark_text(dy=-6, fontWeight="bold").encode(text=alt.Text("Share:Q", format=".0%"), color=ink)
    count = base.mark_text(dy=9, fontSize=11).encode(text="n:N", color=ink)
    return (heat + share + count).properties(height=height)


def show_caveats(board: dict[str, Any]) -> None:
    """What a reader must know before quoting a number from this page."""
    if board["simulated_votes"]:
        all_of = (
            "All" if board["simulated_votes"] == board["votes"] else f"{board['simulated_votes']:,} of the"
        )
        text = f"{all_of} {board['votes']:,} votes counted here are simulated: they show how the page works, "
        st.info(text + "not what people prefer.", icon=":material/science:")
    if board["machine_votes"]:
        st.info(
            f"{board['machine_votes']:,} of the {board['votes']:,} votes counted here are {MACHINE}",
            icon=":material/gavel:",
        )
    if len(board["groups"]) > 1:
        names = {item["prompt_id"]: item["name"] for item in board["items"]}
        parts = "; ".join(", ".join(names[key] for key in group) for group in board["groups"])
        st.warning(
            f"These prompts fall into {len(board['groups'])} groups that never met, so their ratings cannot be "
            f"compared across groups: {parts}. Pairs between the groups would join them.",
            icon=":material/call_split:",
        )
    if board["smoothed"]:
        st.info(
            "A prompt has won or lost every comparison, which has no finite rating yet. One tie was added for "
            "each two prompts that met; more votes make this unnecessary.",
            icon=":material/info:",
        )


def show_board(board: dict[str, Any]) -> None:
    show_caveats(board)
    table = table_of(board)
    n = f"{board['votes']:,} votes by {board['annotators']:,} annotators on {len(table):,} prompts"
    st.subheader("Ranking", anchor=False, help=DEFINITION)
    st.caption(f"{n} · a tie, and a pair of which both are bad ({board['both_bad']:,}), counts half to each")
    st.altair_chart(ranking(table), width="stretch")
    shown = table if len(board["groups"]) > 1 else table.drop(columns="Group")
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        column_config={
            "Rank": st.column_config.NumberColumn(
                help="1 + the prompts whose whole interval lies above this one's"
            ),
            "Rating": st.column_config.NumberColumn(format="%.0f", help=DEFINITION),
            "Low": st.column_config.NumberColumn(format="%.0f", help="Lower end of the 95 % interval"),
            "High": st.column_config.NumberColumn(format="%.0f", help="Upper end of the 95 % interval"),
            "Win rate": st.column_config.TextColumn(
                "Win rate (95 %)", help="Share of comparisons won, a tie counting half; Wilson's interval"
            ),
        },
    )
    st.download_button(
        "Download as CSV",
        csv_of(table),
        file_name="leaderboard.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    st.subheader(
        "Win matrix",
        anchor=False,
        help="How often the prompt of the row beat the one of the column, a tie counting half; n: votes.",
    )
    st.altair_chart(matrix(board), width="stretch")
    if board["same_prompt_votes"]:
        st.caption(
            f"{number(board['same_prompt_votes'])} votes compare a prompt with itself and are not counted."
        )


def show_more(project: Project, chosen: dict[str, Any]) -> None:
    """Style held fixed, and criteria: read from every text and mark, so only when asked for."""
    if st.toggle("Hold style fixed", help=STYLE, key=f"style_{project.id}"):
        with problems():
            show_style(style_controlled(database(), me(), project.id, **chosen))
    if project.criteria and st.toggle("Ratings by criterion", help=COMPOSITE, key=f"criteria_{project.id}"):
        with problems():
            show_composite(project, chosen)


def show_style(found: dict[str, Any]) -> None:
    if not found["items"]:
        st.write("No votes between two prompts match these filters.")
        return
    sample = f", a sample of {found['all_pairs']:,}" if found["sampled"] else ""
    st.subheader("With style held fixed", anchor=False, help=STYLE)
    st.caption(f"{found['votes']:,} votes on {found['pairs']:,} pairs{sample}")
    table = pd.DataFrame(
        [
            {
                "Prompt": item["name"],
                "Rank": item["rank"],
                "Rating": item["rating"],
                "Low": item["low"],
                "High": item["high"],
                "Plain rank": item["plain_rank"],
                "Plain rating": item["plain_rating"],
                "Change": round(item["rating"] - item["plain_rating"]) or 0,
            }
            for item in found["items"]
        ]
    )
    whole = st.column_config.NumberColumn(format="%.0f")
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config=dict.fromkeys(("Rating", "Low", "High", "Plain rating"), whole)
        | {"Change": st.column_config.NumberColumn(format="%+.0f", help="What style gave or took")},
    )
    said = [
        f"{item['name']} {item['effect']:+.2f} ({item['low']:+.2f} to {item['high']:+.2f})"
        for item in found["style"]
        if item["low"] < item["high"]  # the others do not occur, or never differ
    ]
    st.caption(
        "What more of each adds to the log-odds of winning, per standard deviation, 95 %: " + " · ".join(said)
    )


def show_composite(project: Project, chosen: dict[str, Any]) -> None:
    st.subheader("By criterion", anchor=False, help=COMPOSITE)
    weights = {}
    with st.container(horizontal=True):
        for name in project.criteria:
            weights[name] = st.number_input(
                f"Weight of {plain(name)}", 0.0, 100.0, 1.0, 0.5, width=180, key=f"weight_{project.id}_{name}"
            )
    found = composite(database(), me(), project.id, weights, **chosen)
    if not found["items"]:
        st.write("No marks on the criteria yet, or no prompt that all of them rate.")
        return
    rows = []
    for item in found["items"]:
        row = {"Prompt": item["name"], "Composite": _three((item["rating"], item["low"], item["high"]))}
        for name, marks in found["marks"].items():
            row[f"{name} (n {marks:,})"] = _three(item["criteria"][name])
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _three(rating: tuple[float, float, float] | None) -> str:
    return "—" if rating is None else f"{rating[0]:.0f} ({rating[1]:.0f} to {rating[2]:.0f})"


PEOPLE, REWARD = "people", "reward"
VIEWS = {PEOPLE: ":material/group: By people's votes", REWARD: ":material/smart_toy: By reward model"}

project = header("Leaderboard")
view = PEOPLE
if project.reward_model_id:
    view = st.segmented_control(
        "Whose opinion",
        list(VIEWS),
        default=PEOPLE,
        required=True,
        format_func=VIEWS.__getitem__,
        key=f"opinion_{project.id}",
        label_visibility="collapsed",
    )
with problems():
    voted = judges(database(), me(), project.id)
    if view == REWARD:
        chosen = filters(project, voted, only_kind=True) if voted else {}
        show_by_reward(project, chosen.get("simulated"))
    elif not voted:
        empty(
            "There are no votes yet.",
            "Ratings appear with the first vote; intervals narrow with every further one.",
            "annotate.py",
            "Annotate",
        )
    else:
        chosen = filters(project, voted)
        found = leaderboard(database(), me(), project.id, **chosen)
        if found["items"]:
            show_board(found)
            show_more(project, chosen)
        else:
            st.info("No vote matches these filters. Choose a longer time, or more annotators.")
