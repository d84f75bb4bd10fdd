"""Candidates of an optimise run, and sending the best to the annotators."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.optimize.promote import queue_candidates
from core.optimize.view import candidates_of

router = APIRouter(prefix="/runs", tags=["optimise"])


class CandidatePublic(BaseModel):
    number: int
    parent: int | None
    operation: str
    text: str
    accepted: bool
    scores: dict[str, Any]
    calls: int
    prompt_id: str | None
    created_at: datetime


class Promote(BaseModel):
    """Without `candidates`: the best two that beat the start."""

    candidates: list[int] | None = None


class Promoted(BaseModel):
    prompts: list[str]
    run_id: str


@router.get("/{run_id}/candidates")
def candidates(
    run_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    limit: int = Query(1_000, ge=1, le=10_000),
    offset: int = Query(0, ge=0),
) -> list[CandidatePublic]:
    """In the order they were proposed; number 0 is the start prompt."""
    found = candidates_of(db, who, run_id)[offset : offset + limit]
    return [CandidatePublic.model_validate(item, from_attributes=True) for item in found]


@router.post("/{run_id}/promote-candidates", status_code=202)
def promote(run_id: str, db: DatabaseDep, who: CurrentUser, wanted: Promote | None = None) -> Promoted:
    """Make prompt versions of candidates, generate their responses, and queue blind pairs
    against the champion. Again answers the same."""
    made = queue_candidates(db, who, run_id, wanted.candidates if wanted else None)
    return Promoted(prompts=[prompt.id for prompt in made["prompts"]], run_id=made["run"].id)
