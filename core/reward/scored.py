"""One way to score with a reward model and say how sure it is: for runs and for the resident
process alike. Worker side: imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.reward.score import RewardScorer


@dataclass(frozen=True)
class Scored:
    """For n responses. score (n,): mean over the model's members, in units of its training
    responses; spread (n,): standard deviation over the members in the same units, nan where
    there is one; logit (n,): p(a beats b) = sigmoid(logit a - logit b), calibrated as the
    model was; members: how many there are."""

    score: np.ndarray
    spread: np.ndarray
    logit: np.ndarray
    members: int


def scored(scorer: RewardScorer, inputs: Sequence[str], responses: Sequence[str]) -> Scored:
    """Inputs as `core.reward.text.input_text` renders them."""
    each = np.asarray(scorer.score_members(inputs, responses), dtype=float)  # (n, k)
    members = each.shape[1]
    score = each.mean(axis=1)
    spread = each.std(axis=1) if members > 1 else np.full(len(score), np.nan)
    return Scored(score, spread, score * scorer.std / scorer.temperature, members)


def cut_flags(scorer: RewardScorer, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    """(n,) what did not fit into the model's length: 0 nothing, 1 the beginning of the input, 2
    the end of the response."""
    return np.asarray(scorer.encode(inputs, responses)[1])
