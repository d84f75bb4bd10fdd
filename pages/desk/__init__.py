"""The annotators' desk, as a component: what it shows it fetches from /desk itself."""

from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent
_desk = st.components.v2.component(
    "prefloop_desk",
    html='<div id="desk"></div>',
    css=(_FOLDER / "desk.css").read_text(encoding="utf-8"),
    js="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("parts.js", "desk.js")),
)


def show_desk(project_id: str, user_id: str, may_import: bool) -> None:
    """The desk of one person in one project. Another of either is another desk."""
    _desk(
        data={"project": project_id, "user": user_id, "may_import": may_import},
        key=f"desk_{project_id}",
    )
