"""A text classifier as a constraint, in process. Worker side: imports torch."""

from collections.abc import Sequence

import numpy as np
import torch

from core.reward.encode import device
from core.runs.context import WorkError

BATCH = 16
LONGEST = 512  # tokens read at once, where a tokenizer names no limit
OVERLAP = 32


class TextClassifier:
    """Reads a whole text, in windows where it is longer than the model: the most certain window
    counts, so that nothing hides behind a long beginning. Weights as safetensors only."""

    def __init__(self, model: str, label: str) -> None:
        """`model`: a folder or a hub id. Raises WorkError when there is no such classifier, or
        it has no such label (a name, or a number)."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(model, use_fast=True)
            self.model = AutoModelForSequenceClassification.from_pretrained(model, use_safetensors=True)
        except (OSError, ValueError, KeyError) as problem:
            said = str(problem).strip().splitlines()[0][:200]
            raise WorkError(
                f"The classifier “{model}” could not be opened: {said}",
                "Name a folder with a transformers text classifier (safetensors), or a hub id.",
            ) from problem
        names = {str(name).lower(): place for place, name in self.model.config.id2label.items()}
        place = names.get(label.lower(), int(label) if label.isdigit() else None)
        if place is None or place not in self.model.config.id2label:
            raise WorkError(
                f"The classifier “{model}” has no label “{label}”.", f"Labels: {', '.join(sorted(names))}."
            )
        self.place = int(place)
        self.model.to(device()).eval()
        self.longest = min(int(self.tokenizer.model_max_length), LONGEST)

    @torch.no_grad()
    def probability(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) of the label: softmax over the labels, or a sigmoid where several may hold at once
        (or there is only one)."""
        found = np.zeros(len(texts))
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=self.longest,
            stride=min(OVERLAP, self.longest // 4), return_overflowing_tokens=True,
        )  # fmt: skip
        owners = encoded.pop("overflow_to_sample_mapping")
        order = sorted(range(len(owners)), key=lambda i: len(encoded["input_ids"][i]))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            batch = self.tokenizer.pad(
                {name: [encoded[name][i] for i in some] for name in encoded}, return_tensors="pt"
            ).to(self.model.device)
            p = self._probabilities(self.model(**batch).logits)
            for i, value in zip(some, p.tolist(), strict=True):
                found[owners[i]] = max(found[owners[i]], value)
        return found

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(b,) of the label, from (b, labels)."""
        kind = self.model.config.problem_type
        if logits.shape[1] == 1 or kind == "multi_label_classification":
            return torch.sigmoid(logits[:, self.place].float())
        return torch.softmax(logits.float(), dim=1)[:, self.place]
