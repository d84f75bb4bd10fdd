"""What a lead does about an annotator: `core.annotation.annotators`."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.annotation import annotators
from core.annotation.annotators import State

router = APIRouter(prefix="/projects/{project_id}/annotators", tags=["annotators"])


class Reason(BaseModel):
    reason: str = Field("", max_length=annotators.MAX_REASON)


class AnnotatorPublic(BaseModel):
    """`slots_opened`, `slots_closed`: votes that this call asks of others instead, or no longer."""

    id: str
    name: str
    simulated: bool
    votes: int
    paused_at: datetime | None
    paused_reason: str
    excluded_at: datetime | None
    excluded_by: str
    excluded_reason: str
    machine: bool
    slots_opened: int = 0
    slots_closed: int = 0


@router.get("")
def list_(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[AnnotatorPublic]:
    """Everybody who voted or claimed in the project, and how they stand."""
    return [_public(state) for state in annotators.states(db, who, project_id)]


@router.post("/{annotator_id}/pause")
def pause(
    project_id: str, annotator_id: str, values: Reason, db: DatabaseDep, who: CurrentUser
) -> AnnotatorPublic:
    """No more pairs for this annotator, who is shown the reason at the next claim (403)."""
    return _public(annotators.pause(db, who, project_id, annotator_id, values.reason))


@router.post("/{annotator_id}/resume")
def resume(project_id: str, annotator_id: str, db: DatabaseDep, who: CurrentUser) -> AnnotatorPublic:
    return _public(annotators.resume(db, who, project_id, annotator_id))


@router.post("/{annotator_id}/exclude")
def exclude(
    project_id: str, annotator_id: str, values: Reason, db: DatabaseDep, who: CurrentUser
) -> AnnotatorPublic:
    """Count none of this annotator's votes, anywhere, until they are taken back in. Their pairs
    ask others instead."""
    return _public(annotators.leave_out(db, who, project_id, annotator_id, values.reason))


@router.post("/{annotator_id}/include")
def include(project_id: str, annotator_id: str, db: DatabaseDep, who: CurrentUser) -> AnnotatorPublic:
    """Count this annotator's votes again."""
    return _public(annotators.take_back(db, who, project_id, annotator_id))


def _public(state: State) -> AnnotatorPublic:
    return AnnotatorPublic.model_validate(state, from_attributes=True)
