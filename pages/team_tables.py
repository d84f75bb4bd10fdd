"""A team as tables that a person edits, and back."""

import re
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import Invalid
from core.planning import documents
from core.planning.phases import PHASES
from core.planning.team.model import OTHER_YEARLY_COST, ROLES, Team

PER = ("hour", "month", "year")
TITLE = {phase.key: phase.title for phase in PHASES}
KEY = {title: key for key, title in TITLE.items()}
SHORT = {"improvement": "Improvement"}  # as a narrow column
SHARE = {phase.key: SHORT.get(phase.key, phase.title) for phase in PHASES}
Tables = dict[str, pd.DataFrame]


def tables_of(team: Team) -> Tables:
    """People with shares in percent; skills by person; needs by role, and by skill; what
    somebody new costs."""
    roles = list(dict.fromkeys([*team.roles(), *team.new_cost]))
    people = pd.DataFrame(
        [
            {
                "Name": member.name,
                "Role": member.role,
                "Available": 100 * member.availability,
                "Cost": member.cost,
                "Per": member.per,
                **{column: 100 * member.shares.get(key, 0.0) for key, column in SHARE.items()},
            }
            for member in team.members
        ],
        columns=["Name", "Role", "Available", "Cost", "Per", *SHARE.values()],
    ).astype(
        {"Name": "object", "Role": "object", "Per": "object"}
        | dict.fromkeys(["Available", "Cost", *SHARE.values()], "float")
    )
    skills = pd.DataFrame(
        [[member.skills.get(skill) for skill in team.skills()] for member in team.members],
        index=pd.Index([member.name for member in team.members], name="Name"),
        columns=team.skills(),
        dtype="float",
    )
    role_needs = pd.DataFrame(
        [
            {"Role": role, **{TITLE[key]: team.need(key).roles.get(role, 0.0) for key in TITLE}}
            for role in roles
        ],
        columns=["Role", *TITLE.values()],
    )
    skill_needs = pd.DataFrame(
        [
            {"Phase": TITLE[key], "Skill": skill, "Level": need.level, "FTE": need.fte}
            for key in TITLE
            for skill, need in team.need(key).skills.items()
        ],
        columns=["Phase", "Skill", "Level", "FTE"],
    )
    new_cost = pd.DataFrame(
        [{"Role": role, "Cost": team.new_cost.get(role, OTHER_YEARLY_COST)} for role in roles],
        columns=["Role", "Cost"],
    )
    return {"people": people, "skills": skills, "roles": role_needs, "needs": skill_needs, "new": new_cost}


def edit(tables: Tables, team: Team, key: str, may_edit: bool) -> Tables:
    """The tables in tabs, as they were edited. `key` must differ between versions."""
    people, skills, needs, new = st.tabs(["People", "Skills", "What phases need", "New people"])
    shared: dict[str, Any] = {"width": "stretch", "hide_index": True, "disabled": not may_edit}
    percent = {"min_value": 0.0, "step": 5.0, "format": "%.0f %%"}
    number = st.column_config.NumberColumn
    edited: Tables = {}
    with people:
        st.caption(
            "A person or a position in each row. The share of a phase is how much of full time it gets while it "
            "lasts; the cost is for full time, everything included, and a project pays for the shares it books."
        )
        edited["people"] = st.data_editor(
            tables["people"],
            key=f"people_{key}",
            num_rows="dynamic",
            column_config={
                "Name": st.column_config.TextColumn("Name or position", required=True, max_chars=80, pinned=True),
                "Role": st.column_config.SelectboxColumn(
                    options=list(dict.fromkeys([*ROLES, *tables["roles"]["Role"]])), required=True, default=ROLES[0],
                    help="A role of your own: add it under “What phases need”, then save.",
                ),
                "Available": number(max_value=150.0, default=100.0, help="Of full time.", **percent),
                "Cost": number(min_value=0.0, default=0.0, format="localized", help="At full time, everything included."),
                "Per": st.column_config.SelectboxColumn(options=list(PER), default="year", required=True),
                **{
                    column: number(max_value=100.0, default=0.0, help=f"Share of full time in {TITLE[phase]}.", **percent)
                    for phase, column in SHARE.items()
                },
            },
            **shared,
        )  # fmt: skip
    with skills:
        if team.members:
            st.caption(
                "From 1 (heard of it) over 2 (can help), 3 (works alone) and 4 (guides others) to 5 (known for it). "
                "Empty: does not have it."
            )
            edited["skills"] = st.data_editor(
                tables["skills"],
                key=f"skills_{key}",
                column_config={
                    skill: number(min_value=1, max_value=5, step=1, format="%d") for skill in tables["skills"]
                },
                **(shared | {"hide_index": False}),
            )
        else:
            st.caption("Add people and save; then say here what each can do.")
    with needs:
        st.caption(
            "Full-time equivalents that each phase needs of a role. These are assumptions: change them."
        )
        edited["roles"] = st.data_editor(
            tables["roles"],
            key=f"roles_{key}",
            num_rows="dynamic",
            column_config={
                "Role": st.column_config.TextColumn(required=True, max_chars=80, pinned=True),
                **{t: number(min_value=0.0, step=0.1, default=0.0, format="%.2f") for t in TITLE.values()},
            },
            **shared,
        )
        st.caption("And of a skill, from people who have it at this level or above. A new skill starts here.")
        edited["needs"] = st.data_editor(
            tables["needs"],
            key=f"needs_{key}",
            num_rows="dynamic",
            column_config={
                "Phase": st.column_config.SelectboxColumn(options=list(KEY), required=True),
                "Skill": st.column_config.TextColumn(required=True, max_chars=80),
                "Level": number(min_value=1, max_value=5, step=1, default=3, required=True, format="%d"),
                "FTE": number(min_value=0.0, step=0.1, default=0.0, required=True, format="%.2f"),
            },
            **shared,
        )
    with new:
        st.caption("What somebody new of a role costs a year at full time: the suggestion uses it.")
        edited["new"] = st.data_editor(
            tables["new"],
            key=f"new_{key}",
            column_config={
                "Role": st.column_config.TextColumn(disabled=True),
                "Cost": number("Cost per year", min_value=0.0, required=True, format="localized"),
            },
            **shared,
        )
    return edited


def team_from(tables: Tables, goes_on: bool) -> Team:
    """The team that the tables say. Raises Invalid naming the row and the column."""
    people = _rows(tables["people"])
    skills = tables.get("skills")
    members = []
    for row in people:
        name = str(row.get("Name") or "").strip()
        known = {} if skills is None or name not in skills.index else skills.loc[name].dropna().to_dict()
        members.append(
            {
                "name": name,
                "role": row.get("Role") or ROLES[0],
                "skills": known,
                "availability": row.get("Available", 100.0) / 100,
                "cost": row.get("Cost", 0.0),
                "per": row.get("Per") or "year",
                "shares": {key: row.get(column, 0.0) / 100 for key, column in SHARE.items()},
            }
        )
    needs: dict[str, Any] = {key: {"roles": {}, "skills": {}} for key in TITLE}
    for row in _rows(tables["roles"]):
        if str(row.get("Role") or "") in needs[PHASES[0].key]["roles"]:
            raise Invalid(f"What phases need, role: {row['Role']} is there twice.")
        for key, title in TITLE.items():
            needs[key]["roles"][str(row.get("Role") or "")] = row.get(title, 0.0)
    for row in _rows(tables["needs"]):
        key = KEY.get(str(row.get("Phase")), PHASES[0].key)
        if str(row.get("Skill") or "") in needs[key]["skills"]:
            raise Invalid(f"What phases need, skill: {row['Skill']} is there twice in {TITLE[key]}.")
        needs[key]["skills"][str(row.get("Skill") or "")] = {
            "level": row.get("Level", 3),
            "fte": row.get("FTE", 0.0),
        }
    values = {
        "members": members,
        "needs": needs,
        "new_cost": {str(row["Role"]): row.get("Cost", OTHER_YEARLY_COST) for row in _rows(tables["new"])},
        "goes_on": goes_on,
    }
    try:
        return documents.checked(Team, values)
    except Invalid as problem:
        raise Invalid(_in_words(problem.message, members), problem.hint) from problem


def _in_words(message: str, members: list[dict[str, Any]]) -> str:
    """`members.2.availability: …` -> `People, Ana, availability: …`"""

    def named(found: re.Match[str]) -> str:
        place = int(found[1])
        return f"People, {members[place]['name'] or f'row {place + 1}'}, "

    message = re.sub(r"^members\.(\d+)\.", named, message)
    message = re.sub(r"^needs\.(\w+)\.", lambda found: f"Needs of {TITLE.get(found[1], found[1])}, ", message)
    message = re.sub(r"shares\.(\w+):", lambda found: f"share in {TITLE.get(found[1], found[1])}:", message)
    return re.sub(r"^new_cost\.", "New people, ", message)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is empty in them; rows in which nothing is said are left out."""
    found = [
        {str(key): value for key, value in row.items() if not pd.isna(value) and value != ""}
        for row in table.to_dict("records")
    ]
    return [row for row in found if row]
