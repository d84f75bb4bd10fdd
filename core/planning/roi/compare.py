"""Two scenarios or more side by side: the inputs that differ, and what follows from them."""

from typing import Any

from core.planning.roi.model import Scenario, known_input, quantities, used
from core.planning.roi.results import Results, figure_text, range_text, shown, summary_rows, unit_text

SETTINGS = {
    "horizon_months": "Horizon (months)",
    "discount_rate": "Discount rate (% per year)",
    "uplift_source": "Uplift comes from",
    "votes_per": "Votes are",
    "labelling_months": "Labelling (months)",
    "calls_basis": "Calls priced by",
    "people_source": "People from",
    "people_months": "People paid for (months)",
}
WORDS = {
    "assumed": "an assumption",
    "win_rate": "the win rate",
    "experiment": "production",
    "own": "this scenario",
    "team": "the team plan",
    "total": "in total",
    "month": "each month",
}


def stated(scenario: Scenario, currency: str) -> dict[str, str]:
    """Everything a scenario says, in words: name of the input -> value and range."""
    said = {}
    for key, name in SETTINGS.items():
        value = getattr(scenario, key)
        if key == "discount_rate":
            said[name] = shown(value, True)
        else:
            said[name] = WORDS.get(value, str(value)) if isinstance(value, str) else str(value)
    if scenario.people_source == "team":
        said["Team plan (total)"] = shown(sum(scenario.people_team), False)
    known = quantities(scenario)
    for path in used(scenario):
        about, item = known_input(scenario, path), known[path]
        text = f"{shown(item.value, about.percent)} {unit_text(about.unit, currency)}"
        spread = range_text(item, about.percent)
        said[about.label] = f"{text} ({spread})" if spread else text
    return said


def input_differences(scenarios: dict[str, Scenario], currency: str) -> list[dict[str, Any]]:
    """A row for each input that is not the same in all: `{"Input": …, name: text, …}`."""
    said = {name: stated(scenario, currency) for name, scenario in scenarios.items()}
    labels = dict.fromkeys(label for items in said.values() for label in items)
    return [
        {"Input": label, **{name: items.get(label, "—") for name, items in said.items()}}
        for label in labels
        if len({items.get(label, "—") for items in said.values()}) > 1
    ]


def result_differences(results: dict[str, Results], currency: str) -> list[dict[str, Any]]:
    """A row for each figure: `{"Figure": …, name: text, …}`."""
    rows = {name: summary_rows(item) for name, item in results.items()}
    first = next(iter(rows.values()))
    return [
        {
            "Figure": row["Figure"],
            **{name: figure_text(items[i], currency) for name, items in rows.items()},
        }
        for i, row in enumerate(first)
    ]


def changes(before: Scenario, after: Scenario, currency: str) -> list[dict[str, str]]:
    """What a version changed, in words; `Source` when only where a figure comes from did."""
    rows = [
        {"Input": row["Input"], "Before": row["before"], "After": row["after"]}
        for row in input_differences({"before": before, "after": after}, currency)
    ]
    old, new = quantities(before), quantities(after)
    for path in used(after):
        a, b = old.get(path), new[path]
        if a is not None and (a.origin, a.source) != (b.origin, b.source) and (a.value, a.low, a.high) == (
            b.value, b.low, b.high,
        ):  # fmt: skip
            about = known_input(after, path)
            rows.append({"Input": f"{about.label}: source", "Before": a.source, "After": b.source})
    return rows
