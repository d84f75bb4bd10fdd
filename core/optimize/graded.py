"""What judges have said of a response to an example: a judge is asked once about it in a run,
whichever candidates gave it. (Judges answer greedily, so that they would say the same again.)

A grade that turns out to be known makes an example cheaper while a step is under way. Whoever
decides what fits goes by what it was to take (core/optimize/evaluate.py, `fits`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.optimize.objectives import Heard, Outcome

Grading = Mapping[str, float | None]  # by component, as Heard.grades
Spent = tuple[int, int, float]  # tokens in and out, cost
NOTHING: Spent = (0, 0, 0.0)


class Grades:
    """By example and response. `judges`: names of the components that are judges; without any,
    nothing is kept."""

    def __init__(self, judges: frozenset[str]) -> None:
        self.judges = judges
        self._known: dict[tuple[str, str], tuple[Grading, Spent]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> Iterator[tuple[str, str, Grading, Spent]]:
        """(example, response, grades, what they took)"""
        for (example, text), (grades, took) in self._known.items():
            yield example, text, grades, took

    def add(self, found: Iterable[tuple[str, Outcome]], names: Mapping[str, str] | None = None) -> None:
        """(example, outcome) that judges were paid for. One of which a part failed says nothing.
        `names`: of another reward's judges, {its component: the component here}."""
        names = {name: name for name in self.judges} if names is None else names
        for example, outcome in found if names else ():
            if not outcome.error and "parts" in outcome.detail:
                grades = grades_in(outcome.detail, names)
                self.keep(example, outcome.output, grades, taken_by_judges(outcome.detail))

    def keep(self, example: str, text: str, grades: Grading, took: Spent) -> None:
        """What is known already stays as it is."""
        before, spent = self._known.get((example, text), ({}, NOTHING))
        new = {name: grade for name, grade in grades.items() if name not in before}
        if new:
            self._known[example, text] = {**before, **new}, added(spent, took)

    def on(self, example: str, said: Heard) -> Heard:
        """`said` with the grades that are known of it."""
        grades, took = self._known.get((example, said.text), ({}, NOTHING))
        new = {name: grade for name, grade in grades.items() if name not in said.grades}
        if not new:
            return said
        return replace(said, grades={**said.grades, **new}, judged=added(said.judged, took))


def grades_in(detail: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float | None]:
    """Of an outcome's detail, the grades of some judges: {its component: the name to give it}."""
    unparsed = detail.get("unparsed", ())
    return {now: None if then in unparsed else detail["parts"][then] for then, now in names.items()}


def spent_on_judges(detail: Mapping[str, Any]) -> list[Spent]:
    """Of an outcome's detail: now by each judge, and before by all of them."""
    return [*map(_spent, detail.get("spent", {}).values()), _spent(detail.get("judged", NOTHING))]


def taken_by_judges(detail: Mapping[str, Any]) -> Spent:
    """As `spent_on_judges`, all together."""
    total = NOTHING
    for each in spent_on_judges(detail):
        total = added(total, each)
    return total


def added(one: Spent, other: Spent) -> Spent:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _spent(of: Any) -> Spent:
    return of[0], of[1], of[2]
