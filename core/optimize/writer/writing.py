"""What the methods that train a prompt writer share. Only the reward of what it wrote trains
the policy; no example of a good prompt is shown to it.

    score the start
    repeat at most `steps` times:
        a mini-batch of train examples, drawn by (seed, step)
        the policy is asked for `batch` prompts; each is scored on the mini-batch
        reward: its score less that of the start on the same examples, which is known, in units
            of all being right; what cannot be tried (no end, empty, damaged, …) gets -penalty,
            and costs no call
        the policy takes a step of the method's own (`learn`)
        every `every` steps the best `finals` prompts of those written so far are scored on
            all of train, and so become candidates ("ppo step 12")

When the budget has no room for another step, what is left scores the best of what was
written. Calls are charged as work is done: writing a prompt is one call of the optimiser's, an
example read by the policy or its reference one, a pass forwards and backwards three. All of a
step is charged before it begins, so a step is never half paid.

Every draw follows from (seed, step), and a step that is cut short leaves weights and
Adam's memory as they were: a search that was killed takes the same step again, for nothing.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from core.llm.protocol import Messages
from core.optimize.pacing import PASSES
from core.optimize.policy_figures import FIGURES
from core.optimize.proposals import FRUITLESS, LONGEST, Proposals, in_context
from core.optimize.protocol import (
    Evaluator,
    Event,
    Figure,
    Iterated,
    Learned,
    OutOfBudget,
    Scores,
    Shown,
)
from core.optimize.random_search import rewrite_request
from core.optimize.reading import Unusable, same_text, whole
from core.optimize.rewards.scores import mean_of
from core.optimize.writer.policy import kept, restore
from core.runs.context import WorkError

POOL = 200  # written prompts that wait for a full score


@dataclass(frozen=True)
class Graded:
    """A written prompt: `text` is None when it cannot be tried, and `problem` says why."""

    text: str | None
    problem: str
    said: str
    reward: float


class Grader:
    """The reward of written prompts on one mini-batch, for all three methods: `reward` has the
    signature that TRL's trainers call."""

    def __init__(
        self, writer: "Writer", evaluator: Evaluator, ends: Iterable[int], places: list[int]
    ) -> None:
        self.writer, self.evaluator, self.places = writer, evaluator, places
        self.ends = set(ends)
        self.graded: list[Graded] = []

    def reward(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> list[float]:
        """`completions`: texts, or conversations whose last message is the text;
        `completion_ids`: their tokens, with the end token if it came."""
        said = [text if isinstance(text, str) else str(text[-1]["content"]) for text in completions]
        found = [self._usable(text, ids) for text, ids in zip(said, completion_ids, strict=True)]
        worth = self._worth([text for text, _ in found if text is not None])
        self.graded = [
            Graded(text, problem, was, worth[text] if text is not None else -self.writer.penalty)
            for (text, problem), was in zip(found, said, strict=True)
        ]
        return [one.reward for one in self.graded]

    def _usable(self, said: str, ids: Sequence[int]) -> tuple[str | None, str]:
        if not ids or ids[-1] not in self.ends:
            return None, "no end"
        try:
            text = whole(said)
        except Unusable as problem:
            return None, "empty" if not said.strip() else str(problem)
        problem_found = self.writer.unfit(text, LONGEST)
        return (None, problem_found) if problem_found else (text, "")

    def _worth(self, texts: list[str]) -> dict[str, float]:
        """By text: its score less the start's, in units of all being right (100 points of a
        labelled task, a deviation of a reward)."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        evaluator = self.evaluator
        found = evaluator.evaluate([self.writer.start, *distinct], examples=self.places)
        base, *scores = [evaluator.measure(found, row)["score"] for row in range(1 + len(distinct))]
        return {text: (score - base) / evaluator.unit for text, score in zip(distinct, scores, strict=True)}


class Writer(Proposals):
    """A method writes `open` and `learn`. `trained`: steps the policy has taken."""

    STATE: ClassVar = ("trained", "pool", "last", "closing", "closed", "hopeless")
    request: Messages
    weights: dict[str, torch.nn.Parameter]  # all that learns
    adam: torch.optim.Optimizer

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        batch: int = 8,
        minibatch: int = 16,
        steps: int = 100,
        every: int = 4,
        finals: int = 2,
        epochs: int = 1,
        beta: float = 0.05,
        learning_rate: float = 5e-4,
        rank: int = 8,
        exemplars: int = 0,
        penalty: float = 0.5,
        tokens: int = 64,
        temperature: float = 0.8,
    ) -> None:
        super().__init__(start, seed)
        self.batch, self.minibatch, self.steps = batch, minibatch, steps
        self.every, self.finals, self.epochs = every, finals, epochs
        self.beta, self.learning_rate, self.rank = beta, learning_rate, rank
        self.exemplars, self.penalty = exemplars, penalty
        self.tokens, self.temperature = tokens, temperature
        self.trained = 0
        self.pool: list[dict[str, Any]] = []  # text, total and n of its rewards: not scored in full yet
        self.last: dict[str, Scores] = {}  # of FIGURES, of the last step
        self.closing = ""  # why there is no further step of the policy
        self.closed = False  # the last round was offered
        self.hopeless = 0  # steps in a row of which no prompt could be tried
        self._opened = False
        self._loaded: Mapping[str, torch.Tensor] = {}  # for a policy that is not open yet

    # --- for a method to write ------------------------------------------------------------

    @property
    def passes(self) -> int:
        """Calls a step takes for each written prompt, besides scoring it."""
        return PASSES[self.name](self.epochs)

    def open(self, host: Any) -> None:
        """Put an adapter on the host's model; make `weights` and `adam`."""
        raise NotImplementedError

    def learn(self, grader: Grader, seed: int) -> dict[str, Scores]:
        """Let the policy write `batch` prompts, grade them, and take one step; answers what
        the method has in FIGURES, each with its n (prompts, or tokens) and where it is a mean over
        prompts its interval: at least `kl`, `entropy` and `clip_fraction`."""
        raise NotImplementedError

    # --- a step ----------------------------------------------------------------------------

    def propose(self, evaluator: Evaluator) -> list[Event]:
        n = len(evaluator.shown)
        places = sorted(self._draw("examples").sample(range(n), min(self.minibatch, n)))
        if not self.closing:
            key, calls = f"{self.name}/step {self.trained + 1}", self.batch * self.passes
            then = evaluator.price * (self.batch * len(places) + self.finals * n)
            try:
                # Paid before it begins: scoring, which is paid for too, comes in the midst of it.
                evaluator.work(key, calls, lambda: None, then=then, purpose="optimizer")
            except OutOfBudget as end:
                if end.reason != "budget":
                    raise
                self.closing = "budget"
        return self._last_round() if self.closing else self._take_step(evaluator, places)

    def _take_step(self, evaluator: Evaluator, places: list[int]) -> list[Event]:
        host: Any = evaluator.optimizer_host
        if not self._opened:
            shown = random.Random(f"{self.seed}/exemplars").sample(
                list(evaluator.shown), min(self.exemplars, len(evaluator.shown))
            )
            self.request = in_context(writing_request(self.start, shown), evaluator.context)
            self.open(host)
            self._opened = True
            if self._loaded:
                restore(self._loaded, self.weights, self.adam)
        before = self.tensors()
        grader = Grader(self, evaluator, host.eos, places)
        try:
            figures = self.learn(grader, self._draw("write").getrandbits(30))
        except BaseException as problem:  # as if this step had not begun
            self._loaded, self._opened = before, False
            if isinstance(problem, torch.OutOfMemoryError):
                raise WorkError(
                    f"The model that writes prompts ran out of memory on {self.batch} at a time.",
                    "Choose fewer prompts a step, fewer tokens a prompt, or a smaller optimiser host.",
                ) from problem
            raise
        self.trained += 1
        self.iteration = self.trained
        return self._settle_step(grader.graded, figures)

    def _settle_step(self, graded: list[Graded], figures: dict[str, Scores]) -> list[Event]:
        events: list[Event] = []
        for one in graded:
            if one.text is None:
                self.drop(events, self._operation, one.problem, one.said)
            else:
                self._remember(one.text, one.reward)
        reward = mean_of(np.array([one.reward for one in graded]))
        degenerate = mean_of(np.array([float(one.text is None) for one in graded]), binary=True)
        self.last = {"reward": reward, **figures, "degenerate": degenerate}
        self.offered += 1  # a step of the policy is progress, new texts or not …
        self.hopeless = self.hopeless + 1 if degenerate["score"] == 1 else 0  # … unless none can be tried
        if self.hopeless >= FRUITLESS:
            self.closing = "unproductive"
        elif self.trained >= self.steps:
            self.closing = "iterations"
        elif self.trained % self.every == 0:
            self._offer_best(events)
        kl, entropy = figures["kl"]["score"], figures["entropy"]["score"]
        note = f"reward {reward['score']:+.3f}, KL {kl:.2f} nats, entropy {entropy:.2f}"
        return [*events, Learned(self.trained, self.last), Iterated(self.trained - 1, None, note)]

    def _last_round(self) -> list[Event]:
        """Score the best of what is waiting; at a budget's end, as many as still fit."""
        events: list[Event] = []
        if self.closing == "budget" or not self.closed:
            self._offer_best(events)
        self.closed = True
        if not self.queue:
            self.finished = self.closing
        return events

    def to_close(self, evaluator: Evaluator) -> int:
        waiting = self.finals if self.pool else len(self.queue)
        return evaluator.price * waiting * len(evaluator.rows["train"])

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        """Score a last round of the best, or the round that was begun."""
        events: list[Event] = []
        if not self.queue:
            self._offer_best(events)
        return [*events, *(self._score_queue(evaluator) if self.queue else [])]

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        """Nothing to decide: the policy learns from every reward, not from who is the best."""
        for number in numbers:
            earlier = [self.train(before) for before in range(number)]
            self.candidates[number].accepted = bool(earlier) and self.train(number) > max(earlier)
        return []

    # --- written prompts that wait -----------------------------------------------------------

    @property
    def _operation(self) -> str:
        return f"{self.name} step {self.trained}"

    def _remember(self, text: str, reward: float) -> None:
        if self.known(text):
            return
        entry = next((entry for entry in self.pool if same_text(entry["text"], text)), None)
        if entry is None:
            entry = {"text": text, "total": 0.0, "n": 0, "operation": self._operation}
            self.pool.append(entry)
        entry["total"] += reward
        entry["n"] += 1

    def _offer_best(self, events: list[Event]) -> None:
        """The best by mean reward, the older of equals; `operation` is the step that wrote it
        first."""
        self.pool.sort(key=lambda entry: -entry["total"] / entry["n"])  # stable
        best, self.pool = self.pool[: self.finals], self.pool[self.finals : self.finals + POOL]
        for entry in best:
            self.offer(entry["text"], 0, entry["operation"], events)

    def _draw(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.trained}/{what}")

    # --- what it says of itself ----------------------------------------------------------------

    def kl(self) -> Scores | None:
        """Nats a written prompt, over the last step; None before the first."""
        return self.last.get("kl")

    def learned(self) -> Learned | None:
        return Learned(self.trained, self.last) if self.last else None

    def figures(self) -> list[Figure]:
        return [
            Figure(label, self.last[key]["score"], help)
            for key, (label, help) in FIGURES.items()
            if key in self.last
        ]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        # A search that was saved by an older version had bare numbers: the next step says them anew.
        self.last = {name: of for name, of in self.last.items() if isinstance(of, dict)}

    def fraction(self) -> float:
        return min(1.0, self.trained / self.steps)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        return kept(self.weights, self.adam) if self._opened else self._loaded

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if self._opened:
            restore(tensors, self.weights, self.adam)
        else:
            self._loaded = tensors


def writing_request(start: str, shown: Sequence[Shown]) -> Messages:
    """Ask for another instruction for the same task; `shown` are examples of it."""
    request = rewrite_request(start)
    if shown:
        lines = [
            f"Input: {one.input}" + (f"\nRight answer: {one.answer}" if one.answer else "") for one in shown
        ]
        examples = "\n\n".join(["These are examples of the task.", *lines])
        request[0]["content"] = f"{examples}\n\n{request[0]['content']}"
    return request
