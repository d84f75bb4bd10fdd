"""What an annotator says to a probe (core.annotation.probes), and takes back: beside the steps of
ordinary votes, which call these functions within their unit of work.

What is answered stays in the probe's row: it never becomes a vote, so nothing that reads votes can
count it. To the annotator the answer to a gold check or a repeat is a vote like any other, in what is
answered, edited, taken back and counted on the desk.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from core import audit
from core.access import Principal
from core.annotation import consequences, qualification
from core.annotation.asked import VoteSent, annotator_id_of
from core.annotation.desk import desk_in
from core.annotation.disguise import disguised, probe_behind, shown_id, shown_vote_id, vote_id_of
from core.annotation.marks import Marks, check_same, checked_marks, kept, said
from core.annotation.probing import Probing, probing_in
from core.errors import Conflict, Forbidden
from core.projects import find_project
from core.settings import get_settings
from storage import claims
from storage import probes as stored
from storage.ids import now
from storage.tables import Annotator, Pair, Probe, Project, Skip, Vote, VoteHistory

TRAINING = "training"  # the `source` of what `answer` gives for a training pair


def answer(
    session: Session, project: Project, pair: Pair, annotator_id: str, sent: VoteSent, marks: Marks
) -> Vote | None:
    """Answer a probe; None when this lease holds none of that name. What comes back looks like a vote, and
    is not stored as one (source TRAINING: ask for `qualification.feedback`). The same again
    answers the same; raises Conflict when the lease was used for something else."""
    probe = stored.by_lease(session, pair.id, annotator_id, sent.lease)
    if probe is None or shown_id(probe) != sent.pair_id:
        return None
    if probe.answered_at is not None and probe.outcome is None:
        return None
    if probe.outcome is not None:
        before = _as_vote(session, probe, sent.source)
        check_same(before, sent.choice, sent.strength, marks, sent.reason)
        return before
    return say(session, project, pair, probe, sent, marks)


def unanswered(session: Session, sent: Sequence[VoteSent]) -> dict[str, Probe]:
    """For votes that are sent together: by lease, the hidden probes that these answer, each
    on a lease of its sender's own."""
    found = stored.unanswered(session, [one.lease for one in sent])
    return {
        one.lease: probe
        for one in sent
        if (probe := found.get(one.lease)) is not None
        and probe.kind in stored.HIDDEN
        and shown_id(probe) == one.pair_id
        and probe.annotator_id == annotator_id_of(probe.project_id, one.who)
    }


def say(session: Session, project: Project, pair: Pair, probe: Probe, sent: VoteSent, marks: Marks) -> Vote:
    """What `answer` does with a probe that nobody has answered yet."""
    left, right = _sides(pair, probe)
    probe.outcome = "win" if sent.choice in ("left", "right") else sent.choice
    probe.winner = {"left": left, "right": right}.get(sent.choice)
    probe.strength, probe.reason, probe.duration_ms = sent.strength, sent.reason, sent.duration_ms
    probe.passed = (probe.outcome, probe.winner) == (probe.expected_outcome, probe.expected_winner)
    probe.answered_at = now()
    session.add(probe)
    session.flush()
    criteria = kept(marks, left, right)
    if criteria:
        vote = stored.as_vote(session, probe, sent.source, criteria).model_dump(mode="json")
        session.add(VoteHistory(vote_id=probe.id, project_id=project.id, what=stored.KEPT_AS, vote=vote))
    audit.record(
        session, sent.who, "probe.answer", "probe", probe.id, project.id,
        kind=probe.kind, pair=pair.id, passed=probe.passed,
    )  # fmt: skip
    annotator = session.get(Annotator, probe.annotator_id)
    probing = probing_in(session, project.id) or Probing()
    if annotator is not None and probe.kind == "training":
        qualification.answered(session, annotator, probe)
    elif annotator is not None and probe.kind == "gold" and not probe.passed:
        consequences.failed(session, probing, probe, pair)
    session.flush()
    return _as_vote(session, probe, sent.source, criteria)


def undo(session: Session, who: Principal, vote_id: str) -> str | None:
    """Take an answer to a hidden probe back, as a vote is: it goes to the history, and the
    pair comes back with its sides under a new lease. Answers its pair's id, as shown; None when
    this is no probe."""
    probe = probe_behind(session, vote_id)
    if probe is None:
        return None
    if probe.annotator_id != annotator_id_of(probe.project_id, who):
        raise Forbidden("This is somebody else's vote.", "You can take back your own votes only.")
    if probe.kind == "training":
        raise Conflict("An answer of the qualification stands.", "The right answer has been shown.")
    claims.one_at_a_time(session, probe.annotator_id)
    if probe.outcome is None:
        return None
    vote = _as_vote(session, probe)
    session.add(
        VoteHistory(
            vote_id=vote.id, project_id=probe.project_id, what="undone", vote=vote.model_dump(mode="json")
        )
    )
    first = stored.first_leased(session, probe.project_id, probe.annotator_id)
    again = Probe(
        project_id=probe.project_id,
        annotator_id=probe.annotator_id,
        pair_id=probe.pair_id,
        kind=probe.kind,
        lease=secrets.token_urlsafe(18),
        a_left=probe.a_left,
        leased_at=min(now(), first - timedelta(milliseconds=1)) if first else now(),
        expires_at=now() + timedelta(minutes=get_settings().lease_minutes),
        expected_outcome=probe.expected_outcome,
        expected_winner=probe.expected_winner,
    )
    session.delete(probe)
    session.add(again)
    audit.record(session, who, "probe.undo", "probe", probe.id, probe.project_id, pair=probe.pair_id)
    session.flush()
    return shown_id(probe)


def edit(
    session: Session,
    who: Principal,
    vote_id: str,
    choice: str,
    strength: str | None,
    criteria: Mapping[str, Any] | None,
    reason: str,
) -> Vote | None:
    """Change an answer to a hidden probe, as a vote is: what it said goes to the history. What the
    check found was found, and stays. None when this is no probe."""
    probe = probe_behind(session, vote_id)
    if probe is None or probe.outcome is None or probe.kind == "training":
        return None
    if probe.annotator_id != annotator_id_of(probe.project_id, who):
        raise Forbidden("This is somebody else's vote.", "You can change your own votes only.")
    claims.one_at_a_time(session, probe.annotator_id)
    session.refresh(probe)
    project, pair = find_project(session, probe.project_id), session.get(Pair, probe.pair_id)
    if pair is None:
        return None
    marks = checked_marks(project, desk_in(session, project.id), criteria)
    before = _as_vote(session, probe)
    if said(before) == {"choice": choice, "strength": strength, "criteria": marks, "reason": reason}:
        return before
    left, right = _sides(pair, probe)
    probe.outcome = "win" if choice in ("left", "right") else choice
    probe.winner = {"left": left, "right": right}.get(choice)
    probe.strength, probe.reason = strength, reason
    session.add(probe)
    after = stored.as_vote(session, probe, criteria=kept(marks, left, right))
    for what, vote in (("replaced", before), (stored.KEPT_AS, after)):
        body = vote.model_dump(mode="json")
        session.add(VoteHistory(vote_id=probe.id, project_id=project.id, what=what, vote=body))
    audit.record(session, who, "probe.edit", "probe", probe.id, project.id, pair=pair.id)
    session.flush()
    return _as_vote(session, probe, criteria=after.criteria)


def make_way(session: Session, pair: Pair, annotator_id: str, slot_id: str) -> None:
    """An ordinary vote or skip was taken back and this slot leased for it: its pair is not given
    as a repeat meanwhile, and stands before the probes on the desk."""
    if probing_in(session, pair.project_id) is None:
        return
    stored.drop_open(session, pair_ids=[pair.id], annotator_id=annotator_id)
    there = stored.open_ones(session, pair.project_id, annotator_id)
    first = stored.first_leased(session, pair.project_id, annotator_id)
    if there and first:
        stored.put_before(session, slot_id, first - timedelta(milliseconds=1))


def skip(
    session: Session, who: Principal, pair: Pair, shown: str, annotator_id: str, lease: str, reason: str
) -> Skip | None:
    """Skip a hidden probe, as a pair is; None when this lease holds none of that name. Again is
    the same as once."""
    probe = stored.by_lease(session, pair.id, annotator_id, lease)
    if probe is None or shown_id(probe) != shown or probe.outcome is not None:
        return None
    if probe.kind == "training":
        raise Conflict("A training pair cannot be skipped.", "Choose what seems best to you.")
    if probe.answered_at is None:
        probe.answered_at, probe.reason = now(), reason
        session.add(probe)
        audit.record(session, who, "probe.skip", "probe", probe.id, pair.project_id, pair=pair.id)
    return Skip(
        project_id=pair.project_id,
        pair_id=shown,
        annotator_id=annotator_id,
        reason=probe.reason,
        created_at=probe.answered_at or now(),
    )


def unskip(session: Session, who: Principal, pair: Pair, shown: str, annotator_id: str) -> bool:
    """A hidden probe that was skipped stands on the desk again, before everything else, as a
    pair does. False: there is none of that name, or what it asks about is gone."""
    held = [
        probe
        for probe in stored.open_ones(session, pair.project_id, annotator_id)
        if probe.pair_id == pair.id
    ]
    if any(shown_id(probe) == shown for probe in held):
        return True
    probe = next(iter(stored.skipped_hidden(session, pair.project_id, annotator_id, pair.id)), None)
    if probe is None or shown_id(probe) != shown:
        return False
    there = (
        stored.gold_among(session, [pair.id])
        if probe.kind == "gold"
        else claims.vote_on(session, pair.id, annotator_id)
    )
    if not there:
        return False
    first = stored.first_leased(session, pair.project_id, annotator_id)
    probe.answered_at, probe.reason, probe.lease = None, "", secrets.token_urlsafe(18)
    probe.leased_at = min(now(), first - timedelta(milliseconds=1)) if first else now()
    probe.expires_at = now() + timedelta(minutes=get_settings().lease_minutes)
    session.add(probe)
    audit.record(session, who, "probe.unskip", "probe", probe.id, pair.project_id, pair=pair.id)
    session.flush()
    return True


def release(session: Session, pair: Pair, shown: str, annotator_id: str, lease: str) -> bool:
    """Give a probe back: it may be given again. A training pair stays on the desk."""
    probe = stored.by_lease(session, pair.id, annotator_id, lease)
    if probe is None or shown_id(probe) != shown or probe.answered_at is not None:
        return False
    if probe.kind != "training":
        session.delete(probe)
        session.flush()
    return True


def forget_skips(session: Session, project_id: str, annotator_id: str) -> int:
    return stored.drop_skipped(session, project_id, annotator_id) if probing_in(session, project_id) else 0


# --- what the desk counts and takes back ----------------------------------------------------


def counted_in(
    session: Session, found: claims.Progress, project_id: str, annotator_id: str
) -> claims.Progress:
    """Progress with the hidden probes: a count that stood still would give them away."""
    if probing_in(session, project_id) is None:
        return found
    more = stored.hidden(session, project_id, annotator_id)
    return replace(
        found,
        done=found.done + more.answered,
        left=found.left + more.held,
        skipped=found.skipped + more.skipped,
    )


def done_since(session: Session, project_id: str, annotator_id: str, since: datetime) -> int:
    if probing_in(session, project_id) is None:
        return 0
    return stored.hidden(session, project_id, annotator_id, since).answered


def newest(
    session: Session,
    project_id: str,
    annotator_id: str,
    votes: Sequence[str],
    limit: int,
    others: Sequence[tuple[str, datetime]] = (),
) -> list[str]:
    """Ids of what can be taken back: of these votes (the newest first), the answers to hidden
    probes, and `others` with their times, in order of time."""
    probes = list(others)
    if probing_in(session, project_id) is not None:
        answered = stored.answered_hidden(session, project_id, annotator_id, limit)
        probes += [(vote_id_of(key, at), at) for key, at in answered]
    return stored.merged_by_time(session, votes, probes)[:limit] if probes else list(votes)


def skipped(session: Session, project_id: str, annotator_id: str) -> list[tuple[str, datetime]]:
    """(pair, as this annotator knows it; time) of the hidden probes they skipped, newest first."""
    if probing_in(session, project_id) is None:
        return []
    found = stored.skipped_hidden(session, project_id, annotator_id)
    return [(shown_id(probe), probe.answered_at) for probe in found if probe.answered_at]


def as_vote(session: Session, vote_id: str) -> Vote | None:
    """What an answer to a hidden probe said, as a vote that is not stored."""
    probe = probe_behind(session, vote_id)
    if probe is None or probe.outcome is None or probe.kind == "training":
        return None
    return _as_vote(session, probe)


def as_shown(vote: Vote) -> None:
    """An answer to a hidden probe, as `storage.probes.as_vote` gives it, gets the ids that its
    annotator knows."""
    vote.id = vote_id_of(vote.id, vote.created_at)
    vote.pair_id = disguised(vote.annotator_id, vote.pair_id)


# --- parts ---------------------------------------------------------------------------------


def _sides(pair: Pair, probe: Probe) -> tuple[str, str]:
    if probe.a_left:
        return pair.response_a, pair.response_b
    return pair.response_b, pair.response_a


def _as_vote(
    session: Session, probe: Probe, source: str = "page", criteria: dict[str, Any] | None = None
) -> Vote:
    """Never added to a session: it is an answer, not a vote. With the ids that its annotator
    knows."""
    vote = stored.as_vote(session, probe, TRAINING if probe.kind == "training" else source, criteria)
    vote.id, vote.pair_id = shown_vote_id(probe), shown_id(probe)
    return vote
