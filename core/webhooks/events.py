"""What is told, and writing it down. A body is thin: ids and what was said, no texts, no
names; who needs more asks the API."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from storage import webhooks
from storage.ids import now
from storage.tables import Vote

VOTE, PAIR, PROJECT, GOLD = "vote.cast", "pair.complete", "project.complete", "gold.failed"
EVENTS = {
    VOTE: "Each vote, as it is cast.",
    PAIR: "A pair has all the votes it was to get.",
    PROJECT: "No pair of the project waits for a vote any more.",
    GOLD: "An annotator answered a pair whose answer is known, and was wrong.",
}
TEST = "webhook.test"  # only when somebody presses the button


def emit(session: Session, project_id: str, event: str, entity_id: str, body: dict[str, Any]) -> None:
    """Tell every active webhook of the project that wants `event`, when (and only if) this
    unit of work is committed. `entity_id` is what the event is about: the same webhook,
    event and entity is told once. `body` is JSON. Costs one query where there is none."""
    ids = webhooks.listening(session, project_id, event)
    if not ids:
        return
    at = now()
    webhooks.add(session, ids, project_id, event, entity_id, payload(event, project_id, body), at)


def payload(event: str, project_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """As the specification recommends: type, timestamp of the event, data."""
    return {"type": event, "timestamp": now().isoformat(), "data": {"project_id": project_id, **body}}


def after_votes(session: Session, votes: Sequence[Vote]) -> None:
    """The votes were written and their slots are filled: tell of each, of a pair when that was
    the last vote it waited for, and of a project when that was its last pair."""
    by_project: dict[str, list[Vote]] = {}
    for vote in votes:
        by_project.setdefault(vote.project_id, []).append(vote)
    for project_id, cast in by_project.items():
        for vote in cast:
            emit(session, project_id, VOTE, vote.id, _said(vote))
        if any(webhooks.listening(session, project_id, name) for name in (PAIR, PROJECT)):
            _complete(session, project_id, sorted({vote.pair_id for vote in cast}))


def _complete(session: Session, project_id: str, pair_ids: Sequence[str]) -> None:
    session.flush()
    some = False
    for pair_id in pair_ids:
        votes = webhooks.votes_when_complete(session, pair_id)
        some = some or votes > 0
        if votes:
            # With the number of votes, so that it is told again when more were asked for later.
            emit(session, project_id, PAIR, f"{pair_id}:{votes}", {"pair_id": pair_id, "votes": votes})
    if some and webhooks.listening(session, project_id, PROJECT):
        votes = webhooks.project_votes_when_complete(session, project_id)
        if votes:
            emit(session, project_id, PROJECT, f"{project_id}:{votes}", {"votes": votes})


def _said(vote: Vote) -> dict[str, Any]:
    return {
        "vote_id": vote.id,
        "pair_id": vote.pair_id,
        "annotator_id": vote.annotator_id,
        "outcome": vote.outcome,
        "winner": vote.winner,
        "strength": vote.strength,
        "source": vote.source,
    }
