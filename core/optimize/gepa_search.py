"""GEPA: reflective prompt evolution (Agrawal et al. 2025, arXiv 2507.19457), by its authors'
own package `gepa`, on our evaluator. Read beside section 3 and algorithm 1 of the paper.

    repeat: take a candidate from the instance-wise Pareto front (each text that is the best
        on some example, in proportion to on how many); run it on a mini-batch of train; show
        the language model its answers with feedback, and ask for a better instruction; if
        that does better on the mini-batch, score it on everything and keep it

The package runs the loop: selection, mini-batches, the reflection's wording, the front. It
is called inside a greenlet, which hands each thing that costs (a text on examples, a question)
to `step` and waits. So the ledger charges every call before it is made, a budget's end or a
cancel leaves the loop just where it stands, and there is no pickled state: a search that goes
on after a kill is the same loop again, answered from what was paid for.

What differs from the package's defaults, and why:
- The Pareto front is over the train examples, which mini-batches come from as well (the
  package's own default without a validation set): our dev split is for the final choice.
- No merging: it crosses the parts of programs of several parts, and a prompt here is one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gepa
import greenlet
from gepa.core.adapter import EvaluationBatch

from core.llm.protocol import Sampling
from core.optimize.proposals import LONGEST, in_context
from core.optimize.protocol import (
    Candidate,
    Dropped,
    Evaluator,
    Event,
    Figure,
    Iterated,
    OutOfBudget,
    Scored,
)
from core.prompts.templates import SLOT

PART = "instruction"  # the one component of the "program" that the package evolves
HOPELESS = -1e9  # the score of a text that cannot be tried


@dataclass(frozen=True)
class Score:
    """The loop wants a text scored on these examples (places in train)."""

    text: str
    examples: list[int]


@dataclass(frozen=True)
class Ask:
    """The loop wants its reflection answered."""

    prompt: str


class Gepa:
    """`served`: how many requests of the loop were answered."""

    name = "gepa"

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        minibatch: int = 3,
        iterations: int = 100,
        reflection_tokens: int = 400,
        temperature: float = 1.0,
    ) -> None:
        self.start, self.seed = start, seed
        self.minibatch, self.iterations = minibatch, iterations
        self.reflection_tokens, self.temperature = reflection_tokens, temperature
        self._reset()

    def _reset(self) -> None:
        self.candidates: list[Candidate] = []
        self.finished: str | None = None
        self.dropped: dict[str, int] = {}
        self.served = 0
        self.front = 1
        self.waits = False  # a text that was better on its mini-batch is to be scored on everything
        self._replay = 0  # requests to answer again before anything new
        self._seen: dict[str, tuple[int, set[int]]] = {}  # text -> number, examples it was scored on
        self._parent = 0
        self._iteration = 0
        self._events: list[Event] = []
        self._loop: greenlet.greenlet | None = None
        self._request: Score | Ask | None = None

    # --- a step ------------------------------------------------------------------------------

    def step(self, evaluator: Evaluator) -> list[Event]:
        self._go_on(evaluator)
        if self._request is None:
            self.finished = "iterations"
            return []
        try:
            self._serve(evaluator)
        except OutOfBudget as end:
            if not self.candidates or end.reason != "budget":
                raise
            self.finished = "budget"
        self.waits = self._waits(evaluator)
        return self._events

    def to_close(self, evaluator: Evaluator) -> int:
        return evaluator.price * len(evaluator.shown) if self.waits else 0

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        """A text that was better on its mini-batch has its score on everything."""
        self._go_on(evaluator)
        if self._waits(evaluator):
            self._serve(evaluator)
        return self._events

    def _waits(self, evaluator: Evaluator) -> bool:
        request = self._request
        if not isinstance(request, Score) or not self.knows(request.text):
            return False
        return len(request.examples) == len(evaluator.shown)

    def _go_on(self, evaluator: Evaluator) -> None:
        """To where the loop stands: what it was answered before is answered again."""
        if self._loop is None:
            self._begin(evaluator)
        while self._replay:
            self._serve(evaluator)
            self._replay -= 1
        self._events = []

    def _begin(self, evaluator: Evaluator) -> None:
        n = len(evaluator.shown)
        self.candidates = []  # those of a search that goes on come again
        main = greenlet.getcurrent()
        adapter = Adapter(self, evaluator, main.switch)

        def loop() -> None:
            gepa.optimize(
                seed_candidate={PART: self.start},
                trainset=list(range(n)),
                adapter=adapter,  # type: ignore[arg-type]
                reflection_lm=adapter.reflect,
                reflection_minibatch_size=min(self.minibatch, n),
                skip_perfect_score=evaluator.unit == 100,  # right or wrong: 1 is all there is
                stop_callbacks=[lambda state: state.i + 1 >= self.iterations],
                callbacks=[Watcher(self)],  # type: ignore[list-item]
                logger=Silence(),
                seed=self.seed,
                display_progress_bar=False,
                track_best_outputs=False,
            )

        self._loop = greenlet.greenlet(loop)
        self._request = self._loop.switch()

    def _serve(self, evaluator: Evaluator) -> None:
        """Answer the loop's request, and take its next one. Until the answer is there, and
        so also when there is none (OutOfBudget, Cancelled), nothing changes."""
        request, loop = self._request, self._loop
        assert request is not None and loop is not None
        answer: Any = (
            self._score(evaluator, request) if isinstance(request, Score) else self._ask(evaluator, request)
        )
        self.served += 1
        self._request = loop.switch(answer)  # None: the loop has ended

    def _ask(self, evaluator: Evaluator, request: Ask) -> str:
        sampling = Sampling(
            self.reflection_tokens, self.temperature, 1.0, (self.seed * 1_000_003 + self.served) % 2**31
        )
        asked = in_context([{"role": "user", "content": request.prompt}], evaluator.context)
        return evaluator.ask(f"gepa/{self.served}", asked, sampling)

    def _score(self, evaluator: Evaluator, request: Score) -> tuple[Any, list[int]]:
        """(evaluation, rows of it that were asked for). A text's score is over all examples
        it has seen: those scored before are free."""
        text = request.text
        number, seen = self._seen.get(text, (len(self.candidates), set()))
        together = sorted(seen | set(request.examples))
        evaluation = evaluator.evaluate([text], examples=together)
        if len(together) > len(seen):
            known = number < len(self.candidates)
            candidate = (
                self.candidates[number]
                if known
                else Candidate(
                    number, text, self._parent if number else None, "reflection" if number else "start"
                )
            )
            candidate.scores["train"] = evaluator.measure(evaluation)
            candidate.calls = evaluation.spent[0]
            candidate.accepted = len(together) == len(evaluator.shown)
            if not known:
                self.candidates.append(candidate)
            self._seen[text] = (number, set(together))
            self._events.append(Scored(candidate))
        return evaluation, [together.index(i) for i in request.examples]

    # --- what the loop tells -------------------------------------------------------------------

    def problem(self, text: str) -> str:
        """Why a text cannot be tried; empty when it can."""
        if not any(letter.isalnum() for letter in text):
            return "empty"
        if len(text) > LONGEST:
            return "too long"
        return "slot damaged" if sorted(SLOT.findall(text)) != sorted(SLOT.findall(self.start)) else ""

    def drop(self, reason: str, text: str) -> None:
        self.dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + 1}
        self._events.append(Dropped("reflection", reason, text[:300]))

    def knows(self, text: str) -> bool:
        return text in self._seen

    def number_of(self, text: str) -> int:
        return self._seen[text][0] if text in self._seen else 0

    # --- the rest of the protocol ----------------------------------------------------------------

    def fraction(self) -> float:
        return min(1.0, self._iteration / self.iterations)

    def figures(self) -> list[Figure]:
        return [
            Figure(
                "Candidates on the Pareto front",
                float(self.front),
                "Texts that are the best on at least one train example: what the next parent is drawn from.",
            )
        ]

    def state_dict(self) -> dict[str, Any]:
        """What the page needs, and how many answers to give again; the loop itself is made
        again from the answers."""
        return {
            "served": self.served + self._replay,
            "finished": self.finished,
            "dropped": dict(self.dropped),
            "front": self.front,
            "waits": self.waits,
            "iteration": self._iteration,
            "candidates": [candidate.as_dict() for candidate in self.candidates],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._reset()
        self.finished, self.waits = state["finished"], state.get("waits", False)
        if self.finished:
            self.dropped, self.front = dict(state["dropped"]), state["front"]
            self._iteration = state["iteration"]
            self.candidates = [Candidate(**values) for values in state["candidates"]]
            return
        self._replay = state["served"]
        self.candidates = [Candidate(**values) for values in state["candidates"]]


class Adapter:
    """What the package calls (gepa.core.adapter.GEPAAdapter): data are places in train."""

    propose_new_texts = None

    def __init__(self, search: Gepa, evaluator: Evaluator, hand_over: Callable[[Any], Any]) -> None:
        self.search, self.evaluator, self.hand_over = search, evaluator, hand_over
        self.reflected = False  # the next text to score is a new one

    def evaluate(
        self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[Any, str]:
        text = candidate[PART]
        problem = self.search.problem(text)
        if self.reflected and not problem and self.search.knows(text):
            problem = "duplicate"  # it has a number and a place already
        self.reflected = False
        if problem:
            self.search.drop(problem, text)
            return EvaluationBatch(
                outputs=[""] * len(batch), scores=[HOPELESS] * len(batch), trajectories=None
            )
        evaluation, rows = self.hand_over(Score(text, list(batch)))
        told = [self.evaluator.told(evaluation, 0, row) for row in rows]
        traces = [
            {"Inputs": self.evaluator.shown[i].input, "Generated Outputs": said, "Feedback": how}
            for i, (said, how) in zip(batch, told, strict=True)
        ]
        return EvaluationBatch(
            outputs=[evaluation.outputs[0][row] for row in rows],
            scores=[float(evaluation.scores[0, row]) for row in rows],
            trajectories=traces if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: EvaluationBatch[Any, str],
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        self.search._parent = self.search.number_of(candidate[PART])
        return {PART: eval_batch.trajectories or []}

    def reflect(self, prompt: str | list[dict[str, Any]]) -> str:
        said = str(self.hand_over(Ask(str(prompt))))
        self.reflected = True
        return said


class Watcher:
    """The package's events, as far as they are told on."""

    def __init__(self, search: Gepa) -> None:
        self.search = search

    def on_iteration_end(self, event: Mapping[str, Any]) -> None:
        search = self.search
        kept = event["proposal_accepted"]
        newest = len(search.candidates) - 1 if kept else None
        note = "better on its mini-batch" if kept else "nothing better on the mini-batch"
        search._events.append(Iterated(search._iteration, newest, note))
        search._iteration += 1

    def on_pareto_front_updated(self, event: Mapping[str, Any]) -> None:
        self.search.front = len(event["new_front"])


class Silence:
    def log(self, message: str) -> None:
        """What the package prints is not for the run's log: our events say it."""
