"""Text to tokens and tokens to scores: the one way for training, judging and scoring.

A reward model that is tokenised one way in training and another in use gives scores
that mean little (TRL's own reward-function path correlates .79 with the right ones).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from core.llm.embedded import EMBEDDED, embedded_encoder
from core.reward.precise import make_precise
from core.reward.shards import INDEX, WHOLE
from core.runs.context import WorkError

TOKENS_A_BATCH = 8192  # padded tokens scored at once
LARGEST_BATCH = 64


def device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fast_bf16() -> bool:
    """Whether bfloat16 is faster than float32 here, and not just emulated."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    return bool(torch.cpu._is_avx512_bf16_supported())


def backbone_folder(name: str) -> str:
    return str(embedded_encoder()) if name == EMBEDDED else name


def load(
    name: str, *, head: bool, heads: Sequence[str] = ("overall",), dtype: torch.dtype = torch.float32
) -> tuple[Any, Any]:
    """(model, tokenizer). With `head`, new scores of these names become the model's outputs,
    drawn from torch's seed (`model.fresh` names the weights that were drawn); without, the
    outputs are as they were saved. Weights are read from safetensors only. Raises WorkError."""
    folder = backbone_folder(name)
    try:
        config = AutoConfig.from_pretrained(folder)
        if head:
            config.num_labels = len(heads)
            config.id2label = dict(enumerate(heads))
            config.label2id = {name: i for i, name in enumerate(heads)}
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=head,
        )  # fmt: skip
        drawn = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
        if drawn and not head:
            raise ValueError(f"it lacks the weights {', '.join(sorted(drawn)[:3])}")
        model.fresh = frozenset(drawn)
        make_precise(model)
    except (OSError, ValueError, KeyError) as problem:
        said = str(problem).strip().splitlines()[0][:300] if str(problem).strip() else type(problem).__name__
        raise WorkError(
            f"The {'backbone' if head else 'reward model'} “{name}” could not be loaded: {said}",
            "Name “embedded”, a folder, or a hub id that this machine can reach; weights must be safetensors.",
        ) from problem
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
    # Decoders find the last token by what follows it: padding stands on the right, here and
    # in the folder that is saved.
    tokenizer.padding_side = "right"
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def longest(model: Any, tokenizer: Any, wanted: int) -> int:
    """`wanted` tokens, or as many as the backbone has positions for."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or wanted
    # RoBERTa counts two more positions than it can use; its tokenizer knows better.
    return min(wanted, positions, tokenizer.model_max_length)


class Encoder:
    """Input and response as one sequence: `[CLS] input [SEP] response [SEP]`, or, where a
    tokenizer has no such tokens, input, blank line, response, end. What is too long loses
    the beginning of the input; only a response longer than all the room loses its end."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        if first is not None and last is not None:
            self.start, self.between, self.end = [first], [last], [last]
        else:
            self.start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
            self.between = tokenizer("\n\n", add_special_tokens=False)["input_ids"]
            # Where the end is the padding too, a decoder would look past it in any case.
            ends = tokenizer.eos_token_id not in (None, tokenizer.pad_token_id)
            self.end = [tokenizer.eos_token_id] if ends else []
        self.room = max_length - len(self.start) - len(self.between) - len(self.end)
        if self.room < 8:
            raise WorkError(f"max_length: {max_length} tokens leave no room for a response.")

    def __call__(self, inputs: Sequence[str], responses: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of each, and whether something was cut: 0 nothing, 1 of the input, 2 of
        the response (n,)."""
        asked = self._plain(inputs)
        answered = self._plain(responses)
        ids, cut = [], np.zeros(len(asked), dtype=np.int8)
        for i, (question, answer) in enumerate(zip(asked, answered, strict=True)):
            kept = answer[: self.room]
            left = self.room - len(kept)
            cut[i] = 2 if len(kept) < len(answer) else 1 if len(question) > left else 0
            tail = question[max(0, len(question) - left) :] if left else []
            ids.append([*self.start, *tail, *self.between, *kept, *self.end])
        return ids, cut

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        # The tokenizer warns about sequences beyond the model's length: we cut them.
        return self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def score_ids(
    model: Any,
    ids: Sequence[Sequence[int]],
    pad_id: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """(n,) raw scores of the overall head: see `score_all`."""
    return score_all(model, ids, pad_id, on_batch)[:, 0]


@torch.inference_mode()
def score_all(
    model: Any,
    ids: Sequence[Sequence[int]],
    pad_id: int,
    on_batch: Callable[[int], None] = lambda done: None,
    half: bool | None = None,
) -> np.ndarray:
    """(n, heads) raw scores, sorted by length and batched by padded tokens; in bfloat16 where
    that is fast (on HH-RLHF half the time, at most .01 standard deviations off) or `half` says so.
    `on_batch(sequences done)` may raise to stop."""
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    scores = np.zeros((len(ids), int(model.config.num_labels)))
    was_training = model.training
    model.eval()
    place = next(model.parameters()).device
    half = fast_bf16() if half is None else half
    try:
        start = 0
        while start < len(order):
            width = len(ids[order[start]])
            batch = order[start : start + max(1, min(LARGEST_BATCH, TOKENS_A_BATCH // width))]
            tokens = torch.full((len(batch), width), pad_id)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            with torch.autocast(place.type, dtype=torch.bfloat16, enabled=half):
                logits = model(input_ids=tokens.to(place), attention_mask=mask.to(place)).logits
            scores[batch] = logits.float().cpu().numpy()
            start += len(batch)
            on_batch(start)
    finally:
        model.train(was_training)
    return scores


def is_model_folder(folder: Path) -> bool:
    """A card, and weights in one file or in several."""
    return (folder / "reward.json").is_file() and any((folder / name).is_file() for name in (WHOLE, INDEX))
