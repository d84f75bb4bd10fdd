"""What methods that propose whole texts have in common: the start is scored first; what is
proposed waits in a queue and is scored together; then the method settles who stays.

A step is one of these three, and happens as a whole or not at all: a method writes
`propose` and `settle`, reads beside its paper, and needs no thought of kills and budgets.
Every random draw has a generator of its own, seeded by (seed, iteration, what for), so a
search that goes on from its state draws what it would have drawn.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from core.llm.protocol import Messages, Sampling
from core.optimize.protocol import (
    Candidate,
    Dropped,
    Evaluation,
    Evaluator,
    Event,
    Figure,
    OutOfBudget,
    Scored,
)
from core.optimize.reading import Unusable, begun, same_text, tagged
from core.prompts.templates import SLOT

FORMS = ("automatic", "tags", "begun")  # how a text is asked for: `ask_tagged`
FRUITLESS = 3  # proposing so often in a row without one usable text ends a search
LONGEST = 4_000  # characters of an instruction that is worth trying, where a paper names no limit


class Proposals:
    """`iteration` counts what `settle` closed. Subclasses name their own state in STATE,
    JSON all of it."""

    name = ""
    form = "automatic"  # one of FORMS
    STATE: ClassVar[tuple[str, ...]] = ()

    def __init__(self, start: str, seed: int) -> None:
        self.start, self.seed = start, seed
        self.candidates: list[Candidate] = []
        self.finished: str | None = None
        self.dropped: dict[str, int] = {}
        self.iteration = 0
        self.asked = 0  # times `propose` was called: what it asks has a key of its own
        self.fruitless = 0
        self.spent = 0  # calls, after the last step
        self.offered = 0  # in this step
        self.bought = False  # whether the last proposals were answers to something that was asked
        self.most = 0  # proposals of one step
        self.queue: list[dict[str, Any]] = []  # text, parent, operation

    # --- for a method to write ------------------------------------------------------------

    def propose(self, evaluator: Evaluator) -> list[Event]:
        """Put proposals into the queue (`offer`). Raises OutOfBudget like the evaluator."""
        raise NotImplementedError

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        """The proposals became candidates with these numbers; `iteration` is still theirs.
        The start alone is settled first, as [0]."""
        raise NotImplementedError

    def fraction(self) -> float:
        raise NotImplementedError

    def figures(self) -> list[Figure]:
        return []

    # --- a step ----------------------------------------------------------------------------

    def step(self, evaluator: Evaluator) -> list[Event]:
        events = self._step(evaluator)
        self.spent = evaluator.calls
        return events

    def _step(self, evaluator: Evaluator) -> list[Event]:
        before = self.state_dict()
        self.offered = 0
        try:
            if not self.candidates:
                self.queue = [{"text": self.start, "parent": None, "operation": "start"}]
                events = self._score_queue(evaluator)
                self.candidates[0].accepted = True
                return events
            if self.queue:
                return self._score_queue(evaluator)
            self.asked += 1
            self.bought = False
            events = self.propose(evaluator)
        except OutOfBudget as end:
            self.load_state_dict(before)
            if not self.candidates or end.reason != "budget":
                raise
            self.finished = "budget"
            return []
        except BaseException:  # cancelled, or the host failed: as if this step had not begun
            self.load_state_dict(before)
            raise
        self.most = max(self.most, self.offered)
        self.fruitless = 0 if self.offered else self.fruitless + 1
        if self.fruitless >= FRUITLESS and not self.finished:
            self.finished = "unproductive"
        return events

    def _score_queue(self, evaluator: Evaluator) -> list[Event]:
        """Score what is in the queue, or as much of it as fits, and settle."""
        evaluation, fitting, short = what_fits(evaluator, [proposal["text"] for proposal in self.queue])
        events: list[Event] = []
        numbers = []
        for i, proposal in enumerate(self.queue[:fitting]):
            candidate = Candidate(
                len(self.candidates),
                proposal["text"],
                proposal["parent"],
                proposal["operation"],
                scores={"train": evaluator.measure(evaluation, i)},
                calls=evaluation.spent[i],
                others=proposal.get("others", []),
            )
            self.candidates.append(candidate)
            numbers.append(candidate.number)
            events.append(Scored(candidate))
        self.queue = []
        events += self.settle(numbers)
        if short:
            self.finished = short
        return events

    def to_close(self, evaluator: Evaluator) -> int:
        """Before proposing: what is asked for is scored, too. What waits is scored by the next step."""
        ahead = 0 if self.queue or not self.bought else self.most
        return evaluator.price * len(evaluator.rows["train"]) * ahead

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        """Proposals that were paid for are scored."""
        return self._score_queue(evaluator) if self.queue and self.bought else []

    # --- what a method uses ------------------------------------------------------------------

    def rng(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.asked}/{what}")

    def carries(self, evaluator: Evaluator, calls: int) -> bool:
        """Whether so many calls fit into what was left when this step began: a step that
        was killed and is done again decides as it did, whatever it has paid for."""
        return evaluator.fits(calls - evaluator.since(self.spent))

    def ask(
        self,
        evaluator: Evaluator,
        requests: Sequence[Messages],
        *,
        temperature: float,
        max_new_tokens: int,
        top_p: float = 1.0,
    ) -> list[str]:
        """Ask all of the requests, or as many of the first as fit (at least one, else
        OutOfBudget): a budget's end is used up, not wasted."""
        sampling = Sampling(max_new_tokens, temperature, top_p, self.rng("sampling").getrandbits(31))
        requests = [in_context(request, evaluator.context) for request in requests]
        self.bought = True
        for count in range(len(requests), 0, -1):
            try:
                return evaluator.ask_many(f"{self.name}/{self.asked}", requests[:count], sampling)
            except OutOfBudget:
                if count == 1:
                    raise
        return []

    def ask_tagged(
        self,
        evaluator: Evaluator,
        requests: Sequence[Messages],
        tag: str,
        operation: str,
        events: list[Event],
        *,
        temperature: float,
        max_new_tokens: int,
        top_p: float = 1.0,
        paragraphs: bool = False,
    ) -> list[str | None]:
        """Ask for texts between `<tag>` and `</tag>`, as `ask` does; None for an answer that
        holds none (counted). `paragraphs`: the text may have several. A model that seldom writes
        tags gets its answer begun: the opening tag is written for it, and it goes on."""
        begin = self.form == "begun" or (self.form == "automatic" and evaluator.begins)
        if begin:
            requests = [[*request, {"role": "assistant", "content": f"<{tag}>"}] for request in requests]
        answers = self.ask(
            evaluator, requests, temperature=temperature, max_new_tokens=max_new_tokens, top_p=top_p
        )

        def reader(said: str) -> str:
            return begun(tag, said, paragraphs) if begin else tagged(tag, said)

        return [self.read(answer, reader, operation, events) for answer in answers]

    def offer(
        self,
        text: str,
        parent: int,
        operation: str,
        events: list[Event],
        longest: int = LONGEST,
        others: Sequence[int] = (),
    ) -> bool:
        """Put a text into the queue, or drop it, counted, when it cannot be tried. `others`:
        its parents besides the first."""
        problem = self.unfit(text, longest) or ("duplicate" if self.known(text) else "")
        if problem:
            self.drop(events, operation, problem, text)
            return False
        entry = {"text": text, "parent": parent, "operation": operation}
        self.queue.append({**entry, "others": list(others)} if others else entry)
        self.offered += 1
        return True

    def unfit(self, text: str, longest: int = LONGEST) -> str:
        """Why a text cannot be tried at all; empty when it can."""
        if not any(letter.isalnum() for letter in text):
            return "empty"
        if len(text) > longest:
            return "too long"
        return "slot damaged" if sorted(SLOT.findall(text)) != sorted(SLOT.findall(self.start)) else ""

    def read(
        self, answer: str, reader: Callable[[str], str], operation: str, events: list[Event]
    ) -> str | None:
        """What an answer holds, or None when it cannot be read (counted)."""
        try:
            return reader(answer)
        except Unusable as problem:
            self.drop(events, operation, str(problem), answer)
            return None

    def known(self, text: str) -> bool:
        there = [*(candidate.text for candidate in self.candidates), *(entry["text"] for entry in self.queue)]
        return any(same_text(text, other) for other in there)

    def drop(self, events: list[Event], operation: str, reason: str, detail: str = "") -> None:
        self.dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + 1}
        events.append(Dropped(operation, reason, detail[:300]))

    def train(self, number: int) -> float:
        return float(self.candidates[number].scores["train"]["score"])

    def best(self) -> int:
        """The number of the best on train; the first of equals."""
        return max(range(len(self.candidates)), key=lambda number: (self.train(number), -number))

    # --- the state ---------------------------------------------------------------------------

    _OWN = ("finished", "dropped", "iteration", "asked", "fruitless", "queue", "spent", "bought", "most")
    _NEW: ClassVar[dict[str, Any]] = {"spent": 0, "bought": False, "most": 0}  # not in older states

    def state_dict(self) -> dict[str, Any]:
        state = {name: _copied(getattr(self, name)) for name in (*self._OWN, *self.STATE)}
        return {**state, "candidates": [candidate.as_dict() for candidate in self.candidates]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in (*self._OWN, *self.STATE):
            setattr(
                self, name, _copied(state.get(name, self._NEW[name]) if name in self._NEW else state[name])
            )
        self.candidates = [Candidate(**values) for values in state["candidates"]]


def in_context(request: Messages, context: str) -> Messages:
    """A request with what its reader should know first."""
    if not context:
        return request
    first, *rest = request
    return [{**first, "content": f"{context}\n\n{first['content']}"}, *rest]


def what_fits(evaluator: Evaluator, texts: list[str]) -> tuple[Evaluation, int, str]:
    """Score all of the texts, or as many of the first as fit; how many these are, and why not
    more (empty where all are). Raises OutOfBudget when not even one does."""
    short = ""
    for count in range(len(texts), 1, -1):
        try:
            return evaluator.evaluate(texts[:count]), count, short
        except OutOfBudget as end:
            short = end.reason
    return evaluator.evaluate(texts[:1]), 1, short


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value
