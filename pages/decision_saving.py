"""The draft of a decision, how it is saved, and its earlier versions."""

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.decision.changes import changes, moved_proposals
from core.planning.decision.model import Decision
from core.planning.decision.results import Result
from core.planning.documents import Saved
from core.services import database
from pages.shared import me, plain, problems


def _key(project_id: str) -> str:
    return f"decision_draft_{project_id}"


def drafted(project_id: str, saved: Saved[Decision] | None) -> tuple[Decision, bool]:
    """The body in hand, and whether it is a draft. A draft is kept with the version it
    came from: when somebody saves meanwhile, saving it says so."""
    held = st.session_state.get(_key(project_id))
    if held is not None:
        return held[1], True
    return (saved.body if saved else Decision()), False


def keep(project_id: str, body: Decision) -> None:
    """Go on with this body, and draw the page anew from it."""
    held = st.session_state.get(_key(project_id))
    if held is None:
        saved = documents.current(database(), me(), project_id, Decision)
        number = saved.number if saved else None
    else:
        number = held[0]
    st.session_state[_key(project_id)] = (number, body)
    renew(project_id)
    st.rerun()


def renew(project_id: str) -> None:
    """Widgets take the values of the body anew, not what was typed into them before."""
    key = f"decision_round_{project_id}"
    st.session_state[key] = st.session_state.get(key, 0) + 1


def drop(project_id: str) -> None:
    st.session_state.pop(_key(project_id), None)
    renew(project_id)


def show_save(project_id: str, result: Result, saved: Saved[Decision] | None, draft: bool) -> None:
    with st.container(border=True):
        if draft:
            said = changes(saved.body if saved else Decision(), result.body)
            st.markdown("**Not saved yet**")
            if said:
                st.markdown("\n".join(f"- {plain(line)}" for line in said[:8]))
            if len(said) > 8:
                st.caption(f"and {len(said) - 8} more changes")
        with st.form(f"decision_save_{project_id}", border=False):
            note = st.text_input(
                "Note", max_chars=200, placeholder="Why this version", key=f"decision_note_{project_id}"
            )
            with st.container(horizontal=True):
                save = st.form_submit_button(
                    "Save this decision",
                    type="primary",
                    icon=":material/save:",
                    disabled=not draft and saved is not None,
                )
                discard = st.form_submit_button(
                    "Discard the draft", icon=":material/undo:", disabled=not draft
                )
    if discard:
        drop(project_id)
        st.rerun()
    if save:
        held = st.session_state.get(_key(project_id))
        # A draft that came from no version at all: whatever is there now is somebody else's.
        base = None if saved is None else saved.number if held is None else held[0] or 0
        with problems():
            documents.save(
                database(), me(), project_id, result.body,
                plan_id=saved.plan_id if saved else None,
                based_on=base, note=note,
            )  # fmt: skip
            drop(project_id)
            st.rerun()


def show_history(project_id: str, saved: Saved[Decision], editable: bool) -> None:
    st.subheader("History", anchor=False)
    versions = documents.history(database(), me(), project_id, Decision, saved.plan_id)
    before: list[Saved[Decision] | None] = [*versions[1:], None]
    rows, words = [], {}
    for item, old in zip(versions, before, strict=True):
        words[item.number] = changes(old.body, item.body) if old else []
        rows.append(
            {
                "Version": item.number,
                "Saved": pd.Timestamp(item.at),
                "By": item.author,
                "Note": item.note,
                "Changes": f"{len(words[item.number])}" if old else "—",
                "Proposals that moved": f"{moved_proposals(old.body, item.body)}" if old else "—",
            }
        )
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={"Saved": st.column_config.DatetimeColumn(format="distance")},
    )
    if len(versions) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox(
            "Version", list(words), key=f"decision_version_{project_id}_{saved.number}", width=160
        )
        if st.button("Open it as a draft", icon=":material/history:", disabled=not editable):
            chosen = next(item for item in versions if item.number == number)
            keep(project_id, chosen.body)
    if words[number]:
        st.markdown("\n".join(f"- {plain(line)}" for line in words[number]))
    else:
        st.caption(
            "The first version." if number == 1 else "No choice changed; proposals moved with the data."
        )
