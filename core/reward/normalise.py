"""Scores on the scale of a project (see `core.reward.reference`). For both sides: no database,
no torch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Normalisation:
    """reward = (score - mean) / std, with the mean and the standard deviation of the scores of
    `n` reference responses. `version` is the reference's: rewards compare only within one."""

    mean: float
    std: float
    n: int
    version: str

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return (scores - self.mean) / self.std

    def as_dict(self) -> dict[str, float | int | str]:
        return {"mean": self.mean, "std": self.std, "n": self.n, "reference": self.version}


def normalisation(scores: np.ndarray, version: str) -> Normalisation | None:
    """From the scores (n,) of reference responses, without those that are not a number; None
    for fewer than two. Scores that do not differ are only centred."""
    known = scores[np.isfinite(scores)]
    if len(known) < 2:
        return None
    std = float(known.std())
    return Normalisation(float(known.mean()), std if std > 1e-9 else 1.0, len(known), version)
