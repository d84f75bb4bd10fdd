"""What follows when an annotator fails gold checks: what the lead set, done by the system,
with the reason, in the audit log.

The checks are counted since the last time the rule acted, so that one bad spell acts once,
and somebody whom the lead lets go on starts with a clean sheet.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from core import audit, webhooks
from core.annotation import room
from core.annotation.probing import Probing
from storage import probe_results
from storage.ids import now
from storage.tables import Annotator, AuditEntry, Message, Pair, Probe

ACTIONS = {
    "warn": "annotator.warn",
    "pause": "annotator.pause",
    "leave_out": "annotator.exclude",
}
WORDS = {"warn": "they get a message", "pause": "they are paused", "leave_out": "their votes are left out"}


def failed(session: Session, probing: Probing, probe: Probe, pair: Pair) -> None:
    """A gold check was answered wrongly: tell other programs, and act when it was one too
    many. `probe` must be flushed."""
    annotator = session.get(Annotator, probe.annotator_id)
    if annotator is None:
        return
    recent = probe_results.last_checks(
        session, annotator.id, probe.project_id, _acted(session, annotator.id), probing.window
    )
    wrong = sum(not item.passed for item in recent)
    acts = probing.acts_on([bool(item.passed) for item in recent]) and not _stands(annotator, probing.action)
    if acts:
        _act(session, probing, annotator, wrong, len(recent))
    webhooks.emit(
        session,
        probe.project_id,
        "gold.failed",
        probe.id,
        {
            "annotator_id": annotator.id,
            "annotator": annotator.name,
            "pair_id": pair.id,
            "expected": _side(pair, probe.expected_outcome, probe.expected_winner),
            "said": _side(pair, probe.outcome or "", probe.winner),
            "failed": wrong,
            "checked": len(recent),
            "action": probing.action if acts else None,
        },
    )


def _act(session: Session, probing: Probing, annotator: Annotator, wrong: int, checked: int) -> None:
    reason = f"{wrong} of the last {checked} control pairs were answered otherwise than expected."
    if probing.action == "pause":
        annotator.paused_at, annotator.paused_reason = now(), reason
    elif probing.action == "leave_out":
        was_out = annotator.excluded_at
        annotator.excluded_at, annotator.excluded_by, annotator.excluded_reason = now(), None, reason
        session.add(annotator)
        room.after_change(session, annotator, was_out)
    else:
        session.add(
            Message(
                project_id=annotator.project_id,
                annotator_id=annotator.id,
                text=f"{reason} Please read the guidelines again, and take your time for each pair.",
            )
        )
    session.add(annotator)
    audit.record(
        session, None, ACTIONS[probing.action], "annotator", annotator.id, annotator.project_id,
        name=annotator.name, reason=reason, rule="gold checks",
    )  # fmt: skip


def _stands(annotator: Annotator, action: str) -> bool:
    if action == "pause":
        return annotator.paused_at is not None
    return action == "leave_out" and annotator.excluded_at is not None


def _acted(session: Session, annotator_id: str) -> datetime | None:
    """When the rule last did something about this annotator."""
    query = select(AuditEntry.at).where(
        AuditEntry.entity_id == annotator_id,
        col(AuditEntry.action).in_(ACTIONS.values()),
        col(AuditEntry.user_id).is_(None),
    )
    return session.exec(query.order_by(col(AuditEntry.at).desc()).limit(1)).first()


def _side(pair: Pair, outcome: str, winner: str | None) -> str:
    if outcome != "win":
        return outcome
    return "a" if winner == pair.response_a else "b"
