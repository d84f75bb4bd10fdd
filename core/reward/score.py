"""Scoring responses with a trained reward model: worker side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from core.reward.encode import Encoder, device, is_model_folder, load
from core.reward.ensemble import Scale
from core.reward.frozen import Frozen, Reader, Told
from core.reward.heads import combine, only_overall
from core.reward.metrics import probability
from core.reward.objectives import outcome_probabilities
from core.reward.options import OVERALL, Combination, read_combination
from core.reward.split import Split
from core.runs.context import WorkError

MEMBERS = "members"
KEPT_S = 2000  # texts whose frozen hidden states are held at once while members are asked


def after(told: Told, before: int) -> Told:
    return lambda done: told(before + done)


class RewardScorer:
    """A reward model from its folder (safetensors, tokenizer, reward.json). Inputs must be
    rendered by `core.reward.text.input_text`, as they were in training. `combination` says how
    its heads become one score, and overrides the card's (`core.reward.options.Combination`).
    Raises WorkError when the folder does not hold a reward model, Invalid when the combination
    names a head that the model has not."""

    def __init__(self, folder: Path, combination: Mapping[str, Any] | None = None) -> None:
        folder = Path(folder)
        if not is_model_folder(folder):
            raise WorkError(f"{folder} does not hold a reward model.", "Activate another one, or train anew.")
        self.card: dict[str, Any] = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
        self.model, self.tokenizer = load(str(folder), head=False)
        self.model.to(device()).eval()
        self.encode = Encoder(self.tokenizer, int(self.card["max_length"]))
        self.heads: list[str] = list(self.card.get("heads") or [OVERALL])
        try:
            self.scale = Scale.from_card(self.card, self.heads)
        except (KeyError, TypeError, ValueError) as problem:
            raise WorkError(
                f"reward.json: “heads” is damaged ({type(problem).__name__}).",
                "Upload it again, or train anew.",
            ) from problem
        said = combination if combination is not None else self.card.get("combination")
        self.combination: Combination = read_combination(said, tuple(self.heads[1:]))
        self.mean, self.std = float(self.card["mean"]), float(self.card["std"])
        self.temperature = float(self.card["temperature"])
        self.half: bool | None = False if self.card.get("precision") == "fp32" else None
        self.weights = self._members(folder)
        self.scored = self.cut = 0  # so far, for `cut_share`

    def _members(self, folder: Path) -> list[dict[str, torch.Tensor]]:
        """What each member differs in; of the only one, nothing."""
        others = sorted(
            (folder / MEMBERS).glob("*/model.safetensors"), key=lambda path: int(path.parent.name)
        )
        if not others:
            return [{}]
        loaded = [load_file(path) for path in others]
        there = dict(self.model.named_parameters())
        first = {name: there[name].detach().cpu().clone() for name in loaded[0]}
        return [first, *loaded]

    @property
    def members(self) -> int:
        return len(self.weights)

    def score(
        self, inputs: Sequence[str], responses: Sequence[str], told: Told = lambda done: None
    ) -> np.ndarray:
        """(n,) scores, the mean over members; those of the training responses have mean 0 and
        standard deviation 1 (of the overall head, where heads are combined). `told(texts done)`,
        of members times n, may raise to stop."""
        return self.score_members(inputs, responses, told).mean(axis=1)

    def score_members(
        self, inputs: Sequence[str], responses: Sequence[str], told: Told = lambda done: None
    ) -> np.ndarray:
        """(n, k) scores by member, in the same unit as `score`, which is their mean."""
        scores = self._normalised(inputs, responses, told)  # (k, n, heads)
        if only_overall(self.combination):
            return scores[:, :, 0].T
        combined = [combine(dict(zip(self.heads, of.T, strict=True)), self.combination) for of in scores]
        return np.stack(combined, axis=1)

    def score_heads(self, inputs: Sequence[str], responses: Sequence[str]) -> dict[str, np.ndarray]:
        """{head: (n,)}: “overall” and each criterion, every one normalised by itself."""
        mean = self._normalised(inputs, responses).mean(axis=0)  # (n, heads)
        return {name: mean[:, i] for i, name in enumerate(self.heads)}

    def preference(
        self, inputs: Sequence[str], responses_a: Sequence[str], responses_b: Sequence[str]
    ) -> np.ndarray:
        """(n,) probability that a person prefers a, calibrated on the dev split."""
        d = self.score(inputs, responses_a) - self.score(inputs, responses_b)
        return probability(d * self.std, self.temperature)

    def outcomes(
        self, inputs: Sequence[str], responses_a: Sequence[str], responses_b: Sequence[str]
    ) -> np.ndarray:
        """(n, 3) probabilities that a wins, that b wins, and of a tie; a model that was not
        trained on ties (its card has no `tie`) gives ties none. Not calibrated."""
        tie = self.card.get("tie")
        if not tie:
            p = self.preference(inputs, responses_a, responses_b)
            return np.stack([p, 1 - p, np.zeros_like(p)], axis=1)
        d = (self.score(inputs, responses_a) - self.score(inputs, responses_b)) * self.std
        return outcome_probabilities(d, tie["loss"], float(tie["value"]))

    def _normalised(
        self, inputs: Sequence[str], responses: Sequence[str], told: Told = lambda done: None
    ) -> np.ndarray:
        """(k, n, heads)."""
        ids, cut = self.encode(inputs, responses)
        self.scored += len(ids)
        self.cut += int((cut > 0).sum())
        return self.scale(self.raw(ids, told))

    def raw(self, ids: list[list[int]], told: Told = lambda done: None) -> np.ndarray:
        """(k, n, heads) of texts as `encode` has them. With several members, the layers they share
        read each text once."""
        found = np.zeros((self.members, len(ids), len(self.heads)))
        if self.members == 1:
            found[0] = Reader(self.model, self.tokenizer.pad_token_id, half=self.half)(ids, told)
            return found
        for start in range(0, len(ids), KEPT_S):
            done = start * self.members
            some = ids[start : start + KEPT_S]
            reader = Reader(self.model, self.tokenizer.pad_token_id, self._frozen(some), self.half)
            for number, weights in enumerate(self.weights):
                self._put(weights)
                found[number, start : start + len(some)] = reader(
                    some, after(told, done + number * len(some))
                )
        self._put(self.weights[0])
        return found

    def _frozen(self, ids: list[list[int]]) -> Frozen | None:
        layers = int(self.card.get("frozen_layers") or 0)
        split = Split.of(self.model, layers, ids[:2], self.tokenizer.pad_token_id) if layers else None
        return Frozen(split, self.tokenizer.pad_token_id, half=self.half) if split else None

    @torch.no_grad()
    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        there = dict(self.model.named_parameters())
        for name, value in weights.items():
            there[name].copy_(value)

    @property
    def cut_share(self) -> float:
        """Share of what was scored so far that did not fit into the model's length."""
        return self.cut / self.scored if self.scored else 0.0
