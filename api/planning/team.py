"""What follows from a project's team: coverage, gaps, suggestion and cost. The team itself
is a document of the kind `team`."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.planning.team import results, words
from core.planning.team.cost import MAX_MONTHS
from core.planning.team.model import Team
from core.planning.team.results import Results

router = APIRouter(prefix="/projects/{project_id}/plan/team", tags=["plan"])

Months = Annotated[int, Query(ge=1, le=MAX_MONTHS)]


class RoleCover(BaseModel):
    phase: str
    role: str
    needed: float
    available: float
    gap: float


class SkillCover(BaseModel):
    phase: str
    skill: str
    level: int
    needed: float
    available: float
    gap: float
    people: list[str]


class Overload(BaseModel):
    """`end` is the first day after."""

    member: str
    load: float
    availability: float
    start: date
    end: date
    phases: list[str]


class SinglePoint(BaseModel):
    skill: str
    member: str
    phases: list[str]


class More(BaseModel):
    member: str
    role: str
    phase: str
    share: float
    cost: float


class Addition(BaseModel):
    name: str
    role: str
    skills: dict[str, int]
    shares: dict[str, float]
    first_phase: str
    cost: float


class Suggestion(BaseModel):
    """The smallest addition that closes the gaps; costs are over the whole plan."""

    more: list[More]
    additions: list[Addition]
    cost: float


class CoveragePublic(BaseModel):
    """`version`: of the saved team; None when none is saved, or it was sent to be checked.
    Full-time equivalents throughout; covered shares are of FTE-weeks."""

    version: int | None
    answer: str
    sentences: list[str]
    covered_roles: float | None
    covered_skills: float | None
    roles: list[RoleCover]
    skills: list[SkillCover]
    overloads: list[Overload]
    single_points: list[SinglePoint]
    suggestion: Suggestion


class CostByPhase(BaseModel):
    phase: str
    role: str
    fte: float
    cost: float


class CostPublic(BaseModel):
    """`monthly` from today, `by_phase` over the whole plan; `currency` as in the units."""

    version: int | None
    currency: str
    monthly: list[float]
    by_phase: list[CostByPhase]
    by_role: dict[str, float]
    plan: float


class Checked(BaseModel):
    coverage: CoveragePublic
    cost: CostPublic


@router.get("/coverage")
def coverage(project_id: str, db: DatabaseDep, who: CurrentUser) -> CoveragePublic:
    """The saved team against what each phase needs."""
    now = results.team_now(db, who, project_id)
    return _coverage(now.results, now.saved.number if now.saved else None)


@router.get("/cost")
def cost(project_id: str, db: DatabaseDep, who: CurrentUser, months: Months = 12) -> CostPublic:
    """What the people of the saved team cost; nothing without one."""
    now = results.team_now(db, who, project_id, months)
    return _cost(now.results, now.saved.number if now.saved else None)


@router.post("/check")
def check(project_id: str, team: Team, db: DatabaseDep, who: CurrentUser, months: Months = 12) -> Checked:
    """The same for a team that is sent along; nothing is saved."""
    found = results.check(db, who, project_id, team, months)
    return Checked(coverage=_coverage(found, None), cost=_cost(found, None))


def _coverage(found: Results, version: int | None) -> CoveragePublic:
    cover, suggestion = found.found, found.suggestion
    return CoveragePublic(
        version=version,
        answer=results.answer(found),
        sentences=words.sentences(cover) + [words.single_point(row) for row in cover.single_points],
        covered_roles=cover.covered_roles(),
        covered_skills=cover.covered_skills(),
        roles=[RoleCover.model_validate(row, from_attributes=True) for row in cover.roles],
        skills=[SkillCover.model_validate(row, from_attributes=True) for row in cover.skills],
        overloads=[Overload.model_validate(row, from_attributes=True) for row in cover.overloads],
        single_points=[SinglePoint.model_validate(row, from_attributes=True) for row in cover.single_points],
        suggestion=Suggestion(
            more=[More.model_validate(item, from_attributes=True) for item in suggestion.more],
            additions=[
                Addition(
                    name=item.member.name,
                    role=item.member.role,
                    skills=dict(item.member.skills),
                    shares={str(phase): share for phase, share in item.member.shares.items()},
                    first_phase=item.first,
                    cost=item.cost,
                )
                for item in suggestion.additions
            ],
            cost=suggestion.cost,
        ),
    )


def _cost(found: Results, version: int | None) -> CostPublic:
    return CostPublic(
        version=version,
        currency=found.units.currency,
        monthly=found.monthly.sum(axis=1).tolist(),
        by_phase=[CostByPhase.model_validate(row, from_attributes=True) for row in found.by_phase],
        by_role=found.cost_by_role(),
        plan=found.plan_cost,
    )
