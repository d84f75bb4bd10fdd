"""Scoring a file: choose it, see how its columns are read, start, and fetch the result."""

from typing import Any

import pandas as pd
import streamlit as st

from core import accounts, data, mapping
from core.errors import PrefloopError
from core.reward import files
from core.runs import service
from core.services import database
from core.settings import get_settings
from pages.data_import import NONE, narrow
from pages.run_progress import progress_row
from pages.shared import ago, may, me, plain, problems, say_problem
from storage.tables import Project, Run

BUSY = ("queued", "running", "interrupted")
TITLES = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}


def show_file(project: Project) -> None:
    with st.container(border=True):
        st.subheader("Score a file", anchor=False)
        st.caption(
            "CSV, JSON Lines, JSON or Parquet with columns `input` (or `prompt`, or `messages`) and `response`; or "
            "`response_a` and `response_b`, for probabilities. Nothing of it becomes part of the project."
        )
        if may("run.start"):
            _form(project)
        else:
            st.caption("Engineers and admins score files.")
    _runs(project)


def _form(project: Project) -> None:
    number = st.session_state.get("score_file_round", 0)
    file = st.file_uploader(
        "File",
        type=["csv", "tsv", "json", "jsonl", "ndjson", "parquet", "gz"],
        max_upload_size=get_settings().max_upload_mb,
        key=f"score_file_{project.id}_{number}",
    )
    if file is None:
        return
    try:
        table = data.read_upload(file.name, file.getvalue())
        columns = _columns(table.columns, number)
        rows, broken, pairs = files.read_rows(table, columns)
    except PrefloopError as problem:
        say_problem(problem.message, problem.hint)
        return
    st.caption(f"{len(rows):,} {'pairs' if pairs else 'responses'} can be scored, {len(broken):,} cannot.")
    if broken:
        first = broken[0]
        st.warning(f"{table.unit.capitalize()} {first[0]}: {plain(first[1])}.", icon=":material/warning:")
    st.dataframe(
        pd.DataFrame(rows[:5]), hide_index=True, column_config=narrow("input", "response", "response_a")
    )
    if st.button(
        f"Score {len(rows):,} rows",
        type="primary",
        icon=":material/calculate:",
        disabled=not rows,
        key="score_file",
    ):
        with problems():
            files.score_file(
                database(), me(), project.id, file.name, iter([file.getvalue()]), columns=columns
            )
            st.session_state["score_file_round"] = number + 1
            st.rerun()


def _columns(there: list[str], number: int) -> mapping.Mapping:
    """As guessed by name, to be corrected."""
    kind = st.segmented_control(
        "Rows are",
        ["responses", "response_pairs"],
        default=files.kind_of_file(there),
        required=True,
        format_func={"responses": "Responses", "response_pairs": "Pairs of responses"}.__getitem__,
        key=f"score_file_kind_{number}",
    )
    guess = mapping.guess_mapping(kind, there)
    chosen: mapping.Mapping = {}
    for place, (field, column) in enumerate(
        zip(mapping.KINDS[kind], st.columns(len(mapping.KINDS[kind])), strict=True)
    ):
        options = [NONE, *there]
        now = guess[field.name][0] if guess[field.name] else NONE
        with column:
            picked = st.selectbox(
                field.title,
                options,
                index=options.index(now),
                help=field.help or None,
                key=f"score_file_{number}_{kind}_{place}",
            )
        if picked != NONE:
            chosen[field.name] = [picked]
    return chosen


def _runs(project: Project) -> None:
    found = service.list_runs(database(), me(), project.id, files.KIND, limit=5)
    if not found:
        return
    st.subheader("Files", anchor=False)
    for run in found:
        with st.container(border=True):
            if run.status in BUSY:
                st.fragment(_busy, run_every=1.0)(run.id)
            else:
                _ended(run)


def _busy(run_id: str) -> None:
    run = service.get_run(database(), me(), run_id)
    if run.status not in BUSY:
        st.rerun()
    progress_row(run, plain(run.name))


def _ended(run: Run) -> None:
    result: dict[str, Any] = run.result or {}
    left, right = st.columns([2.6, 1.4], vertical_alignment="center")
    with left:
        st.markdown(f"**{plain(str(run.config.get('file', run.name)))}**")
        if run.status == "succeeded":
            unread = f", {result['unreadable']:,} could not be read" if result.get("unreadable") else ""
            st.caption(
                f"{result.get('rows', 0):,} rows{unread} · mean reward {result.get('mean_reward', 0):+.2f}, deviation "
                f"{result.get('deviation', 0):.2f} · by {plain(str(result.get('model', '')))} · {ago(run.finished_at)}"
            )
        else:
            st.caption(
                f"{run.status.capitalize()} · {plain(f'{run.error or str()} {run.hint or str()}'.strip())}"
            )
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        if run.status == "succeeded":
            _download(run)
        else:
            if may("run.control") and st.button(
                "Resume", icon=":material/play_arrow:", key=f"resume_{run.id}"
            ):
                with problems():
                    service.resume_run(database(), me(), run.id)
                    st.rerun()
            st.page_link("runs.py", label="Its log", icon=":material/sync:", query_params={"run": run.id})


def _download(run: Run) -> None:
    form = st.selectbox(
        "Form", list(TITLES), format_func=TITLES.__getitem__, width=140, label_visibility="collapsed",
        key=f"form_{run.id}",
    )  # fmt: skip
    sign_in_id = me().sign_in_id
    st.download_button(
        "Download",
        data=lambda: _bytes(sign_in_id, run.id, form),
        file_name=f"{run.config.get('file', 'file')}-scored.{form}",
        mime=files.FORMS[form],
        icon=":material/download:",
        on_click="ignore",
        key=f"fetch_{run.id}",
    )


def _bytes(sign_in_id: str | None, run_id: str, form: str) -> bytes:
    """Streamlit calls this outside the script's run: who asks is looked up again."""
    who = accounts.principal_of_sign_in(database(), sign_in_id)
    return b"".join(files.result_file(database(), who, run_id, form)[1])
