"""Writing to an annotator, and what they were told before."""

import streamlit as st

from core.annotation import messages
from core.services import database
from pages.shared import ago, me, plain, problems


@st.dialog("Message")
def write_to(project_id: str, annotator_id: str, name: str) -> None:
    st.markdown(f"To **{plain(name)}**, who sees it on the page Annotate until they have read it.")
    text = st.text_area("Message", max_chars=messages.MAX_TEXT, height=120)
    if st.button("Send", type="primary", icon=":material/send:"):
        with problems():
            messages.send(database(), me(), project_id, annotator_id, text)
            st.rerun()
    with problems():
        before = messages.sent(database(), me(), project_id, annotator_id)
        if before:
            st.caption("Before")
        for message in before[:20]:
            by = plain(message.author) or "rule"
            read = f"read {ago(message.read_at)}" if message.read_at else "not read yet"
            st.caption(f"{by} · {ago(message.created_at)} · {read}")
            st.text(message.text)
