"""The room that pairs have for votes follows which votes count: beside each vote, and when
somebody's votes are left out or taken back in."""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from core.annotation import adjudication
from core.projects import find_project
from storage.reopening import refit, refit_pairs
from storage.tables import Annotator, Vote

_FRESH_S = 2.0
_known: dict[str, tuple[float, frozenset[str]]] = {}  # by project: until when it is good; who is left out


def after_votes(session: Session, votes: Sequence[Vote]) -> int:
    """Within the unit of work of these votes, which are stored: whose votes do not count fills
    no room, so that somebody else is asked; and pairs that are disputed now are sent. Answers
    how many slots were opened or closed by it."""
    changed = 0
    in_vain: dict[str, set[str]] = defaultdict(set)
    for vote in votes:
        if vote.annotator_id in _left_out(session, vote.project_id):
            in_vain[vote.project_id].add(vote.pair_id)
    for project_id, pair_ids in in_vain.items():
        project = find_project(session, project_id)
        changed += sum(refit_pairs(session, project_id, sorted(pair_ids), project.votes_per_pair))
    return changed + adjudication.after_votes(session, votes)


def after_change(session: Session, annotator: Annotator, was_out: datetime | None) -> tuple[int, int]:
    """When somebody's votes came to count, or not to, within the unit of work that says so:
    their pairs ask others for votes instead, or no longer. Answers how many slots were opened
    and closed. Votes of machines fill no room."""
    if (annotator.excluded_at is None) == (was_out is None) or annotator.machine:
        return 0, 0
    _known.pop(annotator.project_id, None)
    project = find_project(session, annotator.project_id)
    changed = refit(session, project.id, annotator.id, project.votes_per_pair)
    adjudication.follow(session, project.id)
    return changed


def _left_out(session: Session, project_id: str) -> frozenset[str]:
    """As it was within the last two seconds: this stands in the way of every vote. A vote that
    is cast in the moment in which its annotator is left out may fill a slot."""
    known = _known.get(project_id)
    if known is None or known[0] < time.monotonic():
        found = session.exec(
            select(Annotator.id).where(
                Annotator.project_id == project_id, col(Annotator.excluded_at).is_not(None)
            )
        )
        if len(_known) > 10_000:
            _known.clear()
        known = _known[project_id] = (time.monotonic() + _FRESH_S, frozenset(found))
    return known[1]
