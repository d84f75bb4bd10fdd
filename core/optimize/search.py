"""Runs an optimiser to its end: search on train, choose on dev, report once on test.

The state is saved after every step, as JSON, by write-then-rename. A search that was
killed starts from the last one; what it had paid for since comes out of the evaluator's
cache, so it ends with the same candidates and scores. Why it ends is saved with the step
after which it does: what is spent since cannot make it another reason.

A search that is stopped lets its method close, as the last step (protocol.Closing).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.optimize.curve import in_time
from core.optimize.evaluate import HostEvaluator
from core.optimize.protocol import (
    Candidate,
    Closing,
    Event,
    Optimizer,
    OutOfBudget,
    Scored,
    Scores,
    Standing,
    StopCondition,
)
from core.optimize.rewards.scores import feasible
from core.optimize.tensors import forget_others, load_tensors, save_tensors
from core.optimize.watched import before_the_fall
from core.runs.context import Cancelled, WorkError
from core.runs.folder import write_json

PARTIAL = ("cancelled", "paused")  # reasons after which nothing more is spent


class Paused(Exception):
    """A person asked to pause, between two steps of the end."""


@dataclass
class Outcome:
    """How a search ended. `best` is the start itself when nothing beat it on dev.
    `gain`: best less start on the test split, None when there was no test."""

    best: Candidate
    start: Candidate
    finalists: list[int]
    reason: str
    gain: Scores | None


class Search:
    def __init__(
        self,
        optimizer: Optimizer,
        evaluator: HostEvaluator,
        stop: StopCondition,
        state_file: Path,
        on_event: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[], bool] = lambda: False,
    ) -> None:
        self.optimizer, self.evaluator, self.stop = optimizer, evaluator, stop
        self.state_file, self.on_event, self.clock = state_file, on_event, clock
        self.pause = pause
        self.saves = 0
        self.ending: str | None = None  # why there is no further step (a key of FINISH_WORDS)
        self.before = 0.0  # seconds at work in earlier processes
        self.began = clock()

    @property
    def seconds(self) -> float:
        return self.before + self.clock() - self.began

    def save(self) -> None:
        self.saves += 1
        tensors = save_tensors(self.optimizer, self.state_file, self.saves)
        saved = {"seconds": self.seconds, "optimizer": self.optimizer.state_dict()}
        ending = None if self.ending in PARTIAL else self.ending
        self.evaluator.release()
        saved |= {"ending": ending, "saves": self.saves, "released": self.evaluator.released}
        write_json(self.state_file, {**saved, "tensors": tensors})
        forget_others(self.state_file, tensors)

    def load(self, saved: dict[str, Any]) -> None:
        self.before = float(saved["seconds"])
        self.saves = int(saved.get("saves", 0))
        self.optimizer.load_state_dict(saved["optimizer"])
        load_tensors(self.optimizer, self.state_file, saved.get("tensors"))
        self.ending = saved.get("ending")
        self.evaluator.released = int(saved.get("released", 0))

    # --- the search, on train --------------------------------------------------------------

    def run(self) -> str:
        """Step until there is a reason to stop, and let the method close; answers the reason (a
        key of FINISH_WORDS)."""
        if not self.ending and self.optimizer.candidates:
            # It goes on. The limits are not looked at here: a step that was killed has spent some
            # of them, and is done to its end as far as it is paid for.
            self.ending = self._decided()
        while not self.ending:
            self._limit()
            try:
                events = self.optimizer.step(self.evaluator)
            except OutOfBudget as end:
                events, self.ending = [], end.reason
            except Cancelled:
                return "cancelled"
            if self.optimizer.candidates:
                # Whatever the settings say, the start is scored: without it there is no result.
                self._limit()
                self.ending = self.ending or self._decided() or self.evaluator.limit_reached()
                self.save()
            for event in events:
                self.on_event(event)
        try:
            self._close(self.ending)
        except Cancelled:
            return "cancelled"
        return self.ending

    def _decided(self) -> str | None:
        return self.optimizer.finished or self.stop(self.standing())

    def _limit(self) -> None:
        """Say to the evaluator what of its limits the next step may use."""
        if self.optimizer.candidates:  # the start is scored, whatever time it takes
            self.evaluator.seconds = lambda: self.seconds
            if isinstance(self.optimizer, Closing):
                self.evaluator.aside = self.optimizer.to_close(self.evaluator)

    def _close(self, reason: str) -> None:
        """A method that did not end by itself scores its finalists in full. All of it happens,
        or nothing: killed, it is done again."""
        optimizer, evaluator = self.optimizer, self.evaluator
        # What was set aside for this is there now, to the last batch; time may be up.
        evaluator.aside, evaluator.margin, evaluator.seconds = 0, None, lambda: 0.0
        if reason not in PARTIAL and not optimizer.finished and isinstance(optimizer, Closing):
            before = optimizer.state_dict()
            try:
                events = optimizer.close(evaluator, reason)
            except OutOfBudget:
                events = []
                optimizer.load_state_dict(before)
            except BaseException:
                optimizer.load_state_dict(before)
                raise
            optimizer.finished = reason
            self.save()
            for event in events:
                self.on_event(event)

    def standing(self) -> Standing:
        """Of the candidates that were scored on all of train, in the order in which they were."""
        whole = in_time(filter(self.full, self.optimizer.candidates))
        best, best_at = float("-inf"), 0
        for place, candidate in enumerate(whole, 1):
            if feasible(candidate.scores["train"]) and _train(candidate) > best:
                best, best_at = _train(candidate), place
        return Standing(self.evaluator.calls, len(whole), best, best_at)

    def full(self, candidate: Candidate) -> bool:
        """Scored on all of train: a method may have stopped short of that."""
        return bool(candidate.scores["train"]["n"] >= len(self.evaluator.rows["train"]))

    # --- the end, on dev and test ------------------------------------------------------------

    def finish(self, reason: str, finalists: int) -> Outcome:
        """Choose among the start and the best few on dev; then read the test split, once,
        for the start and the chosen one. After a cancel or a pause nothing more is spent."""
        scored = self.optimizer.candidates
        if not scored and reason == "cancelled":
            raise Cancelled
        if not scored:
            raise WorkError(
                "The budget did not score the start prompt.",
                "Start again with a larger budget, or wider limits.",
            )
        start = scored[0]
        able = before_the_fall(scored) if reason == "gold_falls" else (lambda _: True)
        whole = [c for c in scored[1:] if self.full(c) and feasible(c.scores["train"]) and able(c)]
        ranked = sorted(whole, key=lambda c: (-_train(c), c.number))
        if feasible(start.scores["train"]):  # else whatever keeps the constraints is worth a look
            ranked = [c for c in ranked if _train(c) > _train(start)]
        chosen = ranked[:finalists]
        if reason in PARTIAL:
            return Outcome((chosen or [start])[0], start, [], reason, None)
        try:
            best = self._choose(start, chosen)
            self._may_go_on()
            gain = self._report(start, best)
        except (Cancelled, Paused) as end:
            reason = "paused" if isinstance(end, Paused) else "cancelled"
            best = self._best_on_dev(start, chosen)
            return Outcome(best, start, [c.number for c in chosen], reason, None)
        return Outcome(best, start, [candidate.number for candidate in chosen], reason, gain)

    def _choose(self, start: Candidate, chosen: list[Candidate]) -> Candidate:
        self.evaluator.reserve = 2 * self.evaluator.price * len(self.evaluator.rows["test"])
        self.evaluator.margin = 0
        for candidate in [start, *chosen]:
            self._may_go_on()
            self._score(candidate, "dev")
        return self._best_on_dev(start, chosen)

    def _best_on_dev(self, start: Candidate, chosen: list[Candidate]) -> Candidate:
        """Of those that keep every constraint on dev; without one, the start. A tie goes to
        the better one on train: every finalist beat the start there. Where dev was scored for none
        of them, because it was not paid for, the best on train."""
        if chosen and not any("dev" in candidate.scores for candidate in chosen):
            return chosen[0]
        known = [c for c in [start, *chosen] if "dev" in c.scores and feasible(c.scores["dev"])]
        kept = [c for c in known if feasible(c.scores["train"])]
        return max(kept, key=lambda c: (c.scores["dev"]["score"], _train(c)), default=start)

    def _may_go_on(self) -> None:
        """Between two steps of the end. The answers paid for are kept: after a pause they are
        free."""
        if self.pause():
            raise Paused

    def _report(self, start: Candidate, best: Candidate) -> Scores | None:
        self.evaluator.reserve = 0
        texts = list(dict.fromkeys([start.text, best.text]))
        try:
            evaluation = self.evaluator.evaluate(texts, "test")
        except OutOfBudget:
            return None
        for row, candidate in enumerate([start, best][: len(texts)]):
            candidate.scores["test"] = self.evaluator.measure(evaluation, row)
            self.on_event(Scored(candidate))
        return self.evaluator.gain(evaluation, better=len(texts) - 1, base=0)

    def _score(self, candidate: Candidate, split: str) -> None:
        """Score on a split set aside for the end. It can only fail to fit when calls were
        lost with a killed process on a host that counts them; then the score is missing."""
        try:
            evaluation = self.evaluator.evaluate([candidate.text], split)
        except OutOfBudget:
            return
        candidate.scores[split] = self.evaluator.measure(evaluation)
        self.on_event(Scored(candidate))


def _train(candidate: Candidate) -> float:
    return float(candidate.scores["train"]["score"])
