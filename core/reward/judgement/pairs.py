"""The test pairs with the model's scores: what every figure is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from core.reward.judgement.figures import FEW_CLUSTERS, places
from core.reward.metrics import probability

Row = Mapping[str, Any]


class Scorer(Protocol):
    """What is judged: `core.reward.score.RewardScorer`, or anything like it. `score` answers
    (n,) scores in standard deviations of the scores of training responses; times `std` they
    are what the temperature was fitted on."""

    @property
    def std(self) -> float: ...

    @property
    def temperature(self) -> float: ...

    def score(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray: ...


def cluster_key(row: Row) -> Any:
    return row.get("example_id") or row["input"]


@dataclass
class Judged:
    """One split. score_a, score_b (n,) in sd; `scale` turns d into logits: p = s(scale d)."""

    rows: Sequence[Row]
    score_a: np.ndarray
    score_b: np.ndarray
    scale: float = 1.0

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, default: float = 0.0) -> np.ndarray:
        return np.array(
            [default if row.get(name) is None else float(row[name]) for row in self.rows], dtype=float
        )

    @cached_property
    def d(self) -> np.ndarray:
        return self.score_a - self.score_b

    @cached_property
    def p(self) -> np.ndarray:
        """(n,) that a is preferred, calibrated."""
        return probability(self.d * self.scale)

    @cached_property
    def q(self) -> np.ndarray:
        return self.column("q", 0.5)

    @cached_property
    def decided(self) -> np.ndarray:
        return np.abs(self.q - 0.5) > 1e-9

    @cached_property
    def place(self) -> np.ndarray:
        """(n,) what intervals go by: the number of each pair's example, or, where there are fewer
        than FEW_CLUSTERS examples, of the pair itself."""
        by_example = places([cluster_key(row) for row in self.rows])
        return by_example if self.examples >= FEW_CLUSTERS else np.arange(len(self.rows))

    @cached_property
    def examples(self) -> int:
        return len({str(cluster_key(row)) for row in self.rows})

    @cached_property
    def length_a(self) -> np.ndarray:
        return np.array([len(row["response_a"]) for row in self.rows], dtype=float)

    @cached_property
    def length_b(self) -> np.ndarray:
        return np.array([len(row["response_b"]) for row in self.rows], dtype=float)

    @cached_property
    def n_people(self) -> np.ndarray:
        return self.column("n") - self.column("n_simulated") - self.column("n_machine")

    @cached_property
    def right(self) -> np.ndarray:
        """(n,) 1, 0, or a half where scores are equal; meaningless where not decided."""
        return agree(self.d, self.q)

    def only(self, kept: np.ndarray) -> "Judged":
        at = np.flatnonzero(kept).tolist()
        return Judged([self.rows[i] for i in at], self.score_a[at], self.score_b[at], self.scale)


def agree(d: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(n,) 1 where the sign of d is that of q - 1/2, 0 where it is the other, else a half."""
    return np.asarray((np.sign(d) * np.sign(np.round(q - 0.5, 9)) + 1) / 2)
