"""Prompts out of the project as a file, and into it, with the vectors of soft prompts."""

from collections.abc import Iterator
from typing import Any

import streamlit as st

from core import accounts
from core.prompts.portable import export_prompts, file_name, import_prompts
from core.services import database
from core.settings import get_settings
from pages.data_import import plural
from pages.shared import may, me, problems
from storage.tables import Project, Prompt


def show_moving(project: Project, prompts: list[Prompt]) -> None:
    """One popover for both ways; nothing for people who may do neither."""
    usable = [prompt for prompt in prompts if prompt.user.strip() and prompt.archived_at is None]
    takes_in, gives_out = may("prompt.edit"), may("data.export") and bool(usable)
    if not (takes_in or gives_out):
        return
    with st.popover("Export or import", icon=":material/swap_horiz:", key="prompts_moving"):
        if gives_out:
            sign_in_id = me().sign_in_id
            st.download_button(
                f"Download {plural(len(usable), 'version')}",
                data=lambda: _file(sign_in_id, project),
                file_name=file_name(project.name),
                icon=":material/download:",
                on_click="ignore",
                key="prompts_export",
            )
            st.caption(
                "A zip with every version that is not archived, and the vectors of soft prompts as safetensors."
            )
        if takes_in:
            _import(project)


def _file(sign_in_id: str | None, project: Project) -> bytes:
    """Made when the button is pressed. That happens outside the page, which therefore says whose
    sign-in it is; it is checked anew."""
    who = accounts.principal_of_sign_in(database(), sign_in_id)
    return b"".join(export_prompts(database(), who, project.id)[1])


def _import(project: Project) -> None:
    done = f"prompts_taken_{project.id}"
    times = st.session_state.get(done, (0, ""))
    file = st.file_uploader(
        "A zip of prompts",
        type=["zip"],
        max_upload_size=get_settings().max_upload_mb,
        key=f"prompts_zip_{project.id}_{times[0]}",
        help="As another installation of Prefloop exported it.",
    )
    if times[1]:
        st.success(times[1], icon=":material/check_circle:")
    pressed = st.button("Import", icon=":material/upload:", disabled=file is None, key="prompts_import")
    if pressed and file is not None:
        with problems():
            taken = import_prompts(database(), me(), project.id, _chunks(file))
            said = f"{plural(len(taken.made), 'version')} taken in, {taken.there:,} were there already."
            if taken.soft:
                said += f" {plural(taken.soft, 'soft prompt')} with vectors: only the model they were trained for reads them."
            st.session_state[done] = (times[0] + 1, said)
            st.rerun()


def _chunks(file: Any) -> Iterator[bytes]:
    while piece := file.read(2**20):
        yield piece
