"""One's own work: what was voted, with filters; a vote changed; pace, the goal for the day
and, where the project shows it, agreement with others; better responses one wrote."""

from datetime import UTC, datetime, timedelta

import altair as alt
import pandas as pd
import streamlit as st

from core.annotation import demonstrations, marks, mine, votes
from core.annotation.desk import POINTS, desk_of
from core.services import database
from pages.render import response_html
from pages.shared import ago, duration, empty, header, me, percent, plain, problems
from storage.my_votes import Filter, Past
from storage.tables import Project

PAGE = 10
CHOICES = {"left": "A is better", "tie": "Tie", "right": "B is better", "both_bad": "Both bad"}
SIDES = {"left": "A", "same": "Same", "right": "B"}
SINCE = {"Today": 1, "7 days": 7, "30 days": 30}


def show_figures(project: Project) -> None:
    work = mine.my_work(database(), me(), project.id)
    with st.container(horizontal=True):
        goal = f"{work.today:,} of {work.goal:,}" if work.goal else f"{work.today:,}"
        st.metric("Today (UTC)", goal, border=True, help="Votes since midnight UTC, and the project's goal.")
        st.metric("All votes", f"{work.votes:,}", border=True)
        st.metric(
            "Pace",
            duration(work.median_ms / 1000 if work.median_ms is not None else None),
            border=True,
            help="The median time you looked at a pair, on your last day of work.",
        )
        if work.shows_agreement:
            found = work.agreement
            st.metric(
                "Agree with you",
                percent(found.value) if found else "—",
                border=True,
                help="On pairs that others judged too: the mean share of them who chose what you chose. "
                "Simulated votes are left out."
                + (
                    f" 95 % interval {percent(found.low)} to {percent(found.high)}, n {found.n:,}."
                    if found
                    else ""
                ),
            )
            if found:
                st.caption(f"{percent(found.value, found.low, found.high, found.n)} of others agree.")
    if work.goal:
        st.progress(min(1.0, work.today / work.goal))
    if len(work.days) > 1:
        rows = pd.DataFrame([{"Day": item.day, "Votes": item.votes} for item in work.days])
        chart = alt.Chart(rows).mark_bar(color="#0f6b6b").encode(
            x=alt.X("yearmonthdate(Day):T", title=None), y=alt.Y("Votes:Q", title="Votes a day"),
            tooltip=["Day:T", "Votes:Q"],
        )  # fmt: skip
        st.altair_chart(chart, height=180)


def filters(project: Project) -> Filter:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choice = st.selectbox(
            "Vote", [None, *CHOICES], format_func=lambda key: CHOICES.get(key, "All"), width=160
        )
        strength = st.selectbox(
            "Strength",
            [None, *marks.STRENGTHS],
            format_func=lambda key: (key or "All").capitalize(),
            width=160,
        )
        since = st.selectbox("Since", [None, *SINCE], format_func=lambda key: key or "The start", width=140)
        contains = st.text_input("Contains", placeholder="In the input or your reason", width=260)
    start = None
    if since:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        start = midnight - timedelta(days=SINCE[since] - 1)
    return Filter(choice, strength, contains, start)


def show_history(project: Project) -> None:
    which = filters(project)
    key = f"my_work_page_{hash(which)}"
    place = st.session_state.get(key, 0)
    found = mine.my_votes_of(database(), me(), project.id, which, PAGE, PAGE * place)
    if not found.total:
        st.caption("No vote of yours is like that.")
        return
    st.caption(f"{found.total:,} vote{'s' * (found.total != 1)}, the newest first")
    for row in found.rows:
        show_vote(project, row)
    pages = -(-found.total // PAGE)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Newer", disabled=place == 0):
                st.session_state[key] = place - 1
                st.rerun()
            st.caption(f"{place + 1:,} of {pages:,}")
            if st.button("Older", disabled=place + 1 >= pages):
                st.session_state[key] = place + 1
                st.rerun()


def show_vote(project: Project, row: Past) -> None:
    vote = row.vote
    said = CHOICES[marks.choice_of(vote)] + (f", {vote.strength}" if vote.strength else "")
    edited = f" · changed {row.versions} time{'s' * (row.versions != 1)}" if row.versions else ""
    first = plain(" ".join(row.input.split())[:80]) or "(no input)"
    # The time itself: an expander whose label changes is another one, and closed.
    title = f"**{said}** · {first} · {vote.created_at:%d %b %Y, %H:%M}{edited}"
    opened = st.expander(title, key=f"vote_{vote.id}", on_change="rerun")
    if not opened.open:  # what is folded is not drawn: ten pairs are a long page
        return
    with opened:
        st.caption("Input")
        st.html(response_html(row.input))
        for column, name, text in zip(st.columns(2), "AB", (row.left, row.right), strict=True):
            with column, st.container(border=True, height="stretch"):
                st.badge(f"Response {name}", color="gray")
                if text.strip():
                    st.html(response_html(text))
                else:
                    st.caption("This response is empty.")
        edit_form(project, row)


def edit_form(project: Project, row: Past) -> None:
    vote, now = row.vote, marks.marks_of(row.vote)
    desk = desk_of(database(), me(), project.id)
    with st.form(f"edit_{vote.id}_{row.versions}", border=False):
        choice = st.segmented_control(
            "Vote",
            list(CHOICES),
            format_func=CHOICES.__getitem__,
            default=marks.choice_of(vote),
            required=True,
        )
        strength = st.segmented_control(
            "How much better?", marks.STRENGTHS, format_func=str.capitalize, default=vote.strength
        )
        criteria = {}
        for name in project.criteria:
            if desk.scale(name) == "1-5":
                points = now.get(name) if isinstance(now.get(name), dict) else {}
                given = {}
                for side, column in zip(("left", "right"), st.columns(2), strict=True):
                    with column:
                        given[side] = st.segmented_control(
                            f"{plain(name)}, {SIDES[side]}",
                            POINTS,
                            default=points.get(side),
                            key=f"{vote.id}_{name}_{side}",
                        )
                given = {side: value for side, value in given.items() if value}
                if given:
                    criteria[name] = given
            else:
                before = now.get(name) if isinstance(now.get(name), str) else None
                mark = st.segmented_control(
                    plain(name),
                    list(SIDES),
                    format_func=SIDES.__getitem__,
                    default=before,
                    key=f"{vote.id}_{name}",
                )
                if mark:
                    criteria[name] = mark
        reason = st.text_area("Reason", vote.reason, height=68)
        if st.form_submit_button("Save the change", icon=":material/save:"):
            with problems():
                votes.edit(
                    database(), me(), vote.id, choice, strength=strength, criteria=criteria, reason=reason
                )
                st.session_state["my_work_said"] = "Changed. What the vote said before is kept."
                st.rerun()


def show_demonstrations(project: Project) -> None:
    written = demonstrations.mine(database(), me(), project.id)
    if not written:
        st.caption(
            "None yet. Where both responses are bad, press W on the page Annotate and write a better one."
        )
        return
    for item in written:
        with st.container(border=True):
            text = st.text_area(
                f"Written {ago(item.created_at)}", item.text, key=f"better_{item.id}_{item.updated_at}"
            )
            with st.container(horizontal=True):
                if st.button("Save", key=f"save_{item.id}", disabled=text.strip() == item.text):
                    with problems():
                        demonstrations.change(database(), me(), item.id, text)
                        st.rerun()
                if st.button("Take it away", key=f"delete_{item.id}", type="tertiary"):
                    with problems():
                        demonstrations.delete(database(), me(), item.id)
                        st.rerun()


project = header("My work", "Your own votes, your pace and your goal.")
if said := st.session_state.pop("my_work_said", ""):
    st.toast(said, icon=":material/check:")
if not mine.my_newest(database(), me(), project.id, 1) and not demonstrations.mine(
    database(), me(), project.id
):
    empty(
        "You have not voted here yet.",
        "Your votes stand here as soon as you have.",
        "annotate.py",
        "Annotate",
    )
else:
    show_figures(project)
    history, better = st.tabs(["My votes", "Better responses I wrote"])
    with history:
        show_history(project)
    with better:
        show_demonstrations(project)
