"""Scores: what the active reward model gives every response, kept current; scoring a file; and
how a program asks."""

import streamlit as st

from core.reward import keeping
from core.runs import service
from core.services import database
from pages.reward_scores_ask import show_ask
from pages.reward_scores_file import show_file
from pages.reward_scores_table import show_table
from pages.run_progress import progress_row
from pages.shared import ago, empty, header, may, me, plain, problems
from storage.tables import Project, Run

ACTIVE = ("queued", "running")
VIEWS = {
    "responses": ":material/format_list_numbered: All responses",
    "file": ":material/upload_file: A file",
    "program": ":material/terminal: From a program",
}
SCALE = (
    "A reward is how many standard deviations a response lies above the mean of the project's reference "
    "responses: up to 400, chosen by a hash of their ids and the same for every version, so that rewards of "
    "two versions can be compared."
)


def the_state(project: Project, found: keeping.Standing) -> None:
    """What is scored, and the two ways to have more: now, or always."""
    with st.container(border=True):
        left, right = st.columns([4, 1], vertical_alignment="center")
        with left:
            st.markdown(_said(found))
        with right:
            kept = st.toggle(
                "Keep current",
                value=found.kept,
                disabled=not may("reward.manage"),
                key=f"keep_{project.id}_{found.kept}",
                help="A run starts by itself when another model becomes active, and when at least "
                f"{keeping.FEW} responses (or {100 * keeping.STALE_SHARE:.0f} % of them) have no score; fewer are scored "
                "after an hour." + ("" if may("reward.manage") else " Engineers and admins switch this."),
            )
            if kept != found.kept:
                with problems():
                    keeping.keep_current(database(), me(), project.id, kept)
                    st.rerun()
        if found.busy is not None:
            st.fragment(the_run, run_every=1.0)(found.busy.id)
            return
        if found.failed is not None:
            _failed(found.failed)
        if found.missing and found.model is not None:
            label = "Score all responses" if not found.current else f"Score {found.missing:,} more"
            if st.button(
                label,
                type="primary",
                icon=":material/play_arrow:",
                disabled=not may("run.start"),
                help=None if may("run.start") else "Engineers and admins start runs.",
                key="score_all",
            ):
                with problems():
                    config = {"scope": "all", "models": [found.model.id]}
                    service.start_run(database(), me(), project.id, "score", config)
                    st.rerun()


def _said(found: keeping.Standing) -> str:
    if found.model is None:
        return "No reward model is active."
    name = plain(found.model.name)
    if found.run is None:
        return f"**{name}** is active and has scored none of the {found.responses:,} responses yet."
    if not found.current:
        by = plain(", ".join(found.run.config.get("model_names", ())))
        return f"**{name}** is active, and has not scored this project yet. The newest scores are by {by}."
    what = f"**{name}** has scored {found.scored:,} of {found.responses:,} responses"
    return f"{what}, last {ago(found.when)}."


def _failed(run: Run) -> None:
    said = "was cancelled" if run.status == "cancelled" else "failed"
    st.markdown(f":material/error: The last scoring {said}.")
    if words := f"{run.error or ''} {run.hint or ''}".strip():
        st.text(words)


def the_run(run_id: str) -> None:
    """The scoring at work; its end reruns the page."""
    run = service.get_run(database(), me(), run_id)
    if run.status not in (*ACTIVE, "interrupted"):
        st.rerun()
    progress_row(run)


def show() -> None:
    project = header(
        "Scores",
        "What the active reward model gives every response. It is the model's opinion: see its page for how "
        "often people agree.",
    )
    found = keeping.standing(database(), me(), project.id)
    if found.model is None:
        empty(
            "No reward model is active yet.",
            "Train one from votes, or upload one; then its scores of all responses appear here.",
            "reward_models.py",
            "Reward models",
        )
        return
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default="responses",
        required=True,
        format_func=VIEWS.__getitem__,
        key="scores_view",
        label_visibility="collapsed",
    )
    if view == "program":
        show_ask(project)
    elif view == "file":
        show_file(project)
    else:
        if not found.responses:
            empty(
                "There are no responses yet.",
                "Generate some, or import comparisons.",
                "prompts.py",
                "Prompts",
            )
            return
        the_state(project, found)
        if found.current:
            show_table(project, SCALE)


with problems():
    show()
