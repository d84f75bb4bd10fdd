"""Texts to vectors by a frozen encoder: topics, and what can be learnt without fine-tuning.

Mean of the last hidden states over a text's tokens (Reimers and Gurevych 2019, arXiv
1908.10084, section 3), in bfloat16 where that is fast. Worker side.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from core.llm.embedded import EMBEDDED
from core.reward.encode import LARGEST_BATCH, TOKENS_A_BATCH, backbone_folder, device, fast_bf16

MAX_TOKENS = 128
LARGEST_ON_CPU = 150_000_000  # parameters; larger ones would take minutes for a side figure


class Embedding:
    """(n, hidden size) of texts, of which the last MAX_TOKENS tokens are read. A backbone too
    large for this machine is replaced by the embedded one; `name` says what was used."""

    def __init__(self, backbone: str) -> None:
        self.name = backbone
        self._load(backbone)
        size = sum(value.numel() for value in self.model.parameters())
        if size > LARGEST_ON_CPU and device().type == "cpu" and backbone != EMBEDDED:
            self._load(EMBEDDED)
            self.name = EMBEDDED
        self.model.to(device()).eval()

    def _load(self, name: str) -> None:
        folder = backbone_folder(name)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.pad_id = self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0

    @property
    def words(self) -> str:
        return "all-MiniLM-L6-v2" if self.name == EMBEDDED else self.name

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], tell: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """`tell(texts done)` may raise to stop."""
        if not texts:
            return np.zeros((0, int(self.model.config.get_text_config().hidden_size)))
        positions = (
            getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or MAX_TOKENS
        )
        # As the reward model reads them: between the tokenizer's first and last tokens, if any.
        first, last = (
            [token] if token is not None else []
            for token in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        )
        room = min(MAX_TOKENS, positions, self.tokenizer.model_max_length) - len(first) - len(last)
        plain = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        ids = [[*first, *of[-room:], *last] or [self.pad_id] for of in plain]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        place = next(self.model.parameters()).device
        found: np.ndarray | None = None
        start = 0
        while start < len(order):
            width = len(ids[order[start]])
            batch = order[start : start + max(1, min(LARGEST_BATCH, TOKENS_A_BATCH // width))]
            tokens = torch.full((len(batch), width), self.pad_id)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            with torch.autocast(place.type, dtype=torch.bfloat16, enabled=fast_bf16()):
                hidden = self.model(
                    input_ids=tokens.to(place), attention_mask=mask.to(place)
                ).last_hidden_state
            weight = mask.to(place)[..., None].float()  # (b, t, 1)
            mean = ((hidden.float() * weight).sum(1) / weight.sum(1)).cpu().numpy()  # (b, f)
            if found is None:
                found = np.zeros((len(texts), mean.shape[1]))
            found[batch] = mean
            start += len(batch)
            tell(start)
        assert found is not None
        return found
