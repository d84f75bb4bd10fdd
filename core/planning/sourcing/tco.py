"""Total cost of ownership: what each option costs over the years, with ranges.

Monte Carlo, seeded. Volume, growth and the cost of a person-year are drawn once and shared
by all options, so that options are compared under the same circumstances; every cost line
is drawn on its own. Payments: `once` at the start; the rest at the end of each month, a
twelfth of the yearly amount, or the month's uses. Uses of month t (from 0): volume ·
(1 + growth)^(t / 12). Discounting: (1 + rate)^-(months / 12).
"""

from dataclasses import dataclass

import numpy as np

from core.planning.quantity import Quantity
from core.planning.sourcing.model import CostLine, Sourcing


@dataclass(frozen=True)
class Spread:
    """Mean and the 10 %, 50 % and 90 % points over the draws."""

    mean: float
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class LineCost:
    """A line over all years, not discounted."""

    line: CostLine
    cost: Spread


@dataclass(frozen=True)
class OptionCost:
    """`year[0]` includes what is paid once. `fixed` and `per_volume` (n,): discounted cost
    of a draw without use, and for each interaction per month today."""

    key: str
    name: str
    total: Spread
    discounted: Spread
    years: list[Spread]
    lines: list[LineCost]
    fixed: np.ndarray
    per_volume: np.ndarray
    draws: np.ndarray  # (n,) discounted

    @property
    def use_share(self) -> float:
        """The part of the mean cost that comes with use."""
        used = sum(item.cost.mean for item in self.lines if item.line.when == "use")
        return used / self.total.mean if self.total.mean > 0 else 0.0


@dataclass(frozen=True)
class Tco:
    """`cheaper[i, j]`: probability that option i costs less than option j, discounted, a tie
    counting half; `cheapest[i]`: that it costs least, a tie shared."""

    options: list[OptionCost]
    cheaper: np.ndarray
    cheapest: np.ndarray
    n: int


def total_cost(plan: Sourcing) -> Tco:
    n, months = plan.draws, 12 * plan.years
    shared = np.random.default_rng([plan.seed, 0])
    volume = _not_negative(plan.interactions_per_month, shared, n)
    growth = np.maximum(plan.growth.sample(shared, n), -1.0)
    person = _not_negative(plan.person_year, shared, n)
    at = np.arange(months)
    discount = (1 + plan.discount_rate) ** (-(at + 1) / 12)  # (months,)
    uses = (1 + growth)[:, None] ** (at / 12)[None, :]  # (n, months), for each use a month today
    uses_by_year = uses.reshape(n, plan.years, 12).sum(axis=2)  # (n, years)
    discounted_uses = uses @ discount  # (n,)
    found = []
    for i, option in enumerate(plan.options):
        by_year = np.zeros((n, plan.years))
        fixed, per_volume = np.zeros(n), np.zeros(n)
        lines = []
        for j, line in enumerate(option.costs):
            amount = _not_negative(line.amount, np.random.default_rng([plan.seed, 1, i, j]), n)
            if line.what == "people":
                amount = amount * person
            cost = np.zeros((n, plan.years))
            if line.when == "once":
                cost[:, 0] = amount
                fixed += amount
            elif line.when == "year":
                cost += amount[:, None]
                fixed += amount * discount.sum() / 12
            else:
                cost += (amount * volume)[:, None] * uses_by_year
                per_volume += amount * discounted_uses
            by_year += cost
            lines.append(LineCost(line, spread(cost.sum(axis=1))))
        discounted = fixed + per_volume * volume
        found.append(
            OptionCost(
                option.key, option.name, spread(by_year.sum(axis=1)), spread(discounted),
                [spread(by_year[:, year]) for year in range(plan.years)], lines, fixed, per_volume, discounted,
            )
        )  # fmt: skip
    draws = np.stack([option.draws for option in found])  # (m, n)
    less = draws[:, None, :] < draws[None, :, :]
    same = draws[:, None, :] == draws[None, :, :]
    least = draws <= draws.min(axis=0)
    return Tco(found, (less + 0.5 * same).mean(axis=2), (least / least.sum(axis=0)).mean(axis=1), n)


def spread(values: np.ndarray) -> Spread:
    p10, p50, p90 = np.quantile(values, [0.1, 0.5, 0.9])
    return Spread(float(values.mean()), float(p10), float(p50), float(p90))


def break_even(one: OptionCost, other: OptionCost) -> float | None:
    """Interactions per month today at which both cost the same on average, discounted;
    None when one is never below the other as volume grows."""
    slope = float(one.per_volume.mean() - other.per_volume.mean())
    apart = float(other.fixed.mean() - one.fixed.mean())
    if slope == 0 or apart / slope <= 0:
        return None
    return apart / slope


def over_volume(option: OptionCost, volumes: np.ndarray) -> np.ndarray:
    """(volumes, 3): P10, P50 and P90 of the discounted cost at each fixed volume."""
    costs = option.fixed[None, :] + volumes[:, None] * option.per_volume[None, :]
    return np.quantile(costs, [0.1, 0.5, 0.9], axis=1).T


def _not_negative(quantity: Quantity, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draws, cut off at zero: the tail of a normal may reach below."""
    return np.maximum(quantity.sample(rng, n), 0.0)
