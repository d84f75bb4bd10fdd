"""What methods that search over a model's tokens have in common: the start is scored first, then a
method goes on step by step until its iterations or its budget are spent, and at the end the few
that look best are scored on all of train, so that they can be compared with the start. So they
are where the search is stopped.

A step happens as a whole or not at all: what it changed is undone when it is cut short.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from core.optimize.proposals import Proposals
from core.optimize.protocol import Evaluator, Event, OutOfBudget

LAST = 3  # so many are scored in full at the end, as far as the budget goes
T = TypeVar("T")


class TokenSearch(Proposals, Generic[T]):
    """A method writes `advance`, `finalists` and `in_full`; T is how it names what it scores."""

    def __init__(self, start: str, seed: int, iterations: int) -> None:
        super().__init__(start, seed)
        self.iterations = iterations

    # --- for a method to write ------------------------------------------------------------

    def advance(self, evaluator: Evaluator) -> list[Event]:
        """One step; it ends the search by `finish` where the budget does not carry it, of which
        it leaves enough for one full score."""
        raise NotImplementedError

    def finalists(self, evaluator: Evaluator, events: list[Event]) -> Sequence[T]:
        """What should be scored in full at the end, the most promising first."""
        raise NotImplementedError

    def in_full(self, evaluator: Evaluator, one: T) -> list[Event]:
        """Score it on all of train. Raises OutOfBudget."""
        raise NotImplementedError

    # --- a step ---------------------------------------------------------------------------

    def step(self, evaluator: Evaluator) -> list[Event]:
        if not self.candidates:
            return super().step(evaluator)  # the start: nothing else goes through the queue
        before = self.state_dict()
        try:
            if self.iteration >= self.iterations:
                events = self.finish(evaluator, "iterations")
            else:
                events = self.advance(evaluator)
        except BaseException:
            self.load_state_dict(before)
            raise
        self.spent = evaluator.calls
        return events

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        return []

    def finish(self, evaluator: Evaluator, reason: str, *, stopped: bool = False) -> list[Event]:
        """Score the finalists, as many as the budget carries, and end the search. `stopped`: a
        limit is no reason to raise any more, as it is in a step."""
        events: list[Event] = []
        for one in self.finalists(evaluator, events)[:LAST]:
            try:
                events += self.in_full(evaluator, one)
            except OutOfBudget as end:
                if end.reason != "budget" and not stopped:
                    raise  # the search goes on with `close`, for which calls are set aside
                break
        self.finished = reason
        return events

    def to_close(self, evaluator: Evaluator) -> int:
        return evaluator.price * len(evaluator.rows["train"]) if self.iteration else 0

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        return self.finish(evaluator, reason, stopped=True) if self.iteration else []

    def fraction(self) -> float:
        return min(1.0, self.iteration / self.iterations)
