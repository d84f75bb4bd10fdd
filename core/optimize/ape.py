"""APE: the automatic prompt engineer (Zhou, Muresanu, Han, Paster, Pitis, Chan, Ba 2022,
arXiv 2211.01910). Read beside section 3 and algorithm 1 of the paper.

    propose: for each of `subsets` draws of `demonstrations` input-output pairs, the
        language model is told what the inputs and outputs were, and asks itself what the
        instruction was; `per_subset` answers each
    select: a bandit (UCB, the released code's efficient mode) spends mini-batches on the
        proposals that look best: each round the `arms` with the highest
            mean + c sqrt(ln(examples scored so far, all proposals) / examples this one saw)
        are scored on their next `batch` examples; a proposal that was never tried is first
    finish: the `finalists` with the highest means are scored on all of train

What differs from the paper, and why:
- The wording of the request is ours; it tells the same story.
- Every proposal meets the train examples in one order, drawn once: proposals are compared
  on the same examples, and none is paid for twice.
- Rounds end when they are done or when only enough of the budget is left for the finalists.
- Demonstrations need right answers. Where the examples have none, the pairs are the start's
  own responses with the highest rewards.
- Not here: the paper's variant that proposes again around the best (its gain is small,
  section 4.1).

A candidate that has not seen all of train has a score with a smaller n; only full ones can
be chosen at the end.
"""

import math
import random
from collections.abc import Sequence
from typing import ClassVar

from core.llm.protocol import Messages
from core.optimize.demonstrations import good_pairs
from core.optimize.proposals import Proposals
from core.optimize.protocol import Candidate, Evaluator, Event, Iterated, OutOfBudget, Scored, Shown
from core.optimize.reading import slots_note, whole


class Ape(Proposals):
    """`seen[number]`: how many examples, in the common order, a candidate was scored on."""

    name = "ape"
    STATE: ClassVar = ("waiting", "subset", "round", "seen", "selecting")

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        subsets: int = 5,
        per_subset: int = 10,
        demonstrations: int = 5,
        batch: int = 5,
        arms: int = 10,
        rounds: int = 20,
        exploration: float = 1.0,
        finalists: int = 3,
        temperature: float = 0.9,
    ) -> None:
        super().__init__(start, seed)
        self.subsets, self.per_subset, self.demonstrations = subsets, per_subset, demonstrations
        self.batch, self.arms, self.rounds, self.c = batch, arms, rounds, exploration
        self.finalists, self.temperature = finalists, temperature
        self.subset = 0  # subsets asked about
        self.waiting: list[str] = []  # proposals not scored on anything yet
        self.round = 0
        self.seen: dict[str, int] = {}  # JSON has text keys
        self.selecting = False

    def step(self, evaluator: Evaluator) -> list[Event]:
        if not self.candidates or not self.selecting:
            return super().step(evaluator)
        before = self.state_dict()
        try:
            events = self._round(evaluator)
        except BaseException:
            self.load_state_dict(before)
            raise
        self.spent = evaluator.calls
        return events

    # --- propose -----------------------------------------------------------------------------

    def propose(self, evaluator: Evaluator) -> list[Event]:
        events: list[Event] = []
        pairs = self.pairs(evaluator)
        request = ape_request(
            self.rng("demonstrations").sample(pairs, min(self.demonstrations, len(pairs))),
            slots_note(self.start),
        )
        try:
            answers = self.ask(
                evaluator, [request] * self.per_subset, temperature=self.temperature, max_new_tokens=96
            )
        except OutOfBudget:
            if not self.waiting:
                raise
            self.selecting = True
            return events
        self.subset += 1
        for answer in answers:
            text = self.read(answer, whole, "induced", events)
            if text is not None and text not in self.waiting and self.offer(text, 0, "induced", events):
                self.queue.clear()  # not scored in full, but by the rounds
                self.waiting.append(text)
        if self.subset >= self.subsets:
            self.selecting = bool(self.waiting)
            self.finished = None if self.waiting else "unproductive"
        return events

    def pairs(self, evaluator: Evaluator) -> list[Shown]:
        return [one for _, one in good_pairs(evaluator, self.start, self.demonstrations)]

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        return []  # the start; nothing else goes through the queue

    # --- select --------------------------------------------------------------------------------

    def _round(self, evaluator: Evaluator) -> list[Event]:
        n = len(evaluator.shown)
        order = self._order(n)
        self._start_is_seen(n)
        arms = self.chosen_arms(n)
        short = False
        events: list[Event] = []
        if self.round < self.rounds and arms:
            while arms and not self.carries(
                evaluator, evaluator.price * (len(arms) * self.batch + self._kept(n))
            ):
                arms, short = arms[:-1], True
            events += [Scored(candidate) for candidate in self._pull(evaluator, arms, order, self.batch)]
            self.round += 1
            self.iteration = self.round
            if arms:
                events.append(
                    Iterated(self.round - 1, None, f"{len(arms)} proposals saw {self.batch} more examples")
                )
            if not short:
                return events
        return [*events, *self._finish(evaluator, order, n, "budget" if short else "iterations")]

    def _order(self, n: int) -> list[int]:
        return random.Random(f"{self.seed}/order").sample(range(n), n)

    def _start_is_seen(self, n: int) -> None:
        self.seen.setdefault("0", n)

    def chosen_arms(self, n: int) -> list[int]:
        """The next proposals to score: -1 - i stands for the i-th that waits. The untried
        first, then by the upper confidence bound; who has seen everything is left out."""
        total = sum(self.seen.values())
        tried = [int(number) for number, seen in self.seen.items() if 0 < seen < n]
        tried.sort(key=lambda number: (-self.bound(number, total), number))
        return [*(-1 - i for i in range(len(self.waiting))), *tried][: self.arms]

    def bound(self, number: int, total: int) -> float:
        return self.mean(number) + self.c * math.sqrt(math.log(max(total, 1)) / self.seen[str(number)])

    def mean(self, number: int) -> float:
        """Mean score of the examples it saw; for labels the accuracy."""
        scores = self.candidates[number].scores["train"]
        return float(scores["accuracy"] if "accuracy" in scores else scores["score"])

    def _kept(self, n: int) -> int:
        """Calls the finalists may still need."""
        return self.finalists * n

    def _pull(self, evaluator: Evaluator, arms: list[int], order: list[int], more: int) -> list[Candidate]:
        """Score these on their next `more` examples: in one go all that saw as many."""
        new = [
            Candidate(len(self.candidates) - 1 - arm, self.waiting[-1 - arm], 0, "induced")
            for arm in arms
            if arm < 0
        ]
        pulled = [*new, *(self.candidates[arm] for arm in arms if arm >= 0)]
        for seen in sorted({self.seen.get(str(one.number), 0) for one in pulled}):
            group = [one for one in pulled if self.seen.get(str(one.number), 0) == seen]
            upto = min(len(order), seen + more)
            evaluation = evaluator.evaluate([one.text for one in group], examples=sorted(order[:upto]))
            for row, one in enumerate(group):
                one.scores["train"] = evaluator.measure(evaluation, row)
                one.calls = evaluation.spent[row]
            self.seen |= {str(one.number): upto for one in group}
        self.candidates += new
        self.waiting = self.waiting[len(new) :]
        return pulled

    def _finish(
        self, evaluator: Evaluator, order: list[int], n: int, reason: str, *, stopped: bool = False
    ) -> list[Event]:
        """Score the best in full; as many as the budget carries. Where none was tried, the first
        of those that wait: they are paid for."""
        events: list[Event] = []
        tried = [int(number) for number in self.seen if number != "0"]
        tried.sort(key=lambda number: (-self.mean(number), -self.seen[str(number)], number))
        first_waiting = [-1] * min(len(self.waiting), self.finalists)
        for arm in tried[: self.finalists] or first_waiting:
            try:
                (candidate,) = self._pull(evaluator, [arm], order, n)
            except OutOfBudget as end:
                if end.reason != "budget" and not stopped:
                    raise  # the search goes on with `close`, for which calls are set aside
                break
            candidate.accepted = True
            events.append(Scored(candidate))
        self.finished = reason
        return events

    def to_close(self, evaluator: Evaluator) -> int:
        found = bool(self.waiting) or len(self.seen) > 1
        return evaluator.price * self._kept(len(evaluator.shown)) if found else 0

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        n = len(evaluator.shown)
        self._start_is_seen(n)
        return self._finish(evaluator, self._order(n), n, reason, stopped=True)

    def fraction(self) -> float:
        proposing = 0.2 * min(1.0, self.subset / self.subsets)
        return proposing + (0.8 * min(1.0, self.round / self.rounds) if self.selecting else 0.0)


def ape_request(pairs: Sequence[Shown], note: str = "") -> Messages:
    shown = "\n\n".join(f"Input: {one.input}\nOutput: {one.answer}" for one in pairs)
    return [
        {
            "role": "user",
            "content": f"I gave a friend an instruction and {len(pairs)} inputs. The friend read the "
            "instruction and wrote an output for each of the inputs. Here are the inputs and the outputs:\n\n"
            f"{shown}\n\nWhat was the instruction?{note} Answer with the instruction only.",
        }
    ]
