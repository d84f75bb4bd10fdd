"""A language model in this process, through `transformers`: any folder or hub id.

Requests are sorted by length, padded on the left and answered in batches; a batch that
does not fit the memory is halved. Answers and label probabilities come from the same
weights. Nothing is executed that a model folder brings along: no remote code, and
weights only as safetensors.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see core.runs.worker

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from core.llm.beginnings import plain
from core.llm.embedded import EMBEDDED, embedded_language_model
from core.llm.passes import parameters
from core.llm.protocol import Completion, HostSpec, Messages, Sampling
from core.llm.sampling import OwnStream, request_seed, uniforms
from core.llm.sharing import Head, Ids, families_with
from core.llm.soft import Shelf, fingerprint, placed, read
from core.runs.context import Cancelled, WorkError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

_BATCH = {"cpu": 32, "mps": 32, "cuda": 128}
# In tokens read: what one more batch costs, and each of its steps (the weights go by once).
_A_PASS, _A_STEP = 32, 16
_PLAIN = Head()


def pick_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def pick_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it, else float32 (a processor without it
    would be slower, and float16 overflows)."""
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device == "cpu":
        can = torch.cpu.get_capabilities()
        if can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"):
            return torch.bfloat16
    return torch.float32


class LocalHost:
    """`spec.params` may set `device`, `dtype` (float32, bfloat16, float16) and `batch_size`."""

    access = frozenset({"text", "label_logprobs", "gradients"})

    def __init__(self, spec: HostSpec, models_dir: Path) -> None:
        self.spec = spec
        # Asked before each token: a batch in the making is given up when it says so.
        self.stop: Callable[[], bool] = lambda: False
        self.shelf: Shelf | None = None  # of the soft prompts that requests may name
        place: str | Path = spec.model
        if spec.model == EMBEDDED:
            place = embedded_language_model(models_dir)
        self.device = str(spec.params.get("device") or pick_device())
        dtype = spec.params.get("dtype")
        self.dtype: torch.dtype = getattr(torch, str(dtype)) if dtype else pick_dtype(self.device)
        self.batch_size = int(spec.params.get("batch_size") or _BATCH.get(self.device.split(":")[0], 32))
        self.tokenizer, self.model = self._load(place)
        self.eos = self._end_tokens()
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.eos[0]
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.context: int | None = int(limit) if limit else None

    # --- loading -------------------------------------------------------------------------

    def _load(self, place: str | Path) -> tuple[Any, Any]:
        try:
            tokenizer = AutoTokenizer.from_pretrained(place)
            model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=self.dtype, use_safetensors=True)
        except (OSError, ValueError, KeyError, ImportError) as problem:
            raise WorkError(
                f"The host “{self.spec.name}” could not load the model “{self.spec.model}”: "
                f"{str(problem).strip().splitlines()[0]}",
                "Name a folder with a causal language model and safetensors weights, or a hub id that "
                "is in the cache or can be downloaded.",
            ) from problem
        try:
            model = model.to(self.device).eval()
        except RuntimeError as problem:
            if not _out_of_memory(problem):
                raise
            raise WorkError(
                f"The model “{self.spec.model}” does not fit the memory of {self.device}.",
                "Choose a smaller model, or set the host's dtype to bfloat16.",
            ) from problem
        return tokenizer, model

    def _end_tokens(self) -> Ids:
        """Whatever ends an answer: models may name several tokens, the tokenizer one."""
        named = self.model.generation_config.eos_token_id
        ends = [] if named is None else [named] if isinstance(named, int) else list(named)
        if self.tokenizer.eos_token_id is not None:
            ends.append(self.tokenizer.eos_token_id)
        return list(dict.fromkeys(ends)) or [0]

    # --- requests to tokens --------------------------------------------------------------

    def rendered(self, request: Messages) -> str:
        """The text the model reads: its chat template, or for a model without one the
        contents one after the other. A request that ends with the assistant's words is an
        answer that was begun: the model goes on from there."""
        if self.tokenizer.chat_template:
            begun = request[-1]["role"] == "assistant"
            text = self.tokenizer.apply_chat_template(
                request, tokenize=False, add_generation_prompt=not begun, continue_final_message=begun
            )
            return str(text)
        return "\n\n".join(message["content"] for message in request)

    def tokens(self, text: str, begins: bool = True) -> Ids:
        """A chat template writes the special tokens itself; plain text gets them here, if it
        is what a request begins with."""
        special = begins and not self.tokenizer.chat_template
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights: what a soft prompt is bound to."""
        return fingerprint(self.model)

    def count_tokens(self, requests: Sequence[Messages]) -> list[int]:
        return [len(self.tokens(self.rendered(request))) for request in requests]

    def _too_long(self, ids: Ids, room: int) -> str:
        if self.context is None or len(ids) + room <= self.context:
            return ""
        return (
            f"{len(ids)} tokens of prompt and {room} of answer are more than the {self.context} "
            f"that “{self.spec.name}” takes."
        )

    # --- text ----------------------------------------------------------------------------

    def generate(
        self,
        requests: Sequence[Messages],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """As the protocol says. `latency_ms` of an answer is that of its batch: all of a
        batch are handed over together. Raises Cancelled when `stop` says so. A request longer than the model's context is
        answered with an error of its own."""
        split = [placed(self, self.rendered(request)) for request in requests]
        heads = [head for head, _ in split]
        prompts = [[*head.ids, *self.tokens(text, not head.soft)] for head, text in split]
        answers: dict[int, Completion] = {}

        def done(i: int, answer: Completion) -> None:
            answers[i] = answer
            if on_done is not None:
                on_done(i, answer)

        fitting = []
        for i, ids in enumerate(prompts):
            reason = self._too_long(ids, sampling.max_new_tokens)
            if reason:
                done(i, Completion("", tokens_in=len(ids), finish_reason="error", error=reason))
            else:
                fitting.append(i)
        for shared, head, batch in self._families(fitting, prompts, heads, sampling.max_new_tokens):
            started = time.perf_counter()
            own = [request_seed(requests[i], seeds[i] if seeds else sampling.seed) for i in batch]
            rows = [(prompts[i], s) for i, s in zip(batch, own, strict=True)]
            outputs = self._with_room(rows, sampling, shared, head)
            latency = (time.perf_counter() - started) * 1000
            for i, out in zip(batch, outputs, strict=True):
                done(i, self._completion(len(prompts[i]), out, latency))
        return [answers[i] for i in range(len(requests))]

    def _families(
        self, chosen: list[int], prompts: list[Ids], heads: list[Head], room: int
    ) -> Iterator[tuple[int, Head, list[int]]]:
        """Batches of requests that begin alike, with how many tokens they share: these are
        read once (core/llm/sharing.py)."""
        found = families_with(
            [prompts[i] for i in chosen],
            [heads[i] for i in chosen],
            _A_PASS + _A_STEP * room,
            sharing=self.shares(max((len(prompts[i]) for i in chosen), default=0) + room),
        )
        for shared, family, head in found:
            for batch in self._batches([chosen[i] for i in family], prompts, room):
                yield (shared if len(batch) > 1 or head.soft else 0), head, batch

    @cached_property
    def keeps_cache(self) -> bool:
        """Whether what was read can be kept and copied (recurrent states cannot)."""
        if getattr(self.model, "_is_stateful", False):
            return False
        kept = DynamicCache(config=self.model.config).layers
        return all(hasattr(layer, "batch_repeat_interleave") for layer in kept)

    def shares(self, longest: int) -> bool:
        """Whether requests of up to so many tokens, the answer among them, can be read on from
        what they share. Padding stands between that and a request's own tokens: positions must
        be told, and an attention window must reach over all."""
        if not self.keeps_cache or "position_ids" not in parameters(self):
            return False
        kept = DynamicCache(config=self.model.config).layers
        return all(longest <= getattr(layer, "sliding_window", longest) for layer in kept)

    @cached_property
    def picks_rows(self) -> bool:
        """Whether what was read of several requests can be kept in one cache, padded, and picked
        row by row (core/llm/beginnings.py). What a model keeps is seen when it has read a token."""
        return (
            self.shares(1) and plain(DynamicCache(config=self.model.config)) and plain(self.read([self.pad]))
        )

    def _batches(self, chosen: list[int], prompts: list[Ids], room: int) -> Iterator[list[int]]:
        """Requests of like length together, the longest first: if the memory is too small,
        it shows at once. A batch holds at most as many tokens as `batch_size` requests of 512."""
        order = sorted(chosen, key=lambda i: (-len(prompts[i]), i))
        start = 0
        while start < len(order):
            width = len(prompts[order[start]]) + room
            size = max(1, min(self.batch_size, self.batch_size * 512 // max(width, 1)))
            yield order[start : start + size]
            start += size

    def _with_room(
        self, rows: list[tuple[Ids, int]], sampling: Sampling, shared: int = 0, head: Head = _PLAIN
    ) -> list[Ids]:
        """Answer rows of (prompt, seed), whose prompts begin with the same `shared` tokens,
        and these with `head`; halve them when the memory is not enough."""
        try:
            return self._decode(rows, sampling, shared, head)
        except RuntimeError as problem:
            if not _out_of_memory(problem):
                raise
            if len(rows) == 1:
                raise self._no_memory(len(rows[0][0])) from problem
        self._shrink(len(rows))
        half = len(rows) // 2
        first, second = rows[:half], rows[half:]
        return self._with_room(first, sampling, shared, head) + self._with_room(
            second, sampling, shared, head
        )

    def _shrink(self, tried: int) -> None:
        self.batch_size = max(1, min(self.batch_size, tried // 2))
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _no_memory(self, tokens: int) -> WorkError:
        return WorkError(
            f"The host “{self.spec.name}” ran out of memory on one request of {tokens} tokens.",
            "Choose a smaller model, shorter inputs, or fewer new tokens.",
        )

    @torch.inference_mode()
    def _decode(
        self, rows: list[tuple[Ids, int]], sampling: Sampling, shared: int = 0, head: Head = _PLAIN
    ) -> list[Ids]:
        """The new tokens of each row, with the end token if it came."""
        ids, mask = self._padded([row[shared:] for row, _ in rows])
        read: dict[str, Any] = {}
        if shared:  # padding stands between what is shared and a row's own: masked, so not seen
            start = torch.tensor([rows[0][0][:shared]], device=self.device)
            cache = self.read(rows[0][0][:shared], head)
            cache.batch_repeat_interleave(len(rows))
            read["past_key_values"] = cache
            ids = torch.cat([start.expand(len(rows), -1), ids], 1)
            mask = torch.cat([torch.ones_like(start).expand(len(rows), -1), mask], 1)
        steps = sampling.max_new_tokens
        processors = LogitsProcessorList()
        if sampling.temperature > 0:
            u = torch.from_numpy(uniforms([seed for _, seed in rows], steps)).to(self.device, torch.float32)
            processors.append(OwnStream(u, sampling.temperature, sampling.top_p))
        # What the model's own folder suggests (penalties, temperature) is not asked for.
        self.model.generation_config = GenerationConfig()
        out = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([_Asked(self.stop)]),
            **read,
            generation_config=GenerationConfig(
                max_new_tokens=steps,
                do_sample=False,
                eos_token_id=self.eos,
                pad_token_id=self.pad,
                bos_token_id=self.tokenizer.bos_token_id,
            ),
        )
        return [self._until_end(row) for row in out[:, ids.shape[1] :].tolist()]

    def read(self, ids: Ids, head: Head = _PLAIN) -> Any:
        """What is kept (keys and values, of one row) of reading `ids`, which begin with `head`."""
        if head.soft:
            return read(self, ids, head)
        return self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=True).past_key_values

    def _until_end(self, row: Ids) -> Ids:
        for i, token in enumerate(row):
            if token in self.eos:
                return row[: i + 1]
        return row

    def _completion(self, tokens_in: int, out: Ids, latency_ms: float) -> Completion:
        ended = bool(out) and out[-1] in self.eos
        text = self.tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=True).strip()
        cost = (tokens_in * self.spec.price_in + len(out) * self.spec.price_out) / 1e6
        return Completion(text, tokens_in, len(out), latency_ms, cost, "stop" if ended else "length")

    def _padded(self, rows: list[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) tokens and mask, padded on the left: every row ends where its answer begins."""
        width = max(len(row) for row in rows)
        ids = [[self.pad] * (width - len(row)) + row for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    # --- labels --------------------------------------------------------------------------

    def label_logprobs(self, requests: Sequence[Messages], labels: Sequence[str]) -> np.ndarray:
        """(len(requests), len(labels)), float64: log p(all tokens of the label | prompt).
        The end of the answer is not part of a label, so of two labels of which one begins
        the other the shorter is always the likelier. For a model without chat template a
        space goes before the label unless the prompt ends in white space."""
        from core.llm.labels import score_labels

        if not labels:
            raise WorkError("Label probabilities need at least one label.")
        return score_labels(self, requests, labels)


class _Asked(StoppingCriteria):
    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        if self.stop():
            raise Cancelled
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _out_of_memory(problem: RuntimeError) -> bool:
    said = str(problem).lower()
    return isinstance(problem, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate" in said
