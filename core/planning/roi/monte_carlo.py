"""Ten thousand futures of a scenario: how much it may bring, and how likely it loses money.

Each uncertain input is drawn from its own distribution, independently of the others. An
input has a random stream of its own, so that two scenarios are compared on the same draws
of what they share, and a changed input does not shake the others (common random numbers;
Law, Simulation Modeling and Analysis, 11.2).
"""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from core.planning.roi.cashflow import (
    Draws,
    clipped,
    discount_factors,
    net_flows,
    payback_months,
    reach,
    total_cost,
    uplift,
)
from core.planning.roi.model import Scenario, quantities, used
from core.planning.roi.tornado import Swing, tornado

DRAWS = 10_000
BANDS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class Simulation:
    """`npv` and `net_benefit` are (draws,); `fan` is (len(BANDS), months + 1), quantiles of
    the cumulative flow; `payback` (draws,) in months, inf where it does not pay back.
    `slope` and `intercept`: expected net present value is slope · uplift - intercept, for a
    known uplift (which the other inputs do not depend on)."""

    draws: int
    npv: np.ndarray
    net_benefit: np.ndarray
    uplift: np.ndarray
    payback: np.ndarray
    fan: np.ndarray
    slope: float
    intercept: float

    @property
    def mean_npv(self) -> float:
        return float(self.npv.mean())

    @property
    def sd_npv(self) -> float:
        return float(self.npv.std())

    @property
    def p_loss(self) -> float:
        """Probability that the net present value is below zero."""
        return float((self.npv < 0).mean())

    def npv_at(self, p: float) -> float:
        return float(np.quantile(self.npv, p))

    def net_benefit_at(self, p: float) -> float:
        return float(np.quantile(self.net_benefit, p))

    def payback_at(self, chance: float) -> int | None:
        """The month by which it has paid back with this chance; None when the chance is
        smaller even at the horizon."""
        month = float(np.quantile(self.payback, chance, method="inverted_cdf"))
        return int(month) if np.isfinite(month) else None

    @property
    def p_payback(self) -> float:
        """Probability that it pays back within the horizon."""
        return float(np.isfinite(self.payback).mean())

    def fan_rows(self) -> list[dict[str, Any]]:
        names = [f"P{round(100 * p)}" for p in BANDS]
        return [
            {"Month": month, **{name: float(x) for name, x in zip(names, column, strict=True)}}
            for month, column in enumerate(self.fan.T)
        ]


def draw(scenario: Scenario, size: int = DRAWS, seed: int = 0) -> Draws:
    """(size,) draws of every input, within its bounds."""
    return {
        path: clipped(scenario, path, item.sample(np.random.default_rng([seed, crc32(path.encode())]), size))
        for path, item in quantities(scenario).items()
    }


def simulate(scenario: Scenario, size: int = DRAWS, seed: int = 0) -> Simulation:
    """The same scenario and seed answer the same."""
    draws = draw(scenario, size, seed)
    factors = discount_factors(scenario.discount_rate, scenario.horizon_months)
    earning, spent, gained = reach(scenario, draws), total_cost(scenario, draws), uplift(scenario, draws)
    slope, intercept = float((earning @ factors).mean()), float((spent @ factors).mean())
    net = earning
    net *= gained[:, None]
    net -= spent
    npv = net @ factors
    cumulative = np.cumsum(net, axis=1, out=net)
    fan = quantiles_by_month(cumulative)
    return Simulation(
        size, npv, cumulative[:, -1].copy(), gained, payback_months(cumulative), fan, slope, intercept
    )


def quantiles_by_month(cumulative: np.ndarray) -> np.ndarray:
    """(len(BANDS), months + 1). Rows are copied month by month, which sorts faster than
    columns of a wide array."""
    columns = np.ascontiguousarray(cumulative.T)
    columns.sort(axis=1)
    place = np.array(BANDS) * (columns.shape[1] - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, columns.shape[1] - 1)
    part = place - low
    return (columns[:, low] * (1 - part) + columns[:, high] * part).T


def swings(scenario: Scenario) -> list[Swing]:
    """The tornado of the scenario's net present value, widest first."""
    factors = discount_factors(scenario.discount_rate, scenario.horizon_months)
    return tornado(scenario, used(scenario), lambda draws: net_flows(scenario, draws) @ factors)
