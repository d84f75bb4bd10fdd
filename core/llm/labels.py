"""Log-probabilities of whole labels as the answer, without reading a prompt twice.

What requests of a call begin with (the chat template's start, the instruction) is read
once for all that share it (core/llm/sharing.py), and for several instructions in one pass
(core/llm/beginnings.py); then each request's own part, once for all labels; then, only
for labels of several tokens, their further tokens on top of the request's cache.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.llm.beginnings import Family, read_beginnings, read_together
from core.llm.passes import forward
from core.llm.protocol import Messages
from core.llm.sharing import Head, Ids, families_with, first_batch
from core.llm.soft import placed
from core.runs.context import Cancelled, WorkError

if TYPE_CHECKING:
    from core.llm.local import LocalHost

Row = tuple[Ids, list[Ids]]  # a prompt and its labels
_A_FAMILY = 4  # tokens: what one more family costs besides what it begins with
_A_PASS = 128  # tokens that could be read in the time that one more forward pass takes


def score_labels(host: "LocalHost", requests: Sequence[Messages], labels: Sequence[str]) -> np.ndarray:
    """(N, K) sums of token log-probabilities, float64."""
    split = [split_answers(host, request, labels) for request in requests]
    rows = [(prompt, answers) for _, prompt, answers in split]
    longest = 0
    for prompt, answers in rows:
        room = max(len(answer) for answer in answers)
        longest = max(longest, len(prompt) + room)
        reason = host._too_long(prompt, room)
        if reason:
            raise WorkError(reason, "Shorten the prompt or the example, or choose a model with more context.")
    result = np.zeros((len(rows), len(labels)))
    heads, prompts = [head for head, _, _ in split], [prompt for prompt, _ in rows]
    a_family = _A_FAMILY if host.picks_rows else _A_PASS
    families = families_with(prompts, heads, a_family, sharing=host.shares(longest))
    for together in read_together(host, families):
        _score_families(host, rows, together, result)
    return result


def _score_families(host: "LocalHost", rows: list[Row], families: list[Family], result: np.ndarray) -> None:
    """Fill the families' lines of `result`. Where the memory is too small, smaller batches of
    half of the families at a time."""
    left, tried, problem = _score_what_fits(host, rows, families, result)
    if problem is None:
        return
    if tried == len(families) == 1:
        raise host._no_memory(len(rows[left[0]][0])) from problem
    host._shrink(tried)
    missing = set(left)
    remaining = [
        (length, [i for i in members if i in missing], head)
        for length, members, head in families
        if not missing.isdisjoint(members)
    ]
    half = (len(remaining) + 1) // 2
    for part in (remaining[:half], remaining[half:]):
        if part:
            _score_families(host, rows, part, result)


def _score_what_fits(
    host: "LocalHost", rows: list[Row], families: list[Family], result: np.ndarray
) -> tuple[list[int], int, RuntimeError | None]:
    """Fill lines of `result` in batches of like length, the longest first. Answers the rows that are
    left, how many were in the batch that did not fit the memory, and what was said of it."""
    family = {i: place for place, (_, members, _) in enumerate(families) for i in members}
    read_already = {i: length for length, members, _ in families for i in members}
    left = sorted(family, key=lambda i: (read_already[i] - len(rows[i][0]), i))
    tried = len(families)
    try:
        beginnings = read_beginnings(
            host, [rows[members[0]][0][:length] for length, members, _ in families], families[0][2]
        )
        while left:
            if host.stop():
                raise Cancelled
            widths = [len(rows[i][0]) - read_already[i] for i in left]
            batch = left[: first_batch(widths, host.batch_size, _A_PASS)]
            tried = len(batch)
            own = [(rows[i][0][read_already[i] :], rows[i][1]) for i in batch]
            result[batch] = _score(host, own, *beginnings.of([family[i] for i in batch]))
            left = left[len(batch) :]
    except RuntimeError as problem:
        from core.llm.local import _out_of_memory

        if not _out_of_memory(problem):
            raise
        return left, tried, problem.with_traceback(None)  # it holds what was read
    return left, tried, None


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
def _score(host: "LocalHost", rows: list[Row], cache: Any, before: torch.Tensor) -> np.ndarray:
    """(B, K) of rows of (tokens of its own, labels), each after a row of `cache`; `before` (B, N):
    which places of that are tokens."""
    if not host.keeps_cache:
        return _score_plainly(host, rows)
    ids, mask = host._padded([own for own, _ in rows])  # (B, L) each
    mask = torch.cat([before, mask], 1)
    out = forward(host, ids, mask, cache, keep=1)
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
        out = forward(host, ids, grown, cache, keep=width)
        logp = out.logits.float().log_softmax(-1)  # (B * J, width, V)
        picked = logp.gather(2, torch.tensor(wanted, device=host.device).unsqueeze(2)).squeeze(2).double()
        rest = (picked * real.to(host.device)).sum(1).view(len(rows), len(long))
        sums[:, long] += rest
    return sums.cpu().numpy()


@torch.inference_mode()
def _score_plainly(host: "LocalHost", rows: list[Row]) -> np.ndarray:
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
