"""The scores of all responses: their distribution, a table to search, one to read."""

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from core.reward.look import ORDERS, SPLITS, Look, look
from core.services import database
from pages.render import response_html
from pages.reward_charts import GRAY
from pages.shared import csv_of, me, number
from storage.tables import Project

ROWS = 50
MOST_CSV = 1_000
BINS = 40
SPREAD = (
    "Standard deviation of the reward over the model's members: how much they disagree about this response. It is "
    "not an interval."
)


def show_table(project: Project, scale: str) -> None:
    chosen = filters(project)
    found = look(database(), me(), project.id, limit=ROWS, **chosen)
    if found is None:
        st.write("The scores are being tidied up. Reload the page.")
        return
    with st.container(border=True):
        st.markdown("**Distribution**", help=scale)
        st.altair_chart(distribution(found), width="stretch")
        st.caption(_said(found))
    if not found.total:
        st.info("No response matches these filters.", icon=":material/search_off:")
        return
    _rows(project, found, chosen)


def filters(project: Project) -> dict[str, object]:
    names = look(database(), me(), project.id, limit=1)
    prompts = names.prompts if names else {}
    orders = [key for key in ORDERS if key != "spread" or (names and names.members > 1)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", placeholder="In inputs and responses", key=f"score_search_{project.id}"
        )
        prompt = st.selectbox(
            "Prompt",
            [None, *prompts],
            format_func=lambda key: prompts.get(key, "All"),
            width=220,
            key=f"score_prompt_{project.id}",
        )
        split = st.selectbox(
            "Split", [None, *SPLITS], format_func=lambda name: name or "All", width=130,
            key=f"score_split_{project.id}",
        )  # fmt: skip
        order = st.selectbox(
            "Order", orders, format_func=ORDERS.__getitem__, width=200, key=f"score_order_{project.id}"
        )
    return {"search": search or "", "prompt_id": prompt, "split": split, "order": order}


def _said(found: Look) -> str:
    n = f"{found.total:,} of {len(found.everything):,} responses"
    if found.total != len(found.everything):
        n += " (coloured; all of them in grey)"
    if not found.total:
        return n
    mean = round(float(found.rewards.mean()), 2) + 0.0  # never “-0.00”
    middle = f"mean {mean:+.2f}, standard deviation {found.rewards.std():.2f}"
    members = "one member" if found.members == 1 else f"{found.members} members"
    return (
        f"{n} · {middle} · on the scale of {found.scale.n:,} reference responses (mean 0, deviation 1) · "
        f"{members}"
    )


def distribution(found: Look) -> alt.LayerChart:
    """Counts by reward; where some are chosen, shares of them beside those of all."""
    low, high = np.quantile(found.everything, [0.001, 0.999]) if len(found.everything) else (-1.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    some = found.total != len(found.everything)
    parts = [("all responses", found.everything), *([("chosen", found.rewards)] if some else [])]
    rows = []
    for name, values in parts:
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        rows += [
            {
                "which": name,
                "from": a,
                "to": b,
                "responses": int(n),
                "height": n / max(1, len(values)) if some else int(n),
                "zero": 0,
            }
            for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
    y = alt.Y(
        "height:Q",
        title="share of them" if some else "responses",
        stack=None,
        axis=alt.Axis(format="%") if some else alt.Axis(tickMinStep=1),
    )
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            "from:Q", title="reward", scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(format="+.1f")
        ),
        x2="to:Q",
        y=y,
        y2="zero:Q",
        tooltip=[
            "which",
            alt.Tooltip("from", format="+.2f"),
            alt.Tooltip("to", format="+.2f"),
            alt.Tooltip("responses", format=","),
        ],
    )
    mean = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4], color=GRAY).encode(x="x:Q")
    if not some:
        return alt.layer(base.mark_rect(opacity=0.75), mean).properties(height=200)
    which = alt.datum.which
    everything = base.transform_filter(which == "all responses").mark_rect(color=GRAY, opacity=0.45)
    chosen = base.transform_filter(which == "chosen").mark_rect(opacity=0.75)
    return alt.layer(everything, chosen, mean).properties(height=200)


def _rows(project: Project, found: Look, chosen: dict[str, object]) -> None:
    pages = -(-found.total // ROWS)
    page = 1
    if pages > 1:
        page = int(
            st.number_input(
                f"Page of {pages:,}", 1, pages, 1, width=140, key=f"score_page_{project.id}_{chosen}"
            )
        )
        if page > 1:
            again = look(database(), me(), project.id, limit=ROWS, offset=(page - 1) * ROWS, **chosen)
            found = again or found
    table = _table(found)
    shown = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if len(table) <= 10 else 400,
        key=f"scored_{project.id}_{page}",
        column_config={
            "Reward": st.column_config.NumberColumn(format="%+.2f", width=80),
            "Spread": st.column_config.NumberColumn(format="%.2f", width=80, help=SPREAD),
            "Prompt": st.column_config.TextColumn(width=140),
            "Split": st.column_config.TextColumn(width=70),
            "Input": st.column_config.TextColumn(width=300),
            "Response": st.column_config.TextColumn(width=520),
        },
    )
    picked = shown.selection.rows  # type: ignore[attr-defined]
    if picked and picked[0] < len(found.rows):
        _read(found.rows[picked[0]])
    else:
        st.caption("Select a row to read it whole.")
    st.download_button(
        f"Download {min(found.total, MOST_CSV):,} rows as CSV",
        data=lambda: _csv(project, chosen),
        file_name="scores.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _csv(project: Project, chosen: dict[str, object]) -> str:
    found = look(database(), me(), project.id, limit=MOST_CSV, **chosen)
    return csv_of(_table(found, ids=True)) if found else ""


def _table(found: Look, ids: bool = False) -> pd.DataFrame:
    rows = [
        {
            **({"Response id": row.response_id} if ids else {}),
            "Reward": row.reward,
            **({"Spread": row.spread} if found.members > 1 else {}),
            "Prompt": row.prompt,
            "Split": row.split,
            "Input": row.input,
            "Response": row.response,
        }
        for row in found.rows
    ]
    return pd.DataFrame(rows)


def _read(row) -> None:  # type: ignore[no-untyped-def]
    with st.container(border=True):
        spread = "" if row.spread is None else f" · spread {number(row.spread)}"
        st.caption(f"Reward {row.reward:+.2f}{spread} · split {row.split}")
        left, right = st.columns([1, 1.6])
        with left:
            st.markdown("**Input**")
            st.html(response_html(row.input))
        with right:
            st.markdown("**Response**")
            st.html(response_html(row.response))
