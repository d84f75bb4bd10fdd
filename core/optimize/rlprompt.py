"""RLPrompt: tokens by soft Q-learning (Deng, Wang, Hsieh, Wang, Guo, Shu, Song, Xing, Hu 2022,
arXiv 2205.12548). Read beside sections 2 and 3.1; policy and loss: core/optimize/soft_q.py.

    repeat at most `iterations` times:
        draw `prompts` prompts of `length` tokens from the policy (top k)
        score each on the same mini-batch of train examples
        reward: for labels, the mean of 200 x gap where it is positive, else 180 x gap, where
            gap = p(right label) less the largest other p; for another reward its mean
        z-score the rewards over the prompts, times 5; one step of Adam on both path
            consistencies; the target network follows
    the greedy prompt, and the best that were drawn, are scored on all of train; the best is
    chosen on dev

What differs from the paper, and why:
- The policy's model is the optimiser's host, when it is in process: the target itself, unless
  another is named. Its context is the start instruction; what it chooses is appended to that,
  or (`keep_start` off) takes its place. A start with slots is always kept.
- It chooses among tokens that begin a word, so that a prompt's text is read as the same tokens
  again; a prompt that is not, or has no letters, is dropped and counted.
- Hidden states that are too short to wake the network (bias -1e-4) are lengthened.
- Mini-batches hold as many of each label, as far as that goes. Prompts of different steps are
  compared by their reward less that of the start on the same examples.
- The defaults (8 prompts on 8 examples) are for budgets of some thousand calls; in the paper
  16 on 16 and up to 12,000 steps, which is 3 million calls. With a small budget the policy
  hardly moves, and what is found is the best of what was drawn.

A prompt that is drawn costs the optimiser's side one call, as any that a language model
writes; learning from it costs none: the frozen model is not read again.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from core.optimize.batches import balanced
from core.optimize.objectives import worth
from core.optimize.protocol import Candidate, Evaluator, Event, Figure, Iterated, OutOfBudget, Scored
from core.optimize.soft_q import Policy, few_shot_reward, shaped
from core.optimize.token_search import TokenSearch
from core.optimize.white_box import in_process, vocabulary_of
from core.prompts.templates import SLOT

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 50  # of the prompts that were drawn, so many of the best are remembered with their reward


class RLPrompt(TokenSearch[tuple[str, str]]):
    """`drawn`: text -> [sum over examples of its reward less the start's on the same ones, how
    many examples], of the best that were drawn; `numbers`: the
    candidates among them; `last`: what the last step said, by name."""

    name = "rlprompt"
    STATE: ClassVar = ("drawn", "numbers", "sampled", "last")

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        length: int = 5,
        keep_start: bool = True,
        prompts: int = 8,
        batch: int = 8,
        iterations: int = 12_000,
        evaluate_every: int = 10,
        learning_rate: float = 5e-5,
        polyak: float = 1e-3,
        top_k: int = 256,
        logit_bias: float = -10.0,
    ) -> None:
        super().__init__(start, seed, iterations)
        self.length, self.prompts, self.batch = length, prompts, batch
        self.head = start if keep_start or SLOT.search(start) else ""
        self.evaluate_every = evaluate_every
        self.learning_rate, self.polyak = learning_rate, polyak
        self.top_k, self.logit_bias = top_k, logit_bias
        self.drawn: dict[str, list[float]] = {}
        self.numbers: dict[str, int] = {}
        self.sampled = 0
        self.last: dict[str, float] = {}
        self.policy: Policy | None = None
        self._loaded: Mapping[str, Tensor] = {}

    def advance(self, evaluator: Evaluator) -> list[Event]:
        if self.iteration and self.iteration % self.evaluate_every == 0 and self._greedy_is_due(evaluator):
            return self._try_greedy(evaluator)
        return self._learn(evaluator)

    # --- one step of learning ------------------------------------------------------------

    def _learn(self, evaluator: Evaluator) -> list[Event]:
        policy = self._opened(evaluator)
        n = len(evaluator.rows["train"])
        rng = random.Random(f"{self.seed}/{self.iteration}")
        seed, batch = rng.getrandbits(62), balanced(evaluator.rows["train"], self.batch, rng)
        try:
            places, states = evaluator.work(
                f"rlprompt/{self.iteration}",
                self.prompts,
                lambda: policy.sample(self.prompts, self.length, seed),
                then=evaluator.price * (self.prompts * len(batch) + n),  # and the greedy prompt, in full
                purpose="optimizer",
            )
        except OutOfBudget as end:
            if end.reason != "budget":
                raise
            return self.finish(evaluator, "budget")
        events: list[Event] = []
        texts = [self._text(policy, ids, events) for ids in policy.tokens(places)]
        kept = [i for i, text in enumerate(texts) if text]
        self.sampled += len(texts)
        if kept:
            said = [str(texts[i]) for i in kept]
            evaluation = evaluator.evaluate([*said, self.start], examples=batch)  # the start's are known
            *values, base = self.rewards(evaluation)
            rewards = np.array(values)
            best = int(np.argmax(rewards))
            events.append(Scored(self._candidate(evaluator, evaluation, best)))
            self._remember(said, rewards - base, len(batch))
            entropy = policy.entropy(states)
            loss = policy.learn(places[kept], states[kept], shaped(rewards))  # nothing may fail after this
            self.last = {"loss": loss, "entropy": entropy, "reward": float(rewards.mean())}
            note = f"{len(kept)} prompts drawn, reward {rewards.mean():.3g}, best {rewards[best]:.3g}"
        else:
            note = "no prompt of the policy could be tried"
        events.append(Iterated(self.iteration, None, note))
        self.iteration += 1
        return events

    @staticmethod
    def rewards(evaluation: Any) -> np.ndarray:
        """(prompts,): the few-shot reward where gaps are known, else the mean score."""
        values = worth(evaluation)
        return values.mean(axis=1) if values is evaluation.scores else few_shot_reward(values)

    def _text(self, policy: Policy, ids: list[int], events: list[Event]) -> str | None:
        vocabulary = vocabulary_of(policy.host)
        text = vocabulary.continued(self.head, ids)
        problem = ""
        if not any(letter.isalnum() for letter in text):
            problem = "empty"
        elif not vocabulary.reads_back(self.head, ids):
            problem = "read as other tokens"
        if problem:
            self.drop(events, "draw", problem, text)
            return None
        return text

    def _candidate(
        self, evaluator: Evaluator, evaluation: Any, row: int, operation: str = "draw"
    ) -> Candidate:
        """The candidate with this text: a new one, or one that was there with its score on
        more examples, if they are more."""
        text, scores = evaluation.texts[row], evaluator.measure(evaluation, row)
        if text not in self.numbers:
            self.numbers[text] = len(self.candidates)
            self.candidates.append(Candidate(len(self.candidates), text, 0, operation))
        candidate = self.candidates[self.numbers[text]]
        if scores["n"] > candidate.scores.get("train", {"n": 0})["n"]:
            candidate.scores["train"], candidate.calls = scores, evaluation.spent[row]
        return candidate

    def _remember(self, texts: Sequence[str], rewards: np.ndarray, n: int) -> None:
        for text, reward in zip(texts, rewards, strict=True):
            total, seen = self.drawn.get(text, [0.0, 0])
            self.drawn[text] = [total + float(reward) * n, seen + n]
        best = sorted(self.drawn, key=self._mean, reverse=True)[:KEPT]
        self.drawn = {text: self.drawn[text] for text in best}

    def _mean(self, text: str) -> float:
        total, seen = self.drawn[text]
        return total / seen

    # --- what the policy would say -------------------------------------------------------

    def _greedy_is_due(self, evaluator: Evaluator) -> bool:
        text = self._greedy_text(evaluator, [])
        n = len(evaluator.rows["train"])
        due = bool(text) and not self._is_full(str(text), n)
        return due and self.carries(evaluator, 2 * evaluator.price * n)

    def _greedy_text(self, evaluator: Evaluator, events: list[Event]) -> str | None:
        policy = self._opened(evaluator)
        return self._text(policy, policy.tokens(policy.greedy(self.length))[0], events)

    def _is_full(self, text: str, n: int) -> bool:
        return text in self.numbers and self.candidates[self.numbers[text]].scores["train"]["n"] >= n

    def _try_greedy(self, evaluator: Evaluator) -> list[Event]:
        return self.in_full(evaluator, (str(self._greedy_text(evaluator, [])), "greedy"))

    def in_full(self, evaluator: Evaluator, one: tuple[str, str]) -> list[Event]:
        """`one`: the text, and what made it."""
        text, operation = one
        candidate = self._candidate(evaluator, evaluator.evaluate([text]), 0, operation)
        candidate.accepted = True
        return [Scored(candidate)]

    def finalists(self, evaluator: Evaluator, events: list[Event]) -> Sequence[tuple[str, str]]:
        """The greedy prompt, then the best that were drawn; those not scored in full yet."""
        n = len(evaluator.rows["train"])
        greedy = self._greedy_text(evaluator, events)
        best = sorted(self.drawn, key=self._mean, reverse=True)
        wanted = [text for text in dict.fromkeys([greedy, *best]) if text and not self._is_full(text, n)]
        return [(text, "greedy" if text == greedy else "draw") for text in wanted]

    # --- the policy, and the state -------------------------------------------------------

    def _opened(self, evaluator: Evaluator) -> Policy:
        if self.policy is None:
            host = in_process(evaluator.optimizer_host)
            vocabulary = vocabulary_of(host)
            self.policy = Policy(
                host,
                vocabulary.ids(self.start),
                vocabulary.without([]),
                seed=self.seed,
                bias=self.logit_bias,
                top_k=self.top_k,
                learning_rate=self.learning_rate,
                polyak=self.polyak,
            )
            if self._loaded:
                self.policy.load_tensors(self._loaded)
        return self.policy

    def tensors(self) -> Mapping[str, "Tensor"]:
        return self.policy.tensors() if self.policy is not None else self._loaded

    def load_tensors(self, tensors: Mapping[str, "Tensor"]) -> None:
        self._loaded = tensors
        if self.policy is not None:
            self.policy.load_tensors(tensors)

    def figures(self) -> list[Figure]:
        if not self.last:
            return []
        return [
            Figure(
                "Prompts drawn", self.sampled, "From the policy, in all; each is one call of the optimiser's."
            ),
            Figure(
                "Entropy of the policy (nats)",
                self.last["entropy"],
                "Mean over the tokens of the last batch; it starts at the logarithm of the vocabulary's size and "
                "falls as the policy becomes certain.",
            ),
            Figure(
                "Reward", self.last["reward"], "Mean reward of the last batch of prompts, before its z-score."
            ),
            Figure(
                "Loss", self.last["loss"], "Both path consistencies of soft Q-learning, on the last batch."
            ),
        ]
