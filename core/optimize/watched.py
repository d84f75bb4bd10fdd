"""When gold falls while the proxy rises (core/optimize/watch.py). For both sides.

A check is a text that is better than all before it by the proxy (on the whole train split, keeping
its constraints). Gold has fallen at a check when it is lower than at its highest before.
"""

from collections.abc import Callable, Sequence

import numpy as np

from core.optimize.curve import Seen, in_time, when
from core.optimize.protocol import Scores, Standing
from core.optimize.rewards.scores import feasible, mean_of

WARN_AFTER = 3  # checks in a row: then it is said


def checks(candidates: Sequence[Seen]) -> list[Seen]:
    """The start, and each text that was better by the proxy than all that were scored before it."""
    found: list[Seen] = []
    for candidate in in_time(candidates):
        train = candidate.scores.get("train", {})
        if "gold" not in train.get("watch", {}):
            continue
        better = not found or train["score"] > found[-1].scores["train"]["score"]
        if better and (not found or feasible(train)):
            found.append(candidate)
    return found


def falling(candidates: Sequence[Seen]) -> tuple[int, Seen | None]:
    """(how many checks in a row, the newest included, gold stood lower than at its highest while
    the proxy rose; the candidate where it stood highest)."""
    row, peak = 0, None
    for candidate in checks(candidates):
        if peak is None or _gold(candidate) >= _gold(peak):
            row, peak = 0, candidate
        else:
            row += 1
    return row, peak


def fall(candidates: Sequence[Seen]) -> Scores | None:
    """Gold at the newest check less gold at its highest, on the same examples: the mean of the
    differences with its interval; None where it has not fallen."""
    row, peak = falling(candidates)
    if not row or peak is None:
        return None
    newest = checks(candidates)[-1]
    each = [np.array(one.scores["train"]["watch"]["gold"]["each"]) for one in (newest, peak)]
    return mean_of(each[0] - each[1])


def before_the_fall(candidates: Sequence[Seen]) -> Callable[[Seen], bool]:
    """Which candidates a search that was stopped for it may choose: those scored up to gold's
    highest."""
    _, peak = falling(candidates)
    return lambda candidate: peak is None or when(candidate) <= when(peak)


def _gold(candidate: Seen) -> float:
    return float(candidate.scores["train"]["watch"]["gold"]["score"])


class GoldFalls:
    """A stop condition: gold stood lower at `checks` checks in a row while the proxy rose."""

    def __init__(self, candidates: Callable[[], Sequence[Seen]], checks: int) -> None:
        self.candidates, self.checks = candidates, checks

    def __call__(self, now: Standing) -> str | None:
        return "gold_falls" if falling(self.candidates())[0] >= self.checks else None
