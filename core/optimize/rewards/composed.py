"""A reward of several components, as an objective.

For an example, each component gives a value on its own scale (core/optimize/rewards/kinds.py),
and the reward is the sum of the values times their weights. A candidate's score is the mean over
the examples. Every component's mean is kept beside it, with its interval, and so is how often
each constraint was broken: constraints change no score, they say who may be chosen.

What one example gave is kept as `Outcome.detail`:

    parts     {component: value}                       broken    {constraint: 0 or 1}
    unparsed  [judge, …], those that failed too        spread    deviation over an ensemble's members
    judged    [tokens in, tokens out, cost] that judges took
    failed    judges whose call failed for good        cut       the response hit its length limit

(In older files `spent`, {payer: [tokens in, tokens out, cost]}, is what judges were paid with the
outcome, and `judged` what they had taken before.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.llm.protocol import Host, Messages, Sampling
from core.optimize.objectives import RESAMPLES, Heard, Judging, Outcome
from core.optimize.protocol import Scores
from core.optimize.rewards.parts import Batch, Constraint, Judge, Part, RewardModels, Values
from core.optimize.rewards.scores import lines_up, mean_of, total, violations

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
        self.judges: Sequence[Judging] = [part for part in self.parts if isinstance(part, Judge)]

    @property
    def lengths(self) -> dict[str, dict[str, Any]]:
        """What length explained of the reward models that it is taken out of, by component."""
        return {
            part.name: part.lengths.figures
            for part in self.parts
            if isinstance(part, RewardModels) and part.lengths is not None
        }

    def again(self, said: Heard) -> Mapping[str, int]:
        paid = {**self.price, "target": self.price.get("target", 0) - int(self.sampling is not None)}
        for judge in self.judges:
            paid[judge.payer] -= judge.name in said.grades
        return {payer: calls for payer, calls in paid.items() if calls}

    # --- one batch ---------------------------------------------------------------------------

    def outcomes(
        self, host: Host, requests: Sequence[Messages], rows: Sequence[Row], said: Sequence[Heard]
    ) -> list[Outcome]:
        labels: list[str] = []
        if self.words:
            chosen = host.label_logprobs(requests, list(self.words.values())).argmax(axis=1)
            labels = [self.labels[place] for place in chosen]
        batch = Batch(rows, said, labels)
        found = {part.name: part.values(batch) for part in self.parts}
        broken = {one.name: one.broken(batch.texts) for one in self.constraints}
        return [self._outcome(i, batch, found, broken) for i in range(len(rows))]

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
        grades = {judge.name: said.grades[judge.name] for judge in self.judges}
        failed = [name for name, of in grades.items() if of.error]
        if failed:
            detail["failed"] = failed
        took = [(of.tokens_in, of.tokens_out, of.cost) for of in grades.values()]
        if took:
            detail["judged"] = [sum(each) for each in zip(*took, strict=True)]
        return Outcome(
            total(parts, self.weights),
            said.text if self.sampling else batch.labels[i],
            said.tokens_in,
            said.tokens_out,
            said.cost,
            said.error,
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
            if isinstance(part, Judge):
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
