"""Claiming a pair, voting on it, taking a vote back, skipping.

A claim leases a slot of a pair to one annotator for some minutes, and draws which
response stands left. The lease is the vote's key: the same vote sent again is the same
vote, and a lease can never become two. The winner is kept as a response id and, apart
from it, which response was shown left.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import anyio.to_thread
from sqlmodel import Session, select

from core import audit
from core.access import Principal, require
from core.annotation import probe_answers, probes, room
from core.annotation.alone import cast_alone, claims_alone, lost, pair_of, write
from core.annotation.annotators import check_not_paused
from core.annotation.asked import Claim, PairsAsked, VoteSent, annotator_id_of
from core.annotation.desk import desk_in
from core.annotation.marks import MAX_REASON, check_text, check_vote, checked_marks, kept, said
from core.annotation.pausing import check_open
from core.annotation.together import together
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.projects import find_project
from core.settings import get_settings
from storage import claims
from storage.database import Database
from storage.ids import now
from storage.pairs import annotator_of_user
from storage.tables import Annotator, Pair, Skip, Vote, VoteHistory

MOST_HELD = 8
LEAVE_S = 40.0


def claim(db: Database, who: Principal, project_id: str) -> Claim | None:
    """The pair to judge next, or None when there is nothing left for this person. Who
    already holds a pair gets the same again, with the same sides and a longer lease.
    Raises Forbidden, with the reason, for one whom a lead has paused."""
    found = _claims(db, PairsAsked(who, project_id, one=True))
    return found[0] if found else None


def claim_some(db: Database, who: Principal, project_id: str, wanted: int = 2) -> list[Claim]:
    """The pair to judge now, and those claimed ahead of it, `wanted` in all (at most
    MOST_HELD); what is held already first, in the order it was claimed, with longer leases.
    What was taken back stands before all others, and makes the list longer."""
    if not 1 <= wanted <= MOST_HELD:
        raise Invalid(f"wanted: 1 to {MOST_HELD} pairs.")
    return _claims(db, PairsAsked(who, project_id, wanted))


async def claim_async(db: Database, who: Principal, project_id: str) -> Claim | None:
    """`claim`, for hundreds at once: who waits for their unit of work takes up no thread."""
    asked = PairsAsked(who, project_id, one=True)
    require(who, "annotate")
    if db.is_duckdb:
        found = await asyncio.wrap_future(together(db).claim(asked))
    else:
        found = await anyio.to_thread.run_sync(claims_alone, db, asked)
    return found[0] if found else None


def _claims(db: Database, asked: PairsAsked) -> list[Claim]:
    require(asked.who, "annotate")
    if db.is_duckdb:
        return together(db).claim(asked).result()
    return claims_alone(db, asked)


def heartbeat(db: Database, who: Principal, project_id: str, leases: Sequence[str]) -> list[str]:
    """Keep leases alive while their pairs are on somebody's screen. Answers those that
    still hold their pair; the others went to somebody else, or were used."""
    # Nobody gets a pair by it, or loses one.
    return _let_run(db, who, project_id, leases, 60 * get_settings().lease_minutes, quiet=True)


def leave(db: Database, who: Principal, project_id: str, leases: Sequence[str]) -> list[str]:
    """The page is closing: its pairs are free for others in LEAVE_S seconds. Not at once,
    because a reload closes the page too, and shall find its pairs again."""
    return _let_run(db, who, project_id, leases, LEAVE_S)


def _let_run(
    db: Database, who: Principal, project_id: str, leases: Sequence[str], seconds: float, quiet: bool = False
) -> list[str]:
    require(who, "annotate")
    if len(leases) > 1_000:
        raise Invalid("leases: at most 1,000 at once.")

    def work(session: Session) -> list[str]:
        annotator_id = annotator_id_of(find_project(session, project_id).id, who)
        claims.one_at_a_time(session, annotator_id)
        until = now() + timedelta(seconds=seconds)
        claims.prolong(session, project_id, annotator_id, until, leases)
        held = {item.lease for item in claims.all_held(session, project_id, annotator_id)}
        held |= probes.prolong(session, project_id, annotator_id, until, leases)
        return [lease for lease in leases if lease in held]

    return write(db, work, quiet=quiet)


def cast(
    db: Database,
    who: Principal,
    pair_id: str,
    lease: str,
    choice: str,
    *,
    strength: str | None = None,
    criteria: Mapping[str, Any] | None = None,
    reason: str = "",
    duration_ms: int | None = None,
    source: str = "page",
) -> Vote:
    """Vote on a claimed pair: `choice` is left, right, tie or both_bad. `criteria` maps
    the project's criteria to left, same or right, or (rated from 1 to 5) to points for left
    and right; kept, like the winner, as response ids.
    The same again answers the same vote. Raises Conflict when the lease is used for
    something else, or when the slot has gone to somebody else after the lease ran out (until
    then a late vote still counts)."""
    require(who, "annotate")
    sent = VoteSent(who, pair_id, lease, choice, strength, criteria, reason, duration_ms, source)
    if db.is_duckdb:
        return together(db).cast(sent).result()
    return cast_alone(db, sent)


async def cast_async(db: Database, sent: VoteSent) -> Vote:
    """`cast`, for hundreds at once."""
    require(sent.who, "annotate")
    if db.is_duckdb:
        return await asyncio.wrap_future(together(db).cast(sent))
    return await anyio.to_thread.run_sync(cast_alone, db, sent)


def undo(db: Database, who: Principal, vote_id: str) -> str:
    """Take one's own vote back; answers its pair's id. The vote is kept in the history,
    and the pair comes back to the same annotator, sides as before, at the next claim.
    Again is the same as once."""
    require(who, "annotate")

    def work(session: Session) -> str:
        vote = session.get(Vote, vote_id)
        if vote is None:
            if (pair_id := probe_answers.undo(session, who, vote_id)) is not None:
                return pair_id
            done = session.exec(select(VoteHistory).where(VoteHistory.vote_id == vote_id)).first()
            if done is not None and done.vote["annotator_id"] == annotator_id_of(done.project_id, who):
                return str(done.vote["pair_id"])
            raise NotFound(f"There is no vote {vote_id}.")
        annotator_id = annotator_id_of(vote.project_id, who)
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
            claims.lease_again(session, vote, secrets.token_urlsafe(18), now(), until)
            if (pair := session.get(Pair, vote.pair_id)) is not None:
                probe_answers.make_way(session, pair, annotator_id, vote.slot_id)
        audit.record(session, who, "vote.undo", "vote", vote.id, vote.project_id, pair=vote.pair_id)
        return vote.pair_id

    return write(db, work)


def edit(
    db: Database,
    who: Principal,
    vote_id: str,
    choice: str,
    *,
    strength: str | None = None,
    criteria: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Vote:
    """Change one's own vote, at any time: `left` and `right` mean the sides as they were
    shown then. The vote keeps its id; what it said before goes to the history as
    `replaced`. The same again changes nothing."""
    require(who, "annotate")
    reason = reason.strip()
    check_vote(choice, strength, reason, None)

    def work(session: Session) -> Vote:
        vote = session.get(Vote, vote_id)
        if vote is None:
            probed = probe_answers.edit(session, who, vote_id, choice, strength, criteria, reason)
            if probed is None:
                raise NotFound(f"There is no vote {vote_id}.")
            return probed
        pair, project, annotator_id = pair_of(session, who, vote.pair_id)
        if vote.annotator_id != annotator_id:
            raise Forbidden("This is somebody else's vote.", "You can change your own votes only.")
        claims.one_at_a_time(session, annotator_id)
        session.refresh(vote)  # as it is now that nobody else of this name changes it
        marks = checked_marks(project, desk_in(session, project.id), criteria)
        if said(vote) == {"choice": choice, "strength": strength, "criteria": marks, "reason": reason}:
            return vote
        before = vote.model_dump(mode="json")
        session.add(VoteHistory(vote_id=vote.id, project_id=project.id, what="replaced", vote=before))
        # An imported vote may not say what stood left; then "left" is the pair's first.
        left = vote.left or pair.response_a
        right = pair.response_b if left == pair.response_a else pair.response_a
        vote.outcome = "win" if choice in ("left", "right") else choice
        vote.winner = {"left": left, "right": right}.get(choice)
        vote.strength, vote.reason, vote.criteria = strength, reason, kept(marks, left, right)
        session.add(vote)
        audit.record(session, who, "vote.edit", "vote", vote.id, project.id, pair=pair.id)
        session.flush()
        room.after_votes(session, [vote])
        return vote

    return write(db, work)


def skip(db: Database, who: Principal, pair_id: str, lease: str, reason: str = "") -> Skip:
    """Leave a claimed pair to others: it is not offered to this person again. Again is
    the same as once."""
    require(who, "annotate")
    reason = reason.strip()
    check_text("reason", reason, MAX_REASON)

    def work(session: Session) -> Skip:
        pair, project, annotator_id = pair_of(session, who, pair_id)
        claims.one_at_a_time(session, annotator_id)
        before = claims.skip_of(session, pair.id, annotator_id)
        if before is not None and pair_id == pair.id:
            return before
        a_left = claims.a_left_of(session, pair.id, annotator_id, lease)
        if not claims.reopen(session, pair.id, annotator_id, lease):
            probed = probe_answers.skip(session, who, pair, pair_id, annotator_id, lease, reason)
            if probed is None:
                raise lost()
            return probed
        skipped = Skip(project_id=project.id, pair_id=pair.id, annotator_id=annotator_id, reason=reason)
        session.add(skipped)
        claims.remember_sides(session, skipped, a_left)
        audit.record(session, who, "pair.skip", "pair", pair.id, project.id, reason=reason)
        return skipped

    return write(db, work)


def unskip(db: Database, who: Principal, pair_id: str) -> str:
    """Take a skip back; answers the pair's id. It stands before all others at the next claim,
    sides as before. Again is the same as once. Raises Conflict when others gave the pair the votes it
    wanted meanwhile (it stays skipped), and Forbidden for one whom a lead has paused."""
    require(who, "annotate")

    def work(session: Session) -> str:
        pair, project, annotator_id = pair_of(session, who, pair_id)
        annotator = annotator_of_user(session, project.id, who.user_id, who.name)
        check_not_paused(annotator)
        check_open(session, annotator)
        claims.one_at_a_time(session, annotator_id)
        skipped = claims.skip_of(session, pair.id, annotator_id) if pair_id == pair.id else None
        if skipped is None:
            there = pair_id == pair.id and claims.holds(session, pair, annotator_id)
            if there or probe_answers.unskip(session, who, pair, pair_id, annotator_id):
                return pair_id
            raise _not_to_be_had()
        a_left = claims.a_left_before(session, skipped)
        session.delete(skipped)
        session.flush()
        held = claims.claim_this(
            session,
            pair,
            annotator_id,
            lease=secrets.token_urlsafe(18),
            a_left=secrets.randbits(1) == 1 if a_left is None else a_left,
            at=now(),
            until=now() + timedelta(minutes=get_settings().lease_minutes),
            audiences=annotator.audiences or (),
        )
        if held is None:
            raise _not_to_be_had()
        probe_answers.make_way(session, pair, annotator_id, held.slot_id)
        audit.record(session, who, "pair.unskip", "pair", pair.id, project.id)
        return pair_id

    return write(db, work)


def _not_to_be_had() -> Conflict:
    return Conflict(
        "The pair you skipped is not to be had any more: others judge it, or it was taken away.",
        "It stays skipped.",
    )


def release(db: Database, who: Principal, pair_id: str, lease: str) -> None:
    """Give a claimed pair back at once, for anybody, also for oneself later. A lease
    that holds nothing any more is no error: the pair is free already."""
    require(who, "annotate")

    def work(session: Session) -> None:
        try:
            pair, _, annotator_id = pair_of(session, who, pair_id)
        except Conflict:
            return
        claims.one_at_a_time(session, annotator_id)
        if not claims.reopen(session, pair.id, annotator_id, lease):
            probe_answers.release(session, pair, pair_id, annotator_id, lease)

    write(db, work)


def forget_skips(db: Database, who: Principal, project_id: str) -> int:
    """Have the pairs one skipped offered again; answers how many there are."""
    require(who, "annotate")

    def work(session: Session) -> int:
        project = find_project(session, project_id)
        annotator_id = annotator_id_of(project.id, who)
        forgotten = claims.forget_skips(session, project.id, annotator_id)
        forgotten += probe_answers.forget_skips(session, project.id, annotator_id)
        audit.record(session, who, "pair.unskip", "project", project.id, project.id, pairs=forgotten)
        return forgotten

    return write(db, work)


def my_progress(db: Database, who: Principal, project_id: str) -> claims.Progress:
    """What this person has done and what is left for them, and the whole project's."""
    require(who, "annotate")
    with db.read() as session:
        annotator_id = annotator_id_of(project_id, who)
        annotator = session.get(Annotator, annotator_id)
        audiences = (annotator and annotator.audiences) or ()
        found = claims.progress(session, project_id, annotator_id, now(), audiences)
        return probe_answers.counted_in(session, found, project_id, annotator_id)


def my_last_vote(db: Database, who: Principal, project_id: str) -> Vote | None:
    """The vote that an undo would take back."""
    require(who, "annotate")
    with db.read() as session:
        return claims.last_vote(session, project_id, annotator_id_of(project_id, who))
