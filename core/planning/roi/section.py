"""What the Return room says about a project, for the brief: its first scenario, or one made
from what the project measured."""

from typing import Any

from core.access import Principal, require
from core.planning import documents
from core.planning.roi import charts
from core.planning.roi.model import Scenario
from core.planning.roi.proposals import Proposals, propose
from core.planning.roi.results import (
    Results,
    answer,
    compute,
    figures,
    input_rows,
    label_rows,
    reasons,
    tornado_rows,
)
from core.planning.section import Drawn, Section
from core.planning.units import units_of
from storage.database import Database

KEY, TITLE = "roi", "Return"


def first_scenario(
    db: Database, who: Principal, project_id: str, plan_id: str | None = None, number: int | None = None
) -> tuple[str, Scenario, Proposals | None]:
    """(name, scenario, proposals): the one asked for, else the project's first, else one made
    from what is measured (then with the proposals it was made from). Raises NotFound."""
    require(who, "plan.view")
    if plan_id is not None:
        saved = documents.load(db, who, project_id, Scenario, plan_id, number)
        return saved.name, saved.body, None
    current = documents.current(db, who, project_id, Scenario)
    if current is not None:
        return current.name, current.body, None
    found = propose(db, who, project_id)
    return f"{Scenario.TITLE}, proposed", found.scenario(), found


def section(db: Database, who: Principal, project_id: str) -> Section:
    require(who, "plan.view")
    name, scenario, found = first_scenario(db, who, project_id)
    if found is not None and not found.inputs:
        return Section(
            KEY,
            TITLE,
            "No scenario is saved, and the project has measured nothing that one could be made from yet.",
            ["Open Return, put in your own figures and save them; or collect votes on two prompts first."],
            empty=True,
        )
    currency = units_of(db, who, project_id).currency
    results = compute(scenario)
    said = reasons(results, currency)
    if found is not None:
        said.append("No scenario is saved yet: this one is proposed from what the project measured.")
        if found.simulated:
            said.append(
                "All votes behind it are simulated: it shows how the page works, not what people prefer."
            )
    return Section(
        KEY,
        f"{TITLE}: {name}",
        answer(results, currency),
        said,
        figures(results, currency),
        tables(results, currency),
        Drawn(
            {
                "Cumulative cash flow": lambda: charts.fan(results.simulation, currency),
                "What matters most": lambda: charts.tornado_chart(results.swings, results.flow.npv, currency),
            }
        ),
    )


def tables(results: Results, currency: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "Cash flow by year": results.flow.yearly_rows(),
        "Cash flow by month": results.flow.rows(),
        "Inputs and their sources": input_rows(results.scenario, currency),
        "Tornado": tornado_rows(results.swings, currency),
        "Value of more labels": label_rows(results.labels),
    }
