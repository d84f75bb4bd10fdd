"""What judges have said of a response to an example: a judge is asked once about it in a run,
whichever candidates gave it. (Judges answer greedily, so that they would say the same again; and a
call that failed for good is not made again in that run.)

A grade that turns out to be known makes an example cheaper while a step is under way. Whoever
decides what fits goes by what it was to take (core/optimize/evaluate.py, `fits`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from core.optimize.objectives import Graded, Heard

Spent = tuple[int, int, float]  # tokens in and out, cost


class Grades:
    """By example and response, of each judge's component."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, Graded]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def items(self) -> Iterable[tuple[tuple[str, str], Mapping[str, Graded]]]:
        """((example, response), grades)"""
        return self._known.items()

    def keep(self, example: str, text: str, grades: Mapping[str, Graded]) -> None:
        """What is known already stays as it is."""
        known = self._known.setdefault((example, text), {})
        known.update({name: grade for name, grade in grades.items() if name not in known})

    def on(self, example: str, said: Heard) -> Heard:
        """`said` with the grades that are known of it."""
        known = self._known.get((example, said.text))
        return replace(said, grades={**known, **said.grades}) if known else said


def graded_with(detail: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Graded]:
    """Of an outcome's detail in an older file, the grades of some judges: {its component: the name to
    give it}. What all judges took stands with the first."""
    took, found = taken_by_judges(detail), {}
    for then, now in names.items():
        found[now] = Graded(None if then in detail.get("unparsed", ()) else detail["parts"][then], *took)
        took = (0, 0, 0.0)
    return found


def taken_by_judges(detail: Mapping[str, Any]) -> Spent:
    """Of an outcome's detail: by all judges together, now or before."""
    each = [*detail.get("spent", {}).values(), detail.get("judged", (0, 0, 0.0))]
    tokens_in, tokens_out, cost = (sum(of) for of in zip(*each, strict=True))
    return tokens_in, tokens_out, cost
