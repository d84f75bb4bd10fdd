"""A reward of several components, as an objective.

For an example, each component gives a value on its own scale (core/optimize/rewards/kinds.py),
and the reward is the sum of the values times their weights. A candidate's score is the mean over
the examples. Every component's mean is kept beside it, with its interval, and so is how often
each constraint was broken: constraints change no score, they say who may be chosen.

What one example gave is kept as `Outcome.detail`:

    parts     {component: value}            broken    {constraint: 0 or 1}
    unparsed  [judge, …]                    spread    deviation over an ensemble's members
    spent     {payer: [tokens in, tokens out, cost]}    cut   the response hit its length limit
    judged    [tokens in, tokens out, cost] that judges took who were asked before
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.llm.protocol import Completion, Host, Messages, Sampling
from core.optimize.objectives import RESAMPLES, Heard, Outcome
from core.optimize.protocol import Scores
from core.optimize.rewards.parts import Batch, Constraint, Part, RewardModels, Values
from core.optimize.rewards.scores import lines_up, mean_of, total, violations
from core.runs.context import WorkError

Row = Mapping[str, Any]


class Composed:
    """`words`: reference -> the word the model is asked to prefer, where labels are scored.
    `price`: calls an example takes, by who is paid."""

    name = "composed"

    def __init__(
        self,
        parts: Sequence[Part],
        constraints: Sequence[Constraint],
        price: Mapping[str, int],
        sampling: Sampling | None,
        words: Mapping[str, str] | None = None,
    ) -> None:
        self.parts, self.constraints = list(parts), list(constraints)
        self.price: Mapping[str, int] = dict(price)
        self.sampling = sampling  # None: nothing has to be generated
        self.words = dict(words or {})
        self.labels = list(self.words)
        self.needs = "label_logprobs" if self.words else "text"
        self.weights = {part.name: part.weight for part in self.parts}
        self.unit = sum(self.weights.values())
        self.judges = frozenset(part.name for part in self.parts if part.payer)

    @property
    def lengths(self) -> dict[str, dict[str, Any]]:
        """What length explained of the reward models that it is taken out of, by component."""
        return {
            part.name: part.lengths.figures
            for part in self.parts
            if isinstance(part, RewardModels) and part.lengths is not None
        }

    def again(self, said: Heard) -> Mapping[str, int]:
        """Not the response, and no judge whose grade is known."""
        paid = {**self.price, "target": self.price.get("target", 0) - int(self.sampling is not None)}
        for part in self.parts:
            if part.payer and part.name in said.grades:
                paid[part.payer] -= 1
        return {payer: calls for payer, calls in paid.items() if calls}

    # --- one batch ---------------------------------------------------------------------------

    def outcomes(
        self, host: Host, requests: Sequence[Messages], rows: Sequence[Row], said: Sequence[Completion]
    ) -> list[Outcome]:
        labels: list[str] = []
        if self.words:
            chosen = host.label_logprobs(requests, list(self.words.values())).argmax(axis=1)
            labels = [self.labels[place] for place in chosen]
        batch = Batch(rows, said, labels)
        found = {part.name: part.values(batch) for part in self.parts}
        for part in self.parts:
            self._refuse_silence(part, found[part.name])
        broken = {one.name: one.broken(batch.texts) for one in self.constraints}
        return [self._outcome(i, batch, found, broken) for i in range(len(rows))]

    def _refuse_silence(self, part: Part, values: Values) -> None:
        if values.errors and all(values.errors.values()):
            raise WorkError(
                f"The judge “{part.name}” answered none of {len(values.errors)} requests: "
                f"{next(iter(values.errors.values()))}",
                "See to its host, then resume the run: what was answered is kept.",
            )

    def _outcome(
        self, i: int, batch: Batch, found: Mapping[str, Values], broken: Mapping[str, np.ndarray]
    ) -> Outcome:
        said = batch.said[i]
        parts = {name: float(values.values[i]) for name, values in found.items()}
        detail: dict[str, Any] = {"parts": parts}
        if broken:
            detail["broken"] = {name: int(of[i]) for name, of in broken.items()}
        unparsed = [name for name, of in found.items() if of.unparsed is not None and of.unparsed[i]]
        if unparsed:
            detail["unparsed"] = unparsed
        spreads = [float(of.spread[i]) for of in found.values() if of.spread is not None]
        if spreads:
            detail["spread"] = max(spreads)
        if said.finish_reason == "length":
            detail["cut"] = True
        spent: dict[str, list[float]] = {}
        for part in self.parts:
            if part.payer and i in found[part.name].spent:
                before = spent.get(part.payer, [0, 0, 0.0])
                spent[part.payer] = [a + b for a, b in zip(before, found[part.name].spent[i], strict=True)]
        if spent:
            detail["spent"] = spent
        if isinstance(said, Heard) and any(said.judged):
            detail["judged"] = list(said.judged)
        errors = [said.error, *(of.errors.get(i, "") for of in found.values())]
        return Outcome(
            total(parts, self.weights),
            said.text if self.sampling else batch.labels[i],
            said.tokens_in,
            said.tokens_out,
            said.cost,
            next((error for error in errors if error), ""),
            detail,
        )

    def reweighed(self, outcome: Outcome) -> Outcome:
        """What an earlier run was told, with the weights of this one."""
        return replace(outcome, score=total(outcome.detail["parts"], self.weights))

    # --- one text ----------------------------------------------------------------------------

    def measure(self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Row]) -> Scores:
        found = mean_of(scores)
        if self.sampling:
            found["words"] = float(np.mean([len(output.split()) for output in outputs]))
        return found

    def detailed(self, details: Sequence[Mapping[str, Any]]) -> Scores:
        """Each component's mean and each constraint's rate, with intervals; whether the text is
        feasible."""
        if not lines_up(details, len(details)):
            return {}
        parts: dict[str, Scores] = {}
        for part in self.parts:
            values = np.array([detail["parts"][part.name] for detail in details])
            parts[part.name] = {**mean_of(values, binary=part.binary), "weight": part.weight}
            if part.payer:
                unparsed = sum(part.name in detail.get("unparsed", ()) for detail in details)
                parts[part.name]["unparsed"] = unparsed
        found: Scores = {"parts": parts}
        if self.constraints:
            found["constraints"] = {
                one.name: violations(
                    np.array([detail["broken"][one.name] for detail in details]), one.threshold
                )
                for one in self.constraints
            }
            found["feasible"] = all(of["feasible"] for of in found["constraints"].values())
        return found

    def resampled(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Row], drawn: np.ndarray
    ) -> np.ndarray:
        return scores[drawn].mean(axis=1)

    def draws(self, rows: Sequence[Row]) -> np.ndarray:
        return np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))

    def percent(self, scores: Scores) -> float:
        """The components' own percentages, by weight."""
        return (
            sum(part.weight * part.percent(scores["parts"][part.name]["score"]) for part in self.parts)
            / self.unit
        )

    def answer_of(self, row: Row) -> str:
        reference = str(row.get("reference") or "")
        return self.words.get(reference, reference)

    def told(
        self, score: float, output: str, row: Row, detail: Mapping[str, Any] | None = None
    ) -> tuple[str, str]:
        parts = (detail or {}).get("parts", {})
        each = ", ".join(f"{name} {value:+.2f}" for name, value in parts.items())
        said = f"The reward is {score:+.2f}" + (f" ({each})." if each else ".")
        broken = [name for name, of in (detail or {}).get("broken", {}).items() if of]
        if broken:
            said += f" It breaks a rule that must be kept: {', '.join(broken)}."
        better = self.answer_of(row)
        return output, f"{said} A good answer is: {better}" if better else said
