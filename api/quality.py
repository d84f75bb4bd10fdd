"""What needs every vote, and how votes add up: `core.annotation.detail`, `…aggregation`."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api.annotation import SimulatedVotes
from api.deps import CurrentUser, DatabaseDep
from core.annotation.aggregation import effects, method_of, set_method
from core.annotation.detail import detail as detail_of
from core.annotation.styled import composite as composite_of
from core.annotation.styled import style_controlled
from core.projects import get_project

router = APIRouter(prefix="/projects/{project_id}", tags=["annotators"])

Method = Literal["majority", "skill", "bradley_terry"]


class Aggregation(BaseModel):
    method: Method


class EffectPublic(BaseModel):
    """Of pairs with votes that compare. `flipped`: another response is preferred than by
    majority; `undone`: none, where the majority prefers one; `settled`: one, where it is even."""

    method: Method
    pairs: int
    votes: int
    decided: int
    flipped: int
    undone: int
    settled: int
    moved: float


class AggregationPublic(Aggregation):
    effects: list[EffectPublic]


@router.get("/quality/detail")
def detail(
    project_id: str, db: DatabaseDep, who: CurrentUser, simulated: SimulatedVotes = None
) -> dict[str, Any]:
    """Skill and care of each annotator, suspected clickers with the evidence, agreement by
    criterion, prompts, source and week. A million votes take most of a minute the first time."""
    return detail_of(db, who, project_id, simulated=simulated).as_dict()


@router.get("/aggregation")
def aggregation(
    project_id: str, db: DatabaseDep, who: CurrentUser, simulated: SimulatedVotes = None
) -> AggregationPublic:
    """How the project's votes become one soft label a pair, and what each way would change."""
    found = effects(db, who, project_id, simulated)
    return AggregationPublic(
        method=method_of(get_project(db, who, project_id)),  # type: ignore[arg-type]
        effects=[EffectPublic.model_validate(item, from_attributes=True) for item in found],
    )


@router.put("/aggregation")
def choose(project_id: str, values: Aggregation, db: DatabaseDep, who: CurrentUser) -> Aggregation:
    """Choose how votes add up; training a reward model reads it from now on."""
    return Aggregation(method=set_method(db, who, project_id, values.method))  # type: ignore[arg-type]


@router.get("/leaderboard/style")
def style(
    project_id: str, db: DatabaseDep, who: CurrentUser, simulated: SimulatedVotes = None
) -> dict[str, Any]:
    """Ratings with length, headers, lists and bold held fixed, beside the plain ones."""
    return style_controlled(db, who, project_id, simulated=simulated)


@router.get("/leaderboard/criteria")
def criteria(
    project_id: str, db: DatabaseDep, who: CurrentUser, simulated: SimulatedVotes = None
) -> dict[str, Any]:
    """Ratings by each criterion's marks, and their mean."""
    return composite_of(db, who, project_id, simulated=simulated)
