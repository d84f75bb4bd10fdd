"""What the frozen layers say of a text, computed once and kept.

Members of an ensemble, epochs, checks on the dev split and the learning curve all ask the
same lower layers about the same texts. Here each text, named by its tokens, is put through
them once: without gradients, sorted by length, both sides of a pair alike, in bfloat16 where
the processor has it. What is kept takes (tokens x hidden size) numbers: in memory, or, from
`IN_MEMORY` bytes on, in a mapped file below state/.

A `Reader` is how scores are asked for, with a cache and without.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.reward.encode import LARGEST_BATCH, TOKENS_A_BATCH, fast_bf16, score_all
from core.reward.split import Split

IN_MEMORY = 1_500_000_000  # bytes
ON_CPU = 2048  # padded tokens at once: what stays within a processor's caches is fastest

Told = Callable[[int], None]


class Frozen:
    """Hidden states by text. `rows` numbers texts, computing what is new; `batch` gives the
    hidden states of some numbers."""

    def __init__(
        self, split: Split, pad_id: int, place: Path | None = None, *, half: bool | None = None
    ) -> None:
        self.split, self.pad_id, self.place = split, pad_id, place
        self.half = fast_bf16() if half is None else half
        self.device = next(split.model.parameters()).device
        self.at_once = ON_CPU if self.device.type == "cpu" else TOKENS_A_BATCH
        self.dtype = torch.bfloat16 if self.half else torch.float32
        self.numbers: dict[tuple[int, ...], int] = {}
        self.blocks: list[torch.Tensor] = []  # (tokens, d) each
        self.at: list[tuple[int, int, int]] = []  # block, first token, tokens
        self.last: list[int] = []
        self.bytes = 0

    def rows(self, ids: Sequence[Sequence[int]], on_batch: Told = lambda done: None) -> np.ndarray:
        """(n,) the numbers of these texts. `on_batch(new texts done)` may raise to stop."""
        keys = [tuple(of) for of in ids]
        new = [key for key in dict.fromkeys(keys) if key not in self.numbers]
        if new:
            self._add(new, on_batch)
        return np.array([self.numbers[key] for key in keys], dtype=np.int64)

    @torch.no_grad()
    def _add(self, new: list[tuple[int, ...]], on_batch: Told) -> None:
        lengths = np.array([len(key) for key in new])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        block: torch.Tensor | None = None
        done = 0
        model, was_training = self.split.model, self.split.model.training
        model.eval()
        try:
            for some in batches(lengths, self.at_once):
                tokens = torch.full((len(some), int(lengths[some].max())), self.pad_id)
                mask = torch.zeros_like(tokens)
                for row, i in enumerate(some):
                    tokens[row, : lengths[i]] = torch.tensor(new[i])
                    mask[row, : lengths[i]] = 1
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                    hidden = self.split.below(tokens.to(self.device), mask.to(self.device))
                if block is None:
                    block = self._room(int(starts[-1]), hidden.shape[-1])
                hidden = hidden.to("cpu", self.dtype)
                for row, i in enumerate(some):
                    block[starts[i] : starts[i + 1]] = hidden[row, : lengths[i]]
                done += len(some)
                on_batch(done)
        finally:
            model.train(was_training)
        assert block is not None
        # Only now: a stop half-way leaves nothing that is half there.
        for i, key in enumerate(new):
            self.numbers[key] = len(self.at)
            self.at.append((len(self.blocks), int(starts[i]), int(lengths[i])))
            self.last.append(max((j for j, token in enumerate(key) if token != self.pad_id), default=0))
        self.blocks.append(block)

    def _room(self, tokens: int, size: int) -> torch.Tensor:
        needed = tokens * size * self.dtype.itemsize
        self.bytes += needed
        if self.place is None or self.bytes <= IN_MEMORY:
            return torch.empty((tokens, size), dtype=self.dtype)
        self.place.mkdir(parents=True, exist_ok=True)
        path = self.place / f"frozen-{len(self.blocks)}.bin"
        with path.open("wb") as file:
            file.truncate(needed)
        mapped = torch.from_file(str(path), shared=True, size=tokens * size, dtype=self.dtype)
        return mapped.view(tokens, size)

    def batch(self, rows: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(hidden states (b, t, d), mask (b, t), last token's place (b,)) of these numbers."""
        places = [self.at[row] for row in rows]
        width = max(length for _, _, length in places)
        hidden = torch.zeros((len(places), width, self.blocks[0].shape[1]), dtype=self.dtype)
        mask = torch.zeros((len(places), width), dtype=torch.long)
        for row, (block, start, length) in enumerate(places):
            hidden[row, :length] = self.blocks[block][start : start + length]
            mask[row, :length] = 1
        last = torch.tensor([self.last[row] for row in rows])
        return hidden.to(self.device), mask.to(self.device), last.to(self.device)

    def forget(self) -> None:
        """Let all go, files too."""
        self.numbers, self.blocks, self.at, self.last, self.bytes = {}, [], [], [], 0
        if self.place is not None and self.place.exists():
            for path in self.place.glob("frozen-*.bin"):
                path.unlink()

    @torch.inference_mode()
    def logits(self, ids: Sequence[Sequence[int]], on_batch: Told = lambda done: None) -> np.ndarray:
        """(n, heads) raw scores of texts. `on_batch(texts done)` may raise to stop."""
        rows = self.rows(ids)
        lengths = np.array([self.at[row][2] for row in rows])
        found: np.ndarray | None = None
        done = 0
        model, was_training = self.split.model, self.split.model.training
        model.eval()
        try:
            with self.split.cut(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                for some in batches(lengths, self.at_once):
                    logits = self.split.logits(*self.batch(rows[some])).float().cpu().numpy()
                    if found is None:
                        found = np.zeros((len(rows), logits.shape[1]))
                    found[some] = logits
                    done += len(some)
                    on_batch(done)
        finally:
            model.train(was_training)
        return found if found is not None else np.zeros((0, int(model.config.num_labels)))


def batches(lengths: np.ndarray, at_once: int) -> Iterator[np.ndarray]:
    """Indices in batches of like length, longest first, by padded tokens."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, min(LARGEST_BATCH, at_once // max(1, int(lengths[order[start]]))))
        yield order[start : start + size]
        start += size


class Reader:
    """Texts, as token ids, to raw scores (n, heads): by way of the cache where there is one."""

    def __init__(
        self, model: Any, pad_id: int, frozen: Frozen | None = None, half: bool | None = None
    ) -> None:
        self.model, self.pad_id, self.frozen, self.half = model, pad_id, frozen, half

    def __call__(self, ids: Sequence[Sequence[int]], on_batch: Told = lambda done: None) -> np.ndarray:
        if self.frozen is not None:
            return self.frozen.logits(ids, on_batch)
        return score_all(self.model, ids, self.pad_id, on_batch, self.half)
