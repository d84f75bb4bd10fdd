"""Where candidates came from: the tree, and the way to one of them with coloured words."""

from collections.abc import Mapping
from html import escape
from itertools import pairwise

import altair as alt
import pandas as pd
import streamlit as st

from core.llm.soft_names import names_in
from core.optimize.lineage import best_number, layout, way_to, worth_showing
from core.optimize.view import other_parents
from core.prompts.diff import word_diff
from core.services import database
from pages.shared import me
from storage.tables import Candidate, Run


def lineage(run: Run, candidates: list[Candidate]) -> None:
    shown = worth_showing(candidates)
    left = len(candidates) - len(shown)
    others = other_parents(database(), me(), run.id)
    st.altair_chart(tree(shown, others), width="stretch", key=f"optimize_tree_{run.id}")
    said = " Dashed: from a further parent it was crossed with." if others else ""
    said += f" {left:,} that were neither accepted nor among the best are left out." if left else ""
    st.caption(
        f"Each candidate to the right of what it was made of, with its number; ringed: accepted.{said}"
    )
    numbers = [candidate.number for candidate in candidates]
    chosen = st.selectbox(
        "The way to candidate",
        numbers,
        numbers.index(best_number(candidates)),
        key=f"optimize_way_{run.id}",
        help="The best on train, unless you choose another.",
    )
    way = way_to(candidates, chosen)
    if len(way) == 1:
        st.caption("This is the start itself.")
        return
    for before, after in pairwise(way):
        change = after.scores["train"]["score"] - before.scores["train"]["score"]
        n = after.scores["train"]["n"]
        st.caption(
            f"**{before.number} → {after.number}** · {after.operation} · train {change:+.3g} "
            f"({before.scores['train']['score']:.3g} to {after.scores['train']['score']:.3g}, n {n:,})"
            + (" · its words against its first parent's" if after.number in others else "")
        )
        if names_in(after.text):
            st.caption(
                "Vectors: there are no words to compare. Choose it in the table to see what they are near."
            )
        else:
            coloured(before.text, after.text)


def _and(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers))


def tree(shown: list[Candidate], others: Mapping[int, list[int]]) -> alt.LayerChart:
    """Depth from left to right, the score as colour; dashed lines come from the further
    parents (`others`, by number)."""
    nodes = {node.candidate.number: node for node in layout(shown)}
    points = pd.DataFrame(
        [
            {
                "number": node.candidate.number, "depth": node.depth, "row": node.row,
                "score": node.candidate.scores["train"]["score"], "n": node.candidate.scores["train"]["n"],
                "made by": node.candidate.operation, "further parents": _and(others.get(node.candidate.number, [])), "accepted": node.candidate.accepted,
                "instruction": node.candidate.text[:300],
            }
            for node in nodes.values()
        ]
    )  # fmt: skip
    edges = pd.DataFrame(
        [
            {"depth": nodes[parent].depth, "row": nodes[parent].row, "depth2": node.depth, "row2": node.row,
             "further": place > 0}
            for number, node in nodes.items()
            for place, parent in enumerate([node.candidate.parent, *others.get(number, [])])
            if parent in nodes
        ],
        columns=["depth", "row", "depth2", "row2", "further"],
    )  # fmt: skip
    x = alt.X("depth:Q", title="Steps from the start", axis=alt.Axis(tickMinStep=1, grid=False))
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(reverse=True, padding=14))
    lines = (
        alt.Chart(edges)
        .mark_rule(color="gray", opacity=0.7)
        .encode(
            x, y, x2="depth2:Q", y2="row2:Q",
            strokeDash=alt.condition("datum.further", alt.value([4, 4]), alt.value([1, 0])),
        )
    )  # fmt: skip
    base = alt.Chart(points)
    dots = base.mark_circle(size=150, opacity=1).encode(
        x,
        y,
        color=alt.Color("score:Q", title="Train", scale=alt.Scale(scheme="viridis", zero=False)),
        stroke=alt.condition("datum.accepted", alt.value("#d9480f"), alt.value("transparent")),
        strokeWidth=alt.value(2),
        tooltip=[
            "number:Q",
            "made by:N",
            *(["further parents:N"] if others else []),
            alt.Tooltip("score:Q", format=".3f"),
            "n:Q",
            "accepted:N",
            "instruction:N",
        ],
    )
    names = base.mark_text(dx=9, dy=-9, align="left", fontSize=10, color="gray").encode(x, y, text="number:Q")
    height = 60 + 22 * (int(points["row"].max()) + 1)
    return (lines + dots + names).properties(height=min(height, 620))


def coloured(old: str, new: str) -> None:
    """Words taken out are struck through, words put in are underlined."""
    marks = {
        "delete": '<del style="background:rgba(200,60,40,.16);border-radius:3px">{}</del>',
        "insert": '<ins style="background:rgba(30,140,110,.20);border-radius:3px">{}</ins>',
    }
    words = "".join(marks.get(op, "{}").format(escape(text)) for op, text in word_diff(old, new))
    with st.container(border=True):
        st.html(f'<div style="white-space:pre-wrap;line-height:1.6">{words}</div>')
