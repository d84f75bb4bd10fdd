from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.access import require
from core.errors import Invalid
from core.planning.decision import ahp, results, tables
from core.planning.decision.evidence import collect
from core.planning.decision.model import Comparison, Decision
from core.planning.decision.proposals import propose
from core.planning.documents import checked
from core.projects import get_project

router = APIRouter(prefix="/projects/{project_id}/plan/decision", tags=["plan"])


class Comparisons(BaseModel):
    """`factors`: names, in any order; a comparison that is left out says “equal”."""

    factors: list[str]
    comparisons: list[Comparison] = []


@router.get("/proposals")
def proposals(
    project_id: str, db: DatabaseDep, who: CurrentUser, plan_id: str | None = None
) -> dict[str, Any]:
    """A score for each alternative and factor, from what the project measured, each with
    its reason in a sentence; and the evidence behind them."""
    body, _ = results.saved_or_default(db, who, project_id, plan_id)
    found = collect(db, who, project_id, body)
    cells = propose(body, found).values()
    return {
        "proposals": [
            {
                "alternative": cell.alternative,
                "factor": cell.factor,
                "value": cell.value,
                "measured": cell.measured,
                "reason": cell.reason,
            }
            for cell in cells
        ],
        "evidence": tables.evidence_rows(found),
        "missing": found.missing,
    }


@router.get("/results")
def saved_results(
    project_id: str, db: DatabaseDep, who: CurrentUser, plan_id: str | None = None
) -> dict[str, Any]:
    """Ranking, sensitivity and recommendation of a saved decision; without `plan_id`, of
    the project's first one, or of the defaults."""
    body, saved = results.saved_or_default(db, who, project_id, plan_id)
    return tables.as_dict(results.compute(db, who, project_id, body), saved)


@router.post("/results")
def results_of(project_id: str, values: dict[str, Any], db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """The same for a body that is sent, without saving it. What is left out is the default."""
    return tables.as_dict(results.compute(db, who, project_id, checked(Decision, values)))


@router.get("/plateau")
def plateau(project_id: str, db: DatabaseDep, who: CurrentUser, plan_id: str | None = None) -> dict[str, Any]:
    """Whether manual work has plateaued: the test on held-out votes between versions."""
    body, _ = results.saved_or_default(db, who, project_id, plan_id)
    history = collect(db, who, project_id, body).history
    return tables.plateau_dict(history, tables.plateau_rows(history))


@router.post("/ahp")
def analytic_hierarchy(
    project_id: str, values: Comparisons, db: DatabaseDep, who: CurrentUser
) -> dict[str, Any]:
    """Weights from pairwise comparisons, with the consistency ratio and the comparison
    that fits the others least."""
    require(who, "plan.view")
    get_project(db, who, project_id)
    if len(set(values.factors)) != len(values.factors):
        raise Invalid("factors: each name may be there once.")
    said = [(item.a, item.b, item.value) for item in values.comparisons]
    found = ahp.weights_of(values.factors, said)
    return tables.consistency_of(found, values.factors)
