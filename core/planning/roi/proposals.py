"""What the project knows, as inputs of a scenario: each with its n, its interval and a
sentence on where it comes from. What it does not know stays the scenario's assumption."""

from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt
from typing import Any

from core.access import Principal, require
from core.planning.evidence import Evidence, Measured, gather
from core.planning.quantity import Kind, Quantity
from core.planning.roi.model import Compute, Scenario, quantities
from core.prompts.versions import label
from storage.database import Database
from storage.run_costs import CallSums, RunTime, call_sums, run_times

MONTH = 365.25 / 12 * 86_400  # seconds
WORKDAYS = 21  # in a month
KINDS = {
    "optimize": "Machine: searches",
    "reward_model": "Machine: reward models",
    "generate": "Machine: responses",
}


@dataclass
class Proposals:
    """`inputs`: path -> what was measured. `settings`: fields that are no quantities, with what
    the evidence suggests. `reasons` says why for those; `missing`, what is not known."""

    inputs: dict[str, Quantity] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    compute: dict[str, Quantity] = field(default_factory=dict)  # kind of compute -> hours per search
    simulated: bool = False
    champion: str = ""
    baseline: str = ""
    baselines: dict[str, str] = field(default_factory=dict)  # prompt id -> name, with its votes

    def of(self, scenario: Scenario, path: str) -> Quantity | None:
        """What is measured now for an input of this scenario."""
        if path.startswith("compute."):
            _, place, key = path.split(".")
            item = scenario.compute[int(place)]
            return self.compute.get(item.name) if key == "hours" and item.per == "search" else None
        return self.inputs.get(path)

    def scenario(self, baseline_id: str = "") -> Scenario:
        """A new scenario from what is known."""
        values: dict[str, Any] = {**self.inputs, **self.settings, "baseline_prompt_id": baseline_id}
        if self.compute:
            price = Compute().price_per_hour
            values["compute"] = [
                Compute(name=name, hours=hours, per="search", price_per_hour=price)
                for name, hours in self.compute.items()
            ]
        return Scenario.model_validate(
            {
                key: value.model_dump() if isinstance(value, Quantity) else value
                for key, value in values.items()
            }
        )


def propose(db: Database, who: Principal, project_id: str, baseline_id: str = "") -> Proposals:
    """From the project's evidence, its runs and its team plan. `baseline_id`: the prompt to
    measure the champion against, as in a scenario. Raises NotFound."""
    require(who, "plan.view")
    evidence = gather(db, who, project_id, baseline_id or None)
    with db.read() as session:
        times, calls = run_times(session, project_id), call_sums(session, project_id)
    team = team_cost(db, who, project_id, 120)
    return from_evidence(evidence, times, calls, team)


def team_cost(db: Database, who: Principal, project_id: str, months: int) -> list[float] | None:
    """Money for each month by the project's team plan; None without one."""
    try:
        from core.planning.team.cost import monthly_cost
    except ImportError:
        return None
    found = monthly_cost(db, who, project_id, months)
    return None if found is None else [max(0.0, float(value)) for value in found]


def from_evidence(
    evidence: Evidence, times: dict[str, RunTime], calls: CallSums, team: list[float] | None
) -> Proposals:
    found = Proposals(missing=dict(evidence.missing), simulated=evidence.simulated_only)
    _prompts(evidence, found)
    put = found.inputs
    if evidence.interactions_per_month:
        put["interactions_per_month"] = positive(evidence.interactions_per_month)
    if evidence.seconds_per_vote:
        put["seconds_per_vote"] = positive(evidence.seconds_per_vote)
    if evidence.win_rate:
        put["win_rate"] = rate(evidence.win_rate)
        found.settings["uplift_source"] = "win_rate"
        found.reasons["uplift_source"] = "The champion was compared with its baseline."
    _success(evidence, found)
    _throughput(evidence, found)
    _compute(times, found)
    _calls(calls, found)
    if team is not None and any(team):
        last = max(i for i, value in enumerate(team) if value) + 1
        found.settings |= {"people_source": "team", "people_team": team[:last]}
        found.reasons["people_team"] = "monthly cost by the team plan"
    elif team is None:
        found.missing["people_team"] = "There is no team plan yet."
    return found


def _prompts(evidence: Evidence, found: Proposals) -> None:
    """Who is measured, and against whom it can be."""
    found.champion = label(evidence.champion) if evidence.champion else ""
    found.baseline = label(evidence.baseline) if evidence.baseline else ""
    found.baselines = {
        item.other_id: f"{label(evidence.prompts[item.other_id])} ({item.n:,} votes)"
        for item in evidence.meetings
        if item.n and item.other_id in evidence.prompts
    }


def rate(measured: Measured) -> Quantity:
    """A share as a beta. All or none of n is drawn in by Wilson's centre: a beta has no
    mean of 0 or 1."""
    value = measured.value if 0 < measured.value < 1 else (measured.low + measured.high) / 2
    return Quantity(
        value=value, kind="beta", low=measured.low, high=measured.high,
        n=measured.n, origin="measured", source=measured.source,
    )  # fmt: skip


def positive(measured: Measured) -> Quantity:
    """A figure that cannot be negative: lognormal where its interval is above zero."""
    if not measured.low < measured.high:
        return measured.quantity()
    kind: Kind = "lognormal" if measured.low > 0 else "triangular"
    return measured.quantity(kind)


def _mean(value: float, sd: float, n: int, source: str) -> Quantity:
    """A mean with its interval, 1.96 standard errors; with one observation, half to double."""
    half = 1.96 * sd / sqrt(n) if n > 1 else 0.0
    low, high = (value - half, value + half) if n > 1 else (value / 2, value * 2)
    if value <= 0 or not low < high:
        return Quantity(value=max(0.0, value), n=n, origin="measured", source=source)
    kind: Kind = "lognormal" if low > 0 else "triangular"
    return Quantity(
        value=value, kind=kind, low=max(0.0, low), high=high, n=n, origin="measured", source=source
    )


def difference(new: Measured, old: Measured, source: str) -> Quantity:
    """Difference of two rates with Newcombe's hybrid score interval (1998, Statistics in
    Medicine 17:873, method 10)."""
    gap = new.value - old.value
    low = gap - sqrt((new.value - new.low) ** 2 + (old.high - old.value) ** 2)
    high = gap + sqrt((new.high - new.value) ** 2 + (old.value - old.low) ** 2)
    return Quantity(
        value=gap, kind="normal", low=low, high=high, n=new.n + old.n, origin="measured", source=source
    )


def _success(evidence: Evidence, found: Proposals) -> None:
    champion = evidence.success.get(evidence.champion.id) if evidence.champion else None
    baseline = evidence.success.get(evidence.baseline.id) if evidence.baseline else None
    if baseline is not None:
        found.inputs["baseline_success"] = rate(baseline)
    elif champion is not None:
        found.inputs["baseline_success"] = rate(champion)
    else:
        found.missing["baseline_success"] = "No use in production has a signal of how it went."
    if champion is None or baseline is None or not (evidence.champion and evidence.baseline):
        found.missing["experiment"] = "Production has no rated uses of both the champion and its baseline."
        return
    text = f"{champion.source}, less {baseline.source}"
    found.inputs["experiment"] = difference(champion, baseline, text)
    found.settings["uplift_source"] = "experiment"
    found.reasons["uplift_source"] = (
        f"{label(evidence.champion)} and {label(evidence.baseline)} both have rated uses in production."
    )


def _throughput(evidence: Evidence, found: Proposals) -> None:
    if not evidence.votes_per_day:
        return
    wanted, monthly = Scenario().votes.value, evidence.votes_per_day * WORKDAYS
    found.settings["labelling_months"] = int(min(120, max(1, -(-wanted // monthly))))
    found.reasons["labelling_months"] = (
        f"{evidence.votes_per_day:,.0f} votes on a day with votes, {WORKDAYS} days a month: "
        f"{wanted:,.0f} votes take {found.settings['labelling_months']} "
        + ("month" if found.settings["labelling_months"] == 1 else "months")
        + (", by simulated votes" if evidence.simulated_only else "")
    )


def _months(first: datetime | None, last: datetime | None) -> float:
    """At least one: a week of work is no basis for a month's."""
    return max(1.0, (last - first).total_seconds() / MONTH) if first and last else 1.0


def _compute(times: dict[str, RunTime], found: Proposals) -> None:
    searches = times.get("optimize")
    if searches is None:
        found.missing["compute"] = "No search has succeeded yet."
        return
    months = _months(searches.first, searches.last)
    n = searches.runs
    text = f"{n:,} search{'es' if n > 1 else ''} in {months:.1f} months"
    # A count over a time: Poisson's spread.
    found.inputs["searches_per_month"] = _mean(n / months, sqrt(n) / months * sqrt(n), n, text)
    for kind, name in KINDS.items():
        item = times.get(kind)
        if item is None:
            continue
        # What goes with one search: a run of another kind counts as often as it was needed.
        each = item.runs / searches.runs
        source = f"mean time of {item.runs:,} {kind.replace('_', ' ')} run{'s' if item.runs > 1 else ''}"
        if kind != "optimize":
            source += f", {each:.2g} for each search"
        hours, spread = item.mean_s / 3600 * each, item.sd_s / 3600 * each
        found.compute[name] = _mean(hours, spread, item.runs, source)


def _calls(calls: CallSums, found: Proposals) -> None:
    if not calls.runs or not calls.calls:
        found.missing["calls"] = "The ledger has no calls of language models."
        return
    months = _months(calls.first, calls.last)
    spread = f"the ledger, {calls.runs:,} runs in {months:.1f} months"
    # Months differ by about as much as runs do: Poisson over runs, as for searches.
    sd = sqrt(calls.runs)
    found.inputs["tokens_per_month"] = _mean(
        calls.tokens / months, calls.tokens / months / calls.runs * sd * sqrt(calls.runs), calls.runs, spread
    )
    found.inputs["calls_per_month"] = _mean(
        calls.calls / months, calls.calls / months / calls.runs * sd * sqrt(calls.runs), calls.runs, spread
    )
    found.inputs["cost_per_call"] = cost_per_call(calls)
    found.settings["calls_basis"] = "calls"
    found.reasons["calls_basis"] = "The ledger counts calls and what they cost."
    if calls.cost == 0:
        found.reasons["calls_basis"] += " They cost nothing here: the model ran in process."


def cost_per_call(calls: CallSums) -> Quantity:
    """Cost over calls, a ratio of sums over runs, with the variance of a ratio estimator
    (Cochran 1977, Sampling Techniques, 6.4)."""
    ratio, n = calls.cost / calls.calls, calls.runs
    text = f"the ledger: {calls.calls:,.0f} calls in {n:,} run{'s' if n > 1 else ''}"
    if n < 2:
        return _mean(ratio, 0.0, n, text)
    rest = calls.cost_cost - 2 * ratio * calls.calls_cost + ratio**2 * calls.calls_calls
    sd = sqrt(max(0.0, rest) / (n - 1)) / (calls.calls / n)
    return _mean(ratio, sd, n, text)


def differs(mine: Quantity, measured: Quantity) -> bool:
    """Whether a scenario's figure is not what is measured now."""
    keys = ("value", "low", "high", "kind")
    return any(getattr(mine, key) != getattr(measured, key) for key in keys)


def stale(scenario: Scenario, found: Proposals) -> dict[str, Quantity]:
    """path -> what is measured now, for each input that says something else."""
    now = {path: found.of(scenario, path) for path in quantities(scenario)}
    mine = quantities(scenario)
    return {path: item for path, item in now.items() if item is not None and differs(mine[path], item)}


def overridden(mine: Quantity, measured: Quantity | None, by: str, why: str = "") -> Quantity:
    """A figure that a person put in: `overridden` where the project measured it, else assumed."""
    source = why.strip() or f"put in by {by}"
    origin = "overridden" if measured is not None else "assumed"
    return mine.model_copy(update={"origin": origin, "source": source, "n": None})
