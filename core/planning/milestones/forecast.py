"""When a target will be met, from the trend so far: simulated futures of a metric, and the
day on which each of them first reaches the target.

Two models (`futures_of_count`, `futures_of_level` in files of their own); this file turns
their futures into dates. The interval is the middle 80 % of the simulated dates. What is
not reached within the horizon has no date, and that is an answer: "not reached on the
present trend" when fewer than half of the futures get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import numpy as np

from core.planning.milestones.catalogue import KIND, Direction
from core.planning.milestones.counts import COUNT_METHOD, futures_of_count
from core.planning.milestones.levels import LEVEL_METHOD, futures_of_level, inverse, transformed

HORIZON = 728  # days: two years
PATHS = 600
LEVEL = 0.8
MIN_DAYS = 7  # of history
MIN_VOTE_DAYS = 3  # days on which anything was counted
MIN_POINTS = 4  # measurements of a level

State = Literal["reached", "forecast", "unlikely", "too_short", "no_data"]


@dataclass(frozen=True)
class Band:
    """A future day with the middle 80 % and the median of the simulated values."""

    day: date
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """`low` to `high` holds 80 % of the simulated dates; None: later than the horizon.
    `share`: of the futures that reach the target within the horizon. `passages`: the days
    from `on` to the target, sorted, infinite when never (paths,)."""

    state: State
    said: str
    day: date | None = None
    low: date | None = None
    high: date | None = None
    share: float = 0.0
    method: str = ""
    on: date | None = None
    passages: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)

    def chance_by(self, due: date) -> float | None:
        """Share of the futures that reach the target by a day; None without a forecast."""
        if self.state == "reached":
            return 1.0
        if self.on is None or not len(self.passages):
            return None
        return float(np.mean(self.passages <= (due - self.on).days))


@dataclass(frozen=True)
class Futures:
    """Simulated futures of one metric, to be asked for any target. `paths` (paths, steps):
    values at the end of each step of `step` days after `on`."""

    key: str
    on: date
    now: float | None
    paths: np.ndarray
    step: int
    method: str
    too_short: str = ""

    def reach(self, target: float, direction: Direction = "at_least") -> Forecast:
        """The day the metric first is at least (at most) the target."""
        if self.now is None:
            return Forecast("no_data", "nothing is measured yet")
        if self.now >= target if direction == "at_least" else self.now <= target:
            return Forecast("reached", "the target is met", self.on, self.on, self.on, 1.0, on=self.on)
        if self.too_short:
            return Forecast("too_short", self.too_short)
        there = self.paths >= target if direction == "at_least" else self.paths <= target
        ever = there.any(axis=1)
        days = np.where(ever, (there.argmax(axis=1) + 1) * self.step, np.inf)
        days.sort()
        share = float(ever.mean())
        low, middle, high = (self._date(_order(days, p)) for p in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
        if middle is None:
            said = "not reached on the present trend"
            said += f" ({100 * share:.0f} % of the simulated futures get there within two years)"
            return Forecast("unlikely", said, None, low, None, share, self.method, self.on, days)
        return Forecast("forecast", "", middle, low, high, share, self.method, self.on, days)

    def bands(self, until: date | None = None, most: int = 120) -> list[Band]:
        """The fan of a chart, thinned to `most` days."""
        if not self.paths.size:
            return []
        steps = self.paths.shape[1]
        if until is not None:
            steps = min(steps, max(1, -(-(until - self.on).days // self.step)))
        at = np.unique(np.linspace(0, steps - 1, min(most, steps)).astype(int))
        q = np.quantile(self.paths[:, at], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2], axis=0)
        return [
            Band(self.on + timedelta(days=int(i + 1) * self.step), float(a), float(b), float(c))
            for i, a, b, c in zip(at, *q, strict=True)
        ]

    def _date(self, days: float) -> date | None:
        return self.on + timedelta(days=int(days)) if np.isfinite(days) else None


def _order(values: np.ndarray, p: float) -> float:
    """The order statistic at p of sorted values, which may be infinite."""
    return float(values[min(len(values) - 1, int(p * len(values)))])


def count_futures(daily: Sequence[int], last: date, today: date, seed: int = 0) -> Futures:
    """Futures of a cumulative count. `daily` (days,): counts of each day up to `last`, which
    is today or later only when today is not over: its count then counts as collected, but
    the rate is taken from the whole days before."""
    counts = np.asarray(daily, dtype=float)
    now = float(counts.sum())
    whole = counts[:-1] if len(counts) and last >= today else counts
    whole = np.concatenate([whole, np.zeros(max(0, (today - last).days - 1))]) if len(counts) else whole
    active = int((whole > 0).sum())
    empty = np.zeros((0, 0))
    if len(whole) < MIN_DAYS or active < MIN_VOTE_DAYS:
        said = f"{active} whole day{'' if active == 1 else 's'} with votes; a forecast needs {MIN_VOTE_DAYS}"
        said += f", and {MIN_DAYS} days of history"
        return Futures("labels", today, now if len(counts) else None, empty, 1, "", said)
    added = futures_of_count(whole, HORIZON, PATHS, np.random.default_rng(seed))
    return Futures("labels", today, now, now + np.cumsum(added, axis=1), 1, COUNT_METHOD)


def level_futures(
    key: str, days: Sequence[date], values: Sequence[float], today: date, seed: int = 0
) -> Futures:
    """Futures of a level, measured on some days (in order) and unchanged in between. In
    steps of a day, or of a week when the history is longer than eight."""
    empty = np.zeros((0, 0))
    if not days:
        return Futures(key, today, None, empty, 1, "")
    now = float(values[-1])
    span = (today - days[0]).days
    if len(days) < MIN_POINTS or span < MIN_DAYS:
        said = f"{len(days)} measurement{'' if len(days) == 1 else 's'} over {span} days; a forecast needs "
        said += f"{MIN_POINTS} over {MIN_DAYS} days"
        return Futures(key, today, now, empty, 1, "", said)
    step = 1 if span < 56 else 7
    scale = KIND[key].scale
    seen = transformed(np.asarray(values, dtype=float), scale)
    ends = np.arange(span % step, span + 1, step)  # the last bin ends today
    offsets = np.array([(day - days[0]).days for day in days])
    held = seen[np.searchsorted(offsets, ends, side="right") - 1]
    paths = futures_of_level(held, HORIZON // step, PATHS, np.random.default_rng(seed), step)
    return Futures(key, today, now, inverse(paths, scale), step, LEVEL_METHOD)
