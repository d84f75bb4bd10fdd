"""The one place that says which votes count.

A lead may leave an annotator's votes out, and take them back in. They stay where they are;
whatever reads votes to learn what people prefer (leaderboard, quality, reward data, plans,
exports, the view `preference`) asks here and passes over them. Only what was done and paid
for (votes cast a day, time spent) counts them still.
"""

from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlmodel import Session, col

from storage.tables import Annotator, Vote


def counted(project_id: str, annotator_id: Any = Vote.annotator_id) -> ColumnElement[bool]:
    """A condition on votes of a project: their annotator was not left out."""
    left_out = select(col(Annotator.id)).where(
        col(Annotator.project_id) == project_id, col(Annotator.excluded_at).is_not(None)
    )
    return col(annotator_id).not_in(left_out)


def left_out_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever somebody's votes are left out or taken back in: part of the state of
    whatever is kept because it was computed from votes."""
    query = select(func.count(), func.max(col(Annotator.excluded_at))).where(
        col(Annotator.project_id) == project_id, col(Annotator.excluded_at).is_not(None)
    )
    return tuple(session.execute(query).one())


def people_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever an annotator is paused, resumed, left out or taken back in."""
    query = select(func.count(col(Annotator.paused_at)), func.max(col(Annotator.paused_at))).where(
        col(Annotator.project_id) == project_id
    )
    return (*session.execute(query).one(), *left_out_state(session, project_id))
