"""What a scenario is worth, computed: nothing here saves anything."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from api.deps import CurrentUser, DatabaseDep
from core.planning.documents import checked, load
from core.planning.roi import compare as comparing
from core.planning.roi.improvements import Prices, improvements, rows, verdict
from core.planning.roi.model import Scenario, quantities
from core.planning.roi.proposals import propose, stale
from core.planning.roi.results import Results, answer, compute, reasons, summary_rows
from core.planning.roi.section import first_scenario, tables
from core.planning.units import units_of
from core.projects import get_project

router = APIRouter(prefix="/projects/{project_id}/plan/roi", tags=["plan"])


def _public(name: str, results: Results, currency: str) -> dict[str, Any]:
    """What the page shows, as plain numbers: money in `currency`, shares 0 to 1."""
    sim, flow, labels = results.simulation, results.flow, results.labels
    return {
        "name": name,
        "currency": currency,
        "answer": answer(results, currency),
        "why": reasons(results, currency),
        "figures": summary_rows(results),
        "irr_missing": flow.no_irr or None,
        "break_even": {
            "uplift": flow.break_even.uplift,
            "reachable": flow.break_even.reachable,
            "win_rate": flow.break_even.win_rate,
        },
        "fan": sim.fan_rows(),
        "value_of_labels": {
            "best_n": labels.best_n,
            "best_net": labels.best.net,
            "perfect_information": labels.evpi,
            "label": labels.known.label,
        },
        "tables": tables(results, currency),
        "scenario": results.scenario.model_dump(mode="json"),
    }


@router.get("/proposals")
def proposals(project_id: str, db: DatabaseDep, who: CurrentUser, baseline_id: str = "") -> dict[str, Any]:
    """What the project measured, as inputs of a scenario, each with n, interval and source;
    `missing` says what is not known, `scenario` is what follows from all of it.
    `baseline_id`: the prompt to measure the champion against, one of `baselines`."""
    found = propose(db, who, project_id, baseline_id)
    dump = lambda items: {key: item.model_dump(mode="json") for key, item in items.items()}  # noqa: E731
    return {
        "inputs": dump(found.inputs),
        "compute_hours_per_search": dump(found.compute),
        "settings": found.settings,
        "reasons": found.reasons,
        "missing": found.missing,
        "simulated_only": found.simulated,
        "champion": found.champion,
        "baseline": found.baseline,
        "baselines": found.baselines,
        "scenario": found.scenario(baseline_id).model_dump(mode="json"),
    }


@router.get("/results")
def results(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    plan_id: str | None = None,
    number: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    """Of a saved scenario (`number`: a version); without `plan_id`, of the project's first
    one, else of one made from what the project measured."""
    name, scenario, _ = first_scenario(db, who, project_id, plan_id, number)
    return _public(name, compute(scenario), units_of(db, who, project_id).currency)


@router.post("/results")
def try_out(
    project_id: str, values: Annotated[dict[str, Any], Body()], db: DatabaseDep, who: CurrentUser
) -> dict[str, Any]:
    """Of the scenario in the body, without saving it. Fields left out have their defaults; a
    bare number is a quantity without a range."""
    currency = units_of(db, who, project_id).currency
    return _public("not saved", compute(checked(Scenario, values)), currency)


@router.get("/stale")
def measured_now(project_id: str, plan_id: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """Inputs of a saved scenario that say something else than what is measured now."""
    saved = load(db, who, project_id, Scenario, plan_id)
    mine = quantities(saved.body)
    return {
        path: {"scenario": mine[path].model_dump(mode="json"), "measured": item.model_dump(mode="json")}
        for path, item in stale(
            saved.body, propose(db, who, project_id, saved.body.baseline_prompt_id)
        ).items()
    }


@router.get("/improvements")
def cost_per_improvement(project_id: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """What each prompt that became the champion cost since the one before, and what it gained;
    priced by the project's first scenario. The last row is what was spent since."""
    _, scenario, _ = first_scenario(db, who, project_id)
    found = improvements(db, who, project_id, Prices.of(scenario))
    currency = units_of(db, who, project_id).currency
    return {"currency": currency, "verdict": verdict(found), "items": rows(found)}


@router.get("/compare")
def compare(project_id: str, a: str, b: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """Two saved scenarios, by the ids of their plans: the inputs that differ, and what follows."""
    get_project(db, who, project_id)
    first, second = (load(db, who, project_id, Scenario, key) for key in (a, b))
    names = (first.name, second.name if second.name != first.name else f"{second.name} (2)")
    currency = units_of(db, who, project_id).currency
    scenarios = dict(zip(names, (first.body, second.body), strict=True))
    computed = {name: compute(body) for name, body in scenarios.items()}
    return {
        "names": names,
        "currency": currency,
        "answers": {name: answer(item, currency) for name, item in computed.items()},
        "inputs": comparing.input_differences(scenarios, currency),
        "figures": {name: summary_rows(item) for name, item in computed.items()},
    }
