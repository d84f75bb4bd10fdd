"""Scores texts on examples by asking a host, and keeps the books.

Every call is charged to the ledger before it is made; the target's calls and the
optimiser's own are kept apart. `reserve` calls are set aside for the end (choosing on
dev, reporting on test), so a search can never eat them. Texts are only started when they
can be scored in full.

A judge is not asked again about what another text was answered, too (core/optimize/scoring.py). So
scoring may take fewer calls than it was to take; the rest may be spent from the next step on, and not
in the same: one that is killed and done again has to find what fits as it did before, though it knows
the grades by then.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from core.llm.protocol import Completion, Host, Messages, Sampling
from core.optimize.answers import Answers, Said
from core.optimize.graded import Grades
from core.optimize.instruction import Instruction
from core.optimize.objectives import Objective, Outcome
from core.optimize.protocol import Evaluation, Limits, OutOfBudget, Row, Rows, Scores, Shown
from core.optimize.scoring import Scoring, silent
from core.optimize.watch import Watch
from core.prompts.templates import messages

T = TypeVar("T")


class HostEvaluator:
    def __init__(
        self,
        host: Host,
        objective: Objective,
        instruction: Instruction,
        rows: Rows,
        answers: Answers,
        *,
        optimizer_host: Host | None = None,
        reserve: int = 0,
        batch: int = 16,
        between: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        grades: Grades | None = None,
    ) -> None:
        """`optimizer_host` answers what the optimiser asks (default: `host`). `batch`: so
        many requests a host gets at once. `between` is called before every batch; it may
        raise to stop (Cancelled). `limits`, too, are looked at then. A search says by `margin`,
        `aside` and `seconds` what of them it may use. `grades`: what judges said in earlier runs;
        several evaluators of one run may share it."""
        self.host, self.objective, self.instruction, self.rows = host, objective, instruction, rows
        self.optimizer_host = optimizer_host or host
        self.answers, self.ledger = answers, answers.ledger
        self.reserve, self.batch, self.between = reserve, batch, between
        self.limits = limits or Limits()
        train = max(1, len(rows.get("train", ())))
        # Examples of one batch, by which a search may be over; None: the batch that is to begin.
        self.margin: int | None = min(batch, max(1, batch // train) * train)
        self.aside = 0  # calls that the method's own end would take
        self.seconds: Callable[[], float] = lambda: 0.0  # at work, while the time is limited
        self.watch: Watch | None = None
        self.released = 0  # of the calls that were saved (Answers.saved): those of earlier steps
        self.scoring = Scoring(
            host, objective, answers, Grades() if grades is None else grades, self.request, self._begin,
            lambda: self.between(),
        )  # fmt: skip

    @property
    def failed(self) -> int:
        """Requests a host gave up on; each counted as an empty response."""
        return self.answers.failed

    @property
    def calls(self) -> int:
        return self.ledger.calls

    def since(self, spent: int) -> int:
        """Calls taken since so many were spent, when the step began: with those saved in it."""
        return self.ledger.calls + self._held - spent

    @property
    def _held(self) -> int:
        """Calls that this step has saved, and that only the next may spend."""
        return self.answers.saved - self.released

    def release(self) -> None:
        """A step has ended."""
        self.released = self.answers.saved

    @property
    def unit(self) -> float:
        return self.objective.unit

    @property
    def begins(self) -> bool:
        return self.optimizer_host.spec.kind == "local"

    @property
    def context(self) -> str:
        return self.instruction.context

    @cached_property
    def shown(self) -> list[Shown]:
        return [Shown(row["input"], self.objective.answer_of(row)) for row in self.rows["train"]]

    def cost(self, texts: Sequence[str], split: str = "train", examples: Sequence[int] | None = None) -> int:
        """Calls that scoring these texts would take at most: what is known already is free."""
        rows = self._chosen(split, examples)
        return sum(self.scoring.takes(text, row) for text in dict.fromkeys(texts) for row in rows)

    @property
    def price(self) -> int:
        """Calls that one text on one example takes."""
        return sum(self.objective.price.values())

    def fits(self, calls: int) -> bool:
        remaining = self.ledger.remaining
        return remaining is None or calls <= remaining - self._held - self.reserve

    def evaluate(
        self, texts: Sequence[str], split: str = "train", examples: Sequence[int] | None = None
    ) -> Evaluation:
        rows = self._chosen(split, examples)
        cost = self.cost(texts, split, examples)
        if cost and not self.fits(cost):
            raise OutOfBudget(f"{cost} calls for {split}, {self.ledger.remaining} left")
        self._answer(list(dict.fromkeys(texts)), rows)
        outcomes = [[self._known(text, row) for row in rows] for text in texts]
        return Evaluation(
            list(texts),
            split,
            np.array([[outcome.score for outcome in row] for row in outcomes]),
            [[outcome.output for outcome in row] for row in outcomes],
            list(range(len(rows))) if examples is None else list(examples),
            [self.answers.paid(text, [row["id"] for row in rows]) for text in texts],
            [[outcome.detail for outcome in row] for row in outcomes],
        )

    def limit_reached(self, batch: int = 0) -> str | None:
        """Which limit is reached by what was spent and by what is set aside for the end, at the
        tokens and the cost that an example has taken so far. While a search is under way, that is the
        method's own end, too, and the batch that it may be over by: else these would come out of the
        end. `batch`: examples of the one that is to begin."""
        total = self.ledger.total
        tokens, cost = self.answers.expected()
        spent = total.tokens_in + total.tokens_out
        examples = (self.reserve + self.aside) / self.price + (batch if self.margin is None else self.margin)
        return self.limits.reached(spent + examples * tokens, total.cost + examples * cost, self.seconds())

    def _begin(self, batch: int = 0) -> None:
        """Before a batch of so many examples or questions, of which some may be known."""
        self.between()
        reason = self.limit_reached(batch)
        if reason:
            raise OutOfBudget(f"the limit on {reason} is reached", reason=reason)

    def _chosen(self, split: str, examples: Sequence[int] | None) -> list[dict[str, Any]]:
        rows = self.rows[split]
        return rows if examples is None else [rows[i] for i in examples]

    def _known(self, text: str, row: Row) -> Outcome:
        outcome = self.answers.outcome(text, row["id"])
        assert outcome is not None  # it was just answered
        return outcome

    def _answer(self, texts: list[str], rows: list[dict[str, Any]]) -> None:
        """Ask what is not known, in batches that are cut at fixed places, across texts. A text's
        examples stay together where they fit, because they share its beginning, which a host then
        reads once."""
        together = max(1, self.batch // max(1, len(rows)))
        for first in range(0, len(texts), together):
            pairs = [(text, row) for text in texts[first : first + together] for row in rows]
            for start in range(0, len(pairs), self.batch):
                self.scoring.answer(pairs[start : start + self.batch])

    def request(self, text: str, row: Row) -> Messages:
        """What the host is asked with `text` for the instruction on a row of `rows`."""
        return messages(*self.instruction.with_text(text), row["fields"], row["messages"])

    def work(
        self, key: str, calls: int, make: Callable[[], T], *, then: int = 0, purpose: str = "target"
    ) -> T:
        if self.answers.worked(key):
            return make()
        if not self.fits(calls + then):
            raise OutOfBudget(f"{calls} calls for {key}, {self.ledger.remaining} left")
        self._begin()
        return self.answers.pay_for_work(key, purpose, calls, make)

    def outputs(self, split: str = "train") -> list[tuple[str, float, str]]:
        """(example, reward, output) of every text on a split so far."""
        return self.answers.outputs({row["id"] for row in self.rows[split]})

    # --- what the numbers say ------------------------------------------------------------

    def measure(self, evaluation: Evaluation, row: int = 0) -> Scores:
        rows = self._rows_of(evaluation)
        measured = self.objective.measure(evaluation.scores[row], evaluation.outputs[row], rows)
        measured |= self.objective.detailed(evaluation.details[row])
        if self.watch is not None and len(rows) == len(self.rows[evaluation.split]):
            measured["watch"] = self.watch.look(
                evaluation.outputs[row],
                evaluation.details[row],
                rows,
            )
        return measured

    def percent(self, scores: Scores) -> float:
        return self.objective.percent(scores)

    def told(self, evaluation: Evaluation, row: int, place: int) -> tuple[str, str]:
        return self.objective.told(
            float(evaluation.scores[row, place]),
            evaluation.outputs[row][place],
            self._rows_of(evaluation)[place],
            evaluation.details[row][place],
        )

    def _rows_of(self, evaluation: Evaluation) -> list[dict[str, Any]]:
        return self._chosen(evaluation.split, evaluation.examples)

    def gain(self, evaluation: Evaluation, better: int = 1, base: int = 0) -> Scores:
        """By how much one text beats another on the same examples: a paired bootstrap,
        which resamples the examples and scores both texts on the same draw."""
        first, second = ((evaluation.scores[i], evaluation.outputs[i]) for i in (better, base))
        return paired(self.objective, self._rows_of(evaluation), first, second)

    # --- what the optimiser asks -----------------------------------------------------------

    def ask(self, key: str, messages: Messages, sampling: Sampling) -> str:
        return self._ask([key], [messages], sampling)[0]

    def ask_many(self, key: str, requests: Sequence[Messages], sampling: Sampling) -> list[str]:
        return self._ask([f"{key}/{i}" for i in range(len(requests))], requests, sampling)

    def _ask(self, keys: list[str], requests: Sequence[Messages], sampling: Sampling) -> list[str]:
        """Batches are kept as a whole here, too. All answers must be scored yet, those that were
        there before a kill as well: so many are asked for as without it."""
        new = [i for i, key in enumerate(keys) if self.answers.said(key) is None]
        scoring = self.price * len(self.rows["train"])
        if new and not self.fits(len(new) + len(keys) * scoring):
            raise OutOfBudget("an answer could not be scored any more")
        for start in range(0, len(keys), self.batch):
            part = [i for i in new if start <= i < start + self.batch]
            if part:
                self._begin(min(self.batch, len(keys) - start))
                self._pay_for_saying([keys[i] for i in part], [requests[i] for i in part], sampling, part)
        return [self.answers.said(key) or "" for key in keys]

    def _pay_for_saying(
        self, keys: list[str], requests: list[Messages], sampling: Sampling, places: list[int]
    ) -> None:
        def make() -> list[Said]:
            answers = self.optimizer_host.generate(
                requests, sampling, seeds=[sampling.seed + place for place in places]
            )
            errors = [answer.error for answer in answers if answer.error]
            if len(errors) == len(answers) > 1:  # one alone may be odd, and counts as empty
                raise silent(self.optimizer_host, errors)
            return [said(answer) for answer in answers]

        self.answers.pay_for_saying(keys, make)


def paired(
    objective: Objective,
    rows: Sequence[Row],
    better: tuple[np.ndarray, Sequence[str]],
    base: tuple[np.ndarray, Sequence[str]],
) -> Scores:
    """By how much one text's (scores, outputs) on these rows are above another's: the examples
    are resampled, and both texts scored on the same draw."""
    drawn = np.concatenate([np.arange(len(rows))[None, :], objective.draws(rows)])
    values = [objective.resampled(scores, outputs, rows, drawn) for scores, outputs in (better, base)]
    difference = values[0] - values[1]
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    return {"score": float(difference[0]), "low": float(low), "high": float(high), "n": len(rows)}


def said(answer: Completion) -> Said:
    cut = answer.finish_reason == "length" and "\n" not in answer.text.strip()
    spent = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "cost": answer.cost}
    return answer.text + ("…" if cut else ""), spent, bool(answer.error)
