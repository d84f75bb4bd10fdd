"""Several members as one model: the mean of their scores, or, after WARM, of their weights.

An ensemble's members are trained on different heads and data orders over the same frozen
layers, and its score is the mean of theirs; how far they lie apart says where more votes would
help. An average (Ramé et al., Weight Averaged Reward Models, arXiv 2401.12187, section 3) costs
no more to ask than one model.

Scores: raw ones are those of the model's outputs; a member's own level means nothing (only
differences are trained), so each member is centred by its mean on training responses, and all
are divided by the standard deviation of the ensemble's mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core.reward.members import Member


def averaged(members: Sequence[Member]) -> Member:
    """One member whose weights are the mean of theirs."""
    weights = {
        name: torch.stack([member.weights[name].float() for member in members]).mean(dim=0).to(value.dtype)
        for name, value in members[0].weights.items()
    }
    record: dict[str, Any] = {**members[0].record, "averaged": len(members)}
    if ties := [member.record["tie"] for member in members if "tie" in member.record]:
        record["tie"] = float(np.mean(ties))
    return Member(0, weights, record)


@dataclass(frozen=True)
class Scale:
    """What raw scores (k, n, heads) are normalised by: `means` (k, heads) and `stds` (heads,)."""

    means: np.ndarray
    stds: np.ndarray

    @classmethod
    def of(cls, raw: np.ndarray) -> "Scale":
        """From the raw scores (k, n, heads) of training responses."""
        stds = raw.mean(axis=0).std(axis=0)
        return cls(raw.mean(axis=1), np.maximum(stds, 1e-6))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """(k, n, heads) normalised; over the responses it was made from, the mean over
        members has mean 0 and standard deviation 1."""
        return (raw - self.means[:, None, :]) / self.stds

    def overall(self, raw: np.ndarray) -> np.ndarray:
        """(n, 2) normalised scores of a and b by the overall head, the mean over members, from
        (k, n, 2, heads)."""
        flat = raw.reshape(len(raw), -1, raw.shape[-1])
        return self(flat)[:, :, 0].mean(axis=0).reshape(raw.shape[1], 2)

    def as_card(self, heads: Sequence[str]) -> dict[str, Any]:
        """For reward.json. `mean` and `std` are those of the overall head, of the ensemble."""
        return {
            "mean": float(self.means[:, 0].mean()),
            "std": float(self.stds[0]),
            "member_means": self.means[:, 0].tolist(),
            "heads": {
                name: {"means": self.means[:, i].tolist(), "std": float(self.stds[i])}
                for i, name in enumerate(heads)
            },
        }

    @classmethod
    def from_card(cls, card: dict[str, Any], heads: Sequence[str]) -> "Scale":
        """Also of cards from before there were members and heads."""
        if "heads" not in card:
            return cls(np.array([[card["mean"]]]), np.array([card["std"]]))
        of = [card["heads"][name] for name in heads]
        return cls(np.array([head["means"] for head in of]).T, np.array([head["std"] for head in of]))
