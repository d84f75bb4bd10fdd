"""What matters most: each uncertain input moved to its P10 and its P90, one at a time, with
all the others at their best values (Howard 1988, Management Science 34:679)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.planning.roi.cashflow import Draws, best_case, clipped
from core.planning.roi.model import Scenario, known_input, quantities
from core.planning.roi.quantiles import quantile


@dataclass(frozen=True)
class Swing:
    """An input at its P10 and P90, and what the outcome is then."""

    path: str
    label: str
    unit: str
    percent: bool
    at_p10: float
    at_p90: float
    outcome_p10: float
    outcome_p90: float

    @property
    def width(self) -> float:
        return abs(self.outcome_p90 - self.outcome_p10)


def tornado(scenario: Scenario, paths: list[str], outcome: Callable[[Draws], np.ndarray]) -> list[Swing]:
    """Widest first; inputs that are fixed, or that move nothing, are left out. `outcome`
    takes draws (rows,) and answers (rows,): all rows are computed at once."""
    known = quantities(scenario)
    uncertain = [path for path in paths if known[path].uncertain]
    draws = best_case(scenario, max(1, 2 * len(uncertain)))
    for i, path in enumerate(uncertain):
        ends = np.array([quantile(known[path], 0.1), quantile(known[path], 0.9)])
        draws[path][2 * i : 2 * i + 2] = clipped(scenario, path, ends)
    found = outcome(draws)
    swings = []
    for i, path in enumerate(uncertain):
        about = known_input(scenario, path)
        low, high = draws[path][2 * i : 2 * i + 2]
        swings.append(
            Swing(path, about.label, about.unit, about.percent, float(low), float(high),
                  float(found[2 * i]), float(found[2 * i + 1]))
        )  # fmt: skip
    return sorted((item for item in swings if item.width > 1e-9), key=lambda item: -item.width)
