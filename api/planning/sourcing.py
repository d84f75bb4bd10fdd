"""Build or buy worked out: ranking, cost with ranges, sensitivity and the reason in words.
The plan itself is a document of the kind `sourcing`."""

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.planning.sourcing.model import Sourcing
from core.planning.sourcing.ranking import RULE
from core.planning.sourcing.results import Results, compute, sourcing_now

router = APIRouter(prefix="/projects/{project_id}/plan/sourcing", tags=["plan"])


class Spread(BaseModel):
    mean: float
    p10: float
    p50: float
    p90: float


class Line(BaseModel):
    name: str
    when: str
    what: str
    cost: Spread


class OptionResult(BaseModel):
    """`points` of 10, `contributions` to them by factor key. `total` is not discounted,
    nor are `years` and `lines`. `cheaper_than`: probability by option key."""

    key: str
    name: str
    points: float
    contributions: dict[str, float]
    total: Spread
    discounted: Spread
    years: list[Spread]
    lines: list[Line]
    cheapest: float
    cheaper_than: dict[str, float]
    wins_over_weights: float
    wins_over_costs: float


class Room(BaseModel):
    """Within (`low`, `high`) of its share of the weight the same option wins; None: no end."""

    factor: str
    weight: float
    low: float | None
    low_winner: str | None
    high: float | None
    high_winner: str | None


class SourcingResults(BaseModel):
    """Options best first. `plan` is the plan with what the project knows filled in."""

    version: int | None
    answer: str
    reasons: list[str]
    conditions: list[str]
    currency: str
    draws: int
    cost_rule: str
    options: list[OptionResult]
    sensitivity: list[Room]
    missing: dict[str, str]
    plan: Sourcing


@router.get("/results")
def results(project_id: str, db: DatabaseDep, who: CurrentUser) -> SourcingResults:
    """Of the saved plan; without one, of the usual assumptions (then `version` is null)."""
    saved, found = sourcing_now(db, who, project_id)
    return _public(found, saved.number if saved else None)


@router.post("/results")
def check(project_id: str, plan: Sourcing, db: DatabaseDep, who: CurrentUser) -> SourcingResults:
    """Of a plan that is sent along; nothing is saved."""
    return _public(compute(db, who, project_id, plan), None)


def _public(found: Results, version: int | None) -> SourcingResults:
    ranking, costs = found.ranking, found.costs
    keys = [option.key for option in costs.options]
    name = lambda place: None if place is None else keys[place]  # noqa: E731
    options = []
    for i in ranking.order:
        cost = costs.options[i]
        options.append(
            OptionResult(
                key=cost.key,
                name=cost.name,
                points=float(ranking.totals[i]),
                contributions=dict(zip(ranking.keys, ranking.contributions[i].tolist(), strict=True)),
                total=_spread(cost.total),
                discounted=_spread(cost.discounted),
                years=[_spread(year) for year in cost.years],
                lines=[
                    Line(
                        name=item.line.name, when=item.line.when, what=item.line.what, cost=_spread(item.cost)
                    )
                    for item in cost.lines
                ],
                cheapest=float(costs.cheapest[i]),
                cheaper_than={key: float(costs.cheaper[i, j]) for j, key in enumerate(keys) if j != i},
                wins_over_weights=float(ranking.draws.wins[i]),
                wins_over_costs=float(ranking.wins[i]),
            )
        )
    return SourcingResults(
        version=version,
        answer=found.recommendation.answer,
        reasons=found.recommendation.reasons,
        conditions=found.recommendation.conditions,
        currency=found.currency,
        draws=costs.n,
        cost_rule=RULE,
        options=options,
        sensitivity=[
            Room(
                factor=ranking.keys[room.factor],
                weight=room.share,
                low=room.down,
                low_winner=name(room.down_winner),
                high=room.up,
                high_winner=name(room.up_winner),
            )
            for room in ranking.rooms
        ],
        missing=found.facts.missing,
        plan=found.plan,
    )


def _spread(cost: object) -> Spread:
    return Spread.model_validate(cost, from_attributes=True)
