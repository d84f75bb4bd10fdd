"""What a scenario earns and costs, month by month, and what that is worth today.

The same arithmetic serves one case and ten thousand draws: inputs are arrays (draws,),
flows are (draws, months + 1). Column 0 is the day of the decision, where what is paid once
is paid; column t is month t. Costs are positive numbers, taken off the benefit.

Monthly rates follow from yearly ones by compounding: 1 + yearly = (1 + monthly)^12
(Brealey, Myers and Allen, Principles of Corporate Finance, ch. 2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy_financial as npf

from core.planning.roi.model import Scenario, known_input, quantities

LINES = ("Labels", "Compute", "Model calls", "People", "Platform", "Integration")
Draws = dict[str, np.ndarray]  # path of an input -> (draws,)


def best_case(scenario: Scenario, rows: int = 1) -> Draws:
    """Every input at its best value, as (rows,) arrays."""
    return {path: np.full(rows, item.value) for path, item in quantities(scenario).items()}


def uplift(scenario: Scenario, draws: Draws) -> np.ndarray:
    """What is added to the success rate, (draws,): never more than is missing to 100 %, and
    never more taken than is there."""
    if scenario.uplift_source == "assumed":
        raw = draws["uplift"]
    elif scenario.uplift_source == "win_rate":
        raw = draws["conversion"] * (2 * draws["win_rate"] - 1)
    else:
        raw = draws["experiment"]
    return np.clip(raw, -draws["baseline_success"], 1 - draws["baseline_success"])


def adoption(start_month: np.ndarray, ramp_months: np.ndarray, months: int) -> np.ndarray:
    """Mean share of interactions on the new prompt in each month 1 … `months`, as
    (draws, months): nothing before `start_month` begins, then a straight line to 1."""
    delay = (start_month - 1)[:, None]
    ramp = np.maximum(ramp_months, 1e-9)[:, None]
    since = np.arange(months + 1)[None, :] - delay
    # The integral of the ramp up to each month's end; its steps are the months' means.
    on_ramp = np.clip(since, 0, ramp)
    return np.diff(on_ramp**2 / (2 * ramp) + np.maximum(since - ramp, 0), axis=1)


def reach(scenario: Scenario, draws: Draws) -> np.ndarray:
    """Money for each point of uplift 1 (0 to 100 %), in each month: (draws, months + 1)."""
    months = scenario.horizon_months
    growth = np.log1p(draws["monthly_growth"])
    first = draws["interactions_per_month"] * draws["full_adoption"] * draws["value_per_success"]
    flows = np.zeros((len(first), months + 1))
    np.multiply(growth[:, None], np.arange(months)[None, :], out=flows[:, 1:])
    if np.any(growth):
        np.exp(flows[:, 1:], out=flows[:, 1:])
    else:
        flows[:, 1:] = 1.0
    flows[:, 1:] *= adoption(draws["start_month"], draws["ramp_months"], months)
    flows *= first[:, None]
    return flows


def cost_parts(scenario: Scenario, draws: Draws) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(line, amount (draws,), pattern (months + 1,)): a cost is its amount times its pattern.
    Yearly amounts are paid in twelve parts."""
    months = scenario.horizon_months
    at_once = np.zeros(months + 1)
    at_once[0] = 1
    monthly = 1 - at_once
    spread = min(scenario.labelling_months, months)
    voting = monthly if scenario.votes_per == "month" else _first(months, spread) / scenario.labelling_months
    per_vote = draws["seconds_per_vote"] / 3600 * draws["hourly_rate"]
    parts = [("Labels", draws["votes"] * per_vote, voting)]
    for i, item in enumerate(scenario.compute):
        amount = draws[f"compute.{i}.hours"] * draws[f"compute.{i}.price_per_hour"]
        if item.per == "search":
            amount = amount * draws["searches_per_month"]
        parts.append(("Compute", amount, monthly))
    if scenario.calls_basis == "tokens":
        calls = draws["tokens_per_month"] / 1e6 * draws["price_per_million"]
    else:
        calls = draws["calls_per_month"] * draws["cost_per_call"]
    parts.append(("Model calls", calls, monthly))
    if scenario.people_source == "team":
        planned = np.zeros(months + 1)
        known = scenario.people_team[:months]
        planned[1 : 1 + len(known)] = known
        parts.append(("People", draws["people_factor"], planned))
    else:
        until = _first(months, min(scenario.people_months, months))
        parts.append(("People", draws["people_per_month"], until))
    parts += [
        ("Platform", draws["platform_once"], at_once),
        ("Platform", draws["platform_yearly"] / 12, monthly),
        ("Integration", draws["integration_once"], at_once),
        ("Integration", draws["integration_yearly"] / 12, monthly),
    ]
    return parts


def _first(months: int, count: int) -> np.ndarray:
    pattern = np.zeros(months + 1)
    pattern[1 : 1 + count] = 1
    return pattern


def total_cost(scenario: Scenario, draws: Draws) -> np.ndarray:
    """(draws, months + 1)"""
    parts = cost_parts(scenario, draws)
    return np.stack([amount for _, amount, _ in parts], axis=1) @ np.stack([p for *_, p in parts])


def net_flows(scenario: Scenario, draws: Draws) -> np.ndarray:
    """Benefit minus cost, (draws, months + 1)."""
    flows = reach(scenario, draws)
    flows *= uplift(scenario, draws)[:, None]
    flows -= total_cost(scenario, draws)
    return flows


# --- what flows are worth ----------------------------------------------------------------


def monthly_rate(yearly: float) -> float:
    return float((1 + yearly) ** (1 / 12) - 1)


def discount_factors(yearly: float, months: int) -> np.ndarray:
    """(months + 1,), 1 for month 0."""
    return (1 + yearly) ** (-np.arange(months + 1) / 12)


def payback_months(cumulative: np.ndarray) -> np.ndarray:
    """The first month from which the cumulative flow (draws, months + 1) stays at zero or
    above: (draws,), 0 when it is never below, inf when it ends below. A case that pays back
    and then falls below again counts by its last return, which is the careful reading."""
    below = cumulative < -1e-9
    steps = cumulative.shape[1]
    last = steps - 1 - np.argmax(below[:, ::-1], axis=1)
    month = np.where(below.any(axis=1), last + 1.0, 0.0)
    return np.where(month >= steps, np.inf, month)


def yearly_irr(net: np.ndarray) -> tuple[float | None, str]:
    """The yearly internal rate of return of monthly flows (months + 1,), and why there is
    none. One rate is sure when the flow, or else its cumulative sum, changes sign once
    (Norstrom 1972, Journal of Financial and Quantitative Analysis 7:1835)."""
    changes = _sign_changes(net)
    if changes == 0:
        return None, "The cash flow never changes sign, so no rate makes it worth nothing."
    if changes > 1 and _sign_changes(np.cumsum(net)) != 1:
        return None, f"The cash flow changes sign {changes} times, so there may be several rates."
    monthly = float(npf.irr(net))
    if not np.isfinite(monthly) or monthly <= -1:
        return None, "No rate above -100 % makes the cash flow worth nothing."
    with np.errstate(over="ignore"):
        yearly = float(np.float64(1 + monthly) ** 12 - 1)
    if not np.isfinite(yearly):
        return None, "The rate is too large to be written."
    return yearly, ""


def _sign_changes(values: np.ndarray) -> int:
    signs = np.sign(values[np.abs(values) > 1e-9])
    return int(np.sum(signs[1:] != signs[:-1]))


@dataclass(frozen=True)
class BreakEven:
    """`uplift` makes the net present value zero; `reachable` says whether it lies within
    what the success rate leaves. None when no uplift can: nothing is earned by any."""

    uplift: float | None
    reachable: bool
    win_rate: float | None = None  # the same, as a win rate by the stated conversion


def break_even(scenario: Scenario, draws: Draws | None = None) -> BreakEven:
    """With the inputs at their best values (or row 0 of `draws`). Net present value is linear
    in the uplift, so the root is a quotient: present cost over present value of a point."""
    draws = draws or best_case(scenario)
    factors = discount_factors(scenario.discount_rate, scenario.horizon_months)
    gained = float(reach(scenario, draws)[0] @ factors)
    spent = float(total_cost(scenario, draws)[0] @ factors)
    if gained <= 0:
        return BreakEven(None, False)
    wanted = spent / gained
    rate = None
    if scenario.uplift_source == "win_rate" and draws["conversion"][0] > 0:
        rate = (1 + wanted / float(draws["conversion"][0])) / 2
    reachable = wanted <= 1 - float(draws["baseline_success"][0]) and (rate is None or rate <= 1)
    return BreakEven(wanted, reachable, rate if rate is not None and rate <= 1 else None)


@dataclass(frozen=True)
class CashFlow:
    """One case. Arrays are (months + 1,); `payback` and `discounted_payback` are months, None
    when it does not pay back within the horizon; `roi` is net benefit over cost, None without
    cost; `irr` is yearly, None with the reason in `no_irr`."""

    benefit: np.ndarray
    costs: dict[str, np.ndarray]
    net: np.ndarray
    cumulative: np.ndarray
    uplift: float
    total_benefit: float
    total_cost: float
    net_benefit: float
    roi: float | None
    npv: float
    irr: float | None
    no_irr: str
    payback: int | None
    discounted_payback: int | None
    break_even: BreakEven

    def rows(self) -> list[dict[str, Any]]:
        """A row for each month, of plain numbers."""
        return [
            {
                "Month": month,
                "Benefit": float(self.benefit[month]),
                **{line: 0.0 - float(flow[month]) for line, flow in self.costs.items()},
                "Net": float(self.net[month]),
                "Cumulative": float(self.cumulative[month]),
            }
            for month in range(len(self.net))
        ]

    def yearly_rows(self) -> list[dict[str, Any]]:
        """Sums over twelve months each, after what is paid at the start."""
        months = len(self.net) - 1
        parts = [("Start", 0, 1)]
        parts += [(f"Year {i // 12 + 1}", i + 1, min(i + 13, months + 1)) for i in range(0, months, 12)]
        return [
            {
                "Period": name if last - first in (1, 12) else f"{name} ({last - first} months)",
                "Benefit": float(self.benefit[first:last].sum()),
                **{line: 0.0 - float(flow[first:last].sum()) for line, flow in self.costs.items()},
                "Net": float(self.net[first:last].sum()),
                "Cumulative": float(self.cumulative[last - 1]),
            }
            for name, first, last in parts
        ]


def cash_flow(scenario: Scenario) -> CashFlow:
    """The scenario with every input at its best value."""
    draws = best_case(scenario)
    gained = float(uplift(scenario, draws)[0])
    benefit = reach(scenario, draws)[0] * gained
    costs = {line: np.zeros(len(benefit)) for line in LINES}
    for line, amount, pattern in cost_parts(scenario, draws):
        costs[line] = costs[line] + amount[0] * pattern
    spent = sum(costs.values(), np.zeros(len(benefit)))
    net = benefit - spent
    cumulative = np.cumsum(net)
    discounted = np.cumsum(net * discount_factors(scenario.discount_rate, scenario.horizon_months))
    irr, no_irr = yearly_irr(net)
    total = float(spent.sum())
    return CashFlow(
        benefit, costs, net, cumulative, gained, float(benefit.sum()), total, float(net.sum()),
        float(net.sum()) / total if total > 0 else None,
        float(npf.npv(monthly_rate(scenario.discount_rate), net)),
        irr, no_irr, _month(cumulative), _month(discounted), break_even(scenario, draws),
    )  # fmt: skip


def _month(cumulative: np.ndarray) -> int | None:
    month = float(payback_months(cumulative[None, :])[0])
    return int(month) if np.isfinite(month) else None


def clipped(scenario: Scenario, path: str, values: np.ndarray) -> np.ndarray:
    """Draws within what the input can be: no negative volume, no rate above 100 %."""
    known = known_input(scenario, path)
    return np.clip(values, known.least, known.most)
