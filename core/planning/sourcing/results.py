"""Build or buy worked out: for its page, the brief and the API alike."""

from dataclasses import dataclass
from typing import Any

from core.access import Principal, require
from core.planning.documents import Saved, current
from core.planning.sourcing.model import Sourcing
from core.planning.sourcing.proposals import Known, Proposals, known, propose, with_figures, with_scores
from core.planning.sourcing.ranking import Ranking, rank
from core.planning.sourcing.recommend import Recommendation, recommend
from core.planning.sourcing.tco import Spread, Tco, total_cost
from core.planning.units import money, units_of
from storage.database import Database

Rows = list[dict[str, Any]]
WHEN = {"once": "once", "year": "per year", "use": "per use"}


@dataclass(frozen=True)
class Results:
    """`plan` is what was said, with what the project knows filled in."""

    plan: Sourcing
    facts: Known
    proposals: Proposals
    costs: Tco
    ranking: Ranking
    recommendation: Recommendation
    currency: str


def work_out(said: Sourcing, facts: Known, currency: str) -> Results:
    """No database: the same input gives the same answer."""
    plan = with_figures(said, facts)
    costs = total_cost(plan)
    proposals = propose(plan, facts, costs)
    plan = with_scores(plan, proposals)
    ranking = rank(plan, costs)
    return Results(
        plan, facts, proposals, costs, ranking, recommend(plan, costs, ranking, currency), currency
    )


def compute(db: Database, who: Principal, project_id: str, said: Sourcing) -> Results:
    """What would follow from a plan that is not saved. Raises NotFound for the project."""
    require(who, "plan.view")
    return work_out(said, known(db, who, project_id), units_of(db, who, project_id).currency)


def sourcing_now(db: Database, who: Principal, project_id: str) -> tuple[Saved[Sourcing] | None, Results]:
    """The saved plan, or the usual one (then None), with what follows from it."""
    require(who, "plan.view")
    saved = current(db, who, project_id, Sourcing)
    return saved, compute(db, who, project_id, saved.body if saved else Sourcing())


def option_rows(found: Results) -> Rows:
    """Best first; costs over all years, not discounted, and discounted."""
    rows = []
    for i in found.ranking.order:
        option = found.costs.options[i]
        rows.append(
            {
                "Option": option.name,
                "Points": round(float(found.ranking.totals[i]), 2),
                "Cost P10": round(option.total.p10),
                "Cost P50": round(option.total.p50),
                "Cost P90": round(option.total.p90),
                "Discounted P50": round(option.discounted.p50),
                "Cheapest": round(float(found.costs.cheapest[i]), 3),
            }
        )
    return rows


def year_rows(found: Results) -> Rows:
    return [
        {"Option": option.name, "Year": year + 1} | _ends(cost)
        for option in found.costs.options
        for year, cost in enumerate(option.years)
    ]


def line_rows(found: Results) -> Rows:
    return [
        {
            "Option": option.name,
            "Line": item.line.name,
            "When": WHEN[item.line.when],
            "What": "people" if item.line.what == "people" else "money",
        }
        | _ends(item.cost)
        for option in found.costs.options
        for item in option.lines
    ]


def cheaper_rows(found: Results) -> Rows:
    """The probability that the option of the row costs less than that of the column."""
    names = [option.name for option in found.costs.options]
    return [
        {"Option": name} | {f"less than {other}": _chance(found, i, j) for j, other in enumerate(names)}
        for i, name in enumerate(names)
    ]


def score_rows(found: Results) -> Rows:
    rows = []
    for i, option in enumerate(found.plan.options):
        for j, factor in enumerate(found.plan.factors):
            score = found.plan.score(option, factor)
            rows.append(
                {
                    "Option": option.name,
                    "Factor": factor.name,
                    "Weight": round(float(found.ranking.weights[j]), 3),
                    "Score": score.value,
                    "From": score.origin,
                    "Reason": score.reason,
                }
            )
        rows.append(
            {
                "Option": option.name,
                "Factor": found.ranking.names[-1],
                "Weight": round(float(found.ranking.weights[-1]), 3),
                "Score": round(float(found.ranking.scores[i, -1]), 1),
                "From": "computed",
                "Reason": f"Median discounted cost {money(found.costs.options[i].discounted.p50, found.currency)}.",
            }
        )
    return rows


def room_rows(found: Results) -> Rows:
    names = [option.name for option in found.plan.options]
    name = lambda place: "" if place is None else names[place]  # noqa: E731
    return [
        {
            "Factor": found.ranking.names[room.factor],
            "Weight": round(room.share, 3),
            "From": 0.0 if room.down is None else round(room.down, 3),
            "To": 1.0 if room.up is None else round(room.up, 3),
            "Below wins": name(room.down_winner),
            "Above wins": name(room.up_winner),
        }
        for room in found.ranking.rooms
    ]


def _ends(cost: Spread) -> dict[str, float]:
    return {"P10": round(cost.p10), "P50": round(cost.p50), "P90": round(cost.p90), "Mean": round(cost.mean)}


def _chance(found: Results, i: int, j: int) -> float | None:
    return None if i == j else round(float(found.costs.cheaper[i, j]), 3)
