"""The annotators' desk, as a component: what it shows it fetches from /desk itself."""

from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
# One module in the browser: each part is one idea, and desk.js puts them together.
_PARTS = (
    "elements",  # of the page, and dialogs
    "store",  # the browser's
    "diff",
    "line",  # to the server: outbox, leases
    "draft",
    "criteria",
    "reasons",  # of others, for who decides a disputed pair
    "reader",  # the pair and its texts
    "bar",  # what is pressed
    "dialogs",
    "keys",
    "training",  # pairs whose answer is told
    "status",
    "desk",
)
_desk = st.components.v2.component(
    "prefloop_desk",
    html='<div id="desk"></div>',
    css=(_FOLDER / "desk.css").read_text(encoding="utf-8"),
    js="\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS),
)


def show_desk(project_id: str, user_id: str, may_import: bool) -> None:
    """The desk of one person in one project. Another of either is another desk."""
    _desk(
        data={"project": project_id, "user": user_id, "may_import": may_import},
        key=f"desk_{project_id}",
    )
