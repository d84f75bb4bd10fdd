"""Soft prompts: vectors instead of words, trained by gradient through a frozen model.

    prompt tuning   K vectors read like token embeddings (Lester et al. 2021, arXiv 2104.08691)
    P-tuning        the same, made by an encoder, an MLP or LSTM (Liu et al. 2021, arXiv 2103.10385)
    prefix-tuning   keys and values of K places in every layer, straight or made by an MLP
                    (Li and Liang 2021, arXiv 2101.00190)

What is optimised is the right answer's likelihood: the label's word, or with a reward on
generated text the reference response, because no gradient goes through sampling; the reward
then chooses among the steps. The vectors take the place of the start prompt's instruction and,
unless random, start as its words: step 0 scores as the start does. Every `every` steps the
vectors as they are become a candidate, whose text is their name (core/llm/soft_names.py); so
choosing on dev, the sealed test and the annotators work as for text. An example read forwards
is a call, and backwards two. The papers train for thousands of steps, with early stopping;
here the best candidate on train and dev is that.
"""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.llm.soft_names import mark
from core.optimize.protocol import Candidate, Event, Figure, Iterated, OutOfBudget, Scored
from core.runs.context import WorkError

if TYPE_CHECKING:
    from torch import Tensor

    from core.optimize.soft_training import Lesson, Tuning

CALLS = 3  # of an example in training: read forwards, and backwards


class SoftPrompts:
    name = "soft"
    encoder = "none"

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        tokens: int = 0,
        init: str = "text",
        learning_rate: float = 1e-3,
        batch: int = 8,
        steps: int = 200,
        every: int = 10,
        answer_tokens: int = 128,
        encoder: str = "none",
        hidden: int = 128,
    ) -> None:
        self.start, self.seed, self.batch, self.limit, self.every = start, seed, batch, steps, every
        self.answer_tokens = answer_tokens
        self.asked: dict[str, Any] = {
            "tokens": tokens, "init": init, "encoder": encoder, "hidden": hidden,
            "learning_rate": learning_rate, "seed": seed,
        }  # fmt: skip
        self.candidates: list[Candidate] = []
        self.finished: str | None = None
        self.dropped: dict[str, int] = {}
        self.steps = 0
        self.scored_at = 0  # steps taken when the last candidate was scored
        self.losses: list[float] = []
        self.sizes: list[int] = []  # virtual tokens, trained parameters
        self._tuning: Tuning | None = None
        self._saved: Mapping[str, Tensor] = {}

    # --- one step --------------------------------------------------------------------------

    def step(self, evaluator: Any) -> list[Event]:
        if not self.candidates:
            return self._score(evaluator, self.start, "start")
        tuning = self._opened(evaluator)
        if self.steps - self.scored_at >= self.every or (self.steps >= self.limit > self.scored_at):
            return self._score_vectors(evaluator, tuning)
        lessons = self._lessons(evaluator)
        try:
            loss = evaluator.work(
                f"step {self.steps}",
                CALLS * len(lessons),
                lambda: tuning.learn(lessons),
                then=evaluator.price * len(evaluator.rows["train"]),
            )
        except OutOfBudget:
            if self.steps == self.scored_at:
                raise
            return self._score_vectors(evaluator, tuning)  # what was paid for is not thrown away
        self.steps += 1
        self.losses = [*self.losses, loss]
        return []

    def _score_vectors(self, evaluator: Any, tuning: "Tuning") -> list[Event]:
        events = self._score(evaluator, mark(tuning.keep()), f"{self.steps} steps")
        recent = self.losses[self.scored_at :]
        note = f"loss {sum(recent) / len(recent):.3f} over {len(recent)} steps"
        taken = self.candidates[-1].number if self.candidates[-1].accepted else None
        events.append(Iterated(self.candidates[-1].number - 1, taken, note))
        self.scored_at = self.steps
        if self.steps >= self.limit:
            self.finished = "iterations"
        return events

    def to_close(self, evaluator: Any) -> int:
        waits = self.steps > self.scored_at
        return int(evaluator.price * len(evaluator.rows["train"])) if waits else 0

    def close(self, evaluator: Any, reason: str) -> list[Event]:
        """The vectors as they are become the last candidate."""
        if self.steps == self.scored_at:
            return []
        return self._score_vectors(evaluator, self._opened(evaluator))

    def _score(self, evaluator: Any, text: str, operation: str) -> list[Event]:
        evaluation = evaluator.evaluate([text])
        scores = evaluator.measure(evaluation)
        best = max((c.scores["train"]["score"] for c in self.candidates), default=float("-inf"))
        parent = self.candidates[-1].number if self.candidates else None
        candidate = Candidate(
            len(self.candidates), text, parent, operation, scores["score"] > best,
            {"train": scores}, evaluation.spent[0],
        )  # fmt: skip
        self.candidates = [*self.candidates, candidate]
        return [Scored(candidate)]

    # --- what it learns from ---------------------------------------------------------------

    def _lessons(self, evaluator: Any) -> "list[Lesson]":
        """The next batch. Each epoch is a permutation of the train examples, drawn from the
        seed and its number."""
        from core.optimize.soft_training import TRAINED, Lesson

        rows, shown = evaluator.rows["train"], evaluator.shown
        usable = [i for i in range(len(rows)) if shown[i].answer]
        batch = min(self.batch, len(usable))
        drawn = []
        for place in range(self.steps * batch, (self.steps + 1) * batch):
            epoch, at = divmod(place, len(usable))
            order = random.Random(f"{self.seed}/epoch {epoch}").sample(usable, len(usable))
            drawn.append(order[at])
        return [Lesson(evaluator.request(mark(TRAINED), rows[i]), shown[i].answer) for i in drawn]

    def _opened(self, evaluator: Any) -> "Tuning":
        """The vectors in training: made on first use, because they need the model."""
        if self._tuning is not None:
            return self._tuning
        from core.optimize.soft_training import TRAINED, Recipe, Tuning

        if not any(shown.answer for shown in evaluator.shown):
            raise WorkError(
                "None of the train examples has a reference, which is what vectors are trained on.",
                "Import examples with a reference, or choose a method that proposes text.",
            )
        first = evaluator.request(mark(TRAINED), evaluator.rows["train"][0])
        words = getattr(evaluator.objective, "words", ())  # a composed reward: reference -> word
        words = list(words.values() if isinstance(words, Mapping) else words) or None
        self._tuning = Tuning(
            evaluator.host, Recipe(self.name, **self.asked), self.start, first, words, self.answer_tokens
        )
        self.sizes = [len(self._tuning.began), self._tuning.trained]
        if self._saved:
            self._tuning.load_tensors(self._saved, self.steps)
            self._saved = {}
        return self._tuning

    # --- the state -------------------------------------------------------------------------

    _STATE = ("finished", "dropped", "steps", "scored_at", "losses", "sizes")

    def fraction(self) -> float:
        return min(1.0, self.steps / self.limit)

    def figures(self) -> list[Figure]:
        if not self.losses:
            return []
        tokens, trained = self.sizes
        n = min(self.every, len(self.losses))
        return [
            Figure("Virtual tokens", tokens, "Places that the vectors take in a request."),
            Figure("Parameters trained", trained, "The model's own weights are frozen: none of them changed."),
            Figure(
                "Loss, first steps", sum(self.losses[:n]) / n,
                f"-log p of the right answer in nats, over the first {n} steps.",
            ),
            Figure(
                "Loss, last steps", sum(self.losses[-n:]) / n,
                f"The same over the last {n} steps. It is the loss on train: what it is worth, dev and test say.",
            ),
        ]  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._STATE}
        return {**state, "candidates": [candidate.as_dict() for candidate in self.candidates]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state[name])
        self.candidates = [Candidate(**values) for values in state["candidates"]]

    def tensors(self) -> "Mapping[str, Tensor]":
        return self._tuning.tensors() if self._tuning is not None else self._saved

    def load_tensors(self, tensors: "Mapping[str, Tensor]") -> None:
        self._saved = tensors


class PromptTuning(SoftPrompts):
    name = "prompt_tuning"


class PTuning(SoftPrompts):
    name = "p_tuning"


class PrefixTuning(SoftPrompts):
    name = "prefix_tuning"
