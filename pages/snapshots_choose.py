"""What a training learns from, as its form asks for it: a frozen data set, or the votes as they
are now."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.reward.data import Summary, summary_of
from core.reward.runs import default_simulated
from core.reward.snapshots import service
from core.reward.snapshots.checks import failed
from core.reward.snapshots.quick import preview_both
from core.services import database
from pages.shared import me, plain
from storage.tables import Project, Snapshot

VOTES = {"exclude": "People's votes only", "include": "Also simulated votes"}
NOW = "The votes as they are now"


@dataclass(frozen=True)
class Choice:
    """`config`: the run's fields for it. `used`: what it holds; `more`: with simulated votes
    taken in, where they were not. `refused`: a leak check failed, and was not overridden."""

    config: dict[str, Any]
    used: Summary
    more: Summary | None
    refused: bool


def the_choice(project: Project, people: Summary, everything: Summary) -> Choice:
    snapshots = {item.id: item for item in service.list_snapshots(database(), me(), project.id)}
    asked = st.query_params.get("snapshot")
    chosen = None
    if snapshots:
        options = [None, *snapshots]
        chosen = st.selectbox(
            "Preference data", options, index=options.index(asked) if asked in snapshots else 0,
            format_func=lambda id: NOW if id is None else _words(snapshots[id]), key=f"snapshot_{project.id}",
            help="A frozen data set, of the page Preference data. The votes as they are now are frozen as one when "
            "the training starts.",
        )  # fmt: skip
    if chosen is not None:
        snapshot = snapshots[chosen]
        allowed = _leaks(failed(snapshot.checks), chosen)
        return Choice(
            {"snapshot": chosen, **_allow(allowed)}, summary_of(snapshot.counts), None, allowed is False
        )
    simulated = default_simulated(people, everything)
    if everything.votes > people.votes:
        picked = st.segmented_control(
            "Votes to learn from", list(VOTES), default=simulated, required=True, format_func=VOTES.__getitem__,
            key=f"votes_{project.id}",
        )  # fmt: skip
        simulated = picked or simulated
    data = preview_both(database(), me(), project.id)[simulated == "include"]
    allowed = _leaks(failed(data.checks), project.id)
    return Choice(
        {"simulated": simulated, **_allow(allowed)},
        everything if simulated == "include" else people,
        everything if simulated == "exclude" else None,
        allowed is False,
    )


def _words(snapshot: Snapshot) -> str:
    return f"{snapshot.name} · {snapshot.counts['splits']['train']['decided']:,} pairs to train on"


def _leaks(checks: list[dict[str, Any]], key: str) -> bool | None:
    """Says which leak checks failed; whether they are overridden, None when there are none."""
    for check in checks:
        st.error(f"**{check['title']}.** {plain(check['said'])}", icon=":material/leak_remove:")
    if not checks:
        return None
    return st.checkbox("Train on it all the same; the model keeps the mark", key=f"allow_leaks_{key}")


def _allow(allowed: bool | None) -> dict[str, Any]:
    return {"allow_leaks": True} if allowed else {}
