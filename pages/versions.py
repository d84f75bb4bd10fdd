"""The versions of a plan, on its page: who saved what when, what changed, and the way back."""

from typing import Any

import pandas as pd
import streamlit as st

from core.planning import documents
from core.planning.documents import Body, Saved, T
from core.services import database
from pages.shared import me, plain, problems
from storage.tables import Project

MOST_CHANGES = 200


def opened(project: Project, model: type[T], submitted: bool) -> Saved[T] | None:
    """The version in hand: the newest, except in the run in which a form made from an older
    one comes in: then that one, so that saving can tell that somebody else was faster."""
    newest = documents.current(database(), me(), project.id, model)
    key = f"open_{model.KIND}_{project.id}"
    held = st.session_state.get(key)
    if submitted and held is not None and newest is not None and held != newest.number:
        return documents.load(database(), me(), project.id, model, newest.plan_id, held)
    st.session_state[key] = newest.number if newest else None
    return newest


def show_history(project: Project, model: type[T], saved: Saved[T], may_edit: bool) -> None:
    versions = documents.history(database(), me(), project.id, model, saved.plan_id)
    before: list[Body | None] = [*(item.body for item in versions[1:]), None]
    changes = [
        documents.differences(old, item.body) if old else []
        for item, old in zip(versions, before, strict=True)
    ]
    table = pd.DataFrame(
        [
            {
                "Version": item.number,
                "Saved": pd.Timestamp(item.at),
                "By": item.author,
                "Note": item.note,
                "Values changed": f"{len(changed):,}" if item.number > 1 else "the first",
            }
            for item, changed in zip(versions, changes, strict=True)
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "Saved": st.column_config.DatetimeColumn(format="distance"),
            "Version": st.column_config.NumberColumn(format="%d", width="small"),
        },
    )
    if len(versions) < 2:
        return
    by_number = {item.number: place for place, item in enumerate(versions)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox("What changed in version", [n for n in by_number if n > 1], width=220)
        back = st.selectbox("Bring back version", [n for n in by_number if n != saved.number], width=220)
        press = st.button("Bring back", icon=":material/history:", disabled=not may_edit)
    place = by_number[number]
    bodies = [versions[place].body.model_dump(mode="json"), versions[place + 1].body.model_dump(mode="json")]
    rows = [
        {"Field": _field(field, bodies), "Before": _said(old), "After": _said(new)}
        for field, old, new in changes[place][:MOST_CHANGES]
    ]
    with st.expander(f"What changed in version {number}"):
        st.dataframe(
            pd.DataFrame(rows, columns=["Field", "Before", "After"]), hide_index=True, width="stretch"
        )
    if press and may_edit:
        with problems():
            documents.save(
                database(),
                me(),
                project.id,
                versions[by_number[back]].body,
                plan_id=saved.plan_id,
                based_on=saved.number,
                note=f"Version {back} brought back",
            )
            st.rerun()


def saved_line(saved: Saved) -> str:
    """`Version 3, saved by Ada · raised the licence`, as Markdown."""
    note = f" · {saved.note}" if saved.note else ""
    return plain(f"Version {saved.number}, saved by {saved.author}{note}")


def listed(lines: list[str]) -> str:
    """Lines as a list in Markdown, each shown as it is; no figure is torn from its %."""
    return "\n".join(f"- {plain(line)}" for line in lines).replace(" %", "\u00a0%")


def _field(path: str, bodies: list[Any]) -> str:
    """`members.0.shares.deployment` -> `members · Ana · shares · deployment`"""
    said, at = [], bodies
    for part in path.split("."):
        inner = [_inside(body, part) for body in at]
        named = next((body["name"] for body in inner if isinstance(body, dict) and body.get("name")), None)
        said.append(str(named) if part.isdigit() and named else part.replace("_", " "))
        at = inner
    return " · ".join(said)


def _inside(body: Any, part: str) -> Any:
    if isinstance(body, list) and part.isdigit():
        return body[int(part)] if int(part) < len(body) else None
    return body.get(part) if isinstance(body, dict) else None


def _said(value: object) -> str:
    if value is None:
        return "—"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
