"""Log-probabilities of whole labels as the answer, without reading a prompt twice.

What requests of a call begin with (the chat template's start, the instruction) is read
once for all that share it (core/llm/sharing.py); then each request's own part, once for
all labels; then, only for labels of several tokens, their further tokens on top of the
request's cache.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.llm.protocol import Messages
from core.llm.sharing import Head, Ids, families_with, first_batch
from core.llm.soft import placed, read
from core.runs.context import WorkError

if TYPE_CHECKING:
    from core.llm.local import LocalHost

_A_PASS = 32  # tokens that could be read in the time that one more forward pass takes


def score_labels(host: "LocalHost", requests: Sequence[Messages], labels: Sequence[str]) -> np.ndarray:
    """(N, K) sums of token log-probabilities, float64."""
    split = [split_answers(host, request, labels) for request in requests]
    rows = [(prompt, answers) for _, prompt, answers in split]
    for prompt, answers in rows:
        reason = host._too_long(prompt, max(len(answer) for answer in answers))
        if reason:
            raise WorkError(reason, "Shorten the prompt or the example, or choose a model with more context.")
    result = np.zeros((len(rows), len(labels)))
    heads = [head for head, _, _ in split]
    for length, family, head in families_with([prompt for prompt, _ in rows], heads, _A_PASS):
        _score_family(host, rows, family, rows[family[0]][0][:length], head, result)
    return result


def _score_family(
    host: "LocalHost",
    rows: list[tuple[Ids, list[Ids]]],
    family: list[int],
    shared: Ids,
    head: Head,
    result: np.ndarray,
) -> None:
    """Fill the family's lines of `result`, in batches of like length, the longest first."""
    left = sorted(family, key=lambda i: -len(rows[i][0]))
    start = _read_shared(host, shared, head)
    read_already = len(shared) if start is not None else 0
    while left:
        widths = [len(rows[i][0]) - read_already for i in left]
        batch = left[: first_batch(widths, host.batch_size, _A_PASS)]
        try:
            result[batch] = _score(host, [rows[i] for i in batch], shared, start)
            left = left[len(batch) :]
        except RuntimeError as problem:
            from core.llm.local import _out_of_memory

            if not _out_of_memory(problem):
                raise
            if len(batch) == 1:
                raise host._no_memory(len(rows[batch[0]][0])) from problem
            host._shrink(len(batch))


def split_answers(host: "LocalHost", request: Messages, labels: Sequence[str]) -> tuple[Head, Ids, list[Ids]]:
    """The head (empty without a soft prompt), the prompt's tokens, which begin with it, and
    each label's. A tokenizer may merge the end of a prompt with the start of a label: then
    the prompt is cut back to what all of them share."""
    head, text = placed(host, host.rendered(request))
    begins = not head.soft
    if host.tokenizer.chat_template or text[-1:].isspace() or not text:
        whole = [host.tokens(text + label, begins) for label in labels]
    else:
        whole = [host.tokens(f"{text} {label.lstrip()}", begins) for label in labels]
    cut = len(_common([host.tokens(text, begins), *whole]))
    cut = min(cut, *(len(ids) - 1 for ids in whole))
    if cut < 1:
        raise WorkError(
            "A label's probability needs a prompt before it.", "Write a prompt that is not empty."
        )
    return head, [*head.ids, *whole[0][:cut]], [ids[cut:] for ids in whole]


def _common(rows: Sequence[Ids]) -> Ids:
    shortest = min(rows, key=len)
    for i, token in enumerate(shortest):
        if any(row[i] != token for row in rows):
            return shortest[:i]
    return list(shortest)


@torch.inference_mode()
def _read_shared(host: "LocalHost", shared: Ids, head: Head) -> Any:
    if head.soft:
        return read(host, shared, head)
    if not shared or not host.keeps_cache:
        return None
    ids = torch.tensor([shared], device=host.device)
    return host.model(input_ids=ids, use_cache=True, **_last(host, 1)).past_key_values


@torch.inference_mode()
def _score(host: "LocalHost", rows: list[tuple[Ids, list[Ids]]], shared: Ids, start: Any) -> np.ndarray:
    if not host.keeps_cache:
        return _score_plainly(host, rows)
    prompts = [prompt[len(shared) if start is not None else 0 :] for prompt, _ in rows]
    ids, mask = host._padded(prompts)  # (B, L) each
    cache = None
    if start is not None:
        cache = copy.deepcopy(start)
        cache.batch_repeat_interleave(len(rows))
        mask = torch.cat([torch.ones(len(rows), len(shared), device=mask.device, dtype=mask.dtype), mask], 1)
    out = _forward(host, ids, mask, cache, keep=1)
    first = out.logits[:, -1].float().log_softmax(-1)  # (B, V)
    n_labels = len(rows[0][1])
    heads = torch.tensor([[label[0] for label in answers] for _, answers in rows], device=host.device)
    sums = first.gather(1, heads).double()  # (B, K)

    long = [k for k in range(n_labels) if any(len(answers[k]) > 1 for _, answers in rows)]
    if long:
        cache = out.past_key_values
        cache.batch_repeat_interleave(len(long))  # row b, label j -> b * len(long) + j
        tails = [answers[k] for _, answers in rows for k in long]
        width = max(len(tail) for tail in tails) - 1
        # Padded on the right: what stands after a label's tokens cannot change them.
        fed = [tail[:-1] + [host.pad] * (width - len(tail) + 1) for tail in tails]
        wanted = [tail[1:] + [host.pad] * (width - len(tail) + 1) for tail in tails]
        real = torch.tensor([[i < len(tail) - 1 for i in range(width)] for tail in tails])
        ids = torch.tensor(fed, device=host.device)
        grown = mask.repeat_interleave(len(long), 0)
        grown = torch.cat([grown, torch.ones_like(ids)], 1)
        out = _forward(host, ids, grown, cache, keep=width)
        logp = out.logits.float().log_softmax(-1)  # (B * J, width, V)
        picked = logp.gather(2, torch.tensor(wanted, device=host.device).unsqueeze(2)).squeeze(2).double()
        rest = (picked * real.to(host.device)).sum(1).view(len(rows), len(long))
        sums[:, long] += rest
    return sums.cpu().numpy()


@torch.inference_mode()
def _score_plainly(host: "LocalHost", rows: list[tuple[Ids, list[Ids]]]) -> np.ndarray:
    """For models whose state cannot be copied per label (recurrent ones): every label
    is read with its whole prompt."""
    n_labels = len(rows[0][1])
    sums = np.zeros((len(rows), n_labels))
    for k in range(n_labels):
        whole = [prompt + answers[k] for prompt, answers in rows]
        ids, mask = host._padded(whole)
        logits = host.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        logp = logits[:, :-1].float().log_softmax(-1)
        for i, (_, answers) in enumerate(rows):
            n = len(answers[k])
            picked = logp[i, -n:].gather(1, ids[i, -n:].unsqueeze(1))
            sums[i, k] = float(picked.double().sum())
    return sums


def _forward(host: "LocalHost", ids: torch.Tensor, mask: torch.Tensor, cache: Any, keep: int) -> Any:
    """One pass over new tokens `ids` (B, L) after what `cache` holds; `mask` covers both."""
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": True}
    if cache is not None:
        inputs["past_key_values"] = cache
    if "position_ids" in _parameters(host):
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return host.model(**inputs, **_last(host, keep))


def _last(host: "LocalHost", keep: int) -> dict[str, int]:
    """Only the last logits, where a model can leave the others out: they are the largest
    tensor of all (tokens x vocabulary)."""
    return {"logits_to_keep": keep} if "logits_to_keep" in _parameters(host) else {}


def _parameters(host: "LocalHost") -> frozenset[str]:
    import inspect

    return frozenset(inspect.signature(type(host.model).forward).parameters)
