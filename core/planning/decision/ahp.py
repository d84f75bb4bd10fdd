"""Weights from pairwise comparisons: the analytic hierarchy process.

Saaty, T. L. (1980), The Analytic Hierarchy Process; worked example in Saaty (1990), How to
make a decision, European Journal of Operational Research 48:9-26. A comparison that was
left out counts as "equally important".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from core.errors import Invalid

# Mean consistency index of random reciprocal matrices of order 1 to 15 (Saaty 1980, p. 21).
RANDOM_INDEX = (0, 0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49, 1.51, 1.48, 1.56, 1.57, 1.59)
ACCEPTABLE = 0.10  # the consistency ratio that Saaty asks for


@dataclass(frozen=True)
class Suspect:
    """The comparison that fits the others least: what was said of (row, column), what the
    weights imply, and the step of Saaty's scale that would fit the others best."""

    row: int
    column: int
    said: float
    implied: float
    suggested: float


@dataclass(frozen=True)
class Priorities:
    """`weights` (n,), summing to one; `ratio` is the consistency ratio CR = CI / RI."""

    weights: np.ndarray
    eigenvalue: float
    index: float
    ratio: float
    suspect: Suspect | None  # None when the comparisons agree with each other

    @property
    def consistent(self) -> bool:
        return self.ratio <= ACCEPTABLE


def reciprocal(n: int, upper: dict[tuple[int, int], float]) -> np.ndarray:
    """The (n, n) matrix of comparisons, from those said: (row, column) -> how many times
    as important. Raises Invalid outside of Saaty's scale."""
    if not 1 <= n <= len(RANDOM_INDEX):
        raise Invalid(f"comparisons: 1 to {len(RANDOM_INDEX)} factors can be compared pairwise.")
    matrix = np.ones((n, n))
    for (row, column), value in upper.items():
        if row == column or not (0 <= row < n and 0 <= column < n):
            raise Invalid("comparisons: a factor is compared with another one of the list.")
        if not 1 / 9 - 1e-9 <= value <= 9 + 1e-9:
            raise Invalid("comparisons: Saaty's scale goes from 1/9 to 9.")
        matrix[row, column], matrix[column, row] = value, 1 / value
    return matrix


def priorities(matrix: np.ndarray) -> Priorities:
    """The principal eigenvector of a positive reciprocal (n, n) matrix, with
    CI = (λ - n) / (n - 1)."""
    n = len(matrix)
    eigenvalue, weights = _principal(matrix)
    index = max(0.0, (eigenvalue - n) / (n - 1)) if n > 1 else 0.0
    ratio = index / RANDOM_INDEX[n - 1] if n > 2 else 0.0
    return Priorities(weights, eigenvalue, index, ratio, _suspect(matrix, weights))


def nearest_step(value: float) -> float:
    """The step of 1/9, …, 1/2, 1, 2, …, 9 that is nearest on a logarithmic scale."""
    steps = [*(1 / k for k in range(9, 1, -1)), *map(float, range(1, 10))]
    return min(steps, key=lambda step: abs(log(step) - log(value)))


def words(value: float) -> str:
    """`5`, `1/3`, `2.4`: how a comparison is written."""
    if value >= 1:
        return f"{value:.3g}"
    return f"1/{1 / value:.3g}"


def _principal(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    values, vectors = np.linalg.eig(matrix)
    first = int(np.argmax(values.real))
    vector = np.abs(vectors[:, first].real)
    return float(values[first].real), vector / vector.sum()


def _suspect(matrix: np.ndarray, weights: np.ndarray) -> Suspect | None:
    """Saaty (2003), Decision-making with the AHP, EJOR 145:85-91: the entry whose
    a_ij · w_j / w_i is farthest from one. The suggestion leaves that comparison out
    (Harker 1987: its two entries 0, their two diagonal ones 2) and reads it off the rest."""
    misfit = np.triu(np.abs(np.log(matrix * weights[None, :] / weights[:, None])), 1)
    row, column = (int(i) for i in np.unravel_index(np.argmax(misfit), misfit.shape))
    if misfit[row, column] < 1e-6:
        return None
    without = matrix.copy()
    without[row, column] = without[column, row] = 0
    without[row, row] = without[column, column] = 2
    _, rest = _principal(without)
    implied = float(weights[row] / weights[column])
    return Suspect(
        row, column, float(matrix[row, column]), implied, nearest_step(float(rest[row] / rest[column]))
    )


def weights_of(keys: Sequence[str], comparisons: Sequence[tuple[str, str, float]]) -> Priorities:
    """Priorities of named factors, in the order of `keys`. Raises Invalid for a name that
    is not among them."""
    place = {key: i for i, key in enumerate(keys)}
    upper: dict[tuple[int, int], float] = {}
    for a, b, value in comparisons:
        for name in (a, b):
            if name not in place:
                raise Invalid(f"comparisons: there is no factor “{name}”.")
        upper[(place[a], place[b])] = value
    return priorities(reciprocal(len(keys), upper))
