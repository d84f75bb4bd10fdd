"""Compare two responses, blind, and vote with one key.

The page is a frame: the work is done on the desk (`pages/desk`), in the browser, which
holds the pair on the screen and the next one, and talks to the routes under /desk. So a
vote needs no rerun, and is not lost when the network is away for a while. Above it stands
what a lead (or a rule) tells this person, until they have read it.
"""

import streamlit as st

from core.annotation import messages
from core.services import database
from pages.desk import show_desk
from pages.shared import ago, header, may, me, plain, problems

LOOK_AGAIN_S = 60


def mark_read(message_id: str) -> None:
    with problems():
        messages.mark_read(database(), me(), message_id)


@st.fragment(run_every=LOOK_AGAIN_S)
def show_messages(project_id: str) -> None:
    with problems():
        for message in messages.mine(database(), me(), project_id, unread=True):
            with st.container(border=True):
                by = plain(message.author) if message.author else "This project"
                st.caption(f":material/mail: {by} · {ago(message.created_at)}")
                st.text(message.text)
                st.button(
                    "I have read it",
                    key=f"read_{message.id}",
                    icon=":material/done:",
                    on_click=mark_read,
                    args=(message.id,),
                )


project = header("Annotate")
show_messages(project.id)
show_desk(project.id, me().user_id, may("data.import"))
