"""Who decides disputed pairs, and which those are: `core.annotation.adjudication`."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.assignment import MemberPublic, StandingPublic
from api.deps import CurrentUser, DatabaseDep
from core.annotation import adjudication
from core.annotation.adjudication import Adjudication

router = APIRouter(prefix="/projects/{project_id}/adjudication", tags=["assignment"])


class SplitPublic(BaseModel):
    """`pairs` whose decisive votes are split `more` to `fewer`; `taken`: the measure calls them
    disputed. `waiting` want votes still, `queued` wait for an adjudicator, `decided` had one."""

    more: int
    fewer: int
    opposite: bool
    taken: bool
    pairs: int
    waiting: int
    queued: int
    decided: int
    to_send: int


class OutcomesPublic(BaseModel):
    """Of `pairs` that were adjudicated: on `compared` the others had a majority and the
    adjudicator preferred one response, on `sided` the same. `agreed`: 95 %, Wilson."""

    pairs: int
    compared: int
    sided: int
    even: int
    neither: int
    agreed: float | None
    agreed_low: float | None
    agreed_high: float | None


class AdjudicationPublic(BaseModel):
    settings: Adjudication
    members: list[MemberPublic]
    splits: list[SplitPublic]
    disputed: int
    waiting: int
    to_send: int
    queue: StandingPublic
    beyond_reach: int
    outcomes: OutcomesPublic


class AdjudicationWanted(BaseModel):
    """What is not named stays as it is. `members`: ids of users. A pair is disputed with
    `at_least` decisive votes of which the share of the response with fewer is `minority` or
    more, or (`opposite`) with votes "significantly" for either side."""

    members: Annotated[list[str] | None, Field(max_length=1_000)] = None
    automatic: bool | None = None
    at_least: Annotated[int | None, Field(ge=2, le=100)] = None
    minority: Annotated[float | None, Field(gt=0, le=0.5)] = None
    opposite: bool | None = None


class SentPublic(BaseModel):
    opened: int
    closed: int


@router.get("")
def read(project_id: str, db: DatabaseDep, who: CurrentUser) -> AdjudicationPublic:
    """Adjudicators, the measure with how many pairs it takes, the queue, and what was decided."""
    found = adjudication.view(db, who, project_id)
    return AdjudicationPublic(
        settings=found.settings,
        members=[MemberPublic(**asdict(person)) for person in found.members],
        splits=[SplitPublic(**asdict(item), taken=found.settings.takes(item)) for item in found.splits],
        disputed=found.disputed,
        waiting=found.waiting,
        to_send=found.to_send,
        queue=StandingPublic(**asdict(found.queue)),
        beyond_reach=found.beyond_reach,
        outcomes=OutcomesPublic(
            **asdict(found.outcomes),
            agreed=found.agreed,
            agreed_low=found.agreed_low,
            agreed_high=found.agreed_high,
        ),
    )


@router.put("")
def write(project_id: str, values: AdjudicationWanted, db: DatabaseDep, who: CurrentUser) -> Adjudication:
    wanted = {name: value for name, value in values.model_dump().items() if value is not None}
    return adjudication.set_adjudication(db, who, project_id, **wanted)


@router.post("/send")
def send(project_id: str, db: DatabaseDep, who: CurrentUser) -> SentPublic:
    """Send what is disputed now, and take back what is no longer and nobody has. Again is the
    same as once."""
    return SentPublic(**asdict(adjudication.send(db, who, project_id)))
