"""One claim, or one vote, in a unit of work of its own: what decides who gets a pair, whether a
vote counts, and what is wrong with it. `core.annotation.together` does the ordinary ones of
many people at once, and leaves the rest to this."""

import random
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from core import audit, webhooks
from core.access import Principal
from core.annotation import adjudication, probe_answers, probes, room
from core.annotation.annotators import check_not_paused
from core.annotation.asked import Claim, PairsAsked, VoteSent, annotator_id_of
from core.annotation.desk import desk_in
from core.annotation.disguise import pair_behind
from core.annotation.marks import check_same, checked_marks
from core.annotation.pausing import check_open
from core.errors import Conflict, NotFound
from core.projects import find_project
from core.settings import get_settings
from storage import claims
from storage.adjudicated import ADJUDICATION
from storage.database import Database
from storage.groups import ADJUDICATOR
from storage.ids import now
from storage.pairs import annotator_of_user
from storage.tables import Annotator, Pair, Project, Vote

_CLAIM_TRIES = 3
_WRITE_TRIES = 5

T = TypeVar("T")


def claims_alone(db: Database, asked: PairsAsked) -> list[Claim]:
    """The pairs to judge, those already held first."""

    def work(session: Session) -> list[Claim]:
        project = find_project(session, asked.project_id)
        annotator = annotator_of_user(session, project.id, asked.who.user_id, asked.who.name)
        check_not_paused(annotator)
        check_open(session, annotator)
        claims.one_at_a_time(session, annotator.id)
        until = now() + timedelta(minutes=get_settings().lease_minutes)
        mine = probes.held(session, project.id, annotator.id, until)
        if asked.one:
            first = claims.held(session, project.id, annotator.id, until)
            held = probes.in_order(session, [] if first is None else [first], mine)[:1]
        else:
            claims.prolong(session, project.id, annotator.id, until)
            held = probes.in_order(session, claims.all_held(session, project.id, annotator.id), mine)
        while len(held) < asked.wanted:
            drawn = probes.draw(session, project, annotator, until, holds=bool(held))
            another = drawn.held or (
                None if drawn.only else _claim_another(session, db, project, annotator, until)
            )
            if another is None:
                break
            held.append(another)
        return [_shown(session, item) for item in held]

    return write(db, work)


def _claim_another(
    session: Session, db: Database, project: Project, annotator: Annotator, until: datetime
) -> claims.Held | None:
    """A pair this annotator does not hold yet; None when there is none for them."""
    for _ in range(_CLAIM_TRIES):
        held = claims.claim_next(
            session,
            project.id,
            annotator.id,
            lease=secrets.token_urlsafe(18),
            a_left=secrets.randbits(1) == 1,
            at=now(),
            until=until,
            audiences=annotator.audiences or (),
        )
        # On PostgreSQL no row may also mean that others were taking the last free slots
        # at this moment; DuckDB's writes never meet.
        if held is not None or db.is_duckdb:
            return held
    return None


def cast_alone(db: Database, sent: VoteSent) -> Vote:
    """The vote; the same again is the same vote. Raises Conflict."""

    def work(session: Session) -> Vote:
        pair, project, annotator_id = pair_of(session, sent.who, sent.pair_id)
        claims.one_at_a_time(session, annotator_id)
        marks = checked_marks(project, desk_in(session, project.id), sent.criteria)
        before = claims.vote_on(session, pair.id, annotator_id)
        if before is not None and before.lease == sent.lease:
            check_same(before, sent.choice, sent.strength, marks, sent.reason)
            return before
        slot = None
        if before is None:
            slot = claims.close_with_vote(session, pair.id, annotator_id, sent.lease)
        if slot is None:
            probed = probe_answers.answer(session, project, pair, annotator_id, sent, marks)
            if probed is not None:
                return probed
            if before is None or sent.pair_id != pair.id:
                raise lost()
            raise Conflict("You have voted on this pair already.", "Take that vote back to change it.")
        vote = sent.as_vote(
            project_id=project.id,
            annotator_id=annotator_id,
            slot_id=slot.slot_id,
            left=pair.response_a if slot.a_left else pair.response_b,
            right=pair.response_b if slot.a_left else pair.response_a,
            marks=marks,
        )
        if slot.audience == ADJUDICATOR:
            vote.source = ADJUDICATION
        session.add(vote)
        audit.record(session, sent.who, "vote.cast", "vote", vote.id, project.id, pair=pair.id)
        session.flush()
        room.after_votes(session, [vote])
        webhooks.after_votes(session, [vote])
        return vote

    return write(db, work)


# --- parts, also of what is done to a vote later ---------------------------------------------


def _shown(session: Session, held: claims.Held | probes.Held) -> Claim:
    found = claims.shown(session, held.pair_id)
    if found is None:
        raise NotFound(f"The responses of the pair {held.pair_id} are gone.")
    pair, example, a, b = found
    reasons = None
    if isinstance(held, claims.Held) and held.audience == ADJUDICATOR:
        reasons = adjudication.reasons_for(session, pair, held.a_left)
    return Claim(
        pair_id=held.shown_id if isinstance(held, probes.Held) else pair.id,
        project_id=pair.project_id,
        lease=held.lease,
        expires_at=held.expires_at,
        input=example.input,
        messages=example.messages,
        fields=example.fields,
        left=a if held.a_left else b,
        right=b if held.a_left else a,
        training=held.training if isinstance(held, probes.Held) else None,
        reasons=reasons,
    )


def pair_of(session: Session, who: Principal, pair_id: str) -> tuple[Pair, Project, str]:
    """The pair, by its own id or by the one this person knows it by, its project, and the id of
    this person as an annotator there. Raises Conflict: a pair that is not there is held by
    nobody, and says no more of itself than one that was given back."""
    found = claims.pair_and_project(session, pair_id)
    if found is None and (hidden := pair_behind(session, who, pair_id)) is not None:
        found = claims.pair_and_project(session, hidden)
    if found is None:
        raise lost()
    return *found, annotator_id_of(found[1].id, who)


def lost() -> Conflict:
    return Conflict(
        "This lease does not hold the pair any more: it ran out and the pair went to somebody else, "
        "or it was given back.",
        "Nothing was recorded. Claim the next pair.",
    )


def write(db: Database, work: Callable[[Session], T], quiet: bool = False) -> T:
    """`db.write`, tried again when a unique index refused: two first claims of one person
    at once both make their annotator (PostgreSQL); a key deleted a moment ago is still in
    the index while an older reader is open (DuckDB)."""
    for attempt in range(1, _WRITE_TRIES + 1):
        try:
            return db.write(work, quiet=quiet)
        except IntegrityError as error:
            if attempt == _WRITE_TRIES:
                raise Conflict("This was being changed at the same moment.", "Try again.") from error
            time.sleep(random.uniform(0.005, 0.02 * 2**attempt))
    raise AssertionError("unreachable")
