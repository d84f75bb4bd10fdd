"""AutoPrompt: trigger tokens by gradient (Shin, Razeghi, Logan, Wallace, Singh 2020, arXiv
2010.15980). Read beside section 2.2 of the paper.

    triggers = the token “the”, `tokens` times, after the start instruction
    repeat at most `iterations` times:
        accumulate the gradient of the label loss with respect to the triggers' embeddings
            over `accumulate` batches of train examples
        choose one trigger at random; its candidates are the `candidates` tokens with the
            largest -E g (HotFlip)
        score each of them, and the triggers as they are, on a fresh batch; the best is
            the new one if it is better
    the last that were accepted are scored on all of train; the best is chosen on dev

What differs from the paper, and why:
- A causal model with a chat template has no [MASK]: the label is read as the answer. The
  triggers stand at the end of the instruction; `place` “instruction” flips the instruction's
  own tokens instead (the first one, which begins the text, stays).
- The loss is -log p(right label) among the labels (`loss` “vocabulary”: among all tokens, as in the
  paper). A chat model in whose answer a label's word is unlikely anyway lowers the paper's loss
  by making all labels likelier, which decides nothing.
- Better is a larger mean of p(right label) less the largest other one, where p is the softmax
  over the labels: it tells candidates apart on a small batch, where accuracy ties.
- Each label has one word of one or more tokens; p(label) is the product of theirs. A search for
  label words (section 2.3) is not here: the labels' words are the task's.
- Batches hold as many of each label, as far as that goes.
- Batches of 16, 2 of them accumulated: the defaults are for budgets of some thousand calls. In
  the released code 32 and 10.
- What is proposed is text: only tokens whose text is read as the same tokens again, never
  special ones, and none that holds a label's word or is a piece of one.

An example read forwards and backwards costs three calls. Every draw has a generator of its
own, seeded by (seed, iteration, what for).
"""

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from core.optimize.batches import balanced
from core.optimize.objectives import LabelScore, worth
from core.optimize.protocol import Candidate, Evaluator, Event, Figure, Iterated, OutOfBudget, Scored
from core.optimize.token_search import TokenSearch
from core.optimize.white_box import WhiteBox
from core.prompts.templates import SLOT
from core.runs.context import WorkError

FULL_EVERY = 10  # iterations after which the triggers as they are are scored on all of train
LOOKED_AT = 20  # times `candidates` tokens are looked at for ones that can stand in the text


class AutoPrompt(TokenSearch[int]):
    """`current`: the tokens now; `number`: their candidate (0: the start, before any was
    accepted); `accepted`: numbers in order; `slopes`: calls that gradients took."""

    name = "autoprompt"
    STATE: ClassVar = ("current", "number", "accepted", "slopes")

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        place: str = "append",
        tokens: int = 5,
        candidates: int = 8,
        batch: int = 16,
        accumulate: int = 2,
        iterations: int = 100,
        loss: str = "labels",
    ) -> None:
        super().__init__(start, seed, iterations)
        self.place, self.count, self.k = place, tokens, candidates
        self.batch, self.accumulate, self.loss = batch, accumulate, loss
        if place == "instruction" and SLOT.search(start):
            raise WorkError(
                "AutoPrompt cannot flip the tokens of an instruction with slots.",
                "Start again with place “append”.",
            )
        self.current: list[int] = []
        self.number = 0
        self.accepted: list[int] = []
        self.slopes = 0
        self._box: WhiteBox | None = None
        self._allowed = torch.zeros(0, dtype=torch.long)

    # --- one iteration -------------------------------------------------------------------

    def advance(self, evaluator: Evaluator) -> list[Event]:
        n = len(evaluator.rows["train"])
        due = self.iteration > 0 and self.iteration % FULL_EVERY == 0 and not self._is_full(n)
        if due and self.carries(evaluator, 2 * n):  # it, and the last one
            return self.in_full(evaluator, self.number)
        return self._flip(evaluator, n)

    def _is_full(self, n: int) -> bool:
        return bool(self.candidates[self.number].scores["train"]["n"] >= n)

    def _flip(self, evaluator: Evaluator, n: int) -> list[Event]:
        box = self._opened(evaluator)
        train = evaluator.rows["train"]
        drawn = [
            i for j in range(self.accumulate) for i in balanced(train, self.batch, self.draw(f"gradient {j}"))
        ]
        fresh = balanced(train, self.batch, self.draw("fresh"))
        scoring = (1 + self.k) * len(fresh)
        labels = labels_of(evaluator).labels
        rows = [(train[i], labels.index(train[i]["reference"])) for i in drawn]
        try:
            _, slopes = evaluator.work(
                f"autoprompt/{self.iteration}",
                3 * len(rows),
                lambda: box.gradient(self.current, rows, self.loss),
                then=scoring + n,  # the last one is scored in full
            )
        except OutOfBudget as end:
            if end.reason != "budget":
                raise
            return self.finish(evaluator, "budget")
        self.slopes += 3 * len(rows)
        events: list[Event] = []
        place = self.draw("place").randrange(self._first, len(self.current))
        proposed = self._candidates(box, slopes[place], place, train[fresh[0]], events)
        evaluation = evaluator.evaluate([box.text(ids) for ids in (self.current, *proposed)], examples=fresh)
        values = worth(evaluation).mean(axis=1)  # (1 + k,)
        made = [
            Candidate(
                len(self.candidates) + i, evaluation.texts[1 + i], self.number, "flip",
                scores={"train": evaluator.measure(evaluation, 1 + i)}, calls=evaluation.spent[1 + i],
            )
            for i in range(len(proposed))
        ]  # fmt: skip
        self.candidates += made
        best = int(np.argmax(values))
        taken = None
        if best and values[best] > values[0]:
            taken = made[best - 1]
            taken.accepted = True
            self.current, self.number = proposed[best - 1], taken.number
            self.accepted.append(taken.number)
        events += [Scored(candidate) for candidate in made]
        said = (
            f"token {place + 1} of {len(self.current)}: {values[0]:.3f} to {values.max():.3f} on {len(fresh)}"
        )
        events.append(Iterated(self.iteration, taken.number if taken else None, said))
        self.iteration += 1
        return events

    def _candidates(
        self, box: WhiteBox, slope: torch.Tensor, place: int, row: Any, events: list[Event]
    ) -> list[list[int]]:
        """Up to k token sequences that differ from the current one in one place."""
        known = {candidate.text for candidate in self.candidates}
        found: list[list[int]] = []
        for token in box.flips(slope, self._allowed)[: LOOKED_AT * self.k]:
            if len(found) == self.k:
                break
            ids = [*self.current[:place], token, *self.current[place + 1 :]]
            if ids == self.current or box.text(ids) in known:
                continue
            if box.place(ids, row) is None:
                self.drop(events, "flip", "read as other tokens", box.text(ids))
                continue
            found.append(ids)
        return found

    # --- the end -------------------------------------------------------------------------

    def finalists(self, evaluator: Evaluator, events: list[Event]) -> Sequence[int]:
        """Those that were accepted, the last first."""
        return self.accepted[::-1]

    def in_full(self, evaluator: Evaluator, one: int) -> list[Event]:
        candidate = self.candidates[one]
        evaluation = evaluator.evaluate([candidate.text])
        candidate.scores["train"] = evaluator.measure(evaluation)
        candidate.calls = evaluation.spent[0]
        return [Scored(candidate)]

    # --- what it works on ----------------------------------------------------------------

    def _opened(self, evaluator: Evaluator) -> WhiteBox:
        labels, row = labels_of(evaluator), evaluator.rows["train"][0]
        head = self.start if self.place == "append" else ""
        box = self._box or WhiteBox(evaluator.host, evaluator.request, labels.words, head)
        if not self.current:
            self.current = self._initial(box)
        if self._box is None:
            placed = box.place(self.current, row)
            if placed is None:
                raise WorkError(
                    "The model reads the start's tokens as others where they stand.",
                    "Start from another prompt, or choose a method that works on text.",
                )
            pieces = {token for answer in placed.answers for token in answer}
            allowed = box.vocabulary.without(labels.words, tuple(pieces))
            self._allowed = torch.tensor(allowed, device=box.host.device)
            self._box = box
        return box

    def _initial(self, box: WhiteBox) -> list[int]:
        if self.place == "instruction":
            return box.vocabulary.ids(self.start)
        offered = box.vocabulary.offered
        the = next((token for token, text in offered.items() if text.strip() == "the"), next(iter(offered)))
        return [the] * self.count

    @property
    def _first(self) -> int:
        """The first token that may be flipped: a text's first one is no continuation."""
        return 1 if self.place == "instruction" and len(self.current) > 1 else 0

    def draw(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.iteration}/{what}")

    def figures(self) -> list[Figure]:
        if not self.iteration:
            return []
        return [
            Figure(
                "Flips that held",
                len(self.accepted) / self.iteration,
                f"The share of {self.iteration} iterations in which one of the tokens that the gradient "
                "suggested was better on a fresh batch.",
            ),
            Figure(
                "Calls for gradients",
                self.slopes,
                "Of the calls above, those for gradients: an example read forwards and backwards counts three.",
            ),
        ]


def labels_of(evaluator: Evaluator) -> LabelScore:
    if not isinstance(evaluator.objective, LabelScore):
        raise WorkError(
            "AutoPrompt follows the gradient of a loss on labels, and this reward has none.",
            "Optimise against the labels of a task.",
        )
    return evaluator.objective
