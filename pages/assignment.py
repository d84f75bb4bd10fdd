"""Who gets what: groups of annotators, rules, pauses, and disputed pairs."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.annotation import groups, pausing
from core.annotation.groups import Group, GroupState, View
from core.services import database
from pages.assignment_adjudication import show_adjudication
from pages.assignment_people import names_of, pick_people
from pages.assignment_rules import changed_hands, show_rules
from pages.shared import ago, header, may, me, plain, problems
from storage.tables import Project


def show_pause(project: Project, found: View) -> None:
    if found.paused is None:
        return
    by = f" by {plain(found.paused.by)}" if found.paused.by else ""
    why = f" Annotators read: {plain(found.paused.reason)}" if found.paused.reason else ""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/pause_circle: **The project is paused**{by}, {ago(found.paused.at)}: nobody gets new pairs.{why}",
            width="stretch",
        )
        if may("annotator.manage"):
            st.button("Resume", icon=":material/play_arrow:", type="primary", on_click=_do,
                      args=(pausing.resume, project.id))  # fmt: skip


def show_groups(project: Project, found: View) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("Groups", anchor=False, width="stretch")
        if may("annotator.manage"):
            if found.paused is None and st.button("Pause the project", icon=":material/pause:"):
                ask_pause(project.id, None, project.name)
            if st.button("New group", icon=":material/group_add:", type="primary"):
                edit_group(project.id, found, None)
    everybody = found.everybody
    st.caption(
        f"{everybody.waiting:,} {_s(everybody.waiting, 'pair')} that no rule restricts wait for everybody, with "
        f"{everybody.votes:,} {_s(everybody.votes, 'vote')} so far. Members of groups get them too."
    )
    if not found.groups:
        with st.container(border=True):
            st.markdown("**There are no groups yet.**")
            st.write(
                "Make one where pairs need somebody in particular: who reads German, who knows medicine. "
                "Then a rule says which pairs are theirs."
            )
    for item in found.groups:
        show_group(project, found, item)


def show_group(project: Project, found: View, item: GroupState) -> None:
    here = item.standing
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            paused = " :orange-badge[:material/pause: paused]" if item.paused else ""
            st.markdown(f"**{plain(item.group.name)}**{paused}", width="stretch")
            if may("annotator.manage"):
                with st.container(horizontal=True, width="content"):  # together, also on a narrow screen
                    if item.paused:
                        st.button("Resume", icon=":material/play_arrow:", key=f"resume_{item.group.id}", on_click=_do,
                                  args=(pausing.resume, project.id, item.group.id))  # fmt: skip
                    elif st.button("Pause", icon=":material/pause:", key=f"pause_{item.group.id}"):
                        ask_pause(project.id, item.group.id, item.group.name)
                    if st.button("Edit", icon=":material/edit:", key=f"edit_{item.group.id}"):
                        edit_group(project.id, found, item.group)
        if item.group.about:
            st.caption(plain(item.group.about))
        st.markdown(
            f"{names_of(item.members)}  \n"
            f"**{here.waiting:,}** {_s(here.waiting, 'pair')} waiting · **{here.wanted:,}** {_s(here.wanted, 'vote')} "
            f"wanted · **{here.votes:,}** {_s(here.votes, 'vote')} so far"
        )
        if item.paused and item.paused.reason:
            st.caption(f"Members read: {plain(item.paused.reason)}")
        if here.waiting and not item.active:
            st.warning(
                f"Nobody may have {'this pair' if here.waiting == 1 else f'these {here.waiting:,} pairs'}: the group "
                "has no active member. Add somebody, or change the rule.",
                icon=":material/person_alert:",
            )
        elif item.beyond_reach:
            st.warning(
                f"{item.beyond_reach:,} {_s(item.beyond_reach, 'pair')} cannot be completed: the group has "
                f"{item.active} active {_s(item.active, 'member')}, and {_s(item.beyond_reach, 'it wants', 'they want')} "
                "more votes than those can still give.",
                icon=":material/person_alert:",
            )


def _s(number: int, one: str, more: str = "") -> str:
    return one if number == 1 else more or f"{one}s"


@st.dialog("Group", width="medium")
def edit_group(project_id: str, found: View, group: Group | None) -> None:
    key = group.id if group else "new"
    name = st.text_input("Name", group.name if group else "", max_chars=60, placeholder="German speakers",
                         key=f"group_name_{key}")  # fmt: skip
    about = st.text_input(
        "What they can do, in a sentence", group.about if group else "", max_chars=500,
        placeholder="Read German as their mother tongue", key=f"group_about_{key}",
    )  # fmt: skip
    members = pick_people("Members", found.people, group.members if group else [], f"group_members_{key}")
    mine = [rule for rule in found.rules if group and rule.rule.group == group.id]
    buttons = st.container(horizontal=True)
    if buttons.button("Save", type="primary", icon=":material/save:"):
        with problems():
            now = groups.assignment_of(database(), me(), project_id)
            changed = Group(id=key if group else "", name=name, about=about, members=members)
            kept = [changed if item.id == key else item for item in now.groups]
            _save(project_id, groups=kept if group else [*kept, changed])
    if group:
        takes = f" and its {len(mine)} {_s(len(mine), 'rule')}" if mine else ""
        if buttons.button(f"Delete the group{takes}", icon=":material/delete:"):
            with problems():
                now = groups.assignment_of(database(), me(), project_id)
                _save(
                    project_id,
                    groups=[item for item in now.groups if item.id != key],
                    rules=[rule for rule in now.rules if rule.group != key],
                )
        st.caption(
            "When it is deleted, its pairs are for everybody, or for the next rule that matches. Votes stay."
        )


@st.dialog("No new pairs for now")
def ask_pause(project_id: str, group: str | None, name: str) -> None:
    st.markdown(f"**{plain(name)}**")
    whom = "Members of this group get" if group else "Nobody gets"
    st.write(f"{whom} no new pairs until you resume. A pair that is open may still be voted on.")
    reason = st.text_input("Reason, as annotators read it", max_chars=pausing.MAX_REASON,
                           placeholder="We are rewriting the guidelines; back on Monday.")  # fmt: skip
    if st.button("Pause", type="primary", icon=":material/pause:"):
        with problems():
            pausing.pause(database(), me(), project_id, reason, group)
            st.rerun()


def _save(project_id: str, **values: Any) -> None:
    saved = groups.set_assignment(database(), me(), project_id, **values)
    parts = [changed_hands(saved.slots)] if saved.slots else []
    if saved.members:
        parts.append(f"{saved.members} {_s(saved.members, 'annotator')} got or left a group")
    st.session_state["assignment_said"] = f"Saved: {', '.join(parts) or 'nothing else changed'}."
    st.rerun()


def _do(action: Callable[..., Any], project_id: str, group: str | None = None) -> None:
    with problems():
        action(database(), me(), project_id, group=group)


if said := st.session_state.pop("assignment_said", ""):
    st.toast(said, icon=":material/check:")
project = header("Assignment", "Which pairs go to whom, and who decides the disputed ones.")
with problems():
    state = groups.view(database(), me(), project.id)
    show_pause(project, state)
    show_groups(project, state)
    show_rules(project, state)
    show_adjudication(project)
