"""One model, several scores: the overall one, and one for each criterion that the project asks
its annotators about. They share the backbone and lie side by side in the last layer.

Criteria are trained on their own votes (masked where nobody rated them), and each head is
normalised by itself. How they become one score is said by a `Combination`, which stands in the
model's card and can be chosen anew whenever something is scored.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.reward.options import OVERALL, Combination


def head_names(criteria: Sequence[str]) -> tuple[str, ...]:
    """The names of the outputs, in their order."""
    return (OVERALL, *criteria)


def rated(rows: Sequence[Mapping[str, Any]], criteria: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(q, there), both (n, c): the share of votes for a by criterion, and 1 where anybody
    rated it. A row's `criteria` is JSON, {name: {"q": …, "n": …}}, or missing."""
    q = np.full((len(rows), len(criteria)), 0.5)
    there = np.zeros((len(rows), len(criteria)))
    if not criteria:
        return q, there
    for i, row in enumerate(rows):
        said = row.get("criteria")
        found = json.loads(said) if isinstance(said, str) and said else said or {}
        for j, name in enumerate(criteria):
            if (of := found.get(name)) and of.get("n"):
                q[i, j], there[i, j] = float(of["q"]), 1.0
    return q, there


def combine(scores: Mapping[str, np.ndarray], combination: Combination) -> np.ndarray:
    """(n,) one score out of normalised scores by head, (n,) each: the sum of weight x score,
    less `penalty` for each unit that a criterion stays below its `at_least`."""
    total = np.zeros(len(next(iter(scores.values()))))
    for name, weight in combination.weights.items():
        if weight:
            total = total + weight * scores[name]
    for name, least in combination.at_least.items():
        total = total - combination.penalty * np.maximum(0.0, least - scores[name])
    return total


def only_overall(combination: Combination) -> bool:
    """Whether it is the overall score as it stands."""
    weights = {name: weight for name, weight in combination.weights.items() if weight}
    return weights == {OVERALL: 1.0} and not combination.at_least
