"""One version of the reward model: lineage, files, card; and taking one in."""

import re
from collections.abc import Iterator
from typing import Any

import streamlit as st

from core import accounts
from core.reward import cards, stages
from core.reward.download import file_name, model_zip
from core.reward.stages import Version
from core.reward.upload import upload_model
from core.runs import service
from core.services import database
from core.settings import get_settings
from pages.run_progress import progress_row
from pages.shared import ago, may, me, problems
from storage.tables import Project, Run

BUSY = ("queued", "running")
STOPPED = {
    "failed": "The last upload was not taken in.",
    "interrupted": "Taking in the last upload was interrupted.",
    "cancelled": "Taking in the last upload was cancelled.",
}
LARGE = 500 * 2**20  # bytes from which a program had better fetch the file
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def the_files(one: Version) -> None:
    """Of one version: where it comes from, its files, its card."""
    _lineage(one)
    _actions(one)
    the_card(one)


def _lineage(one: Version) -> None:
    lineage = one.lineage()
    pairs = lineage["pairs"]
    by = f" by {one.author}" if one.author else ""
    if one.uploaded:
        st.text(f"Uploaded{by}, {ago(one.model.created_at)}. Which votes it learnt from is not known here.")
    else:
        counts = ", ".join(f"{pairs[name] or 0:,} {name}" for name in ("train", "dev", "test"))
        seed = f" Seed {lineage['seed']}." if lineage["seed"] is not None else ""
        source = f"data set “{lineage['snapshot']}”" if lineage["snapshot"] else "the votes as they were then"
        st.text(f"Trained{by}, {ago(one.model.created_at)}, from {source}: {counts} pairs.{seed}")
    with st.container(horizontal=True):
        st.page_link(
            "runs.py",
            label="The run that made it",
            icon=":material/sync:",
            query_params={"run": one.model.run_id},
        )
        judged_on = one.run.config.get("snapshot") if one.uploaded and one.run is not None else None
        if data := one.model.snapshot_id or judged_on:
            st.page_link(
                "snapshots.py", label="The votes it was judged by" if one.uploaded else "Its preference data",
                icon=":material/dataset:", query_params={"snapshot": data},
            )  # fmt: skip


def _actions(one: Version) -> None:
    model = one.model
    with st.container(horizontal=True, vertical_alignment="center"):
        if one.files and one.bytes <= LARGE:
            sign_in_id = me().sign_in_id
            st.download_button(
                "Download",
                data=lambda: _zip(sign_in_id, model.id),
                file_name=file_name(model.name),
                mime="application/zip",
                icon=":material/download:",
                on_click="ignore",
                key=f"download_{model.id}",
                help="A zip of a transformers folder with safetensors; the card is its README.md.",
            )
        elif one.files:
            with st.popover("Download", icon=":material/download:"):
                st.caption("It is large: fetch it from a program.")
                st.code(_command(model.id, model.name), language="bash", wrap_lines=True)
        if not may("reward.manage"):
            return
        if one.stage == stages.CANDIDATE and st.button(
            "Archive", icon=":material/archive:", key=f"archive_{model.id}", help="Nothing is deleted."
        ):
            with problems():
                stages.archive(database(), me(), model.id)
                st.rerun()
        if one.stage == stages.ARCHIVED and st.button(
            "Restore", icon=":material/unarchive:", key=f"restore_{model.id}"
        ):
            with problems():
                stages.restore(database(), me(), model.id)
                st.rerun()


def _zip(sign_in_id: str | None, model_id: str) -> bytes:
    """Streamlit calls this outside the script's run: who asks is looked up again."""
    who = accounts.principal_of_sign_in(database(), sign_in_id)
    return b"".join(model_zip(database(), who, model_id)[1])


def _command(model_id: str, name: str) -> str:
    url = f"{get_settings().url}/api/v1/reward-models/{model_id}/download"
    return f"curl -s -H 'Authorization: Bearer <token>' \\\n  -o {file_name(name)} \\\n  {url}"


def the_card(one: Version) -> None:
    card = cards.card_of(database(), me(), one.model.id)
    with st.container(border=True):
        st.markdown("**Model card**")
        views = ["Edited", "Generated"] if card.edited else ["Generated"]
        if may("reward.manage"):
            views.append("Edit")
        if card.edits:
            views.append("History")
        key = f"card_{one.model.id}"
        view = st.segmented_control(
            "Card", views, default=views[0], required=True, key=key, label_visibility="collapsed"
        )
        if view == "Edit":
            _edit(one, card)
        elif view == "History":
            _history(card)
        else:
            _show_card((card.edited or "") if view == "Edited" else card.generated)


def _show_card(text: str) -> None:
    # Names and notes are people's text: not Streamlit's Markdown, which fetches images.
    from pages.render import response_html

    st.html(response_html(_FRONT.sub("", text)))


def _edit(one: Version, card: cards.Card) -> None:
    with st.form(f"card_form_{one.model.id}", border=False):
        text = st.text_area(
            "Markdown",
            card.text,
            height=420,
            max_chars=cards.LONGEST,
            key=f"card_text_{one.model.id}_{len(card.edits)}",
        )
        with st.container(horizontal=True):
            saved = st.form_submit_button("Save", type="primary", icon=":material/save:")
            back = st.form_submit_button("Back to the generated one", disabled=not card.edited)
    if saved or back:
        with problems():
            if back or text.strip() != card.generated.strip():
                cards.edit_card(database(), me(), one.model.id, "" if back else text)
                st.rerun()
            st.caption("Nothing was changed.")


def _history(card: cards.Card) -> None:
    for edit in card.edits:
        what = "" if edit.text else " went back to the generated card"
        with st.container(border=True):
            st.text(f"{edit.number} · {edit.author}{what} · {ago(edit.at)}")
            if edit.text:
                st.code(edit.text, language=None, wrap_lines=True, height=220)


# --- taking one in --------------------------------------------------------------------------------


def the_upload(project: Project) -> None:
    last = next(iter(service.list_runs(database(), me(), project.id, "reward_upload", limit=1)), None)
    if last is not None and last.status in BUSY:
        st.fragment(_the_run, run_every=1.0)(last.id)
        return
    if last is not None and last.status in STOPPED:
        _the_last_end(last)
    if not may("reward.manage"):
        return
    with st.container(border=True):
        st.subheader("Take in a reward model", anchor=False)
        st.caption(
            "A zip of a `transformers` folder: a sequence-classification model with one output, weights as "
            "safetensors (in one file, or in several with their index), its tokenizer. It becomes a candidate; it is judged on this project's test split. Larger "
            "ones by the API: `POST /api/v1/projects/{id}/reward-models/upload`."
        )
        name = st.text_input("Name", key=f"upload_name_{project.id}", max_chars=120)
        file = st.file_uploader(
            "Zip",
            type=["zip"],
            max_upload_size=get_settings().max_model_mb,
            key=f"upload_zip_{project.id}_{last and last.id}",
        )
        if st.button(
            "Take it in", type="primary", icon=":material/upload:", disabled=file is None, key="upload_model"
        ):
            assert file is not None
            with problems():
                title = name.strip() or file.name.removesuffix(".zip")
                upload_model(database(), me(), project.id, _chunks(file), title)
                st.rerun()


def _the_last_end(run: Run) -> None:
    with st.container(border=True):
        icon = ":material/cancel:" if run.status == "cancelled" else ":red[:material/error:]"
        st.markdown(f"{icon} **{STOPPED[run.status]}**")
        if said := f"{run.error or ''} {run.hint or ''}".strip():
            st.text(said)
        with st.container(horizontal=True, vertical_alignment="center"):
            # What failed would fail again: its zip must be another one.
            if run.status != "failed" and may("run.control") and st.button(
                "Resume", icon=":material/play_arrow:", key=f"resume_{run.id}"
            ):  # fmt: skip
                with problems():
                    service.resume_run(database(), me(), run.id)
                    st.rerun()
            st.page_link("runs.py", label="See its log", icon=":material/sync:", query_params={"run": run.id})


def _chunks(file: Any) -> Iterator[bytes]:
    while piece := file.read(2**20):
        yield piece


def _the_run(run_id: str) -> None:
    run = service.get_run(database(), me(), run_id)
    if run.status not in BUSY:
        st.rerun()
    with st.container(border=True):
        progress_row(run, "Taking in an upload")
