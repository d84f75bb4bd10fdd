"""The pairs of one split, encoded: what a training reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from core.reward.encode import Encoder
from core.reward.heads import rated
from core.reward.options import Options

Row = Mapping[str, Any]


class Pairs:
    """q, margin, weight, … are (n,) arrays, `votes` (n, 3) shares for a, b and tie, `rated_q`
    and `rated` (n, c); a and b are lists of token ids."""

    def __init__(self, rows: Sequence[Row], encode: Encoder, criteria: Sequence[str] = ()) -> None:
        self.rows = list(rows)
        self.q, self.margin, self.n = self.column("q"), self.column("margin"), self.column("n")
        self.weight = self.column("weight", 1.0)
        self.share = self.column("share", 1.0)  # a tie that is there both ways round is half a pair each
        self.n_simulated, self.n_machine = self.column("n_simulated"), self.column("n_machine")
        self.votes = self._votes()
        self.rated_q, self.rated = rated(self.rows, criteria)
        inputs = [row["input"] for row in self.rows]
        self.a, cut_a = encode(inputs, [row["response_a"] for row in self.rows])
        self.b, cut_b = encode(inputs, [row["response_b"] for row in self.rows])
        self.cut = np.maximum(cut_a, cut_b)  # (n,)
        self.length_a = np.array([len(row["response_a"]) for row in self.rows], dtype=int)
        self.length_b = np.array([len(row["response_b"]) for row in self.rows], dtype=int)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, missing: float = 0.0) -> np.ndarray:
        """(n,); `missing` where a row has no such value."""
        values = (row.get(name) for row in self.rows)
        return np.array([missing if value is None else float(value) for value in values], dtype=float)

    def _votes(self) -> np.ndarray:
        """(n, 3) shares. Without counts, all that is known is q: its ties are halves."""
        counts = np.stack([self.column(name) for name in ("votes_a", "votes_b", "votes_tie")], axis=1)
        known = counts.sum(axis=1, keepdims=True)
        from_q = np.stack([self.q, 1 - self.q, np.zeros_like(self.q)], axis=1)
        from_q[self.q == 0.5] = (0.0, 0.0, 1.0)
        return np.where(known > 0, counts / np.maximum(known, 1e-12), from_q)

    @property
    def sides(self) -> list[list[int]]:
        """Token ids of all a, then of all b."""
        return [*self.a, *self.b]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) tokens of the longer side."""
        return np.array([max(len(a), len(b)) for a, b in zip(self.a, self.b, strict=True)], dtype=np.int64)

    def dataset(self, options: Options, numbers: np.ndarray | None = None) -> Dataset:
        """For the trainer. With `numbers` (2n,), those of `sides` in the cache of frozen layers,
        these stand in the place of tokens."""
        count = len(self)
        weight = self.share * (self.weight if options.objective.weights == "skill" else 1.0)
        weight = weight / max(float(weight.mean()), 1e-12) if count else weight
        a: Any = self.a if numbers is None else numbers[:count, None].tolist()
        b: Any = self.b if numbers is None else numbers[count:, None].tolist()
        return Dataset.from_dict(
            {
                "chosen_ids": a, "rejected_ids": b, "length": self.lengths,
                "q": self.q, "margin": self.margin, "weight": weight, "votes": self.votes.tolist(),
                "rated_q": self.rated_q.tolist(), "rated": self.rated.tolist(),
            }
        )  # fmt: skip
