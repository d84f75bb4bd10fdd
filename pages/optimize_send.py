"""From a search to the annotators: how many held-out examples, what they can be expected to show,
and how the comparison stands."""

import streamlit as st

from core.optimize.promote import EXAMPLES, best_candidates, queue_candidates
from core.optimize.trial import held_out
from core.optimize.view import prompts_made
from core.prompts.versions import label
from core.services import database
from pages.champion import expected, promote_button, show_trial, too_few
from pages.shared import may, me, plain, problems
from storage.tables import Candidate, Project, Prompt, Run


def send(project: Project, run: Run, candidates: list[Candidate]) -> None:
    """What was sent, with its blind comparison; or the way to send the best."""
    sent = [candidate for candidate in candidates if candidate.prompt_id]
    if sent:
        made = prompts_made(database(), me(), sent)
        names = ", ".join(
            f"{made[c.prompt_id].name} v{made[c.prompt_id].version}" for c in sent if c.prompt_id in made
        )
        st.success(
            f"Sent to the annotators as {names}. Blind pairs wait for votes once their responses are generated.",
            icon=":material/send:",
        )
        st.page_link("runs.py", label="See the generation", icon=":material/arrow_forward:")
        for candidate in sent:
            if candidate.prompt_id in made:
                _verify(project, made[candidate.prompt_id])
        return
    if not may("run.start"):
        return
    best = best_candidates(candidates, 2)
    if not best:
        st.caption("There is nothing to send: no candidate was better than the start on train and on dev.")
        return
    there = held_out(database(), me(), project.id)
    most = max(1, min(there, EXAMPLES))
    which = " and ".join(f"candidate {candidate.number}" for candidate in best)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        examples = st.number_input(
            "Held-out examples", 1, most, most, key=f"optimize_send_examples_{run.id}", width=180,
            help="How many of the test split, which the search has not worked on, people compare the prompts on, "
            "a pair for each. Pairs that nobody has begun leave the queue once the verdict is in.",
        )  # fmt: skip
        pressed = st.button(
            "Send the best to the annotators",
            type="primary",
            icon=":material/send:",
            help=f"Makes prompt versions of {which}, generates their responses, and queues blind pairs.",
            key="optimize_send",
        )
    if pressed:
        with problems():
            queue_candidates(
                database(), me(), run.id, [candidate.number for candidate in best], int(examples)
            )
            st.rerun()
    st.caption(
        f"{expected(int(examples))} Makes prompt versions of {which}, generates their responses and queues "
        "blind pairs against the champion. Nothing is promoted before people have voted."
    )
    too_few(there)


def _verify(project: Project, prompt: Prompt) -> None:
    """The blind comparison of a version that was sent, and its promotion."""
    with st.container(border=True):
        if project.champion_prompt_id == prompt.id:
            st.badge(f"{plain(label(prompt))} is the champion", icon=":material/star:", color="primary")
            return
        show_trial(prompt)
        promote_button(project, prompt)
