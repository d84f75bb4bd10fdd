"""Rules of the page Assignment: which pairs are for one group only."""

from typing import Any

import streamlit as st

from core.annotation import groups
from core.annotation.groups import By, Condition, Options, Rule, RuleState, View
from core.services import database
from pages.shared import may, me, plain, problems
from storage.tables import Project

BY: dict[By, str] = {
    "field": "A field of the example",
    "source": "Where the pair came from",
    "prompt": "One of its prompts",
    "text": "Words in the input",
}
SOURCES = {"import": "imported", "generate": "generated", "optimize": "found by an optimiser", "demo": "demo"}


def show_rules(project: Project, found: View) -> None:
    st.subheader(
        "Rules", anchor=False,
        help="Tried from the top for each pair; the first that matches wins. Without one a pair is for everybody. "
        "New pairs are assigned when they are made.",
    )  # fmt: skip
    if not found.rules:
        st.caption("No rule yet: every pair is for everybody.")
    names = groups.options(database(), me(), project.id)
    for place, item in enumerate(found.rules):
        _show_rule(project.id, found, item, place, names)
    if not may("annotator.manage"):
        st.caption("A lead or an admin changes groups and rules.")
    elif found.groups:
        _new_rule(project.id, [(item.group.id, item.group.name) for item in found.groups], names)


def _show_rule(project_id: str, found: View, item: RuleState, place: int, names: Options) -> None:
    last = len(found.rules) - 1
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        counts = f"{item.pairs:,} {'pair' if item.pairs == 1 else 'pairs'}"
        if item.matches != item.pairs:
            counts += f" ({item.matches:,} match; earlier rules take the others)"
        st.markdown(
            f"{place + 1}. {in_words(item.rule, names)} → **{plain(item.group)}**  \n:small[{counts}]",
            width="stretch",
        )
        if may("annotator.manage"):
            with st.container(horizontal=True, width="content"):  # together, also on a narrow screen
                for label, icon, to, off in (
                    ("Try earlier", ":material/arrow_upward:", place - 1, place == 0),
                    ("Try later", ":material/arrow_downward:", place + 1, place == last),
                    ("Delete", ":material/delete:", None, False),
                ):
                    st.button(
                        "", icon=icon, help=label, disabled=off, key=f"rule_{label}_{place}", on_click=_move,
                        args=(project_id, place, to),
                    )  # fmt: skip


def in_words(rule: Rule, names: Options) -> str:
    """A rule as a sentence that Markdown shows as it is."""
    return " and ".join(_condition(item, names) for item in rule.conditions)


def _condition(item: Condition, names: Options) -> str:
    if item.by == "prompt":
        values = [names.prompts.get(value, "a prompt that is gone") for value in item.values]
    elif item.by == "source":
        values = [SOURCES.get(value, value) for value in item.values]
    else:
        values = [f"“{value}”" for value in item.values]
    said = " or ".join(plain(value) for value in values[:8]) + (" or …" if len(values) > 8 else "")
    if item.by == "field":
        return f"the field **{plain(item.name)}** is {said}"
    return {
        "source": f"the pair was {said}",
        "prompt": f"it compares {said}",
        "text": f"the input contains {said}",
    }[item.by]


def changed_hands(slots: int) -> str:
    return f"{slots:,} {'slot' if slots == 1 else 'slots'} changed hands"


def _move(project_id: str, place: int, to: int | None) -> None:
    with problems():
        rules = list(groups.assignment_of(database(), me(), project_id).rules)
        if place >= len(rules):
            return
        rule = rules.pop(place)
        if to is not None:
            rules.insert(to, rule)
        saved = groups.set_assignment(database(), me(), project_id, rules=rules)
        st.session_state["assignment_said"] = f"Saved: {changed_hands(saved.slots)}."


@st.fragment
def _new_rule(project_id: str, known: list[tuple[str, str]], names: Options) -> None:
    """A rule in the making, with what it would take. Its own fragment: choosing a value does
    not count everything else anew."""
    made = st.session_state.setdefault("rules_made", 0)  # another key: an empty form again
    with st.container(border=True):
        st.markdown("**New rule**")
        conditions = [_condition_form(0, made, names)]
        if st.checkbox("and also", key=f"rule_also_{made}", help="Both must hold."):
            conditions.append(_condition_form(1, made, names))
        group = st.selectbox(
            "is for the group", known, format_func=lambda item: item[1], key=f"rule_group_{made}"
        )
        if any(item is None for item in conditions):
            st.caption("Say what to look for, and see how many pairs that is.")
            return
        rule = Rule(group=group[0], conditions=[item for item in conditions if item])
        with problems():
            now = groups.assignment_of(database(), me(), project_id).rules
            last = groups.preview(database(), me(), project_id, [*now, rule])[-1]
            earlier = last.matches - last.pairs
            taken = f" An earlier rule takes {earlier:,} of them already." if earlier else ""
            st.markdown(
                f"**{last.matches:,}** {'pair matches' if last.matches == 1 else 'pairs match'} now.{plain(taken)} "
                "Pairs that are made later are assigned by it, too."
            )
            if st.button("Add the rule", type="primary", icon=":material/add:"):
                saved = groups.set_assignment(database(), me(), project_id, rules=[*now, rule])
                st.session_state["rules_made"] = made + 1
                st.session_state["assignment_said"] = f"Rule added: {changed_hands(saved.slots)}."
                st.rerun()


def _condition_form(place: int, made: int, names: Options) -> Condition | None:
    key = f"rule_{place}_{made}"
    columns = st.columns([1, 1, 2])
    by: By = columns[0].selectbox("Pairs where" if not place else "and where", list(BY), format_func=BY.__getitem__,
                                  key=f"{key}_by")  # fmt: skip
    name = ""
    if by == "field":
        picked = columns[1].selectbox(
            "Field", sorted(names.fields, key=lambda field: not names.fields[field]), index=0 if names.fields else None, accept_new_options=True,
            placeholder="Type a name", key=f"{key}_name",
        )  # fmt: skip
        name = picked or ""
    offered: Any = {
        "field": names.fields.get(name, []),
        "source": sorted({*names.sources, "import", "generate", "optimize"}),
        "prompt": list(names.prompts),
        "text": [],
    }[by]
    shown = {"prompt": names.prompts, "source": SOURCES}.get(by, {})
    values = columns[2].multiselect(
        "contains one of" if by == "text" else "is one of",
        offered,
        format_func=lambda value: shown.get(value, value),
        accept_new_options=by in ("field", "text"),
        placeholder="Type, and press Enter" if by in ("field", "text") else "Choose",
        help="Upper and lower case are the same.",
        key=f"{key}_values_{by}_{name}",
    )
    if not values or (by == "field" and not name.strip()):
        return None
    return Condition(by=by, name=name, values=values)
