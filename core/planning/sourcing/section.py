"""Build or buy in the brief."""

from core.access import Principal, require
from core.planning.section import Drawn, Section
from core.planning.sourcing import charts
from core.planning.sourcing.results import (
    Results,
    cheaper_rows,
    line_rows,
    option_rows,
    room_rows,
    score_rows,
    sourcing_now,
    year_rows,
)
from core.planning.units import money
from storage.database import Database


def section(db: Database, who: Principal, project_id: str) -> Section:
    require(who, "plan.view")
    saved, found = sourcing_now(db, who, project_id)
    said = found.recommendation
    why = [*said.reasons, *said.conditions, *origins(found)]
    if saved is None:
        why.append("Nobody has saved a plan yet: options, weights and costs are assumptions to start from.")
    return Section(
        "sourcing",
        "Build or buy",
        said.answer,
        why=why,
        figures=figures(found),
        tables={
            "Options": option_rows(found),
            "Scores": score_rows(found),
            "Cost by year": year_rows(found),
            "Cost by line": line_rows(found),
            "Chance of costing less": cheaper_rows(found),
            "Room of the weights": room_rows(found),
        },
        charts=Drawn(
            {
                "Cost with its range": lambda: charts.cost_ranges(found),
                "Points by factor": lambda: charts.points(found),
            }
        ),
    )


def figures(found: Results) -> list[tuple[str, str, str]]:
    """Label, value, detail: what the page shows on top."""
    first = found.ranking.winner
    own, short = found.costs.options[first], lambda value: money(value, found.currency, short=True)
    second = found.ranking.order[1]
    ahead = float(found.ranking.totals[first] - found.ranking.totals[second])
    return [
        ("Best fit", own.name, f"{ahead:.1f} points ahead of {found.plan.options[second].name}"),
        ("Points", f"{found.ranking.totals[first]:.1f} of 10", "weighted, with the cost as a factor"),
        (f"{found.plan.years}-year cost", short(own.total.p50), f"P10 to P90: {short(own.total.p10)} to {short(own.total.p90)}"),
        ("Chance to be cheapest", f"{100 * found.costs.cheapest[first]:.0f} %", f"n {found.costs.n:,} draws of the costs"),
    ]  # fmt: skip


def origins(found: Results) -> list[str]:
    """Where the shared figures come from, and what is assumed for want of evidence."""
    plan, said = found.plan, []
    if plan.interactions_per_month.origin == "measured":
        quantity = plan.interactions_per_month
        said.append(
            f"Volume: {quantity.value:,.0f} uses a month, measured ({quantity.source}, n {quantity.n:,})."
        )
    if plan.person_year.origin == "measured":
        said.append(
            f"A person-year at {money(plan.person_year.value, found.currency)}: {plan.person_year.source}."
        )
    said += [f"{what}: assumed. {why}" for what, why in found.facts.missing.items()]
    return said
