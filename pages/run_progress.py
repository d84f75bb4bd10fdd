"""A run at work, in a row: how far it is, how long it still takes, and the way to stop it."""

import streamlit as st

from core.runs import service
from core.services import database
from pages.shared import duration, may, me, plain, problems
from storage.tables import Run

WAITS = "It waits for its turn."


def progress_bar(run: Run, before: str = "") -> None:
    """`before`: what the work is, where nothing else says so."""
    parts = (
        [before, f"{100 * run.progress:.0f} %", plain(run.message)]
        if run.status == "running"
        else [before, WAITS]
    )
    if run.eta_s is not None:
        parts.append(f"about {duration(run.eta_s)} left")
    st.progress(min(max(run.progress, 0.0), 1.0), text=" · ".join(part for part in parts if part))


def cancel_button(run: Run, help: str | None = None) -> None:
    with problems():
        if st.button(
            "Stopping…" if run.cancel_requested else "Cancel",
            icon=":material/cancel:",
            disabled=run.cancel_requested or not may("run.control"),
            key=f"cancel_{run.id}",
            width="stretch",
            help=help,
        ):
            service.cancel_run(database(), me(), run.id)
            st.rerun()


def progress_row(run: Run, before: str = "") -> None:
    left, right = st.columns([4, 1], vertical_alignment="center")
    with left:
        progress_bar(run, before)
    with right:
        cancel_button(run)
