"""What a search says of itself while it is at work, as events of its run."""

from collections.abc import Callable
from typing import Any

from core.llm.ledger import Ledger
from core.optimize.evaluate import HostEvaluator
from core.optimize.protocol import Candidate, Dropped, Event, Iterated, Learned, Optimizer, Scored
from core.optimize.rewards.scores import feasible
from core.optimize.watch import length_correlation
from core.optimize.watched import WARN_AFTER, falling
from core.runs.context import RunContext


class Report:
    """Turns the search's events into the run's."""

    def __init__(
        self,
        context: RunContext,
        ledger: Ledger,
        optimizer: Optimizer,
        plan: dict[str, Any],
        evaluator: HostEvaluator,
    ) -> None:
        self.context, self.ledger, self.optimizer, self.plan = context, ledger, optimizer, plan
        self.evaluator, self.warned, self.looked = evaluator, False, 0
        self.best = float("-inf")
        self.last_part = False
        self.seconds: Callable[[], float] = lambda: 0.0  # at work, in all processes together

    def __call__(self, event: Event) -> None:
        if isinstance(event, Scored):
            self.candidate(event.candidate)
        elif isinstance(event, Dropped):
            self.context.log(
                f"Dropped a proposal ({event.operation}): {event.reason}. {event.detail}".strip()
            )
        elif isinstance(event, Iterated):
            taken = f"candidate {event.accepted} is accepted: " if event.accepted is not None else ""
            self.context.log(f"Iteration {event.iteration + 1}: {taken}{event.note}.")
        elif isinstance(event, Learned):
            self.learned(event)
        self.ledger.emit(self.context)
        self.watch()
        self.progress()

    def watch(self) -> None:
        """What is watched of the run as a whole, once for each new candidate; and, once, that
        gold has fallen."""
        scored = len(self.optimizer.candidates)
        if self.evaluator.watch is None or scored == self.looked:
            return
        self.looked = scored
        found = length_correlation(self.evaluator.outputs())
        if found is not None:
            self.context.emit("watch", calls=self.ledger.calls, length_correlation=found)
        if not self.warned and falling(self.optimizer.candidates)[0] >= WARN_AFTER:
            self.warned = True
            self.context.log("Gold has fallen while the reward rose: the search may exploit its reward.")

    def learned(self, event: Learned | None) -> None:
        """A step that is told again after a resume counts as it was told first."""
        if event is not None:
            self.context.emit("policy", step=event.step, calls=self.ledger.calls, figures=dict(event.figures))

    def candidate(self, candidate: Candidate) -> None:
        self.context.emit("candidate", **candidate.as_dict())
        score, full = candidate.scores["train"]["score"], candidate.scores["train"]["n"] >= self.plan["train"]
        if full and not self.last_part:
            if feasible(candidate.scores["train"]) or not candidate.number:
                self.best = max(self.best, score)
            self.context.metric(candidate.number, calls=candidate.calls, score=score, best=self.best)

    def progress(self) -> None:
        budget, reserve = self.plan["budget"], self.plan["reserve"]
        if self.last_part:
            done = 1 - max(0.0, (budget - self.ledger.calls)) / budget
            self.context.progress(
                max(0.9, done), "Choosing on dev, reporting on test", at_work_s=self.seconds()
            )
            return
        spent = self.ledger.calls / max(1, budget - reserve)
        share = 0.9 * max(min(1.0, spent), self.optimizer.fraction())
        scored = len(self.optimizer.candidates)
        self.context.progress(
            share,
            f"{scored} {'candidate' if scored == 1 else 'candidates'} tried, {self.ledger.calls:,} of {budget:,} calls, best {self.best:.3g}",
            at_work_s=self.seconds(),
        )
