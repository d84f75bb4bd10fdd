"""What is said about reward models: the judgement, the worst mistakes, drift."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.reward import drift, judged, mistakes, registry

router = APIRouter(tags=["reward models"])


class SendBack(BaseModel):
    """Ids of pairs on which one vote more is asked for."""

    pairs: list[str] = Field(min_length=1, max_length=mistakes.MOST_AT_ONCE)


class SentPublic(BaseModel):
    """`refused`: pair id -> why not."""

    pairs: list[str]
    refused: dict[str, str]


@router.get("/reward-models/{model_id}/judgement")
def judgement(model_id: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """All figures on held-out data, each as {value, low, high, n}: accuracy beside baselines and
    people, calibration, slices, leanings, sensitivity, learning curve, mistakes, warnings. Empty
    for a model that was made before there was one."""
    return judged.judgement(registry.get_model(db, who, model_id)) or {}


@router.get("/reward-models/{model_id}/mistakes")
def worst(model_id: str, db: DatabaseDep, who: CurrentUser) -> list[dict[str, Any]]:
    """The worst first, with texts and votes; `waiting`: sent back and not judged again yet;
    `verdict`: what the new votes say (people, model, even)."""
    return [item.as_dict() for item in mistakes.worst(db, who, model_id)]


@router.post("/reward-models/{model_id}/mistakes/send-back")
def send_back(model_id: str, wanted: SendBack, db: DatabaseDep, who: CurrentUser) -> SentPublic:
    """Ask for one vote more on each of these pairs, of people who have not judged them."""
    done = mistakes.send_back(db, who, model_id, wanted.pairs)
    return SentPublic(pairs=done.pairs, refused=done.refused)


@router.get("/projects/{project_id}/reward-drift")
def drift_(project_id: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """The active model's accuracy on each week's new votes, and `alarms`: the slices of the last
    four weeks that fell below their held-out accuracy (Fisher's exact test, Holm over slices)."""
    return drift.drift(db, who, project_id).as_dict()
