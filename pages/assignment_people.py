"""People on the page Assignment: how they are named, and how they are chosen."""

import streamlit as st

from core.annotation.groups import Person
from pages.shared import plain

MOST_NAMED = 12


def names_of(members: list[Person]) -> str:
    """Names as Markdown; who cannot claim is struck through, with the reason."""
    if not members:
        return "No members yet"
    names = [
        f"~~{plain(person.name)}~~ ({person.why_not})" if person.why_not else plain(person.name)
        for person in members
    ]
    shown = ", ".join(names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f":material/group: {shown}{more}"


def pick_people(
    label: str, people: list[Person], chosen: list[str], key: str, disabled: bool = False, help: str = ""
) -> list[str]:
    """Choose users; those who are gone stay chosen until they are taken out."""
    names = {person.user_id: _called(person) for person in people}
    gone = {user_id: "somebody who is gone" for user_id in chosen if user_id not in names}
    return st.multiselect(
        label,
        [*names, *gone],
        default=chosen,
        format_func=(names | gone).__getitem__,
        placeholder="Choose people",
        help=help or "Everybody with an account; annotators first.",
        disabled=disabled,
        key=key,
    )


def _called(person: Person) -> str:
    notes = [note for note in ("" if person.role == "annotator" else person.role, person.why_not) if note]
    return f"{person.name} ({', '.join(notes)})" if notes else person.name
