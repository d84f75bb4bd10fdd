"""Two data sets side by side."""

from typing import Any

import pandas as pd
import streamlit as st

from core.reward.snapshots import service
from core.services import database
from pages.shared import me, percent, problems
from storage.tables import Project, Snapshot

WHAT = {"added": "came", "removed": "went", "moved": "another split", "relabelled": "labelled anew"}


def the_comparison(project: Project, snapshots: list[Snapshot], chosen: Snapshot) -> None:
    st.subheader("Compare two", anchor=False)
    by_id = {item.id: item for item in snapshots}
    ids = list(by_id)  # newest first
    other = next(item for item in [*ids[ids.index(chosen.id) + 1 :], *ids] if item != chosen.id)
    left, right = st.columns(2)
    # The keys name the choice, so that another row of the table starts a comparison of its own.
    before = left.selectbox(
        "Before", ids, index=ids.index(other), format_func=lambda i: by_id[i].name, key=f"before_{chosen.id}"
    )
    after = right.selectbox(
        "After",
        ids,
        index=ids.index(chosen.id),
        format_func=lambda i: by_id[i].name,
        key=f"after_{chosen.id}",
    )
    if before == after:
        st.caption("Choose two different ones.")
        return
    with problems():
        _show(service.compare(database(), me(), before, after))


def _show(found: dict[str, Any]) -> None:
    if found["same_content"]:
        st.success("The same filters, the same votes: both hold the same data.", icon=":material/equal:")
        return
    pairs, votes = found["pairs"], found["votes"]
    cells = [
        ("Pairs that came", pairs["added"], f"{pairs['removed']:,} went, {pairs['kept']:,} are in both"),
        ("Votes that came", votes["added"], f"{votes['removed']:,} went, {votes['changed']:,} were changed"),
        ("Labelled anew", pairs["relabelled"], f"another preference; {pairs['softened']:,} more with another probability"),
        ("In another split", pairs["moved"], "of the pairs in both"),
    ]  # fmt: skip
    for column, (label, value, under) in zip(st.columns(4), cells, strict=True):
        with column.container(border=True, gap=None, height="stretch"):
            st.metric(label, f"{value:,}")
            st.caption(under)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Counts**")
        _table(
            [
                {"": row["what"], "Before": _cell(row["before"]), "After": _cell(row["after"])}
                for row in found["counts"]
            ]
        )
    with right:
        st.markdown("**Filters that differ**")
        if found["filters"]:
            rows = [
                {"": row["what"], "Before": row["before"] or "—", "After": row["after"] or "—"}
                for row in found["filters"]
            ]
            _table(rows)
        else:
            st.caption("None: the votes are others.")
    if found["shown"]:
        with st.expander(f"The pairs ({len(found['shown']):,} shown)", icon=":material/difference:"):
            _table(
                [
                    {
                        "What": WHAT[row["what"]],
                        "Input": " ".join(row["input"].split())[:200],
                        "Label before": _label(row["before"]),
                        "Label after": _label(row["after"]),
                        "Split": " → ".join(
                            dict.fromkeys(side["split"] for side in (row["before"], row["after"]) if side)
                        ),
                        "Pair": row["pair_id"],
                    }
                    for row in found["shown"]
                ]
            )
            st.caption("A label is the probability that response a is preferred, with the votes behind it.")


def _label(side: dict[str, Any] | None) -> str:
    return f"{side['q']:.2f} (n {side['n']})" if side else "—"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return percent(value["share"], value["low"], value["high"], value["n"])
    return f"{value:,}"


def _table(rows: list[dict[str, Any]]) -> None:
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) <= 14 else 380)
