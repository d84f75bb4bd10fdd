"""The best score that was known as calls were spent. For both sides.

A candidate with a low number may be scored in full late: several methods try many on a few examples
and score the promising ones in full later. So what was known when follows from `calls`, not from the
number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from core.optimize.protocol import Scores
from core.optimize.rewards.scores import feasible


class Seen(Protocol):
    """A candidate, of a search or of the database."""

    @property
    def number(self) -> int: ...

    @property
    def accepted(self) -> bool: ...

    @property
    def calls(self) -> int: ...

    @property
    def scores(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=Seen)


def when(candidate: Seen) -> tuple[int, int]:
    """Where it stands in time: by the calls spent once it had its score; of those that came
    together, the first proposed."""
    return candidate.calls, candidate.number


def in_time(candidates: Iterable[S]) -> list[S]:
    return sorted(candidates, key=when)


@dataclass(frozen=True)
class Point(Generic[S]):
    """A candidate, what became of it, and the `best` train scores known once it was scored.
    `better`: that it is the best itself."""

    candidate: S
    kind: str  # start, accepted, not accepted, infeasible, scored in part
    best: Scores
    better: bool

    @property
    def scores(self) -> Scores:
        found: Scores = self.candidate.scores["train"]
        return found


def best_so_far(candidates: Sequence[S]) -> list[Point[S]]:
    """In the order in which scores were known. Only what was scored on as many examples as the
    start and keeps its constraints can be the best; the start is, until then."""
    scored = in_time(candidate for candidate in candidates if candidate.scores.get("train"))
    start = next((candidate for candidate in scored if candidate.number == 0), None)
    if start is None:
        return []
    n = start.scores["train"]["n"]
    points = [Point(start, "start", start.scores["train"], True)]
    for candidate in scored:
        if candidate is start:
            continue
        train, best = candidate.scores["train"], points[-1].best
        whole = train["n"] >= n
        better = whole and feasible(train) and train["score"] > best["score"]
        points.append(Point(candidate, _kind(candidate, whole), train if better else best, better))
    return points


def _kind(candidate: Seen, whole: bool) -> str:
    if candidate.accepted:
        return "accepted"
    if not feasible(candidate.scores["train"]):
        return "infeasible"
    return "not accepted" if whole else "scored in part"
