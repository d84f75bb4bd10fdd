"""Reward models: what there is, and which one is active. They are trained by runs."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core import projects
from core.reward import registry
from core.reward.promotion import MAX_REASON
from storage.tables import RewardModel

router = APIRouter(tags=["reward models"])


class RewardModelPublic(BaseModel):
    """`metrics` is the result of the run that trained it, on the held-out test split;
    `simulated_share` of the votes it was trained on (an uploaded one: judged by) were simulated."""

    id: str
    project_id: str
    run_id: str
    name: str
    backbone: str
    active: bool
    simulated_share: float
    metrics: dict[str, Any]
    created_at: datetime


def public(model: RewardModel, active_id: str | None) -> RewardModelPublic:
    return RewardModelPublic(
        id=model.id,
        project_id=model.project_id,
        run_id=model.run_id,
        name=model.name,
        backbone=model.backbone,
        active=model.id == active_id,
        simulated_share=model.simulated_share,
        metrics=model.metrics,
        created_at=model.created_at,
    )


@router.get("/projects/{project_id}/reward-models")
def list_(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[RewardModelPublic]:
    """Newest first."""
    models = registry.list_models(db, who, project_id)[offset : offset + limit]
    active = projects.get_project(db, who, project_id).reward_model_id
    return [public(model, active) for model in models]


class ActivationWanted(BaseModel):
    """`reason`: needed where the model is not shown to be better; kept in the audit log."""

    reason: str = Field("", max_length=MAX_REASON)


class ActivatedPublic(RewardModelPublic):
    """`change`: the model that was active before (`before`), the `comparison` with it, what
    differs, and the `warning` that was overruled; see `GET /reward-models/{id}/change`."""

    change: dict[str, Any]


@router.post("/reward-models/{model_id}/activate")
def activate(
    model_id: str, db: DatabaseDep, who: CurrentUser, wanted: ActivationWanted | None = None
) -> ActivatedPublic:
    """Make this the model that optimisers of its project use. 409 where it is not shown to be
    better than the active one and no reason is given."""
    done = registry.activate(db, who, model_id, wanted.reason if wanted else "")
    model = public(done.model, done.model.id)
    return ActivatedPublic(**model.model_dump(), change=done.change.as_dict())
