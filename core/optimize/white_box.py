"""A target in process, looked into: where the tokens of a prompt stand in a request, and which
way a loss on the label pulls their embeddings. For methods that follow gradients.

The request is rendered by the model's own chat template, just as the target is asked when a
text is scored; `head` is the part of the instruction that stays as it is, and the prompt's
tokens continue it.

The loss of an example is -log p(right label): the label's tokens after the request, their
log-probabilities summed (a label of one token: that token's). `against` says what p is
normalised over: `vocabulary`, as in AutoPrompt's paper, or `labels`, a softmax over the task's
labels, which is what decides the answer.

B examples, n prompt tokens, d the embeddings' width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from core.llm.labels import split_answers
from core.llm.passes import last, parameters
from core.llm.protocol import Host, Messages
from core.optimize.protocol import Row
from core.optimize.vocabulary import Ids, Vocabulary
from core.runs.context import WorkError

if TYPE_CHECKING:
    from core.llm.local import LocalHost

AGAINST = ("vocabulary", "labels")
_MARK = "qzjmarkjzq"  # stands where the prompt's tokens go; no template changes letters
_AT_ONCE = 16  # examples that are read, and kept for the way back, together


@dataclass(frozen=True)
class Placed:
    """A request's tokens; the prompt's are `ids[start : start + n]`. `answers`: each label's
    tokens after it."""

    ids: Ids
    start: int
    answers: list[Ids]


class WhiteBox:
    """`request(text, row)`: what the host is asked with `text` for the instruction; `words`:
    the labels' words, in the objective's order. Raises WorkError where the host is not in
    process, or changes the text it is given."""

    def __init__(
        self, host: Host, request: Callable[[str, Row], Messages], words: Sequence[str], head: str
    ) -> None:
        self.host, self.request, self.words, self.head = in_process(host), request, list(words), head
        self.host.model.requires_grad_(False)
        self.vocabulary = vocabulary_of(self.host)

    @property
    def embeddings(self) -> Tensor:
        """(V, d)"""
        weight: Tensor = self.host.model.get_input_embeddings().weight
        return weight.detach()

    def text(self, ids: Sequence[int]) -> str:
        return self.vocabulary.continued(self.head, ids)

    def place(self, ids: Sequence[int], row: Row) -> Placed | None:
        """The request for these prompt tokens on a row; None where their text, as it stands
        there, is read as other tokens."""
        text = self.text(ids)
        request = self.request(text, row)
        before, mark, after = self.host.rendered(self.request(self.head + _MARK, row)).partition(_MARK)
        whole = self.host.rendered(request)
        added = text[len(self.head) :]
        if not mark or whole != before + added + after:
            raise WorkError(
                f"The chat template of “{self.host.spec.name}” changes the instruction's text, so its tokens "
                "have no place of their own.",
                "Choose another in-process host, or a method that works on text.",
            )
        told = self.host.tokenizer(
            whole, add_special_tokens=not self.host.tokenizer.chat_template, return_offsets_mapping=True
        )
        ends = [end for _, end in told["offset_mapping"]]
        start = next((i for i, end in enumerate(ends) if end > len(before)), len(ends))
        stop = start + len(ids)
        if told["input_ids"][start:stop] != list(ids) or ends[stop - 1] != len(before) + len(added):
            return None
        _, prompt, answers = split_answers(self.host, request, self.words)
        return Placed(prompt, start, answers) if stop <= len(prompt) else None

    # --- the loss and its gradient -------------------------------------------------------

    def gradient(
        self, ids: Sequence[int], rows: Sequence[tuple[Row, int]], against: str = "vocabulary"
    ) -> tuple[float, Tensor]:
        """Mean loss over `rows` of (row, place of its right label in `words`), and its gradient
        (n, d), float32, with respect to the embeddings of the prompt's tokens. Rows in which
        the tokens have no place are left out; raises WorkError when none is left."""
        found = [(self.place(ids, row), right) for row, right in rows]
        placed = [(one, right) for one, right in found if one is not None]
        if not placed:
            raise WorkError(
                "The prompt's tokens are read as other tokens in every example.",
                "Start from another prompt, or choose a method that works on text.",
            )
        loss, total = 0.0, torch.zeros(len(ids), self.embeddings.shape[1], device=self.host.device)
        for first in range(0, len(placed), _AT_ONCE):
            part_loss, part = self._pass(placed[first : first + _AT_ONCE], len(ids), against)
            loss, total = loss + part_loss, total + part
        return loss / len(placed), total / len(placed)

    def _pass(self, placed: list[tuple[Placed, int]], n: int, against: str) -> tuple[float, Tensor]:
        """Summed over a part of the examples."""
        host = self.host
        fed: list[Ids] = []  # a request with all of an answer but its last token
        starts: list[int] = []
        wanted: list[list[tuple[int, Ids]]] = []  # of each example, by label: (place in `fed`, answer)
        for one, right in placed:
            needed = [right] if against == "vocabulary" else list(range(len(self.words)))
            tails: dict[tuple[int, ...], int] = {}  # labels of one token share a request
            for label in needed:
                tail = tuple(one.answers[label][:-1])
                if tail not in tails:
                    tails[tail] = len(fed)
                    fed.append([*one.ids, *tail])
                    starts.append(one.start)
            wanted.append([(tails[tuple(one.answers[k][:-1])], one.answers[k]) for k in needed])
        ids, mask = host._padded(fed)  # (S, L) each, padded on the left
        embedded = host.model.get_input_embeddings()(ids).detach().requires_grad_()
        keep = max(len(answer) for labels in wanted for _, answer in labels)
        logits = self._logits(embedded, mask, keep)
        logp = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)  # (S, keep, V)
        losses = []
        for (_, right), labels in zip(placed, wanted, strict=True):
            scores = torch.stack([_answer_logp(logp[s, -len(answer) :], answer) for s, answer in labels])
            losses.append(-scores[0] if against == "vocabulary" else -scores.log_softmax(0)[right])
        loss = torch.stack(losses).sum()
        (slope,) = torch.autograd.grad(loss, embedded)
        width = ids.shape[1]
        at = [width - len(row) + start for row, start in zip(fed, starts, strict=True)]
        parts = torch.stack([slope[s, first : first + n] for s, first in enumerate(at)])
        return float(loss.detach()), parts.float().sum(0)

    def _logits(self, embedded: Tensor, mask: Tensor, keep: int) -> Tensor:
        """(S, keep, V): at each row's last places."""
        inputs: dict[str, Any] = {"inputs_embeds": embedded, "attention_mask": mask, "use_cache": False}
        if "position_ids" in parameters(self.host):
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        logits: Tensor = self.host.model(**inputs, **last(self.host, keep)).logits
        return logits[:, -keep:]

    def flips(self, slope: Tensor, allowed: Tensor) -> list[int]:
        """HotFlip (Ebrahimi et al. 2018): `allowed` tokens for the place with the gradient
        `slope` (d,), those first that lower the loss most by a first-order estimate: the
        largest -E g. (The token that stands there adds the same to all of them.)"""
        estimates = -(self.embeddings[allowed].float() @ slope.float())
        return [int(token) for token in allowed[estimates.argsort(descending=True, stable=True)]]


def _answer_logp(logp: Tensor, answer: Ids) -> Tensor:
    """logp: (len(answer), V)"""
    return logp[torch.arange(len(answer), device=logp.device), torch.tensor(answer, device=logp.device)].sum()


def in_process(host: Host) -> "LocalHost":
    """The host with its weights. Raises WorkError for one that is not in process."""
    if "gradients" not in host.access:
        raise WorkError(
            f"The host “{host.spec.name}” is not in process, and this method works inside the model.",
            "Choose an in-process host.",
        )
    return host  # type: ignore[return-value]


def vocabulary_of(host: "LocalHost") -> Vocabulary:
    return Vocabulary(host.tokenizer, host.model.get_input_embeddings().weight.shape[0])
