"""The baselines: random search, and best-of-n. Neither learns from a score, so a method
that learns has to beat them at equal calls.

Random search: independent proposals, each scored on all train examples; the best wins
(Bergstra and Bengio 2012, for hyperparameters). `source`:
    rewrites   the optimiser's language model rewrites the start, from the same request
               each time, with a seed of its own
    edits      one to three random edits of the start's phrases (delete, swap), no calls
    frameworks the optimiser's language model puts the start into the sections of a framework
               drawn at random (core/optimize/recast.py)

Best-of-n: n draws from that language model and the best of them (Stiennon et al. 2020;
Gao, Schulman and Hilton 2022, arXiv 2210.10760). It is a policy whose distance from the
one it draws from is known: KL = log n - (n - 1) / n nats. That holds for n independent
draws, so a draw that was there before counts towards n, though it is not scored again.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from core.llm.protocol import Messages
from core.optimize import phrases
from core.optimize.proposals import Proposals
from core.optimize.protocol import Evaluator, Event, Figure, Iterated, Learned, Scores
from core.optimize.reading import slots_note, whole
from core.optimize.recast import TAG, drawn_framework, operation_of, recast_request, tokens_for

MAX_EDITS = 3
DRAWS_PER_CANDIDATE = 6


def rewrite_request(start: str) -> Messages:
    """Ask for another instruction for the same task. The examples are not shown: what is
    drawn depends on the start alone."""
    return [
        {
            "role": "user",
            "content": "Below is an instruction that tells a language model what to do. Write another "
            "instruction for the same task, in other words, so that the task is done better."
            f"{slots_note(start)} Answer with the new instruction only.\n\n{start}",
        }
    ]


class RandomSearch(Proposals):
    name = "random"

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        source: str = "rewrites",
        batch: int = 8,
        candidates: int = 200,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(start, seed)
        self.source, self.batch, self.limit, self.temperature = source, batch, candidates, temperature

    def propose(self, evaluator: Evaluator) -> list[Event]:
        events: list[Event] = []
        wanted = min(self.batch, self.limit - (len(self.candidates) - 1))
        if self.source == "edits":
            for draw in range(wanted * DRAWS_PER_CANDIDATE):
                if len(self.queue) == wanted:
                    break
                self._edit(draw, events)
            if not self.queue:
                self.finished = "exhausted"
            return events
        if self.source == "frameworks":
            self._recast(evaluator, wanted, events)
            return events
        for text in self._rewrites(evaluator, wanted, events):
            self.offer(text, 0, "rewrite", events)
        return events

    def _recast(self, evaluator: Evaluator, count: int, events: list[Event]) -> None:
        drawn = [drawn_framework(self.rng(f"framework {draw}")) for draw in range(count)]
        texts = self.ask_tagged(
            evaluator,
            [recast_request(self.start, one, slots_note(self.start)) for one in drawn],
            TAG, "framework", events, temperature=self.temperature, max_new_tokens=tokens_for(self.start),
            paragraphs=True,
        )  # fmt: skip
        for text, framework in zip(texts, drawn, strict=False):
            if text is not None:
                self.offer(text, 0, operation_of(framework), events)

    def _rewrites(self, evaluator: Evaluator, count: int, events: list[Event]) -> list[str]:
        answers = self.ask(
            evaluator,
            [rewrite_request(self.start)] * count,
            temperature=self.temperature,
            max_new_tokens=64 + 3 * len(self.start.split()),
        )
        self.drawn(len(answers))
        read = [self.read(answer, whole, "rewrite", events) for answer in answers]
        return [text for text in read if text is not None]

    def drawn(self, count: int) -> None:
        """So many answers were drawn from the language model."""

    def _edit(self, draw: int, events: list[Event]) -> None:
        rng = self.rng(f"edit {draw}")
        row = phrases.split(self.start)
        done = []
        for _ in range(rng.randint(1, MAX_EDITS)):
            if len(row.editable) < 2:
                break
            done.append(rng.choice(["delete", "swap"]))
            if done[-1] == "delete":
                row = row.delete(rng.choice(row.editable))
            else:
                row = row.swap(*rng.sample(row.editable, 2))
        self.offer(row.text, 0, "+".join(done) or "edit", events)

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        if numbers == [0]:
            return []
        events: list[Event] = [Iterated(self.iteration, None, f"{len(numbers)} independent proposals scored")]
        self.iteration += 1
        if len(self.candidates) - 1 >= self.limit:
            self.finished = "iterations"
        return events

    def fraction(self) -> float:
        return min(1.0, (len(self.candidates) - 1) / self.limit) if self.candidates else 0.0


class BestOfN(RandomSearch):
    name = "best_of_n"
    STATE: ClassVar = ("draws",)

    def __init__(
        self, start: str, seed: int, *, n: int = 16, batch: int = 16, temperature: float = 1.0
    ) -> None:
        super().__init__(start, seed, batch=batch, temperature=temperature)
        self.n = n
        self.draws = 0

    def propose(self, evaluator: Evaluator) -> list[Event]:
        events: list[Event] = []
        for text in self._rewrites(evaluator, min(self.batch, self.n - self.draws), events):
            self.offer(text, 0, "draw", events)
        if self.draws >= self.n and not self.queue:
            self.finished = "iterations"
        return events

    def drawn(self, count: int) -> None:
        self.draws += count

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        if numbers == [0]:
            return []
        self.iteration += 1
        if self.draws >= self.n:
            self.finished = "iterations"
        said = Iterated(self.iteration - 1, None, f"{self.draws} of {self.n} drawn")
        return [Learned(self.iteration, {"kl": self._moved()}), said]

    def fraction(self) -> float:
        return min(1.0, self.draws / self.n)

    def kl(self) -> Scores | None:
        return self._moved() if self.draws else None

    def _moved(self) -> Scores:
        """By the formula, of as many draws as `n` says: exact, so without an interval."""
        return {"score": best_of_n_kl(self.draws), "n": self.draws}

    def figures(self) -> list[Figure]:
        if not self.draws:
            return []
        return [
            Figure(
                "KL to the proposing model (nats)",
                best_of_n_kl(self.draws),
                f"log n - (n - 1) / n for the best of n = {self.draws} independent draws: how far choosing "
                "moves away from the language model that proposes. Unusable draws count as draws.",
            )
        ]


def best_of_n_kl(n: int) -> float:
    """Gao et al. 2022, section 3.2; exact for a continuous reward without ties."""
    return math.log(n) - (n - 1) / n
