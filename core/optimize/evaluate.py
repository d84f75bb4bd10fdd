"""Scores texts on examples by asking a host, and keeps the books.

Every call is charged to the ledger before it is made; the target's calls and the
optimiser's own are kept apart. `reserve` calls are set aside for the end (choosing on
dev, reporting on test), so a search can never eat them. A text is only started when it
can be scored in full.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.llm.protocol import Host, Messages, Sampling
from core.optimize.answers import Answers
from core.optimize.instruction import Instruction
from core.optimize.objectives import Objective, Outcome
from core.optimize.protocol import Evaluation, OutOfBudget, Scores
from core.prompts.templates import messages
from core.runs.context import WorkError

Rows = dict[str, list[dict[str, Any]]]  # split -> rows: id, input, fields, messages, reference


class HostEvaluator:
    def __init__(
        self,
        host: Host,
        objective: Objective,
        instruction: Instruction,
        rows: Rows,
        answers: Answers,
        *,
        reserve: int = 0,
        batch: int = 16,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """`between` is called before every batch; it may raise to stop (Cancelled)."""
        self.host, self.objective, self.instruction, self.rows = host, objective, instruction, rows
        self.answers, self.ledger = answers, answers.ledger
        self.reserve, self.batch, self.between = reserve, batch, between
        self.failed = 0  # requests a host gave up on; each counted as an empty response

    @property
    def calls(self) -> int:
        return self.ledger.calls

    @property
    def unit(self) -> float:
        return self.objective.unit

    def cost(self, texts: Sequence[str], split: str = "train") -> int:
        """Calls that scoring these texts would take: what is known already is free."""
        return sum(
            self.answers.outcome(text, row["id"]) is None
            for text in dict.fromkeys(texts)
            for row in self.rows[split]
        )

    def fits(self, calls: int) -> bool:
        remaining = self.ledger.remaining
        return remaining is None or calls <= remaining - self.reserve

    def evaluate(self, texts: Sequence[str], split: str = "train") -> Evaluation:
        cost = self.cost(texts, split)
        if not self.fits(cost):
            raise OutOfBudget(f"{cost} calls for {split}, {self.ledger.remaining} left")
        outcomes = [self._outcomes(text, split) for text in texts]
        return Evaluation(
            list(texts),
            split,
            np.array([[outcome.score for outcome in row] for row in outcomes]),
            [[outcome.output for outcome in row] for row in outcomes],
        )

    def _outcomes(self, text: str, split: str) -> list[Outcome]:
        """Batches are cut at fixed places, and a batch is kept as a whole: one that was
        lost with a killed process is asked again just as it was, so that padding to
        another length cannot change an answer."""
        rows = self.rows[split]
        system, user = self.instruction.with_text(text)
        found: list[Outcome] = []
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            known = [self.answers.outcome(text, row["id"]) for row in part]
            missing = [row for row, outcome in zip(part, known, strict=True) if outcome is None]
            if missing:
                self.between()
                new = iter(self._pay(text, system, user, missing))
                known = [next(new) if outcome is None else outcome for outcome in known]
            found += [outcome for outcome in known if outcome is not None]
        return found

    def _pay(self, text: str, system: str, user: str, rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        requests = [messages(system, user, row["fields"], row["messages"]) for row in rows]

        def make() -> list[Outcome]:
            outcomes = self.objective.answer(self.host, requests, rows)
            errors = [outcome.error for outcome in outcomes if outcome.error]
            self.failed += len(errors)
            if len(errors) == len(outcomes):  # not an answer: nothing to keep
                raise WorkError(
                    f"The host “{self.host.spec.name}” answered none of {len(outcomes)} requests: "
                    f"{errors[0]}",
                    "See to the host, then resume the run: what was answered is kept.",
                )
            return outcomes

        return self.answers.pay_for_outcomes(text, [row["id"] for row in rows], make)

    def measure(self, evaluation: Evaluation, row: int = 0) -> Scores:
        return self.objective.measure(
            evaluation.scores[row], evaluation.outputs[row], self.rows[evaluation.split]
        )

    def gain(self, evaluation: Evaluation, better: int = 1, base: int = 0) -> Scores:
        """By how much one text beats another on the same examples: a paired bootstrap,
        which resamples the examples and scores both texts on the same draw."""
        rows = self.rows[evaluation.split]
        drawn = np.concatenate([np.arange(len(rows))[None, :], self.objective.draws(rows)])
        values = [
            self.objective.resampled(evaluation.scores[i], evaluation.outputs[i], rows, drawn)
            for i in (better, base)
        ]
        difference = values[0] - values[1]
        low, high = np.quantile(difference[1:], [0.025, 0.975])
        return {"score": float(difference[0]), "low": float(low), "high": float(high), "n": len(rows)}

    def ask(self, key: str, messages: Messages, sampling: Sampling) -> str:
        said = self.answers.said(key)
        if said is not None:
            return said
        if not self.fits(1 + len(self.rows["train"])):
            raise OutOfBudget("an answer could not be scored any more")
        self.between()

        def make() -> tuple[str, dict[str, Any]]:
            answer = self.host.generate([messages], sampling)[0]
            if answer.error:
                self.failed += 1
            spent = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "cost": answer.cost}
            cut = answer.finish_reason == "length" and "\n" not in answer.text.strip()
            return answer.text + ("…" if cut else ""), spent

        return self.answers.pay_for_saying(key, make)
