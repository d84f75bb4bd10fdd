"""Scoring responses with a trained reward model: worker side."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.reward.encode import Encoder, device, is_model_folder, load, score_ids
from core.reward.metrics import probability
from core.runs.context import WorkError


class RewardScorer:
    """A reward model from its folder (safetensors, tokenizer, reward.json). Inputs must be
    rendered by `core.reward.text.input_text`, as they were in training. Raises WorkError
    when the folder does not hold a reward model."""

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        if not is_model_folder(folder):
            raise WorkError(f"{folder} does not hold a reward model.", "Activate another one, or train anew.")
        self.card = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
        self.model, self.tokenizer = load(str(folder), head=False)
        self.model.to(device()).eval()
        self.encode = Encoder(self.tokenizer, int(self.card["max_length"]))
        self.mean, self.std = float(self.card["mean"]), float(self.card["std"])
        self.temperature = float(self.card["temperature"])
        self.scored = self.cut = 0  # so far, for `cut_share`

    def score(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """(n,) scores; those of the training responses have mean 0 and standard deviation 1."""
        ids, cut = self.encode(inputs, responses)
        self.scored += len(ids)
        self.cut += int((cut > 0).sum())
        return (score_ids(self.model, ids, self.tokenizer.pad_token_id) - self.mean) / self.std

    def preference(
        self, inputs: Sequence[str], responses_a: Sequence[str], responses_b: Sequence[str]
    ) -> np.ndarray:
        """(n,) probability that a person prefers a, calibrated on the dev split."""
        d = self.score(inputs, responses_a) - self.score(inputs, responses_b)
        return probability(d * self.std, self.temperature)

    @property
    def cut_share(self) -> float:
        """Share of what was scored so far that did not fit into the model's length."""
        return self.cut / self.scored if self.scored else 0.0
