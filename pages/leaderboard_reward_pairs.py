"""The pairs on which people and the reward model disagree most, to read."""

from typing import Any

import pandas as pd
import streamlit as st

from core import data
from core.services import database
from pages.render import response_html
from pages.shared import me, percent


def show_worst(found: dict[str, Any]) -> None:
    worst = found["worst"]
    if not found["voted_pairs"]:
        return
    st.subheader(
        "Where they disagree most",
        anchor=False,
        help="Pairs by the distance of the share of the votes for a and the model's chance that a is preferred.",
    )
    if not worst:
        st.caption("On no pair are the votes and the model's probability more than 50 points apart.")
        return
    rows = [
        {
            "A": row["prompt_a"],
            "B": row["prompt_b"],
            "Votes for A": percent(row["q"], n=row["n"]),
            "The model says": percent(row["p"]),
            "Seen in training": {True: "no", False: "yes", None: "not known"}[row["held_out"]],
        }
        for row in worst
    ]
    shown = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if len(rows) <= 8 else 320,
        key=f"worst_{found['model']['id']}",
    )
    picked = shown.selection.rows  # type: ignore[attr-defined]
    if not picked or picked[0] >= len(worst):
        st.caption(
            "Select a pair to read it. Where people turn out right, more votes like these teach the model."
        )
        return
    _read(worst[picked[0]])


def _read(row: dict[str, Any]) -> None:
    pair = data.get_pair(database(), me(), row["pair_id"])
    if pair is None:
        st.write("This pair is gone.")
        return
    with st.container(border=True):
        st.markdown("**Input**")
        st.html(response_html(pair.input))
        left, right = st.columns(2)
        for side, name, text in ((left, "A", pair.response_a), (right, "B", pair.response_b)):
            with side:
                share = row["q"] if name == "A" else 1 - row["q"]
                chance = row["p"] if name == "A" else 1 - row["p"]
                st.markdown(
                    f"**{name}** · people {100 * share:.0f} % (n {row['n']}) · model {100 * chance:.0f} %"
                )
                st.html(response_html(text))
