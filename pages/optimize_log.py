"""The newest lines of a search's log, on its own page."""

from collections.abc import Sequence

import streamlit as st

from core.runs.service import latest_events, run_log
from core.services import database
from pages.shared import me
from storage.tables import Run, RunEvent

LINES, LONGEST = 60, 600
PRINTED = 4_000  # bytes of what the worker printed


def log(run: Run) -> None:
    """Folded at first, and only then read: a page that draws itself anew every two seconds should
    not fetch what nobody sees."""
    opened = st.expander("Log", key=f"optimize_log_{run.id}", icon=":material/terminal:", on_change="rerun")
    if not opened.open:
        return
    with opened:
        events = latest_events(database(), me(), run.id, LINES, ["log", "state"])
        if events:
            # Not Markdown: a language model's own words are in it.
            st.code(lines(events), language=None, wrap_lines=True, height=320)
            st.caption(f"The newest {len(events):,} lines, the last one on top; times are UTC.")
        else:
            st.caption("The search has said nothing yet.")
        printed = run_log(database(), me(), run.id, PRINTED)
        if printed:
            st.caption("The end of what the worker printed:")
            st.code(printed, language=None, wrap_lines=True, height=200)
        st.page_link(
            "runs.py",
            label="The whole log, on Runs",
            icon=":material/open_in_new:",
            query_params={"run": run.id},
        )


def lines(events: Sequence[RunEvent]) -> str:
    """The newest first. One line an event: a text with line breaks could pass for several."""
    return "\n".join(f"{event.at:%H:%M:%S}  {_text(event)}" for event in reversed(events))


def _text(event: RunEvent) -> str:
    if event.type == "state":
        said = f"({event.data.get('status', '')}) {event.data.get('reason') or ''}"
    else:
        said = str(event.data.get("text", ""))
    text = " ".join(said.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
