"""The annotators on the quality page: one row each, the evidence, and what a lead can do."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from core.annotation import annotators
from core.annotation.clickers import LEVEL, LOOKS
from core.annotation.detail import Detail, Judge
from core.services import database
from pages.messaging import write_to
from pages.shared import csv_of, may, me, percent, plain, problems
from storage.tables import Project

LEFT = (
    "How often the response on the left won, of the decisive votes of which the sides are known. Without "
    "a pull to one side it is 50 %. Interval: Wilson's."
)
AGREES = (
    "Mean share of the others' votes on the same pair that are the same; n: votes on pairs others judged too."
)
SKILL = (
    "MACE: the share of this annotator's votes that were judged and not guessed, 95 % interval. From pairs "
    "that others voted on too; half when there are none."
)
CARE = (
    "Noisy Bradley-Terry with ties: how far votes follow the prompts' strengths rather than a habit. Compare "
    "annotators by it; its height depends on how far the prompts differ."
)
PULL = "Of two equally good responses, how often the left one wins. 50 %: no pull."
GOLD = (
    "Gold checks, mixed in unseen, answered as expected; training pairs are not counted. Interval: Wilson's."
)
SAME = (
    "Pairs judged before that came again unseen, with the sides swapped, and were answered as the first time."
)
FAST = "Votes faster than 700 words a minute, of those with a time; a word is six characters. Good readers reach 240."


def name_of(item: dict[str, Any]) -> str:
    return (
        item["name"]
        + (" (simulated)" if item["simulated"] else "")
        + (" (machine judge)" if item["machine"] else "")
        + (" · paused" if item["paused_at"] else "")
    )


def probed(item: dict[str, Any], key: str) -> str | None:
    """None where there is nothing, so that a column without anything is not shown."""
    n = item[f"{key}_n"]
    return percent(item[f"{key}_share"], item[f"{key}_low"], item[f"{key}_high"], n) if n else None


def table_of(found: dict[str, Any], detail: Detail | None) -> pd.DataFrame:
    judged = {judge.id: judge for judge in detail.judges} if detail else {}
    rows = []
    for item in found["per_annotator"]:
        judge = judged.get(item["id"])
        row = {
            "Annotator": name_of(item),
            "Suspected": "may click at random" if judge and judge.suspected else None,
            "Votes": item["votes"],
            "Per week": item["per_week"],
            "Agrees with others": percent(
                item["agreement"], item["agreement_low"], item["agreement_high"], item["compared"]
            ),
        }
        if detail:
            row["Skill"] = judge.competence if judge else None
            row["Skill (95 %)"] = (
                percent(judge.competence, judge.competence_low, judge.competence_high) if judge else "—"
            )
            row["Care (95 %)"] = percent(judge.care, judge.care_low, judge.care_high) if judge else "—"
        row |= {
            "Left share": percent(item["left_share"], item["left_low"], item["left_high"], item["decisive"]),
        }
        if detail:
            row["Left between equals"] = (
                percent(judge.left, judge.left_low, judge.left_high) if judge else "—"
            )
        row |= {
            "Longer wins": percent(
                item["longer_share"], item["longer_low"], item["longer_high"], item["sized"]
            ),
            "Ties": percent(item["tie_share"], item["tie_low"], item["tie_high"]),
            "Words a minute": item["words_per_minute"],
            "Too fast": percent(
                item["too_fast_share"], item["too_fast_low"], item["too_fast_high"], item["timed_votes"]
            )
            if item["timed_votes"]
            else None,
            "Gold checks": probed(item, "gold"),
            "Same on repeats": probed(item, "repeat"),
            "Median time, s": item["median_duration_ms"] / 1000 if item["median_duration_ms"] else None,
            "Last vote": pd.Timestamp(item["last_vote"]),
        }
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def show_annotators(project: Project, found: dict[str, Any], detail: Detail | None) -> None:
    st.subheader("Annotators", anchor=False)
    text = st.column_config.TextColumn
    event = st.dataframe(
        table_of(found, detail),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key=f"annotators_{project.id}_{found['simulated']}",
        column_config={
            "Annotator": text(pinned=True),
            "Per week": st.column_config.BarChartColumn(
                help="Votes in each of the last twelve weeks", y_min=0
            ),
            "Agrees with others": text(help=AGREES),
            "Skill": st.column_config.ProgressColumn(help=SKILL, min_value=0, max_value=1, format="percent"),
            "Skill (95 %)": text(help=SKILL),
            "Care (95 %)": text(help=CARE),
            "Left share": text(help=LEFT),
            "Left between equals": text(help=PULL),
            "Longer wins": text(
                help="Of decisive votes between responses of different length; Wilson's interval."
            ),
            "Words a minute": st.column_config.NumberColumn(format="%.0f"),
            "Too fast": text(help=FAST),
            "Gold checks": text(help=GOLD),
            "Same on repeats": text(help=SAME),
            "Median time, s": st.column_config.NumberColumn(format="%.1f"),
            "Last vote": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    chosen = event["selection"]["rows"] if event else []
    people = found["per_annotator"]
    if chosen and chosen[0] < len(people):
        _show_one(project, people[chosen[0]], detail)
    else:
        st.caption("Select a row to write to an annotator, to pause them or to leave their votes out.")
    st.download_button(
        "Download as CSV",
        csv_of(pd.DataFrame(people)),
        file_name="annotators.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_one(project: Project, item: dict[str, Any], detail: Detail | None) -> None:
    judge = next((one for one in detail.judges if one.id == item["id"]), None) if detail else None
    with st.container(border=True):
        st.markdown(f"**{plain(item['name'])}**")
        if judge:
            st.write(evidence(judge))
        if item["paused_at"]:
            st.caption(f"Paused: {plain(item['paused_reason']) or 'no reason given'}")
        if not may("annotator.manage"):
            st.caption("A lead or an admin can pause annotators and leave their votes out.")
            return
        with st.container(horizontal=True):
            if item["paused_at"]:
                st.button("Resume", icon=":material/play_arrow:", on_click=_do,
                          args=(annotators.resume, project.id, item["id"]))  # fmt: skip
            elif st.button("Pause", icon=":material/pause:"):
                _ask(project.id, item["id"], item["name"], "pause")
            if st.button("Leave votes out", icon=":material/person_off:"):
                _ask(project.id, item["id"], item["name"], "leave_out")
            if st.button("Write a message", icon=":material/mail:"):
                write_to(project.id, item["id"], item["name"])


def evidence(judge: Judge) -> str:
    """What the models and the test say, in words."""
    if not judge.compared or judge.agreed is None:
        return "Nobody else has voted on the same pairs, so there is nothing to compare with."
    gain = f"{100 * (judge.gain_low or 0):+.1f} to {100 * (judge.gain_high or 0):+.1f} points"
    text = (
        f"Agrees with others in {100 * judge.agreed:.0f} % of {judge.compared:,} comparisons; clicking by the same habits "
        f"would give {100 * judge.guessing:.0f} % (difference {gain}, 95 %). "
    )
    if not judge.looked:
        return text + f"Too few votes for the test, whose first look comes within {LOOKS[0][1]}."
    chance = "less than 1 in 10,000" if judge.p < 1e-4 else f"{100 * judge.p:.2f} %"
    text += f"Somebody who judges like the others would look this unusual with a chance of {chance}."
    return text + (" Suspected to click at random." if judge.suspected else "")


def show_suspects(detail: Detail) -> None:
    """Who may click at random, with the evidence and the false-alarm rate."""
    named = [judge for judge in detail.judges if judge.suspected]
    rate = (
        f"{detail.tested:,} annotators were tested at a false-alarm rate of {100 * LEVEL:.0f} % each: chance alone would "
        f"name {detail.false_alarms:.2f} at most."
    )
    if not named:
        st.caption(f"Nobody is suspected to click at random. {rate}")
        return
    with st.container(border=True):
        st.markdown(f"**{len(named)} may click at random**")
        for judge in sorted(named, key=lambda one: one.p)[:10]:
            st.markdown(f"- **{plain(judge.name)}**: {evidence(judge)}")
        st.caption(rate)


def show_left_out(project: Project, found: dict[str, Any]) -> None:
    if not found["left_out"]:
        return
    st.subheader("Left out", anchor=False, help="Their votes count nowhere until you take them back in.")
    for item in found["left_out"]:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            reason = f": {plain(item['excluded_reason'])}" if item["excluded_reason"] else ""
            by = f" by {plain(item['excluded_by'])}" if item["excluded_by"] else ""
            kind = " (machine judge)" if item["machine"] else ""
            st.markdown(f"**{plain(item['name'])}**{kind} · {item['votes']:,} votes · left out{by}{reason}")
            if may("annotator.manage"):
                st.button("Take back in", key=f"back_{item['id']}", icon=":material/undo:", on_click=_do,
                          args=(annotators.take_back, project.id, item["id"]))  # fmt: skip


def _do(action: Callable[..., Any], project_id: str, annotator_id: str) -> None:
    with problems():
        say_room(action(database(), me(), project_id, annotator_id))


def say_room(state: annotators.State) -> None:
    """What leaving votes out, or taking them back in, did to the pairs: said once, at the next
    look at the page."""
    if state.slots_opened:
        text = f"{state.slots_opened:,} votes are asked of others instead."
    elif state.slots_closed:
        text = f"{state.slots_closed:,} votes that were asked of others are no longer wanted."
    else:
        return
    st.session_state["quality_said"] = text


_WORDS = {
    "pause": (
        "Pause",
        "They get no more pairs, and are shown this reason. Their votes stay.",
        annotators.pause,
    ),
    "leave_out": (
        "Leave the votes out",
        "Leaderboard, quality, plans, exports and the next reward model count none of their votes, until you "
        "take them back in. Models trained already stay as they are. Their pairs are asked of others instead.",
        annotators.leave_out,
    ),
}


@st.dialog("Annotator")
def _ask(project_id: str, annotator_id: str, name: str, what: str) -> None:
    label, text, action = _WORDS[what]
    st.markdown(f"**{plain(name)}**")
    st.write(text)
    reason = st.text_input("Reason", max_chars=annotators.MAX_REASON)
    if st.button(label, type="primary"):
        with problems():
            say_room(action(database(), me(), project_id, annotator_id, reason))
            st.rerun()
