"""What a vote may say, and its two forms: as it was shown (left, right) and as it is kept
(response ids), so that nothing depends on which side a response stood on."""

from collections.abc import Mapping
from typing import Any

from core.annotation.desk import POINTS, Desk
from core.errors import Conflict, Invalid
from storage.tables import Project, Vote

CHOICES = ("left", "right", "tie", "both_bad")
STRENGTHS = ("significantly", "clearly", "slightly", "barely")
MARKS = ("left", "same", "right")
MAX_REASON = 10_000
SIDES = ("left", "right")

Marks = dict[str, Any]  # criterion -> left, same or right; or {"left": 1 to 5, "right": 1 to 5}


def check_vote(choice: str, strength: str | None, reason: str, duration_ms: int | None) -> None:
    if choice not in CHOICES:
        raise Invalid(f"choice: “{choice}” is none of {', '.join(CHOICES)}.")
    if strength is not None and strength not in STRENGTHS:
        raise Invalid(f"strength: “{strength}” is none of {', '.join(STRENGTHS)}.")
    check_text("reason", reason, MAX_REASON)
    if duration_ms is not None and not 0 <= duration_ms < 2**31:
        raise Invalid("duration_ms: a number of milliseconds, zero or more.")


def check_text(field: str, text: str, longest: int) -> None:
    """Raises Invalid for what is too long, or what a database cannot hold."""
    if len(text) > longest:
        raise Invalid(f"{field}: at most {longest:,} characters.")
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Invalid(f"{field}: it has a character that cannot be stored (NUL or half a surrogate).")


def checked_marks(project: Project, desk: Desk, criteria: Mapping[str, Any] | None) -> Marks:
    """The marks, each on the scale the project says. Raises Invalid naming the criterion."""
    for name, mark in (criteria or {}).items():
        if name not in project.criteria:
            known = ", ".join(project.criteria) or "none"
            raise Invalid(f"criteria: “{name}” is no criterion of this project.", f"It has: {known}.")
        if desk.scale(name) == "1-5":
            points = mark.items() if isinstance(mark, dict) and mark else [("", mark)]
            if any(
                side not in SIDES or type(value) is not int or value not in POINTS for side, value in points
            ):
                raise Invalid(
                    f"criteria: “{name}” is “{mark}”; it is rated from 1 to 5 for each response.",
                    'Send {"left": 4, "right": 2}.',
                )
        elif mark not in MARKS:
            raise Invalid(f"criteria: “{name}” is “{mark}”, which is none of {', '.join(MARKS)}.")
    return dict(criteria or {})


def kept(marks: Marks, left: str, right: str) -> dict[str, Any]:
    """Marks as they are stored: a response id or "same"; or points by response id."""
    ids = {"left": left, "right": right}
    return {
        name: {ids[side]: points for side, points in mark.items()}
        if isinstance(mark, dict)
        else ids.get(mark, mark)
        for name, mark in marks.items()
    }


def choice_of(vote: Vote) -> str:
    """The vote in the words it was cast in: left, right, tie, both_bad."""
    if vote.outcome != "win":
        return vote.outcome
    return "left" if vote.winner == vote.left else "right"


def marks_of(vote: Vote) -> Marks:
    """The vote's criteria as they were marked."""

    def side(response: str) -> str:
        return response if response == "same" else "left" if response == vote.left else "right"

    return {
        name: {side(key): points for key, points in value.items()} if isinstance(value, dict) else side(value)
        for name, value in vote.criteria.items()
    }


def said(vote: Vote) -> dict[str, Any]:
    """What the vote says, but for its duration."""
    return {
        "choice": choice_of(vote),
        "strength": vote.strength,
        "criteria": marks_of(vote),
        "reason": vote.reason,
    }


def check_same(before: Vote, choice: str, strength: str | None, marks: Marks, reason: str) -> None:
    """The same vote again; anything else would be lost silently."""
    now = {"choice": choice, "strength": strength, "criteria": marks, "reason": reason}
    for name, value in said(before).items():
        if now[name] != value:
            raise Conflict(
                f"This lease was used for a vote with another {name}: {value or 'none'}, not "
                f"{now[name] or 'none'}.",
                f"The first one stands. To change it, take it back (vote {before.id}) and claim again.",
            )
