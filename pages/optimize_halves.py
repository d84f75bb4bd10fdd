"""A pair of reward models on two halves of the votes, from nothing to one that watches the other."""

import streamlit as st

from core.optimize.halves import Half, halves_of, reward_by_half, train_halves
from core.services import database
from pages.run_progress import progress_row
from pages.shared import may, me, plain, problems


def show_halves(project_id: str) -> None:
    """How far the pair is, and the next step."""
    found = halves_of(database(), me(), project_id)
    if any(half.busy for half in found):
        st.fragment(_training, run_every=2.0)(project_id)
    elif found and all(half.model is not None for half in found):
        _trained(project_id, found)
    else:
        _start(project_id, found)


def _start(project_id: str, found: list[Half]) -> None:
    for half in found:
        if half.run.status == "failed":
            st.error(f"The {half.half} half: {half.run.error or 'it failed'} {half.run.hint or ''}".strip())
    if not may("run.start"):
        return
    if st.button(
        "Train a pair of halves",
        icon=":material/call_split:",
        key="optimize_halves",
        help="Two reward models, trained like the active one, on examples that they do not share.",
    ):
        with problems():
            train_halves(database(), me(), project_id)
            st.rerun()


def _training(project_id: str) -> None:
    found = halves_of(database(), me(), project_id)
    if not any(half.busy for half in found):
        st.rerun()
    for half in found:
        if half.busy:
            progress_row(half.run, f"The {half.half} half of the votes")
        elif half.model is not None:
            st.caption(f":material/check: {plain(half.model.name)} is trained.")


def _trained(project_id: str, found: list[Half]) -> None:
    first, second = (plain(half.model.name) if half.model else "" for half in found)
    active = next((half for half in found if half.active and half.model), None)
    if active is not None and active.model is not None:
        other = second if active is found[0] else first
        st.success(
            f"“{plain(active.model.name)}” is the active reward model: the next search against it is watched by "
            f"“{other}”.",
            icon=":material/visibility:",
        )
        return
    st.caption(f"“{first}” and “{second}” are trained on two halves of the votes. Neither is the active one.")
    if may("reward.activate") and st.button(
        f"Optimise against “{first}”, watched by the other",
        icon=":material/visibility:",
        key="optimize_halves_use",
        help="Makes it the project's active reward model. It learned from half of the votes, so it is a little less "
        "right than one of all; the audit log keeps why.",
    ):
        with problems():
            reward_by_half(database(), me(), project_id)
            st.rerun()
