"""A soft prompt, shown for what it is: vectors that nobody can read, bound to one model."""

import altair as alt
import pandas as pd
import streamlit as st

from core.llm.soft_names import EMBEDDINGS, Card
from core.optimize.methods import METHODS


def show_soft(card: Card | None, key: str) -> None:
    """What is known of its vectors; `card` is None when their file is gone."""
    if card is None:
        st.warning(
            "The vectors of this soft prompt are gone: their file is missing.", icon=":material/warning:"
        )
        return
    method = METHODS[card.method].short if card.method in METHODS else card.method
    st.markdown(
        f"**A soft prompt ({method})**: {card.tokens:,} virtual tokens, {card.numbers:,} numbers, trained for "
        f"{card.steps:,} steps. It is not text and cannot be read. It works only in the model it was trained "
        "for, and only on a host in this machine."
    )
    st.text(f"Model: {card.model} · weights {card.fingerprint[:12]}")
    if card.text:
        st.caption("It began as these words, and stands in their place:")
        st.code(card.text, language=None, wrap_lines=True)
    else:
        st.caption("It began at random.")
    if card.kind == EMBEDDINGS:
        _nearest(card, key)
    else:
        _layers(card, key)


def _nearest(card: Card, key: str) -> None:
    table = pd.DataFrame(
        {
            "Place": [row["place"] for row in card.rows],
            "Nearest token": [_shown(row["token"]) for row in card.rows],
            "Distance": [row["distance"] for row in card.rows],
            "Cosine": [row["cosine"] for row in card.rows],
            "Began as": [_shown(row["began"]) for row in card.rows],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=min(38 + 35 * len(table), 320),
        key=f"soft_nearest_{key}",
        column_config={
            "Place": st.column_config.NumberColumn(width=55, pinned=True),
            "Distance": st.column_config.NumberColumn(
                format="%.3f", help="Euclidean, from the vector to the embedding of that token"
            ),
            "Cosine": st.column_config.NumberColumn(
                format="%.3f", help="Of the angle between the vector and the embedding of that token"
            ),
        },
    )
    same = sum(row["token"] == row["began"] for row in card.rows)
    began = ""
    if card.text:
        began = f" {same:,} of {len(card.rows):,} are still nearest to the token they began as"
        began += "; written out, these words are the start again." if same == len(card.rows) else "."
    st.caption(
        "For each vector the vocabulary token whose embedding is nearest by Euclidean distance. These tokens "
        "are not what the prompt says: what it learned is what it differs in from them. Beside it, the median "
        f"distance from a token to its nearest other token is {card.yardstick:.3g}.{began}"
    )


def _layers(card: Card, key: str) -> None:
    rows = [
        {"layer": row["layer"], "of": name, "moved": row[name]}
        for row in card.rows
        for name in ("keys", "values")
    ]
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "layer:Q",
                title="Layer",
                axis=alt.Axis(tickMinStep=1, format="d"),
                scale=alt.Scale(zero=False),
            ),
            y=alt.Y("moved:Q", title="Moved, of its length", axis=alt.Axis(format="%")),
            color=alt.Color("of:N", title=None, legend=alt.Legend(orient="top")),
            tooltip=["layer:Q", "of:N", alt.Tooltip("moved:Q", format=".2%")],
        )
        .properties(height=280)
    )
    st.altair_chart(chart, width="stretch", key=f"soft_layers_{key}")
    st.caption(
        "A prefix has no vectors that a token could be nearest to: it holds the keys and values that attention "
        "finds in every layer, which stand for no word. What can be said is how far each layer's moved from "
        "where they began, relative to the length they had then (Euclidean)."
    )


def _shown(token: str) -> str:
    """A token with its white space to be seen."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
