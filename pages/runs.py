"""Background work: what runs, what waits, what has ended, and why."""

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from core.errors import NotFound
from core.runs.kinds import KINDS
from core.runs.service import count_runs, get_run, list_runs, starters
from core.runs.states import ACTIVE
from core.services import database
from pages.run_detail import STATES, show_run
from pages.shared import ago, duration, empty, header, me, problems
from storage.tables import Project, Run

PAGE_SIZE = 25
NOT_ENDED = [*ACTIVE, "interrupted"]
WORDS = {word: status for status, (_, _, word) in STATES.items()}


def follow_link() -> str | None:
    """The run the address names. A link may lead into another project than the one in
    hand; but who then chooses a project wants its list."""
    asked = st.query_params.get("run")
    if asked is None:
        st.session_state.pop("runs_shown", None)
        return None
    shown = st.session_state.get("runs_shown")
    in_hand = st.query_params.get("project") or st.session_state.get("project_id")
    if shown is not None and shown[0] == asked and shown[1] != in_hand:
        close_run()
        return None
    try:
        run = get_run(database(), me(), asked)
    except NotFound:
        st.toast(f"There is no run {asked}.", icon=":material/error:")
        close_run()
        return None
    if run.project_id != in_hand:
        st.session_state["project_id"] = run.project_id
        st.query_params.pop("project", None)
    st.session_state["runs_shown"] = (asked, run.project_id)
    return asked


def close_run() -> None:
    st.query_params.pop("run", None)
    st.session_state.pop("runs_shown", None)


def nothing_yet() -> None:
    empty(
        "Nothing has run in this project yet",
        "Work that takes time happens here, in the background: generating responses, training reward "
        "models, searching for better prompts. Start it from the page it belongs to; you may close the "
        "browser meanwhile.",
    )
    with st.container(horizontal=True):
        st.page_link("prompts.py", label="Generate responses", icon=":material/edit_note:")
        st.page_link("reward_models.py", label="Train a reward model", icon=":material/model_training:")
        st.page_link("optimize.py", label="Optimise a prompt", icon=":material/auto_fix_high:")


def filters(project: Project) -> tuple[list[str] | None, str | None]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.pills(
            "Status", list(WORDS), selection_mode="multi", key=f"runs_status_{project.id}", wrap=True
        )
        kind = st.selectbox(
            "Kind",
            [None, *KINDS],
            format_func=lambda name: KINDS[name].title if name else "All kinds",
            key=f"runs_kind_{project.id}",
            width=240,
        )
    return [WORDS[word] for word in words] or None, kind


def took(run: Run) -> float | None:
    """Seconds at work, of the last attempt."""
    if run.started_at is None:
        return None
    return ((run.finished_at or datetime.now(UTC)) - run.started_at).total_seconds()


def table(runs: list[Run]) -> pd.DataFrame:
    names = starters(database(), me(), runs)
    return pd.DataFrame(
        {
            "Status": [[STATES[run.status][2]] for run in runs],
            "Run": [run.name for run in runs],
            "Progress": [round(run.progress, 2) for run in runs],
            "Left": [
                f"about {duration(run.eta_s)}" if run.status == "running" and run.eta_s is not None else ""
                for run in runs
            ],
            "Kind": [KINDS[run.kind].title if run.kind in KINDS else run.kind for run in runs],
            "Started by": [names.get(run.created_by or "", "—") for run in runs],
            "Queued": [ago(run.created_at) for run in runs],
            "Took": [duration(took(run)) for run in runs],
        }
    )


def show_list(project_id: str, statuses: list[str] | None, kind: str | None, live: bool) -> None:
    """The list; as a fragment it draws itself anew while something is under way."""
    db, who = database(), me()
    under_way = count_runs(db, who, project_id, statuses=NOT_ENDED)
    if live and not under_way:
        st.rerun()
    total = count_runs(db, who, project_id, kind, statuses)
    shown = st.session_state.get("runs_shown_count", PAGE_SIZE)
    runs = list_runs(db, who, project_id, kind, shown, statuses=statuses)
    counts = {status: count_runs(db, who, project_id, statuses=[status]) for status in ACTIVE}
    now_text = (
        f"{counts['running']} at work, {counts['queued']} waiting for a free slot. "
        if any(counts.values())
        else ""
    )
    st.caption(f"{now_text}{total:,} {'run' if total == 1 else 'runs'}, newest first. Click one to open it.")
    if not runs:
        st.info("No run matches these filters.", icon=":material/filter_alt_off:")
        return
    event = st.dataframe(
        table(runs),
        key=f"runs_table_{runs[0].id}_{len(runs)}",
        hide_index=True,
        height=min(38 * (len(runs) + 1), 38 * 16),
        row_height=38,
        on_select="rerun",
        selection_mode="single-cell",
        column_config={
            "Status": st.column_config.MultiselectColumn(
                width=120,
                options=list(WORDS),
                color=[color for _, color, _ in STATES.values()],
                pinned=True,
            ),
            "Run": st.column_config.TextColumn(width="medium"),
            "Progress": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, width="small"
            ),
            "Left": st.column_config.TextColumn(help="Reckoned from the pace so far", width="small"),
            "Took": st.column_config.TextColumn(help="Time at work, of the last attempt", width="small"),
        },
    )
    cells = event["selection"]["cells"]
    if cells and cells[0][0] < len(runs):
        st.query_params["run"] = runs[cells[0][0]].id
        st.rerun()
    if total > len(runs) and st.button(f"Show more ({total - len(runs):,} older)"):
        st.session_state["runs_shown_count"] = shown + 2 * PAGE_SIZE
        st.rerun()


asked = follow_link()
project = header(
    "Runs", "" if asked else "Work in the background: progress, results, and what to do when it fails."
)
with problems():
    if asked:
        if st.button("All runs", icon=":material/arrow_back:", type="tertiary"):
            close_run()
            st.rerun()
        show_run(asked)
    elif not count_runs(database(), me(), project.id):
        nothing_yet()
    else:
        wanted = filters(project)
        live = count_runs(database(), me(), project.id, statuses=NOT_ENDED) > 0
        st.fragment(show_list, run_every=1.0 if live else None)(project.id, *wanted, live)
