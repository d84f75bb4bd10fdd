"""Disputed pairs on the page Assignment: who decides them, and which those are."""

import pandas as pd
import streamlit as st

from core.annotation import adjudication
from core.annotation.adjudication import Adjudication, View
from core.services import database
from pages.assignment_people import names_of, pick_people
from pages.shared import may, me, percent, problems
from storage.tables import Project

ABOUT = (
    "A pair that people strongly disagree on goes to an adjudicator, before all their other pairs. They see what "
    "the others said and why, but not who, and not what is compared. Their vote decides the pair for reward "
    "training and exports."
)
OPPOSITE = "One says that A is significantly better, another that B is."


def show_adjudication(project: Project) -> None:
    st.subheader("Disputed pairs", anchor=False, help=ABOUT)
    found = adjudication.view(database(), me(), project.id)
    _queue(project, found)
    _decided(found)
    with st.expander("Who decides, and what counts as disputed", icon=":material/balance:"):
        settings = _form(project, found)
        _splits(found, settings)


def _queue(project: Project, found: View) -> None:
    queue, n = found.queue, found.to_send
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        who = names_of(found.members) if found.members else "No adjudicators yet"
        st.markdown(
            f"{who}  \n**{queue.waiting:,}** {_pairs(queue.waiting)} in the queue · **{found.outcomes.pairs:,}** "
            f"decided · **{n:,}** disputed and not sent"
            + (f" · {found.waiting:,} more still wait for votes" if found.waiting else ""),
            width="stretch",
        )
        if may("annotator.manage"):
            label = f"Send {n:,} {_pairs(n)}" if n else "Bring the queue up to date"
            if st.button(
                label, icon=":material/forward_to_inbox:", type="primary" if n else "secondary",
                help="Sends what is disputed, and takes back what is not any more and nobody has opened.",
            ):  # fmt: skip
                with problems():
                    sent = adjudication.send(database(), me(), project.id)
                    back = f", {sent.closed:,} taken back" if sent.closed else ""
                    st.session_state["assignment_said"] = f"{sent.opened:,} {_pairs(sent.opened)} sent{back}."
                    st.rerun()
    if queue.waiting and not any(person.active for person in found.members):
        st.warning(
            "Nobody may have the pairs in the queue: there is no active adjudicator.",
            icon=":material/person_alert:",
        )
    elif found.beyond_reach:
        st.warning(
            f"{found.beyond_reach:,} {_pairs(found.beyond_reach)} in the queue cannot be decided: every active "
            "adjudicator has voted on or skipped them. Add somebody.",
            icon=":material/person_alert:",
        )


def _decided(found: View) -> None:
    done = found.outcomes
    if not done.pairs:
        return
    parts = []
    if done.compared:
        agreed = percent(found.agreed, found.agreed_low, found.agreed_high, done.compared)
        parts.append(f"Adjudicators sided with the majority in {agreed}.")
    if done.even:
        parts.append(f"Of {done.even:,} decided {_pairs(done.even)} the others had no majority.")
    if done.neither:
        parts.append(f"Of {done.neither:,} the adjudicator preferred neither response.")
    st.caption(" ".join(parts))


def _form(project: Project, found: View) -> Adjudication:
    """The settings as they stand in the form, so that the table below shows what they would
    take before they are saved."""
    now, fixed = found.settings, not may("annotator.manage")
    members = pick_people(
        "Adjudicators", found.people, now.members, f"adjudicators_{project.id}", disabled=fixed,
        help="Senior annotators. They cannot decide a pair that they voted on before.",
    )  # fmt: skip
    left, right = st.columns(2)
    at_least = left.number_input(
        "Decisive votes, at least", 2, 100, now.at_least, disabled=fixed, key=f"at_least_{project.id}",
        help="Votes for A or for B of people; neither ties, nor simulated or machine votes.",
    )  # fmt: skip
    minority = right.number_input(
        "Share of the minority, at least (%)", 1, 50, round(100 * now.minority), disabled=fixed,
        key=f"minority_{project.id}", help="40 takes 1:1, 2:2 and 3:2, and leaves 2:1.",
    )  # fmt: skip
    opposite = st.checkbox(
        "Also where two people say “significantly” for opposite sides", now.opposite, disabled=fixed,
        key=f"opposite_{project.id}",
    )  # fmt: skip
    automatic = st.checkbox(
        "Send a pair by itself, when the vote that completes it leaves it disputed", now.automatic, disabled=fixed,
        key=f"automatic_{project.id}",
    )  # fmt: skip
    wanted = Adjudication(
        members=members, automatic=automatic, at_least=at_least,
        minority=now.minority if minority == round(100 * now.minority) else minority / 100, opposite=opposite,
    )  # fmt: skip
    if not fixed:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Save", icon=":material/save:", disabled=wanted == now, key="save_adjudication"):
                with problems():
                    adjudication.set_adjudication(database(), me(), project.id, **wanted.model_dump())
                    st.session_state["assignment_said"] = "Saved: disputed pairs."
                    st.rerun()
            st.caption("All saved." if wanted == now else "Not saved yet.")
    return wanted


def _splits(found: View, settings: Adjudication) -> None:
    if not found.splits:
        st.caption("No pair has two decisive votes yet.")
        return
    taken = sum(split.pairs for split in found.splits if settings.takes(split))
    pairs = sum(split.pairs for split in found.splits)
    st.caption(
        f"This measure takes **{taken:,}** of {pairs:,} pairs with two decisive votes or more ({100 * taken / pairs:.1f} %)."
    )
    table = [
        {
            "Votes": f"{split.more}:{split.fewer}",
            "Minority": split.fewer / (split.more + split.fewer),
            "Significantly opposed": split.opposite,
            "Pairs": split.pairs,
            "Disputed": settings.takes(split),
            "Wait for votes": split.waiting,
            "In the queue": split.queued,
            "Decided": split.decided,
        }
        for split in found.splits[:40]
    ]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        width="stretch",
        height="content" if len(table) <= 12 else 460,
        column_config={
            "Votes": st.column_config.TextColumn(help="Decisive votes, the larger side first"),
            "Minority": st.column_config.NumberColumn(format="percent"),
            "Significantly opposed": st.column_config.CheckboxColumn(help=OPPOSITE),
        },
    )


def _pairs(number: int) -> str:
    return "pair" if number == 1 else "pairs"
