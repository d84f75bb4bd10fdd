"""Claiming a pair, voting on it, taking a vote back, skipping.

A claim leases a slot of a pair to one annotator for some minutes, and draws which
response stands left. The lease is the vote's key: the same vote sent again is the same
vote, and a lease can never become two. The winner is kept as a response id and, apart
from it, which response was shown left.
"""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from core import audit
from core.access import Principal, require
from core.annotation.annotators import check_not_paused
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.projects import find_project
from core.settings import get_settings
from storage import claims
from storage.database import Database
from storage.ids import id_of, now
from storage.pairs import annotator_of_user
from storage.tables import Pair, Project, Skip, Vote, VoteHistory

CHOICES = ("left", "right", "tie", "both_bad")
STRENGTHS = ("significantly", "clearly", "slightly", "barely")
MARKS = ("left", "same", "right")
MAX_REASON = 10_000
_CLAIM_TRIES = 20
_WRITE_TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """A pair to judge, blind: nothing says what produced the responses. `left` and
    `right` are their texts, `messages` the earlier turns of the example, if any."""

    pair_id: str
    project_id: str
    lease: str
    expires_at: datetime
    input: str
    messages: list[dict[str, str]] | None
    fields: dict[str, Any]
    left: str
    right: str


def claim(db: Database, who: Principal, project_id: str) -> Claim | None:
    """The pair to judge next, or None when there is nothing left for this person. Who
    already holds a pair gets the same again, with the same sides and a longer lease.
    Raises Forbidden, with the reason, for one whom a lead has paused."""
    require(who, "annotate")

    def work(session: Session) -> Claim | None:
        project = find_project(session, project_id)
        annotator = annotator_of_user(session, project.id, who.user_id, who.name)
        check_not_paused(annotator)
        claims.one_at_a_time(session, annotator.id)
        for attempt in range(_CLAIM_TRIES):
            at = now()
            until = at + timedelta(minutes=get_settings().lease_minutes)
            held = claims.held(session, project.id, annotator.id, until)
            if held is None:
                held = claims.claim_next(
                    session,
                    project.id,
                    annotator.id,
                    lease=secrets.token_urlsafe(18),
                    a_left=secrets.randbits(1) == 1,
                    at=at,
                    until=until,
                )
            if held is not None:
                return _shown(session, held)
            # On PostgreSQL no row may also mean that others were taking the last free
            # slots at this moment; DuckDB's writes never meet.
            if db.is_duckdb or attempt >= 2:
                break
        return None

    return _write(db, work)


def cast(
    db: Database,
    who: Principal,
    pair_id: str,
    lease: str,
    choice: str,
    *,
    strength: str | None = None,
    criteria: dict[str, str] | None = None,
    reason: str = "",
    duration_ms: int | None = None,
    source: str = "page",
) -> Vote:
    """Vote on a claimed pair: `choice` is left, right, tie or both_bad. `criteria` maps
    the project's criteria to left, same or right; kept, like the winner, as response ids.
    The same again answers the same vote. Raises Conflict when the lease is used for
    something else, or when the slot has gone to somebody else after the lease ran out (until
    then a late vote still counts)."""
    require(who, "annotate")
    reason = reason.strip()
    _check_vote(choice, strength, reason, duration_ms)

    def work(session: Session) -> Vote:
        pair, project, annotator_id = _pair(session, who, pair_id)
        claims.one_at_a_time(session, annotator_id)
        marks = _checked_criteria(project, criteria)
        before = claims.vote_on(session, pair.id, annotator_id)
        if before is not None and before.lease == lease:
            _check_same(before, choice, strength, marks, reason)
            return before
        if before is not None:
            raise Conflict("You have voted on this pair already.", "Take that vote back to change it.")
        slot = claims.close_with_vote(session, pair.id, annotator_id, lease)
        if slot is None:
            raise _lost()
        left = pair.response_a if slot.a_left else pair.response_b
        right = pair.response_b if slot.a_left else pair.response_a
        vote = Vote(
            project_id=project.id,
            pair_id=pair.id,
            annotator_id=annotator_id,
            slot_id=slot.slot_id,
            lease=lease,
            outcome="win" if choice in ("left", "right") else choice,
            winner={"left": left, "right": right}.get(choice),
            left=left,
            strength=strength,
            criteria={name: _side_to_response(mark, left, right) for name, mark in marks.items()},
            reason=reason,
            duration_ms=duration_ms,
            source=source,
        )
        session.add(vote)
        audit.record(session, who, "vote.cast", "vote", vote.id, project.id, pair=pair.id)
        session.flush()
        return vote

    return _write(db, work)


def undo(db: Database, who: Principal, vote_id: str) -> str:
    """Take one's own vote back; answers its pair's id. The vote is kept in the history,
    and the pair comes back to the same annotator, sides as before, at the next claim.
    Again is the same as once."""
    require(who, "annotate")

    def work(session: Session) -> str:
        vote = session.get(Vote, vote_id)
        if vote is None:
            done = session.exec(select(VoteHistory).where(VoteHistory.vote_id == vote_id)).first()
            if done is not None and done.vote["annotator_id"] == _annotator_id(done.project_id, who):
                return str(done.vote["pair_id"])
            raise NotFound(f"There is no vote {vote_id}.")
        annotator_id = _annotator_id(vote.project_id, who)
        if vote.annotator_id != annotator_id:
            raise Forbidden("This is somebody else's vote.", "You can take back your own votes only.")
        claims.one_at_a_time(session, annotator_id)
        session.add(
            VoteHistory(
                vote_id=vote.id, project_id=vote.project_id, what="undone", vote=vote.model_dump(mode="json")
            )
        )
        session.delete(vote)
        if vote.slot_id:
            until = now() + timedelta(minutes=get_settings().lease_minutes)
            claims.lease_again(session, vote.slot_id, secrets.token_urlsafe(18), now(), until)
        audit.record(session, who, "vote.undo", "vote", vote.id, vote.project_id, pair=vote.pair_id)
        return vote.pair_id

    return _write(db, work)


def skip(db: Database, who: Principal, pair_id: str, lease: str, reason: str = "") -> Skip:
    """Leave a claimed pair to others: it is not offered to this person again. Again is
    the same as once."""
    require(who, "annotate")
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON:,} characters.")

    def work(session: Session) -> Skip:
        pair, project, annotator_id = _pair(session, who, pair_id)
        claims.one_at_a_time(session, annotator_id)
        before = claims.skip_of(session, pair.id, annotator_id)
        if before is not None:
            return before
        if not claims.reopen(session, pair.id, annotator_id, lease):
            raise _lost()
        skipped = Skip(project_id=project.id, pair_id=pair.id, annotator_id=annotator_id, reason=reason)
        session.add(skipped)
        audit.record(session, who, "pair.skip", "pair", pair.id, project.id, reason=reason)
        return skipped

    return _write(db, work)


def release(db: Database, who: Principal, pair_id: str, lease: str) -> None:
    """Give a claimed pair back at once, for anybody, also for oneself later. A lease
    that holds nothing any more is no error: the pair is free already."""
    require(who, "annotate")

    def work(session: Session) -> None:
        pair, _, annotator_id = _pair(session, who, pair_id)
        claims.one_at_a_time(session, annotator_id)
        claims.reopen(session, pair.id, annotator_id, lease)

    _write(db, work)


def forget_skips(db: Database, who: Principal, project_id: str) -> int:
    """Have the pairs one skipped offered again; answers how many there are."""
    require(who, "annotate")

    def work(session: Session) -> int:
        project = find_project(session, project_id)
        forgotten = claims.forget_skips(session, project.id, _annotator_id(project.id, who))
        audit.record(session, who, "pair.unskip", "project", project.id, project.id, pairs=forgotten)
        return forgotten

    return _write(db, work)


def my_progress(db: Database, who: Principal, project_id: str) -> claims.Progress:
    """What this person has done and what is left for them, and the whole project's."""
    require(who, "annotate")
    with db.read() as session:
        return claims.progress(session, project_id, _annotator_id(project_id, who), now())


def my_last_vote(db: Database, who: Principal, project_id: str) -> Vote | None:
    """The vote that an undo would take back."""
    require(who, "annotate")
    with db.read() as session:
        return claims.last_vote(session, project_id, _annotator_id(project_id, who))


# --- parts --------------------------------------------------------------------------------


def choice_of(vote: Vote) -> str:
    """The vote in the words it was cast in: left, right, tie, both_bad."""
    if vote.outcome != "win":
        return vote.outcome
    return "left" if vote.winner == vote.left else "right"


def marks_of(vote: Vote) -> dict[str, str]:
    """The vote's criteria as they were marked: left, same, right."""
    sides = {vote.left: "left", "same": "same"}
    return {name: sides.get(value, "right") for name, value in vote.criteria.items()}


def _annotator_id(project_id: str, who: Principal) -> str:
    return id_of("annotator", project_id, "user", who.user_id)


def _shown(session: Session, held: claims.Held) -> Claim:
    found = claims.shown(session, held.pair_id)
    if found is None:
        raise NotFound(f"The responses of the pair {held.pair_id} are gone.")
    pair, example, a, b = found
    return Claim(
        pair_id=pair.id,
        project_id=pair.project_id,
        lease=held.lease,
        expires_at=held.expires_at,
        input=example.input,
        messages=example.messages,
        fields=example.fields,
        left=a if held.a_left else b,
        right=b if held.a_left else a,
    )


def _pair(session: Session, who: Principal, pair_id: str) -> tuple[Pair, Project, str]:
    """The pair, its project, and the id of this person as an annotator there."""
    found = claims.pair_and_project(session, pair_id)
    if found is None:
        raise NotFound(f"There is no pair {pair_id}.")
    return *found, _annotator_id(found[1].id, who)


def _lost() -> Conflict:
    return Conflict(
        "This lease does not hold the pair any more: it ran out and the pair went to somebody else, "
        "or it was given back.",
        "Nothing was recorded. Claim the next pair.",
    )


def _check_vote(choice: str, strength: str | None, reason: str, duration_ms: int | None) -> None:
    if choice not in CHOICES:
        raise Invalid(f"choice: “{choice}” is none of {', '.join(CHOICES)}.")
    if strength is not None and strength not in STRENGTHS:
        raise Invalid(f"strength: “{strength}” is none of {', '.join(STRENGTHS)}.")
    if len(reason) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON:,} characters.")
    if duration_ms is not None and not 0 <= duration_ms < 2**31:
        raise Invalid("duration_ms: a number of milliseconds, zero or more.")


def _checked_criteria(project: Project, criteria: dict[str, str] | None) -> dict[str, str]:
    for name, mark in (criteria or {}).items():
        if name not in project.criteria:
            known = ", ".join(project.criteria) or "none"
            raise Invalid(f"criteria: “{name}” is no criterion of this project.", f"It has: {known}.")
        if mark not in MARKS:
            raise Invalid(f"criteria: “{name}” is “{mark}”, which is none of {', '.join(MARKS)}.")
    return dict(criteria or {})


def _side_to_response(mark: str, left: str, right: str) -> str:
    """A criterion's mark, free of sides: a response id, or "same"."""
    return {"left": left, "right": right}.get(mark, mark)


def _check_same(before: Vote, choice: str, strength: str | None, marks: dict[str, str], reason: str) -> None:
    """The same vote again, but for its duration; anything else would be lost silently."""
    was = {
        "choice": choice_of(before),
        "strength": before.strength,
        "criteria": marks_of(before),
        "reason": before.reason,
    }
    now_ = {"choice": choice, "strength": strength, "criteria": marks, "reason": reason}
    for name, value in was.items():
        if now_[name] != value:
            raise Conflict(
                f"This lease was used for a vote with another {name}: {value or 'none'}, not "
                f"{now_[name] or 'none'}.",
                f"The first one stands. To change it, take it back (vote {before.id}) and claim again.",
            )


def _write(db: Database, work: Callable[[Session], T]) -> T:
    """`db.write`, tried again when a unique index refused: two first claims of one person
    at once both make their annotator (PostgreSQL); a key deleted a moment ago is still in
    the index while an older reader is open (DuckDB)."""
    for attempt in range(1, _WRITE_TRIES + 1):
        try:
            return db.write(work)
        except IntegrityError as error:
            if attempt == _WRITE_TRIES:
                raise Conflict("This was being changed at the same moment.", "Try again.") from error
            time.sleep(random.uniform(0.005, 0.02 * 2**attempt))
    raise AssertionError("unreachable")
