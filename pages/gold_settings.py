"""What is asked of annotators, in sentences and as a form."""

import streamlit as st

from core.annotation.probing import MOST_RATE, Probing, set_probing
from core.annotation.qualification import Standing
from core.services import database
from pages.shared import me, problems
from storage.tables import Project

ACTIONS = {
    "warn": "write them a message",
    "pause": "pause them",
    "leave_out": "leave their votes out of everything that is computed",
}
_DONE = {
    "warn": "the annotator gets a message",
    "pause": "the annotator is paused",
    "leave_out": "the annotator's votes are left out",
}


def sentences(settings: Probing, training: int, checks: int, people: list[Standing]) -> list[tuple[str, str]]:
    """(icon, sentence) of each thing that is set."""
    return [
        ("school", _qualification(settings, people)),
        ("fact_check", _checks(settings, checks)),
        ("repeat", _repeats(settings)),
        ("gavel", _consequence(settings)),
        ("workspace_premium", f"There are **{training:,}** training pairs and **{checks:,}** checks."),
    ]


def _qualification(settings: Probing, people: list[Standing]) -> str:
    if not settings.qualify:
        return "**Qualification** is off: everybody gets real pairs at once."
    tries = "one attempt" if settings.tries == 1 else f"{settings.tries} attempts"
    states = [item.state for item in people]
    who = "Who had voted before must qualify too." if settings.veterans else "Who had voted before need not."
    return (
        f"**Qualification**: {settings.asked} training pairs first, {settings.needed(settings.asked)} of them right, "
        f"in {tries}. {who} {states.count('qualified')} qualified, {states.count('training')} at it, "
        f"{states.count('failed') + states.count('out')} not passed."
    )


def _checks(settings: Probing, checks: int) -> str:
    if not settings.gold_rate:
        return "**Gold checks** are off."
    return (
        f"**Gold checks**: about one in {1 / settings.gold_rate:.0f} pairs ({100 * settings.gold_rate:.1f} %) is a check, "
        f"unseen among the others, each once for every annotator: {checks:,} last for about "
        f"{checks / settings.gold_rate:,.0f} pairs."
    )


def _repeats(settings: Probing) -> str:
    if not settings.repeat_rate:
        return "**Hidden repeats** are off."
    return (
        f"**Hidden repeats**: about one in {1 / settings.repeat_rate:.0f} pairs ({100 * settings.repeat_rate:.1f} %) is one "
        f"that the annotator judged {settings.repeat_after} votes ago or more, with the sides swapped."
    )


def _consequence(settings: Probing) -> str:
    if not settings.failures:
        return "**Failed checks** have no consequence by themselves; they are counted under People."
    return (
        f"**After {settings.failures} failed of the last {settings.window} checks** {_DONE[settings.action]}; "
        "then the count begins anew."
    )


def show_settings(project: Project, now: Probing, training: int, manage: bool) -> None:
    with st.form(f"probes_{project.id}", enter_to_submit=False):
        before, later, failing = st.columns(3, gap="large")
        with before:
            st.markdown("**Before real pairs**")
            qualify = st.checkbox("Annotators qualify on training pairs", now.qualify, disabled=not manage)
            asked = st.number_input(
                "Training pairs asked", 1, 100, now.asked, disabled=not manage,
                help=f"There are {training:,}. After each, the annotator sees what was expected, and why.",
            )  # fmt: skip
            mark = st.number_input(
                "Pass mark, % right", 1, 100, round(100 * now.pass_mark), disabled=not manage
            )
            tries = st.number_input(
                "Attempts", 1, 20, now.tries, disabled=not manage,
                help="After the last one they get no pairs until you let them in, or have them begin anew.",
            )  # fmt: skip
            veterans = st.checkbox(
                "Also who had voted before this was switched on", now.veterans, disabled=not manage
            )
        with later:
            st.markdown("**Later, unseen**")
            gold_rate = st.number_input(
                "Gold checks, % of pairs", 0.0, 100 * MOST_RATE, 100 * now.gold_rate, 1.0, "%.1f",
                disabled=not manage,
                help="Each takes the place of an ordinary pair, at a place drawn by lot. Answers are never votes.",
            )  # fmt: skip
            repeat_rate = st.number_input(
                "Hidden repeats, % of pairs", 0.0, 100 * MOST_RATE, 100 * now.repeat_rate, 1.0, "%.1f",
                disabled=not manage,
                help="A pair the annotator judged before, sides swapped: who says the same again is consistent.",
            )  # fmt: skip
            after = st.number_input(
                "Repeat a pair after, votes", 1, 10_000, now.repeat_after, disabled=not manage
            )
        with failing:
            st.markdown("**When checks fail**")
            failures = st.number_input(
                "Failed checks", 0, 100, now.failures, disabled=not manage,
                help="So many of the last ones. 0: nothing happens by itself.",
            )  # fmt: skip
            window = st.number_input("Of the last", 1, 100, now.window, disabled=not manage)
            action = st.selectbox(
                "Then", list(ACTIONS), list(ACTIONS).index(now.action), format_func=ACTIONS.__getitem__,
                disabled=not manage,
            )  # fmt: skip
        if st.form_submit_button("Save", type="primary", icon=":material/save:", disabled=not manage):
            with problems():
                set_probing(
                    database(), me(), project.id,
                    qualify=qualify, asked=asked, pass_mark=mark / 100, tries=tries, veterans=veterans,
                    gold_rate=round(gold_rate / 100, 6), repeat_rate=round(repeat_rate / 100, 6),
                    repeat_after=after, failures=failures, window=window, action=action,
                )  # fmt: skip
                st.session_state["gold_said"] = "Saved: what is asked."
                st.rerun()
