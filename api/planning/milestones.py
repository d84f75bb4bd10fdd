"""Where the plan stands, over REST. Saving and loading it is in `documents.py`."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.access import require
from core.errors import Invalid
from core.planning.documents import checked
from core.planning.milestones.catalogue import KIND, Direction
from core.planning.milestones.metrics import Metric, Point, live_metrics
from core.planning.milestones.model import Milestones
from core.planning.milestones.moved import moved
from core.planning.milestones.schedule import schedule
from core.planning.milestones.status import answer, standing
from core.projects import get_project

router = APIRouter(prefix="/projects/{project_id}/plan/milestones", tags=["plan"])


class PointPublic(BaseModel):
    """`low` and `high`: the 95 % interval."""

    day: date
    value: float
    low: float | None
    high: float | None
    n: int | None


class MetricPublic(BaseModel):
    """`series` is in order of time and ends with `current`; `periods`: single days or weeks
    where the series is cumulative. `simulated`: how many of what is counted are simulated."""

    key: str
    title: str
    unit: str
    definition: str
    direction: Direction
    basis: str
    missing: str
    simulated: int
    current: PointPublic | None
    series: list[PointPublic]
    periods: list[PointPublic]


class PhasePublic(BaseModel):
    """Ends are the first day after. `expected_*`: with what happened so far."""

    key: str
    title: str
    owner: str
    after: list[str]
    start: date
    end: date
    latest_start: date
    latest_end: date
    slack: int
    critical: bool
    actual_start: date | None
    actual_end: date | None
    expected_start: date
    expected_end: date


class ForecastPublic(BaseModel):
    """`low` to `high` hold 80 % of the simulated dates; none of them: later than two years
    from now. `share`: of the simulated futures that get there within two years."""

    state: str
    said: str
    day: date | None
    low: date | None
    high: date | None
    share: float
    method: str


class StatusPublic(BaseModel):
    """`chance`: of meeting the target by the due date."""

    key: str
    name: str
    phase: str
    metric: str
    target: float | None
    direction: Direction
    due: date
    owner: str
    status: str
    reason: str
    current: PointPublic | None
    simulated: bool
    met_on: date | None
    chance: float | None
    forecast: ForecastPublic | None


class StandingPublic(BaseModel):
    """`version` is none while nobody has saved a plan: then the usual one is judged."""

    answer: str
    on: date
    plan_id: str | None
    version: int | None
    milestones: list[StatusPublic]
    phases: list[PhasePublic]


class MovedPublic(BaseModel):
    milestone: str
    name: str
    what: str
    before: str
    after: str
    version: int
    author: str
    at: datetime
    note: str


class Checked(BaseModel):
    """The plan as it would be saved, and its schedule."""

    body: Milestones
    phases: list[PhasePublic]


@router.get("/status")
def status(project_id: str, db: DatabaseDep, who: CurrentUser) -> StandingPublic:
    """Each milestone: met, on track, at risk or late, and why."""
    found = standing(db, who, project_id)
    saved = found.current.saved
    return StandingPublic(
        answer=answer(found.statuses, found.phases),
        on=found.on,
        plan_id=saved.plan_id if saved else None,
        version=saved.number if saved else None,
        milestones=[
            StatusPublic(
                **item.milestone.model_dump(exclude={"done", "due"}),
                due=item.due,
                status=item.word,
                reason=item.reason,
                current=_point(item.point),
                simulated=item.simulated,
                met_on=item.met_on,
                chance=item.chance,
                forecast=_public(ForecastPublic, item.forecast) if item.forecast else None,
            )
            for item in found.statuses
        ],
        phases=[_public(PhasePublic, phase) for phase in found.phases],
    )


@router.get("/metrics")
def metrics(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[MetricPublic]:
    """The live metrics, each with its history."""
    return [_metric(item) for item in live_metrics(db, who, project_id).values()]


@router.get("/forecast")
def forecast(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    metric: str,
    target: Annotated[float, Query(allow_inf_nan=False)],
    direction: Direction = "at_least",
) -> ForecastPublic:
    """When a metric will be at least (at most) a target."""
    require(who, "plan.view")
    if metric not in KIND:
        raise Invalid(f"metric: there is no metric “{metric}”.", f"Metrics: {', '.join(KIND)}.")
    if KIND[metric].family == "count" and direction == "at_most":
        raise Invalid("direction: a count only grows, so its target is a least number.")
    found = live_metrics(db, who, project_id)[metric]
    return _public(ForecastPublic, found.futures().reach(target, direction))


@router.get("/moved")
def moved_(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[MovedPublic]:
    """Targets and dates that moved from version to version, newest first."""
    return [_public(MovedPublic, item) for item in moved(db, who, project_id)]


@router.post("/check")
def check(project_id: str, body: dict[str, Any], db: DatabaseDep, who: CurrentUser) -> Checked:
    """Check a plan and lay out its phases, without saving it."""
    require(who, "plan.view")
    get_project(db, who, project_id)
    plan = checked(Milestones, body)
    return Checked(body=plan, phases=[_public(PhasePublic, phase) for phase in schedule(plan)])


def _public(model: Any, value: Any) -> Any:
    return model.model_validate(value, from_attributes=True)


def _point(point: Point | None) -> PointPublic | None:
    return None if point is None else PointPublic.model_validate(point, from_attributes=True)


def _metric(metric: Metric) -> MetricPublic:
    kind = metric.kind
    return MetricPublic(
        key=kind.key, title=kind.title, unit=kind.unit, definition=kind.definition, direction=kind.direction,
        basis=metric.basis, missing=metric.missing, simulated=metric.simulated, current=_point(metric.current),
        series=[PointPublic.model_validate(point, from_attributes=True) for point in metric.series],
        periods=[PointPublic.model_validate(point, from_attributes=True) for point in metric.periods],
    )  # fmt: skip
