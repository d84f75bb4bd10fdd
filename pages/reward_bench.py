"""Pairwise benchmarks of one reward model: a file goes in, and accuracy by subset comes out."""

from typing import Any

import pandas as pd
import streamlit as st

from core.reward import bench
from core.runs import service
from core.services import database
from core.settings import get_settings
from pages.shared import ago, csv_of, duration, may, me, percent, plain, problems
from storage.tables import Project, RewardModel, Run

ACTIVE = ("queued", "running")
ABOUT = (
    "Rows of a prompt with a response that is better and others that are worse, as RewardBench and RewardBench 2 have "
    "them: the model is right where it scores the better one highest. Such a file says how the model does beyond this "
    "project; it is not what your annotators prefer."
)


def the_bench(project: Project, model: RewardModel) -> None:
    """The section of a model's page: send a file, and what runs have found."""
    st.caption(ABOUT)
    if may("run.start"):
        the_upload(model)
    with problems():
        runs = bench.bench_runs(database(), me(), model.id)
        if not runs:
            st.info(
                "This model has not been asked about a benchmark file yet."
                + ("" if may("run.start") else " Engineers and admins can send one."),
                icon=":material/quiz:",
            )
            return
        at_work = [run for run in runs if run.status in ACTIVE]
        if at_work:
            st.fragment(the_work, run_every=1.0)(at_work[0].id)
        for run in runs:
            if run.status not in ACTIVE:
                the_result(run, opened=run is next((r for r in runs if r.status == "succeeded"), None))


def the_upload(model: RewardModel) -> None:
    turn = st.session_state.setdefault(f"bench_turn_{model.id}", 0)
    file = st.file_uploader(
        "A benchmark file",
        type=["csv", "tsv", "json", "jsonl", "ndjson", "parquet", "pq", "gz"],
        max_upload_size=get_settings().max_upload_mb,
        key=f"bench_file_{model.id}_{turn}",
        help="Columns: prompt (text, or a list of messages), chosen and rejected (text, a conversation, or a list of "
        "texts), subset (optional). JSON Lines, JSON, CSV, TSV or Parquet, also packed with gzip.",
    )
    pressed = st.button(
        "Ask the model", icon=":material/quiz:", disabled=file is None, key=f"bench_start_{model.id}"
    )
    if pressed and file is not None:
        with problems(), st.spinner("Reading the file …"):
            bench.start(database(), me(), model.id, file.name, file.getvalue())
            st.session_state[f"bench_turn_{model.id}"] = turn + 1  # an empty uploader
            st.rerun()


def the_work(run_id: str) -> None:
    run = service.get_run(database(), me(), run_id)
    if run.status not in ACTIVE:
        st.rerun()
    with st.container(border=True):
        parts = [f"**{plain(str(run.config['name']))}**", f"{100 * run.progress:.0f} %"]
        if run.status == "queued":
            parts.append("it starts when a slot is free")
        elif run.message:
            parts.append(plain(run.message))
        if run.eta_s is not None:
            parts.append(f"about {duration(run.eta_s)} left")
        st.progress(min(max(run.progress, 0.0), 1.0), text=" · ".join(parts))
        stop = st.button(
            "Stopping…" if run.cancel_requested else "Cancel", icon=":material/cancel:",
            disabled=run.cancel_requested or not may("run.control"), key=f"bench_cancel_{run.id}",
        )  # fmt: skip
        if stop:
            with problems():
                service.cancel_run(database(), me(), run.id)
                st.rerun()


def the_result(run: Run, opened: bool) -> None:
    found: dict[str, Any] = run.result or {}
    name = plain(str(run.config["name"]))
    if run.status != "succeeded" or not found.get("subsets"):
        with st.expander(f"{name} · {run.status} · {ago(run.created_at)}"):
            st.text(f"{run.error or ''} {run.hint or ''}".strip() or "It ended before all rows were scored.")
            st.page_link("runs.py", label="See the run", icon=":material/sync:", query_params={"run": run.id})
        return
    weighted, mean = found["weighted"], found["mean"]
    title = f"{name} · {percent(weighted['value'], weighted['low'], weighted['high'], weighted['n'])} · {ago(run.created_at)}"
    with st.expander(title, expanded=opened):
        left, right = st.columns(2)
        for column, of, words, help in (
            (left, weighted, "Mean over rows", "Each row counts the same: large subsets decide."),
            (right, mean, "Mean over subsets", "Each subset counts the same, however small."),
        ):
            column.metric(words, percent(of["value"]), help=help, border=True)
            column.caption(
                f"{100 * of['low']:.1f} to {100 * of['high']:.1f} % · n {of['n']:,} rows, {len(found['subsets']):,} subsets"
            )
        table = table_of(found)
        st.dataframe(table, hide_index=True, height="content" if len(table) <= 12 else 440)
        if found.get("sections"):
            st.caption(
                "RewardBench's sections: "
                + " · ".join(
                    f"{of['name']} {percent(*(of['accuracy'][key] for key in ('value', 'low', 'high', 'n')))}"
                    for of in found["sections"]
                )
            )
        if found.get("cut_share", 0) > 0.01:
            st.caption(
                f"{100 * found['cut_share']:.0f} % of the texts were longer than the model reads, and were cut."
            )
        st.download_button(
            "Download as CSV", csv_of(table), file_name="benchmark.csv", mime="text/csv", icon=":material/download:",
            key=f"bench_csv_{run.id}",
        )  # fmt: skip


def table_of(found: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for of in found["subsets"]:
        accuracy = of["accuracy"]
        sizes = [str(size) for size in of["best_of"]]
        rows.append(
            {
                "Subset": of["name"],
                "Accuracy (95 % interval)": percent(
                    accuracy["value"], accuracy["low"], accuracy["high"], accuracy["n"]
                ),
                "By chance": percent(of["chance"]),
                "Responses a row": sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
            }
        )
    return pd.DataFrame(rows)
