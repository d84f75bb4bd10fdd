"""A pair to read side by side: untrusted text, rendered safely."""

from typing import Any

import streamlit as st

from core.reward import mistakes
from core.services import database
from pages.render import response_html
from pages.shared import me

HIGH = 280  # pixels of a text before it scrolls
LONG = 1_000  # characters that would be higher


def texts_of(model_id: str, pair_ids: list[str]) -> dict[str, dict[str, Any]]:
    """pair id -> input, response_a, response_b, prompt_a, prompt_b."""
    return mistakes.texts(database(), me(), model_id, pair_ids)


def show_pair(row: dict[str, Any], preferred: str | None = None) -> None:
    """`preferred`: a, b, or None where people are even."""
    st.caption("Input")
    asked = str(row["input"])
    with st.container(
        height=HIGH if len(asked) > LONG or asked.count("\n") > 12 else "content", border=False
    ):
        st.html(response_html(asked))
    for column, side in zip(st.columns(2), ("a", "b"), strict=True):
        with column:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"Response {side.upper()}")
                if preferred == side:
                    st.badge("people prefer", icon=":material/thumb_up:", color="green")
            text = str(row[f"response_{side}"])
            long = len(text) > LONG
            with st.container(border=True, height=HIGH if long else "content"):
                st.html(response_html(text))
