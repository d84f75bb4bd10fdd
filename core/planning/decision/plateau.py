"""Has manual work plateaued? A test on held-out votes between prompt versions.

The gain over the last k versions is how often the newest would be preferred to the one k
versions before it, in points above 50 %. Votes on all pairs of these versions count,
through a Bradley-Terry model (direct meetings, and chains of them). Two one-sided tests
share one boundary, the margin: "the gain is less than it" (as in an equivalence test,
Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680) and "it is more" (superiority by a
margin). At most one of them can hold, so either answer is wrong in at most a share `alpha`
of cases. When neither holds, the answer is: cannot tell yet, with the power there was and
how many more votes would tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log, sqrt
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri  # scipy.stats would cost a second

Outcome = Literal["plateaued", "improving", "undecided"]
POWER = 0.8  # at which "how many more votes" is reckoned
MOST_ITERATIONS = 50


@dataclass(frozen=True)
class Steps:
    """Held-out votes on responses of two versions, by their places in the line. A vote is
    1 for `later`, 0 for `earlier`, ½ for a tie or "both bad"; S is the sum over one pair
    of responses and m how many votes it has. `wins` is the sum of S over the pairs; then
    the sums of S², S·m and m². Votes on one pair are alike, so the pair is the unit."""

    earlier: int
    later: int
    n: int
    wins: float
    pairs: int
    ss: float
    sm: float
    mm: float
    simulated: int = 0

    @property
    def rate(self) -> float:
        return self.wins / self.n


@dataclass(frozen=True)
class Verdict:
    """`gain` in points of win rate, `low` and `high` its interval at the level 1 - 2 alpha
    (so the verdict can be read off it); None when nothing connects the two ends. `power`:
    the chance of showing a plateau with these votes if there is no gain at all. `more`:
    votes between the two ends that raise it to 80 %; `more_as_seen`: those that would
    settle it, either way, if the gain is what it looks like (None: at the margin itself,
    which no number of votes settles)."""

    outcome: Outcome
    gain: float | None
    low: float | None
    high: float | None
    margin: float
    alpha: float
    n: int
    power: float
    more: int
    more_as_seen: int | None


def judge(meetings: Sequence[Steps], first: int, last: int, margin: float, alpha: float) -> Verdict:
    """The verdict on the gain from version `first` to version `last`; `margin` in points."""
    bar = _logit(0.5 + margin / 100)
    z, z_power = float(ndtri(1 - alpha)), float(ndtri(POWER))
    n = sum(meeting.n for meeting in meetings)
    found = gain(meetings, first, last)
    if found is None:
        more = ceil(4 * ((z + z_power) / bar) ** 2)
        return Verdict("undecided", None, None, None, margin, alpha, n, 0.0, more, None)
    value, error, inflation = found
    low, high = value - z * error, value + z * error
    outcome: Outcome = "plateaued" if high < bar else "improving" if low > bar else "undecided"

    def wanted(truth: float) -> int | None:
        """Direct votes still needed; one gives at least p (1 - p) of information."""
        if abs(bar - truth) < 1e-3:
            return None
        p = 1 / (1 + exp(-truth))
        missing = ((z + z_power) / (bar - truth)) ** 2 - 1 / error**2
        return max(0, ceil(missing * inflation / (p * (1 - p))))

    power = float(ndtr(bar / error - z))
    seen = wanted(value) if outcome == "undecided" else 0
    more = (wanted(0.0) or 0) if outcome == "undecided" else 0
    return Verdict(outcome, _points(value), _points(low), _points(high), margin, alpha, n, power, more, seen)


def gain(meetings: Sequence[Steps], first: int, last: int) -> tuple[float, float, float] | None:
    """(log odds that `last` beats `first`, their standard error, how much the votes on one
    pair being alike inflates the variance). None when no chain of votes joins the two."""
    used = _connected([meeting for meeting in meetings if meeting.n], first, last)
    if used is None:
        return None
    places = sorted({place for meeting in used for place in (meeting.earlier, meeting.later)})
    column = {place: i for i, place in enumerate(p for p in places if p != first)}
    x = np.zeros((len(used), len(column)))  # (meetings, versions other than the first)
    for row, meeting in enumerate(used):
        for place, sign in ((meeting.later, 1.0), (meeting.earlier, -1.0)):
            if place != first:
                x[row, column[place]] = sign
    n = np.array([float(meeting.n) for meeting in used])
    wins = np.array([meeting.wins for meeting in used])
    if ((wins <= 0) | (wins >= n)).any():
        # Always won or always lost has no finite odds yet: a tie more for each two that
        # met, as on the leaderboard.
        n, wins = n + 1, wins + 0.5
    strength = _fit(x, n, wins)
    p = 1 / (1 + np.exp(-x @ strength))
    information = np.linalg.inv(x.T @ ((n * p * (1 - p))[:, None] * x))
    spread = (
        np.array([m.ss - 2 * q * m.sm + q * q * m.mm for m, q in zip(used, p, strict=True)])
        + np.maximum(0, n - [m.n for m in used]) * (0.5 - p) ** 2
    )  # the added ties' own
    groups = sum(meeting.pairs for meeting in used)
    spread *= groups / max(1, groups - 1)
    sandwich = information @ (x.T @ (spread[:, None] * x)) @ information
    to = column[last]
    plain, clustered = float(information[to, to]), float(sandwich[to, to])
    # The wider of the two: few pairs make the sandwich too small.
    variance = max(plain, clustered)
    return float(strength[to]), sqrt(variance), max(1.0, clustered / plain)


def judge_scores(
    before: tuple[float, float], after: tuple[float, float], margin: float, alpha: float, n: int
) -> Verdict:
    """The same two tests on shares of right answers on a test split, as (value, standard
    error) of the version before and the newest, from 0 to 1. Taken as independent: on the
    same examples the difference is surer than this, so the test is on the safe side."""
    z, z_power = float(ndtri(1 - alpha)), float(ndtri(POWER))
    value = 100 * (after[0] - before[0])
    error = 100 * sqrt(before[1] ** 2 + after[1] ** 2)
    if error <= 0:
        return Verdict("undecided", value, None, None, margin, alpha, n, 0.0, 0, None)
    low, high = value - z * error, value + z * error
    outcome: Outcome = "plateaued" if high < margin else "improving" if low > margin else "undecided"

    def wanted(truth: float) -> int | None:
        if abs(margin - truth) < 0.05:
            return None
        return max(0, ceil(n * ((z + z_power) * error / (margin - truth)) ** 2 - n))

    undecided = outcome == "undecided"
    power = float(ndtr(margin / error - z))
    more, seen = ((wanted(0) or 0), wanted(value)) if undecided else (0, 0)
    return Verdict(outcome, value, low, high, margin, alpha, n, power, more, seen)


def _fit(x: np.ndarray, n: np.ndarray, wins: np.ndarray) -> np.ndarray:
    """Maximum likelihood by Newton's method; the likelihood is concave, and steps are
    halved while they would lose."""
    strength = np.zeros(x.shape[1])

    def likelihood(at: np.ndarray) -> float:
        eta = x @ at
        return float(wins @ eta - n @ np.logaddexp(0, eta))

    here = likelihood(strength)
    for _ in range(MOST_ITERATIONS):
        p = 1 / (1 + np.exp(-x @ strength))
        step = np.linalg.solve(x.T @ ((n * p * (1 - p))[:, None] * x), x.T @ (wins - n * p))
        while (there := likelihood(strength + step)) < here - 1e-12 and np.abs(step).max() > 1e-10:
            step = step / 2
        strength, here = strength + step, there
        if np.abs(step).max() < 1e-9:
            break
    return strength


def _connected(meetings: list[Steps], first: int, last: int) -> list[Steps] | None:
    """The meetings that a chain joins to `first`; None when `last` is not among them."""
    reached = {first}
    while True:
        new = {
            place
            for meeting in meetings
            if (meeting.earlier in reached) != (meeting.later in reached)
            for place in (meeting.earlier, meeting.later)
        } - reached
        if not new:
            break
        reached |= new
    return [m for m in meetings if m.earlier in reached] if last in reached else None


def _logit(p: float) -> float:
    return log(p / (1 - p))


def _points(odds: float) -> float:
    return 100 / (1 + exp(-odds)) - 50
