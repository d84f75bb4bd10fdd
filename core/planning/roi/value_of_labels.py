"""What n more labels are worth before one decides: how much narrower they make the uplift,
and how much a better decision gains by it.

The decision is to invest, which is worth slope · uplift - intercept, or not to, which is
worth nothing (a two-action problem with linear value). The uplift is normal before the
labels, and each label adds an observation of it with normal noise. The expected value of
sample information is then Raiffa and Schlaifer's (1961, Applied Statistical Decision
Theory, 5.4-5.5):

    EVSI(n) = |slope| · s · L(|mean - intercept/slope| / s),   s = sd · sqrt(n / (n + n0))

with L the unit normal loss integral, n0 = noise² / sd² (how many labels today's knowledge is
worth) and s the standard deviation of what the mean will be after the labels. The net value
takes off what the labels cost. For win rates, where a label is one comparison, the normal
stands in for the beta-binomial; `evsi_beta_binomial` is that one exactly, and the tests hold
the two together.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.special import betaln, gammaln, ndtr

from core.planning.quantity import Z
from core.planning.roi.model import Scenario
from core.planning.roi.monte_carlo import Simulation

GRID = (0, 25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800)
MOST = 100_000  # labels looked at for the best number
_ROOT_2PI = sqrt(2 * np.pi)


def unit_normal_loss(distance: Any) -> Any:
    """L(d) = E max(0, Z - d) for a standard normal Z: phi(d) - d (1 - Phi(d))."""
    d = np.asarray(distance, dtype=float)
    return np.exp(-d * d / 2) / _ROOT_2PI - d * ndtr(-d)


def evsi_normal(mean: float, sd: float, noise: float, n: Any, slope: float, intercept: float) -> Any:
    """Expected value of n observations, as n: of a normal quantity (mean, sd), each with the
    standard deviation `noise`, for the choice between slope · quantity - intercept and 0."""
    n = np.asarray(n, dtype=float)
    if sd <= 0 or slope == 0:
        return np.zeros_like(n)
    spread = (
        abs(slope) * sd * np.sqrt(n / (n + (noise / sd) ** 2))
        if noise > 0
        else np.where(n > 0, abs(slope) * sd, 0.0)
    )
    away = abs(slope * mean - intercept)
    safe = np.where(spread > 0, spread, 1.0)
    return np.where(spread > 0, spread * unit_normal_loss(away / safe), 0.0)


def evpi_normal(mean: float, sd: float, slope: float, intercept: float) -> float:
    """Expected value of knowing the quantity exactly: the most that any labels are worth."""
    return float(evsi_normal(mean, sd, 0.0, 1, slope, intercept))


def evsi_beta_binomial(a: float, b: float, n: int, slope: float, intercept: float) -> float:
    """Exactly, for a rate with the prior Beta(a, b) and n yes-or-no observations: the sum
    over all counts k of P(k) · max(0, slope · (a + k) / (a + b + n) - intercept), less what
    is had without them. O(n)."""
    k = np.arange(n + 1)
    log_p = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + betaln(a + k, b + n - k) - betaln(a, b)
    value = slope * (a + k) / (a + b + n) - intercept
    now = max(0.0, slope * a / (a + b) - intercept)
    return float(np.exp(log_p) @ np.maximum(0, value)) - now


@dataclass(frozen=True)
class Knowledge:
    """What is known of the uplift, and what a label tells. `sd` is the part of its standard
    deviation that labels shrink, `other_sd` the part that they do not (the conversion);
    `noise` the standard deviation of one label as a measurement of the uplift; `cost` of one."""

    mean: float
    sd: float
    other_sd: float
    noise: float
    cost: float
    label: str  # what labels are, as a plural

    @property
    def worth_now(self) -> float:
        """How many labels today's knowledge is worth."""
        return (self.noise / self.sd) ** 2 if self.sd > 0 else float("inf")

    def sd_after(self, n: float) -> float:
        """Standard deviation of the uplift after n more labels."""
        if self.sd <= 0:
            return self.other_sd
        return sqrt(self.other_sd**2 + self.sd**2 * self.worth_now / (self.worth_now + n))


def knowledge(scenario: Scenario) -> Knowledge:
    """Of the scenario's uplift, by where it comes from.

    win_rate    one label is one comparison: it measures the win rate with sd
                sqrt(w (1 - w)), so the uplift with 2 · conversion · that. Labels do not
                touch the conversion.
    assumed     the same comparison, at a win rate of one half, by the stated conversion.
    experiment  one label is a rated use on each side: sd sqrt(p1 (1 - p1) + p0 (1 - p0)).
    """
    vote_cost = scenario.seconds_per_vote.mean() / 3600 * scenario.hourly_rate.mean()
    c, c_sd = scenario.conversion.mean(), scenario.conversion.standard_deviation()
    if scenario.uplift_source == "win_rate":
        w, w_sd = scenario.win_rate.mean(), scenario.win_rate.standard_deviation()
        other = c_sd * sqrt((2 * w - 1) ** 2 + 4 * w_sd**2)
        noise = 2 * c * sqrt(max(0.0, w * (1 - w)))
        return Knowledge(c * (2 * w - 1), 2 * c * w_sd, other, noise, vote_cost, "votes")
    if scenario.uplift_source == "experiment":
        p0 = min(1.0, max(0.0, scenario.baseline_success.value))
        p1 = min(1.0, max(0.0, p0 + scenario.experiment.value))
        noise = sqrt(p1 * (1 - p1) + p0 * (1 - p0))
        known = scenario.experiment
        return Knowledge(
            known.mean(), known.standard_deviation(), 0.0, noise, 2 * vote_cost, "rated uses of each prompt"
        )
    known = scenario.uplift
    return Knowledge(known.mean(), known.standard_deviation(), 0.0, c, vote_cost, "votes")


@dataclass(frozen=True)
class Step:
    """After n more labels: half the width of the 95 % interval of the uplift and of the net
    present value, as expected now; the value of the labels, their cost, and the rest."""

    n: int
    uplift_half: float
    npv_half: float
    evsi: float
    cost: float

    @property
    def net(self) -> float:
        return self.evsi - self.cost


@dataclass(frozen=True)
class LabelValue:
    """`best_n`: the number of labels with the largest net value, 0 when none pays; `evpi`: the
    most that any number could be worth."""

    known: Knowledge
    steps: list[Step]
    best: Step
    evpi: float
    mean_npv: float  # slope · mean - intercept, what the decision looks like now

    @property
    def best_n(self) -> int:
        return self.best.n


def value_of_labels(scenario: Scenario, simulation: Simulation, grid: tuple[int, ...] = GRID) -> LabelValue:
    """Over a grid of n, with the best n. The other inputs count with their expectation, which
    is exact: they are drawn independently of the uplift, and value is linear in it (but for
    the cap at 100 %, which is left out here)."""
    known = knowledge(scenario)
    slope, intercept = simulation.slope, simulation.intercept
    fine = np.unique(np.round(np.geomspace(1, MOST, 400)).astype(int))
    net = evsi_normal(known.mean, known.sd, known.noise, fine, slope, intercept) - fine * known.cost
    best_n = int(fine[np.argmax(net)]) if net.max() > 0 else 0

    def step(n: int) -> Step:
        evsi = float(evsi_normal(known.mean, known.sd, known.noise, n, slope, intercept))
        after = known.sd_after(n)
        # What the mean will move by, of the spread there is: the law of total variance.
        moved = max(0.0, known.sd**2 + known.other_sd**2 - after**2)
        npv_sd = sqrt(max(0.0, simulation.sd_npv**2 - slope**2 * moved))
        return Step(n, Z * after, Z * npv_sd, evsi, n * known.cost)

    evpi = evpi_normal(known.mean, known.sd, slope, intercept)
    return LabelValue(known, [step(n) for n in grid], step(best_n), evpi, slope * known.mean - intercept)


def preposterior(scenario: Scenario, n: int, simulation: Simulation, seed: int = 0) -> float:
    """EVSI by simulation, without the formula: draw a future mean of the uplift from what n
    labels would show, and take the better action in each. For tests and for doubters."""
    known = knowledge(scenario)
    rng = np.random.default_rng(seed)
    true = rng.normal(known.mean, known.sd, 200_000)
    seen = rng.normal(true, known.noise / sqrt(n))
    weight = n / (n + known.worth_now)
    after = known.mean + weight * (seen - known.mean)
    value = np.maximum(0, simulation.slope * after - simulation.intercept).mean()
    return float(value - max(0.0, simulation.slope * known.mean - simulation.intercept))
