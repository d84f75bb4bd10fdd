"""Compare two responses, blind, and vote with one key.

What stands on the screen is kept in the session: the claim, and when it was first shown.
A press carries the pair and the lease it was meant for, and counts only if these are what
is shown, and have been for a moment: keys repeat while held, and three quick presses can
overtake the screen. The lease itself makes a second vote impossible.
"""

import time
from dataclasses import dataclass, field, replace

import streamlit as st

from core.access import Principal
from core.annotation import marks as vote_marks
from core.annotation import votes
from core.errors import PrefloopError
from core.services import database
from pages.render import response_html
from pages.shared import duration, empty, header, may, me
from storage.claims import Progress
from storage.tables import Project

TOO_SOON_S = 0.25
PROGRESS_FOR_S = 15.0
STRENGTHS = {name: name.capitalize() for name in vote_marks.STRENGTHS}
SIDES = {"left": "A", "same": "Same", "right": "B"}
CHOICES = {
    "left": ("A is better", ":material/arrow_back:", "1"),
    "tie": ("Tie", ":material/equal:", "2"),
    "right": ("B is better", ":material/arrow_forward:", "3"),
    "both_bad": ("Both bad", ":material/thumb_down:", "4"),
}


@dataclass(frozen=True)
class Draft:
    """What a vote that was taken back said: it stands there again with its pair."""

    lease: str = ""
    strength: str | None = None
    reason: str = ""
    marks: dict[str, str] = field(default_factory=dict)


@dataclass
class Desk:
    """One person's work on one project, in one window."""

    claim: votes.Claim | None = None
    shown_at: float | None = None
    last_vote_id: str | None = None
    progress: Progress | None = None
    progress_at: float = 0.0
    message: str = ""
    guidelines: bool = False
    draft: Draft = Draft()


def desk_of(project: Project) -> Desk:
    """This window's desk. On its first visit: the vote an undo would take back, and the
    guidelines open for somebody who has not voted yet."""
    key = f"desk_{project.id}"
    if key not in st.session_state:
        last = votes.my_last_vote(database(), me(), project.id)
        desk = Desk(last_vote_id=last.id if last else None)
        desk.guidelines = last is None and bool(project.guidelines.strip())
        st.session_state[key] = desk
    return st.session_state[key]


# --- what a press does ---------------------------------------------------------------------


def shown(desk: Desk, pair_id: str, lease: str) -> bool:
    """Whether a press is meant for what is on the screen, and somebody could have read it."""
    claim = desk.claim
    if claim is None or desk.shown_at is None or (claim.pair_id, claim.lease) != (pair_id, lease):
        return False
    return time.monotonic() - desk.shown_at >= TOO_SOON_S


def on_vote(desk: Desk, project: Project, pair_id: str, lease: str, choice: str) -> None:
    if not shown(desk, pair_id, lease):
        return
    spent = time.monotonic() - (desk.shown_at or 0.0)
    marks = {name: st.session_state.get(f"mark_{lease}_{name}") for name in project.criteria}
    desk.message = ""
    try:
        vote = votes.cast(
            database(),
            me(),
            pair_id,
            lease,
            choice,
            strength=st.session_state.get(f"strength_{lease}"),
            criteria={name: mark for name, mark in marks.items() if mark},
            reason=st.session_state.get(f"reason_{lease}") or "",
            duration_ms=round(1000 * spent),
        )
    except PrefloopError as problem:
        desk.message = str(problem)
    else:
        desk.last_vote_id = vote.id
        desk.guidelines = False
        if desk.progress:
            done, left = desk.progress.done + 1, max(0, desk.progress.left - 1)
            desk.progress = replace(desk.progress, done=done, left=left)
    put_away(desk)


def on_undo(desk: Desk, project: Project, vote_id: str) -> None:
    if desk.last_vote_id != vote_id:
        return
    desk.message = ""
    try:
        who = me()
        before = votes.my_last_vote(database(), who, project.id)
        votes.undo(database(), who, vote_id)
        last = votes.my_last_vote(database(), who, project.id)
        put_away(desk)
        desk.claim = votes.claim(database(), who, project.id)
    except PrefloopError as problem:
        desk.message = str(problem)
        return
    desk.last_vote_id = last.id if last else None
    desk.progress_at = 0.0
    if desk.claim and before and before.id == vote_id and desk.claim.pair_id == before.pair_id:
        desk.draft = Draft(desk.claim.lease, before.strength, before.reason, vote_marks.marks_of(before))


def on_skip(desk: Desk, pair_id: str, lease: str) -> None:
    if not shown(desk, pair_id, lease):
        return
    desk.message = ""
    try:
        votes.skip(database(), me(), pair_id, lease, st.session_state.get(f"reason_{lease}") or "")
    except PrefloopError as problem:
        desk.message = str(problem)
    desk.progress_at = 0.0
    put_away(desk)


def on_guidelines(desk: Desk) -> None:
    desk.guidelines = not desk.guidelines


def on_skipped_again(desk: Desk, project: Project) -> None:
    votes.forget_skips(database(), me(), project.id)
    put_away(desk)
    desk.progress_at = 0.0


def on_look_again(desk: Desk) -> None:
    put_away(desk)
    desk.progress_at = 0.0


def put_away(desk: Desk) -> None:
    desk.claim = None
    desk.shown_at = None


# --- what stands on the page ---------------------------------------------------------------


def take_pair(desk: Desk, who: Principal, project: Project) -> votes.Claim | None:
    """The pair on the desk, or the next one. A lease that ran out is asked for again."""
    if desk.claim is None or desk.claim.expires_at.timestamp() < time.time():
        before = desk.claim
        desk.claim = votes.claim(database(), who, project.id)
        if before is None or desk.claim is None or before.lease != desk.claim.lease:
            desk.shown_at = None
    return desk.claim


def my_progress(desk: Desk, who: Principal, project: Project, fresh: bool) -> Progress:
    """Counted anew now and then; in between, votes are added as they are cast."""
    if fresh or desk.progress is None or time.monotonic() - desk.progress_at > PROGRESS_FOR_S:
        desk.progress = votes.my_progress(database(), who, project.id)
        desk.progress_at = time.monotonic()
    return desk.progress


def show_progress(now: Progress) -> None:
    text = f"{now.done:,} done by you · {now.left:,} left for you"
    if now.median_ms and now.left:
        text += f" · about {duration(now.left * now.median_ms / 1000)}"
    st.progress(now.done / max(1, now.done + now.left), text=text)


def show_guidelines(project: Project) -> None:
    with st.container(border=True):
        st.caption("Guidelines · G closes them")
        st.html(response_html(project.guidelines))


def show_pair(claim: votes.Claim) -> None:
    with st.container(border=True):
        for turn in claim.messages or []:
            st.caption(str(turn.get("role", "")).capitalize())
            st.html(response_html(str(turn.get("content", ""))))
        st.caption("User" if claim.messages else "Input")
        st.html(response_html(claim.input))
    for column, name, text in zip(st.columns(2), "AB", (claim.left, claim.right), strict=True):
        with column, st.container(border=True, height="stretch"):
            words = len(text.split())
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(f"Response {name}", color="gray")
                st.caption(f"{words:,} word{'s' * (words != 1)}")
            if text.strip():
                st.html(response_html(text))
            else:
                st.caption("This response is empty.")


def show_bar(desk: Desk, project: Project, claim: votes.Claim) -> None:
    mine = (claim.pair_id, claim.lease)
    draft = desk.draft if desk.draft.lease == claim.lease else Draft()
    with st.container(horizontal=True):
        for choice, (label, icon, key) in CHOICES.items():
            # Keys of their own for each lease: a press meant for the pair before finds
            # no button any more. All alike: a prominent one would pull votes.
            st.button(
                label,
                key=f"{choice}_{claim.lease}",
                icon=icon,
                shortcut=key,
                width="stretch",
                on_click=on_vote,
                args=(desk, project, *mine, choice),
            )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control(
            "How much better? (optional)",
            list(STRENGTHS),
            format_func=STRENGTHS.__getitem__,
            default=draft.strength,
            key=f"strength_{claim.lease}",
            label_visibility="collapsed",
            on_change="ignore",
        )
        with st.popover("Note", key=f"note_{claim.lease}"):
            st.text_input(
                "Why? (optional: goes with your vote or skip)",
                draft.reason,
                key=f"reason_{claim.lease}",
                live=True,  # kept while typing: closing the note by Escape must not lose it
                on_change="ignore",
            )
            for name in project.criteria:
                st.segmented_control(
                    name,
                    list(SIDES),
                    format_func=SIDES.__getitem__,
                    default=draft.marks.get(name),
                    key=f"mark_{claim.lease}_{name}",
                    on_change="ignore",
                )
        st.space("stretch")
        if project.guidelines.strip():
            st.button(
                "Guidelines",
                key="guidelines",
                type="tertiary",
                shortcut="G",
                on_click=on_guidelines,
                args=(desk,),
            )
        show_undo(desk, project)
        st.button(
            "Skip",
            key=f"skip_{claim.lease}",
            type="tertiary",
            shortcut="S",
            help="Leave this pair to others",
            on_click=on_skip,
            args=(desk, *mine),
        )


def show_undo(desk: Desk, project: Project) -> None:
    st.button(
        "Undo",
        key=f"undo_{desk.last_vote_id}",
        type="tertiary",
        shortcut="U",
        help="Take your last vote back; the same pair returns",
        disabled=desk.last_vote_id is None,
        on_click=on_undo,
        args=(desk, project, desk.last_vote_id),
    )


def show_nothing_left(desk: Desk, project: Project, now: Progress) -> None:
    if now.wanted == 0:
        if may("data.import"):
            text = (
                "Import comparisons, or generate responses from two prompts: pairs to label come from either."
            )
            empty("There is nothing to label yet.", text, "data.py", "Import data")
        else:
            empty(
                "There is nothing to label yet.",
                "Come back when the people who run this project added pairs.",
            )
        return
    thanks = f"You have voted on {now.done:,} pair{'s' * (now.done != 1)}. Thank you!" if now.done else ""
    others = f" {now.elsewhere:,} more are with somebody else now and may come back." if now.elsewhere else ""
    empty("Nothing is left for you.", (thanks + others) or "Every pair has the votes it needs.")
    with st.container(horizontal=True):
        st.button("Look again", icon=":material/refresh:", on_click=on_look_again, args=(desk,))
        if now.skipped:
            st.button(
                f"Show the {now.skipped:,} you skipped",
                icon=":material/replay:",
                on_click=on_skipped_again,
                args=(desk, project),
            )
        show_undo(desk, project)
        if may("leaderboard.view"):
            st.page_link("leaderboard.py", label="Leaderboard", icon=":material/leaderboard:")


@st.fragment
def work_on(desk: Desk, project: Project) -> None:
    """Everything a vote changes. A fragment: a press reruns this, and not the frame."""
    who = me()
    claim = take_pair(desk, who, project)
    now = my_progress(desk, who, project, fresh=claim is None)
    if desk.message:
        st.warning(desk.message, icon=":material/info:")
    if claim is None:
        show_nothing_left(desk, project, now)
        return
    show_progress(now)
    if desk.guidelines:
        show_guidelines(project)
    show_pair(claim)
    with st.bottom:
        show_bar(desk, project, claim)
    if desk.shown_at is None:
        desk.shown_at = time.monotonic()


project = header("Annotate")
work_on(desk_of(project), project)
