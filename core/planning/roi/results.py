"""Everything that follows from one scenario, computed once: for the page, the brief and the
API alike. Pure; the same scenario and seed answer the same."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.planning.quantity import Quantity
from core.planning.roi.cashflow import CashFlow, cash_flow
from core.planning.roi.model import GROUPS, Scenario, known_input, quantities, used
from core.planning.roi.monte_carlo import Simulation, simulate, swings
from core.planning.roi.tornado import Swing
from core.planning.roi.value_of_labels import LabelValue, value_of_labels
from core.planning.units import SYMBOLS, money

SURE = 0.8  # the chance at which a payback is quoted


@dataclass(frozen=True)
class Results:
    scenario: Scenario
    flow: CashFlow
    simulation: Simulation
    swings: list[Swing]
    labels: LabelValue


def compute(scenario: Scenario) -> Results:
    """Kept for the last scenarios asked for, since a page asks again on every click."""
    return _compute(scenario.model_dump_json())


@lru_cache(maxsize=64)
def _compute(body: str) -> Results:
    scenario = Scenario.model_validate_json(body)
    simulation = simulate(scenario)
    return Results(
        scenario, cash_flow(scenario), simulation, swings(scenario), value_of_labels(scenario, simulation)
    )


# --- in words ----------------------------------------------------------------------------


def percent(value: float, digits: int = 0) -> str:
    """`12 %`, never `100 %` nor `0 %` for what is only nearly so."""
    if digits == 0 and 0 < value < 0.01:
        return "< 1 %"
    if digits == 0 and 0.99 < value < 1:
        return "> 99 %"
    return f"{100 * value:.{digits}f} %"


def months_text(month: int | None) -> str:
    if month is None:
        return "not within the horizon"
    if month == 0:
        return "at once"
    return f"{month} month{'' if month == 1 else 's'}"


def points(value: float) -> str:
    return f"{100 * value:.1f} points"


def break_even_text(results: Results) -> str:
    found = results.flow.break_even
    if found.uplift is None:
        return "no uplift makes it pay, since a success earns nothing"
    if not found.reachable:
        return f"it would need an uplift of {points(found.uplift)}, which is out of reach"
    if found.uplift <= 0:
        return "it pays without any uplift"
    text = f"it breaks even at an uplift of {points(found.uplift)}"
    return text + (f", a win rate of {percent(found.win_rate, 1)}" if found.win_rate is not None else "")


def answer(results: Results, currency: str) -> str:
    """In one sentence: whether and when this pays back, what it brings, and what it needs."""
    sim = results.simulation
    horizon = months_text(results.scenario.horizon_months)
    month = sim.payback_at(SURE)
    if month is not None and sim.p_payback >= SURE:
        when = "at once" if month == 0 else f"within {months_text(month)}"
        first = f"With {percent(SURE)} chance this pays back {when}"
    elif sim.p_payback > 0:
        # 79.7 % must not be told as the 80 % that it falls short of.
        digits = 1 if abs(sim.p_payback - SURE) < 0.01 else 0
        first = f"The chance that this pays back within {horizon} is {percent(sim.p_payback, digits)}"
    else:
        first = f"This does not pay back within {horizon}"
    worth = money(sim.net_benefit_at(0.5), currency)
    return f"{first}; the median net benefit is {worth}; {break_even_text(results)}."


def reasons(results: Results, currency: str) -> list[str]:
    """Why, in sentences: what it rests on and what would change it."""
    scenario, sim, flow = results.scenario, results.simulation, results.flow
    said = [uplift_text(scenario, flow.uplift)]
    if flow.uplift < 0 and scenario.uplift_source != "assumed":
        said.append(
            "By this measurement the champion does worse than its baseline, so every use of it costs: promote the "
            "better prompt first, or measure the champion against another one."
        )
    if results.swings:
        top = [item.label for item in results.swings[:3]]
        names = top[0] if len(top) == 1 else f"{', '.join(top[:-1])} and {top[-1]}"
        said.append(f"What moves it most: {names}.")
    loss = f"The chance of a negative net present value is {percent(sim.p_loss)}; in the middle 80 % of "
    loss += (
        f"{sim.draws:,} simulated futures it lies between {money(sim.npv_at(0.1), currency, short=True)} and "
    )
    said.append(loss + f"{money(sim.npv_at(0.9), currency, short=True)}.")
    said.append(labels_text(results, currency))
    return said


def uplift_text(scenario: Scenario, gained: float) -> str:
    if scenario.uplift_source == "win_rate":
        w, c = scenario.win_rate, scenario.conversion
        n = f" (n {w.n:,})" if w.n else ""
        text = (
            f"The uplift of {points(gained)} is the net preference 2 × {percent(w.value, 1)} − 1{n} times a "
        )
        return text + f"conversion of {percent(c.value)}, which is an assumption."
    if scenario.uplift_source == "experiment":
        n = f" (n {scenario.experiment.n:,})" if scenario.experiment.n else ""
        return f"The uplift of {points(gained)} is the difference of success rates in production{n}."
    return f"The uplift of {points(gained)} is assumed: nothing measured stands behind it yet."


def labels_text(results: Results, currency: str) -> str:
    found = results.labels
    if found.known.sd <= 0:
        return "The uplift is taken as known, so more labels are worth nothing."
    if found.best_n == 0:
        return (
            f"More labels would not pay: knowing the uplift exactly is worth {money(found.evpi, currency)} "
            "to this decision, and any number of labels costs more than it would add."
        )
    worth = money(found.best.net, currency)
    return f"{found.best_n:,} more {found.known.label} are worth most before deciding: {worth} net of their cost."


# --- in tables ---------------------------------------------------------------------------


def unit_text(unit: str, currency: str) -> str:
    return unit.replace("{currency}", SYMBOLS.get(currency, currency))


def shown(value: float | None, percentage: bool) -> str:
    """A figure with as many digits as one reads: `1,234,000`, `45`, `0.0025`, `4.2`."""
    if value is None:
        return ""
    value = 100 * value if percentage else value
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2g}"


def range_text(item: Quantity, percentage: bool) -> str:
    return "" if not item.uncertain else f"{shown(item.low, percentage)} to {shown(item.high, percentage)}"


def input_rows(scenario: Scenario, currency: str) -> list[dict[str, Any]]:
    """Every input that the result rests on, with its source."""
    known = quantities(scenario)
    found = []
    for path in sorted(used(scenario), key=lambda path: GROUPS.index(known_input(scenario, path).group)):
        about, item = known_input(scenario, path), known[path]
        found.append(
            {
                "Group": about.group,
                "Input": about.label,
                "Value": shown(item.value, about.percent),
                "Unit": unit_text(about.unit, currency),
                "Range": range_text(item, about.percent),
                "Distribution": item.kind,
                "Origin": item.origin,
                "n": item.n,
                "Source": item.source,
            }
        )
    return found


def tornado_rows(found: list[Swing], currency: str) -> list[dict[str, Any]]:
    return [
        {
            "Input": item.label,
            "Unit": unit_text(item.unit, currency),
            "P10": shown(item.at_p10, item.percent),
            "P90": shown(item.at_p90, item.percent),
            "NPV at P10": item.outcome_p10,
            "NPV at P90": item.outcome_p90,
            "Swing": item.width,
        }
        for item in found
    ]


def label_rows(found: LabelValue) -> list[dict[str, Any]]:
    return [
        {
            "More labels": item.n,
            "Uplift ± (points)": 100 * item.uplift_half,
            "NPV ±": item.npv_half,
            "Worth": item.evsi,
            "Cost": item.cost,
            "Net": item.net,
        }
        for item in found.steps
    ]


def figures(results: Results, currency: str) -> list[tuple[str, str, str]]:
    """(label, value, detail) of what a lead quotes first."""
    sim, flow = results.simulation, results.flow
    low, high = money(sim.npv_at(0.1), currency, short=True), money(sim.npv_at(0.9), currency, short=True)
    month = sim.payback_at(0.5)
    late = sim.payback_at(SURE)
    even = flow.break_even
    wanted = "—" if even.uplift is None else points(even.uplift)
    return [
        (
            "Net present value",
            money(sim.npv_at(0.5), currency, short=True),
            f"P50 · P10 to P90: {low} to {high}",
        ),
        ("Chance of a loss", percent(sim.p_loss), f"net present value below zero · {sim.draws:,} draws"),
        (
            "Payback",
            "—" if month is None else months_text(month),
            f"P50 · with {percent(SURE)} chance: {months_text(late)}"
            if month is not None
            else f"in half of the futures not within {months_text(results.scenario.horizon_months)}",
        ),
        ("Break-even uplift", wanted, f"planned: {points(flow.uplift)}"),
    ]


def summary_rows(results: Results) -> list[dict[str, Any]]:
    """One figure a row, of plain numbers: what two scenarios are compared by."""
    sim, flow = results.simulation, results.flow
    return [
        {"Figure": "Net present value, P50", "Unit": "money", "Value": sim.npv_at(0.5)},
        {"Figure": "Net present value, P10", "Unit": "money", "Value": sim.npv_at(0.1)},
        {"Figure": "Net present value, P90", "Unit": "money", "Value": sim.npv_at(0.9)},
        {"Figure": "Net present value, mean", "Unit": "money", "Value": sim.mean_npv},
        {"Figure": "Chance of a loss", "Unit": "share", "Value": sim.p_loss},
        {"Figure": "Chance to pay back", "Unit": "share", "Value": sim.p_payback},
        {"Figure": "Payback with 80 % chance", "Unit": "months", "Value": sim.payback_at(SURE)},
        {"Figure": "Best values: net present value", "Unit": "money", "Value": flow.npv},
        {"Figure": "Best values: net benefit", "Unit": "money", "Value": flow.net_benefit},
        {"Figure": "Best values: total benefit", "Unit": "money", "Value": flow.total_benefit},
        {"Figure": "Best values: total cost", "Unit": "money", "Value": flow.total_cost},
        {"Figure": "Best values: return on investment", "Unit": "share", "Value": flow.roi},
        {"Figure": "Best values: internal rate of return, yearly", "Unit": "share", "Value": flow.irr},
        {"Figure": "Best values: payback", "Unit": "months", "Value": flow.payback},
        {"Figure": "Best values: payback, discounted", "Unit": "months", "Value": flow.discounted_payback},
        {"Figure": "Best values: uplift", "Unit": "points", "Value": 100 * flow.uplift},
        {
            "Figure": "Break-even uplift",
            "Unit": "points",
            "Value": None if flow.break_even.uplift is None else 100 * flow.break_even.uplift,
        },
    ]


def figure_text(row: dict[str, Any], currency: str) -> str:
    """A row of `summary_rows` as one reads it."""
    value, unit = row["Value"], row["Unit"]
    if value is None:
        return "—"
    if unit == "money":
        return money(value, currency)
    if unit == "share":
        return percent(value) if abs(value) < 10 else f"{value:,.0f} ×"
    return months_text(int(value)) if unit == "months" else f"{value:.1f} points"
