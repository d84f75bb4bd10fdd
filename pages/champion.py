"""The champion: a found prompt's blind comparison with it, promotion, and the way back."""

import altair as alt
import pandas as pd
import streamlit as st

from core.optimize import champion
from core.optimize.found import found_by_an_optimiser
from core.optimize.power import SHARES, power
from core.optimize.sequential import Rule, Verdict
from core.optimize.trial import IMPORT, MORE, Trial, queue_more, trial_of
from core.prompts.versions import label
from core.services import database
from pages.shared import ago, may, me, percent, plain, problems
from storage.tables import Project, Prompt

VERDICTS = {
    "better": (":material/check_circle:", "green", "Passed: people prefer it"),
    "worse": (":material/cancel:", "red", "Not passed: people prefer the champion"),
    "futile": (":material/hourglass_disabled:", "orange", "Not passed: it cannot become clear any more"),
    "undecided": (":material/hourglass_top:", "gray", "Undecided so far"),
}


# --- the comparison --------------------------------------------------------------------------


def show_trial(prompt: Prompt) -> None:
    """How the blind comparison stands, with what can be done. Nothing for the champion itself
    or where there is none."""
    trial = trial_of(database(), me(), prompt.id)
    if trial is None:
        return
    found = trial.people
    icon, colour, words = VERDICTS[found.verdict]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(trial.name)} against {plain(trial.champion)}, blind**", width="content")
        st.badge(words, icon=icon, color=colour)  # type: ignore[arg-type]
    if found.n:
        _interval(trial)
    st.caption(_said(trial))
    if trial.simulated is not None:
        st.caption(_simulated(trial.simulated))
    with st.container(horizontal=True, vertical_alignment="center"):
        if trial.waiting and not trial.decided and may("annotate"):
            st.page_link("annotate.py", label="Vote on its pairs", icon=":material/compare:")
        if not trial.waiting and not trial.decided and trial.asked < trial.held_out and may("run.start"):
            _more(trial)
    if not trial.decided and trial.asked >= trial.held_out:
        too_few(trial.held_out)


def expected(examples: int) -> str:
    """What a comparison on so many examples can be expected to show, in words."""
    one, middle, much = (power(share, examples) for share in SHARES)
    said = [f"{100 * p.share:.0f} %: {_chance(p.better)}, {p.votes:.0f} votes" for p in (one, much)]
    return (
        f"With {examples:,} held-out examples, a prompt that {100 * middle.share:.0f} % of people prefer passes "
        f"with a chance of {_chance(middle.better)}, after {middle.votes:.0f} votes on average ({'; '.join(said)}). One that is "
        f"no better: {_chance(power(0.5, examples).better)}."
    )


def _chance(p: float) -> str:
    return "less than 1 %" if p < 0.01 else "more than 99 %" if p > 0.99 else f"{100 * p:.0f} %"


def too_few(examples: int) -> None:
    """A warning where so many held-out examples seldom decide, with what to do."""
    rule = Rule()
    if examples >= rule.maximum:
        return
    if examples < rule.minimum:
        st.warning(
            f"There are {examples:,} held-out examples (test split), and no verdict comes from fewer than "
            f"{rule.minimum}: this comparison cannot be passed. {IMPORT}",
            icon=":material/warning:",
        )
        return
    p = power(SHARES[1], examples)
    st.info(
        f"There are {examples:,} held-out examples (test split). A prompt that {100 * p.share:.0f} % of people "
        f"prefer passes with a chance of {_chance(p.better)} on them, and of {_chance(power(p.share, rule.maximum).better)} "
        f"on {rule.maximum}. {IMPORT}",
        icon=":material/info:",
    )


def _said(trial: Trial) -> str:
    found, rule = trial.people, trial.rule
    counted = f"n {found.n:,} examples: {found.won:,} for it, {found.lost:,} for the champion, {found.even:,} for neither. "
    if found.n == 0:
        counted = "No person has voted on its pairs yet. "
    if found.decided_at is not None:
        counted += f"The verdict came with {found.decided_at:,}"
        counted += ", and pairs that nobody had begun left the queue. " if not trial.waiting else ". "
    elif found.needed is not None:
        counted += f"{found.needed:,} more in a row for it would decide. "
    counted += f"{trial.waiting:,} of its pairs wait for votes. " if trial.waiting else ""
    if trial.seen:
        counted += f"{trial.seen:,} votes on examples of train and dev, which searches see, decide nothing. "
    extra = trial.votes.get("people", 0) - found.n
    more = f"{extra:,} further votes on the same examples are not counted here. " if extra else ""
    machine = trial.votes.get("machine", 0)
    by_machine = f"{machine:,} votes of machine judges decide nothing. " if machine else ""
    return (
        f"{counted}{more}{by_machine}A sequential test (betting, {100 * rule.alpha:.0f} % risk of a wrong verdict "
        f"however often one looks) from {rule.minimum} to {rule.maximum} held-out examples (test split), each by "
        "its first vote."
    )


def _simulated(verdict: Verdict) -> str:
    said = percent(verdict.share, verdict.low, verdict.high, verdict.n)
    word = VERDICTS[verdict.verdict][2].lower()
    return (
        f":material/smart_toy: Simulated votes decide nothing. Alone they would say: {word}; {said} for it."
    )


def _interval(trial: Trial) -> None:
    """The share for it with its interval, on a line with one half marked."""
    found = trial.people
    row = pd.DataFrame([{"share": found.share, "low": found.low, "high": found.high, "n": found.n}])
    x = alt.X("low:Q", title="Share who prefer it, neither counting half", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(format="%", tickCount=5))  # fmt: skip
    tips = [alt.Tooltip("share:Q", format=".1%"), alt.Tooltip("low:Q", format=".1%"),
            alt.Tooltip("high:Q", format=".1%"), "n:Q"]  # fmt: skip
    base = alt.Chart(row)
    bar = base.mark_bar(height=10, cornerRadius=5, opacity=0.35).encode(x, alt.X2("high:Q"), tooltip=tips)
    dot = base.mark_point(filled=True, size=140, opacity=1).encode(x="share:Q", tooltip=tips)
    half = alt.Chart(pd.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[4, 4], color="gray").encode(x="x:Q")
    left, right = st.columns([1, 2], vertical_alignment="center")
    left.metric(
        "Prefer it",
        f"{100 * (found.share or 0):.0f} %",
        f"{100 * found.low:.0f} to {100 * found.high:.0f} %, n {found.n:,}",
        delta_color="off", delta_arrow="off",
        help="Of held-out examples, by the first vote on each; ties and “both bad” count half. The 95 % interval holds "
        "at all times at once, so it is wider than one for a fixed number of votes.",
    )  # fmt: skip
    right.altair_chart((bar + half + dot).properties(height=86), width="stretch")


def _more(trial: Trial) -> None:
    key = f"trial_more_{trial.prompt_id}"
    pressed = st.button(
        "Queue more pairs",
        icon=":material/playlist_add:",
        key=key,
        help=f"Generates both prompts' responses to {MORE} further held-out examples and queues their pairs.",
    )
    if pressed:
        with problems():
            queue_more(database(), me(), trial.prompt_id)
            st.toast("Their responses are being generated.", icon=":material/playlist_add:")


# --- promotion -------------------------------------------------------------------------------


def promote_button(project: Project, prompt: Prompt) -> None:
    """Promotion of a prompt that is not the champion, as far as it may be promoted."""
    if not may("prompt.promote") or project.champion_prompt_id == prompt.id or prompt.archived_at is not None:
        return
    trial = (
        trial_of(database(), me(), prompt.id) if found_by_an_optimiser(database(), me(), prompt.id) else None
    )
    if trial is None or trial.passed:
        with st.popover("Promote to champion", icon=":material/star:"):
            st.text(f"{label(prompt)} becomes the champion.")
            st.write("It is then the prompt in use, and what new prompts are compared with.")
            if trial is not None:
                said = percent(trial.people.share, trial.people.low, trial.people.high, trial.people.n)
                st.caption(f"People prefer it: {said}.")
            reason = st.text_input("Why (kept in the history)", key=f"prompt_why_{prompt.id}")
            if st.button("Promote", type="primary", key=f"prompt_promote_{prompt.id}"):
                _promote(prompt, reason)
        return
    with st.container(horizontal=True):
        st.button(
            "Promote to champion", icon=":material/star:", disabled=True, key=f"prompt_promote_off_{prompt.id}",
            help="An optimiser found it, or what it was edited from: it must pass the blind comparison with the champion first.",
        )  # fmt: skip
        if may("prompt.override"):
            with st.popover("Override", icon=":material/gavel:"):
                st.write(
                    "Promote it although it has not passed the blind comparison. Say why: the audit log keeps it."
                )
                reason = st.text_input("Why", key=f"prompt_override_why_{prompt.id}")
                if st.button(
                    "Promote all the same", disabled=not reason.strip(), key=f"prompt_override_{prompt.id}"
                ):
                    _promote(prompt, reason)


def _promote(prompt: Prompt, reason: str) -> None:
    with problems():
        champion.promote(database(), me(), prompt.id, reason)
        st.toast("Promoted.", icon=":material/star:")
        st.rerun()


# --- the history -----------------------------------------------------------------------------


def show_history(project: Project) -> None:
    """Who made which prompt the champion, when and why; and the way back."""
    reigns = champion.history(database(), me(), project.id)
    if not reigns:
        return
    earlier = champion.earlier_champion(database(), me(), project.id)
    with st.expander(f"Champions: {reigns[0].name} since {ago(reigns[0].at)}", icon=":material/star:"):
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "Champion": reign.name,
                        "Since": reign.at,
                        "By": reign.by,
                        "How": champion.HOW.get(reign.how, reign.how),
                        "Why": reign.reason,
                        "Comparison": _figures(reign),
                    }
                    for reign in reigns
                ]
            ),
            hide_index=True,
            height="content" if len(reigns) <= 7 else 290,
            column_config={
                "Since": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width="small"),
                "Why": st.column_config.TextColumn(width="medium"),
                "Comparison": st.column_config.TextColumn(
                    help="Share of people who preferred it to the champion before, when it was promoted"
                ),
            },
        )
        if earlier is None or not may("prompt.promote"):
            return
        back = "Return" if reigns[0].how == "rollback" else "Roll back"
        with st.container(horizontal=True, vertical_alignment="bottom"):
            reason = st.text_input(
                "Why go back", key=f"champion_why_{project.id}", placeholder="optional, kept in the history"
            )
            if st.button(
                f"{back} to {plain(label(earlier))}",
                icon=":material/undo:",
                key=f"champion_back_{project.id}",
            ):
                with problems():
                    champion.roll_back(database(), me(), project.id, reason, earlier.id)
                    st.toast("The earlier champion is back.", icon=":material/undo:")
                    st.rerun()


def _figures(reign: champion.Reign) -> str:
    found = reign.figures
    if not found or not found.get("n"):
        return ""
    share = (found["won"] + 0.5 * found["even"]) / found["n"]
    return percent(share, found["low"], found["high"], found["n"])
