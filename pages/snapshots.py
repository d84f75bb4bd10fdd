"""Preference data: what reward models learn from, frozen under names."""

import pandas as pd
import streamlit as st

from core.reward.snapshots import service
from core.reward.snapshots.checks import failed
from core.services import database
from pages.shared import ago, empty, header, may, me, percent, problems
from pages.snapshots_compare import the_comparison
from pages.snapshots_detail import the_snapshot
from pages.snapshots_form import the_form
from storage.tables import Project, RewardModel, Snapshot


def the_list(project: Project, snapshots: list[Snapshot], models: dict[str, list[RewardModel]]) -> Snapshot:
    """The table; answers the chosen one, else the newest."""
    st.subheader("Data sets", anchor=False)
    rows = []
    for item in snapshots:
        counts = item.counts
        wrong = failed(item.checks)
        splits = " / ".join(f"{counts['splits'][split]['pairs']:,}" for split in ("train", "dev", "test"))
        rows.append(
            {
                "Data set": item.name + (" (put away)" if item.archived_at else ""),
                "Leak checks": f"{len(wrong)} failed" if wrong else "passed",
                "Pairs": counts["pairs"],
                "Train / dev / test": splits,
                "Votes": counts["cast"],
                "Annotators agree": percent(
                    *(counts["agreement"][name] for name in ("share", "low", "high", "n"))
                ),
                "Models": len(models.get(item.id, [])),
                "Made": ago(item.created_at),
            }
        )
    config = st.column_config
    shown = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"snapshots_{project.id}",
        height="content" if len(rows) <= 8 else 320,
        column_config={
            "Data set": config.TextColumn(width="medium"),
            "Pairs": config.NumberColumn(format="localized"),
            "Votes": config.NumberColumn(format="localized"),
            "Annotators agree": config.TextColumn(
                help="Of two votes on the same pair, how often they are the same, with its 95 % interval and the "
                "number of pairs. No model can be expected to agree with people more often than they do themselves."
            ),
            "Models": config.NumberColumn(help="Reward models that were trained on it."),
        },
    )
    picked = shown.selection.rows  # type: ignore[attr-defined]
    asked = st.query_params.get("snapshot")
    if picked and picked[0] < len(snapshots):
        return snapshots[picked[0]]
    if len(snapshots) > 1:
        st.caption("Select a row to see that data set below.")
    return next((item for item in snapshots if item.id == asked), snapshots[0])


def show() -> None:
    project = header(
        "Preference data",
        "What a reward model learns from: which votes, how they add up, and how they are split. A data set is "
        "frozen when it is made, so that a model can always be traced to its votes.",
    )
    options = service.options(database(), me(), project.id)
    everything = service.list_snapshots(database(), me(), project.id, archived=True)
    away = [item for item in everything if item.archived_at]
    snapshots = [item for item in everything if not item.archived_at]
    if not options.annotators and not everything:
        empty(
            "There are no votes to make a data set of yet.",
            "Compare some pairs, or import comparisons that people have made already. Then choose here which "
            "votes a reward model learns from.",
            "annotate.py",
            "Annotate",
        )
        st.page_link("data.py", label="Import comparisons", icon=":material/upload:")
        return
    if options.annotators and may("snapshot.make"):
        st.fragment(the_form)(project, options, not snapshots)
    if away:
        label = (
            f"Show also the {len(away)} that were put away"
            if len(away) > 1
            else "Show also the one that was put away"
        )
        if st.toggle(label, key=f"away_{project.id}"):
            snapshots = everything
    if not snapshots:
        st.caption(
            "No data set was made yet. A training that names none makes one of the votes as they are then."
        )
        return
    models = service.models_by_snapshot(database(), me(), project.id)
    chosen = the_list(project, snapshots, models)
    the_snapshot(project, chosen, models.get(chosen.id, []))
    if len(snapshots) > 1:
        the_comparison(project, snapshots, chosen)


with problems():
    show()
