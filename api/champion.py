"""The champion: blind comparisons of found prompts with it, promotion, and the way back."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.errors import Conflict
from core.optimize import champion, trial

router = APIRouter(tags=["prompts"])


class Promoted(BaseModel):
    project_id: str
    champion_prompt_id: str


class Promote(BaseModel):
    """`reason` is kept in the audit log. A lead or an admin needs one to promote a found prompt
    that has not passed the blind comparison."""

    reason: str = ""


class RollBack(BaseModel):
    """`prompt_id`: the champion that is expected to come back; anything else is refused."""

    reason: str = ""
    prompt_id: str | None = None


class RulePublic(BaseModel):
    alpha: float
    minimum: int
    maximum: int


class VerdictPublic(BaseModel):
    """`verdict`: better, worse, futile or undecided. `n` examples, each by the first vote on it;
    `share` prefer the candidate, neither counting half, with the interval that holds however
    often it is looked at. `needed`: won examples in a row that would decide for it."""

    verdict: str
    n: int
    won: int
    even: int
    lost: int
    share: float | None
    low: float
    high: float
    decided_at: int | None
    needed: int | None


class PowerPublic(BaseModel):
    """What `examples` can be expected to show when `share` of the decisive ones go to the prompt:
    the chances that it passes (`better`) and that the champion does (`worse`), and the mean number of
    `votes` until a verdict."""

    share: float
    examples: int
    better: float
    worse: float
    votes: float


class ComparisonPublic(BaseModel):
    """`people` decides; `simulated` is what simulated votes alone would say. `votes` by who
    cast them: people, simulated, machine; `seen`: people's on examples of train and dev, which
    decide nothing. Of the `held_out` examples (test split) `asked` were answered and `examples`
    have a pair of the two; `waiting` pairs are in the queue."""

    prompt_id: str
    name: str
    champion_id: str
    champion: str
    rule: RulePublic
    people: VerdictPublic
    simulated: VerdictPublic | None
    votes: dict[str, int]
    seen: int
    held_out: int
    asked: int
    examples: int
    waiting: int
    passed: bool
    expected: list[PowerPublic]


class ReignPublic(BaseModel):
    """`how`: free, test, override or rollback. `figures`: of the comparison it was decided on."""

    at: datetime
    prompt_id: str
    name: str
    before_id: str | None
    by: str
    how: str
    reason: str
    figures: dict[str, Any]


class Queued(BaseModel):
    run_id: str


@router.post("/prompts/{prompt_id}/promote")
def promote(prompt_id: str, db: DatabaseDep, who: CurrentUser, values: Promote | None = None) -> Promoted:
    """Make it the project's champion. One that an optimiser found must have passed the blind
    comparison (409 otherwise)."""
    project = champion.promote(db, who, prompt_id, values.reason if values else "")
    return Promoted(project_id=project.id, champion_prompt_id=prompt_id)


@router.get("/prompts/{prompt_id}/comparison")
def comparison(prompt_id: str, db: DatabaseDep, who: CurrentUser) -> ComparisonPublic:
    """The blind comparison with the champion, as it stands."""
    found = trial.trial_of(db, who, prompt_id)
    if found is None:
        raise Conflict("There is no other champion to compare it with.", "Promote one first.")
    return ComparisonPublic.model_validate(found.as_dict())


@router.post("/prompts/{prompt_id}/comparison/more", status_code=202)
def more(prompt_id: str, db: DatabaseDep, who: CurrentUser) -> Queued:
    """Generate responses to further examples and queue their pairs with the champion."""
    return Queued(run_id=trial.queue_more(db, who, prompt_id).id)


@router.get("/projects/{project_id}/champions")
def champions(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[ReignPublic]:
    """Who made which prompt the champion, when and why; newest first."""
    found = champion.history(db, who, project_id)
    return [ReignPublic.model_validate(item, from_attributes=True) for item in found]


@router.post("/projects/{project_id}/champions/rollback")
def roll_back(project_id: str, db: DatabaseDep, who: CurrentUser, values: RollBack | None = None) -> Promoted:
    """Make the champion before this one the champion again."""
    wanted = values or RollBack()
    project = champion.roll_back(db, who, project_id, wanted.reason, wanted.prompt_id)
    return Promoted(project_id=project.id, champion_prompt_id=str(project.champion_prompt_id))
