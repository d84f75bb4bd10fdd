"""How what is watched of a search goes along as calls are spent, as rows for charts; and the newest
beside the best. For the web side.

What the best prompt's outputs look like says nothing of where the search is now: a policy may have
drifted since it wrote that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from core.optimize.curve import Seen, in_time
from core.optimize.protocol import Scores
from core.optimize.watched import checks
from storage.tables import RunEvent

S = TypeVar("S", bound=Seen)
Row = dict[str, Any]  # calls, mean, low, high, n, and the candidate or the step


# --- of candidates: what is kept with their scores (core/optimize/watch.py) ------------------------


def looked_at(candidates: Iterable[S]) -> list[S]:
    """Those that are watched, in the order in which they were scored on all of train."""
    return [one for one in in_time(candidates) if "watch" in one.scores.get("train", {})]


def figure(watch: Mapping[str, Any], name: str) -> Scores | None:
    """One figure of a candidate; older searches kept the KL as a bare number."""
    found = watch.get(name)
    return {"score": found} if isinstance(found, int | float) else found


def trend(candidates: Iterable[Seen], name: str) -> list[Row]:
    found = []
    for one in looked_at(candidates):
        of = figure(one.scores["train"]["watch"], name)
        if of is not None:
            found.append({"candidate": one.number, **_row(one.calls, of)})
    return found


def gold_rows(candidates: Sequence[Seen]) -> list[Row]:
    """The reward and gold of every prompt; `check`: that it beat all before it by the reward."""
    numbers = {one.number for one in checks(candidates)}
    found = []
    for one in looked_at(candidates):
        train = one.scores["train"]
        if "gold" in train["watch"]:
            said = {"candidate": one.number, "check": one.number in numbers}
            found.append({"which": "reward", **said, **_row(one.calls, train)})
            found.append({"which": "gold", **said, **_row(one.calls, train["watch"]["gold"])})
    return found


# --- of a policy that learns: its events ---------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What a policy said of one step. `figures`: core/optimize/policy_figures.py."""

    step: int
    calls: int
    figures: dict[str, Scores]

    def rows(self, name: str) -> list[Row]:
        return [{"step": self.step, **_row(self.calls, self.figures[name])}] if name in self.figures else []


def steps_of(events: Sequence[RunEvent]) -> list[Step]:
    """In order; a step that was told again after a resume counts as it was told first."""
    told: dict[int, Step] = {}
    for event in events:
        step = int(event.data["step"])
        told.setdefault(step, Step(step, int(event.data["calls"]), event.data["figures"]))
    return [told[step] for step in sorted(told)]


def correlations(events: Sequence[RunEvent]) -> list[Row]:
    """Reward and length, over all outputs so far, as each candidate came."""
    return [
        _row(int(event.data["calls"]), event.data["length_correlation"])
        for event in events
        if event.data.get("calls") is not None and event.data.get("length_correlation")
    ]


def _row(calls: int, of: Scores) -> Row:
    mean = of["score"]
    return {"calls": calls, "mean": mean, "low": of.get("low", mean), "high": of.get("high", mean), "n": of.get("n")}  # fmt: skip
