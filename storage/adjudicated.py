"""Votes of adjudicators, who decide disputed pairs and see what others said before.

Such a vote (`Vote.source` is ADJUDICATION) is the last word on what its pair is worth as a
label, and says nothing about agreement, because it was not cast independently.
"""

from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlmodel import col

from storage.counting import counted
from storage.tables import Vote

ADJUDICATION = "adjudication"


def independent(vote: Any = Vote) -> ColumnElement[bool]:
    """A condition on votes: cast without knowing what others said."""
    return col(vote.source) != ADJUDICATION


def decides(project_id: str) -> ColumnElement[bool]:
    """A condition on votes of a project: they say what their pair is worth. Where an
    adjudicator's vote counts, it alone; elsewhere every vote that counts."""
    adjudicated = select(col(Vote.pair_id)).where(
        col(Vote.project_id) == project_id, col(Vote.source) == ADJUDICATION, counted(project_id)
    )
    return counted(project_id) & or_(col(Vote.source) == ADJUDICATION, col(Vote.pair_id).not_in(adjudicated))
