"""The components of a composed reward at work: each gives every example of a batch a value on
its scale (core/optimize/rewards/kinds.py). Worker side; a reward model or a classifier is opened
by whoever makes them (core/optimize/rewards/opening.py)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.llm.protocol import Completion, Host, Sampling
from core.optimize.objectives import Graded, Heard
from core.optimize.rewards.asking import grade, question
from core.optimize.rewards.lengths import Lengths, Members
from core.optimize.rewards.scores import ensemble
from core.optimize.rewards.texts import Rules, cost, exact_match, matcher, over_length, token_f1, valid_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Examples that were answered: n rows, what the model generated for each (empty texts where
    nothing had to be generated), and the label that it prefers, where labels are scored."""

    rows: Sequence[Row]
    said: Sequence[Heard]
    labels: Sequence[str] = ()

    @property
    def inputs(self) -> list[str]:
        return [str(row["input"]) for row in self.rows]

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.said]

    @property
    def references(self) -> list[str]:
        return [str(row.get("reference") or "") for row in self.rows]


@dataclass
class Values:
    """`values` (n,) on the part's scale. `spread` (n,): the deviation over an ensemble's members.
    `unparsed` (n,): answers of a judge that could not be read."""

    values: np.ndarray
    spread: np.ndarray | None = None
    unparsed: np.ndarray | None = None


class Part(Protocol):
    """`binary`: each value is 0 or 1. `percent(value)`: a mean of it on the scale from 0 to 100,
    for a language model to read."""

    name: str
    weight: float

    @property
    def binary(self) -> bool: ...

    def values(self, batch: Batch) -> Values: ...

    def percent(self, value: float) -> float: ...


@dataclass
class Measured:
    """A metric or a penalty: a number from one row and what was said about it."""

    name: str
    weight: float
    of: Callable[[Row, Completion], float]
    low: float  # the value that counts as 0 percent; a penalty's 0 counts as 100
    binary: bool = False

    def values(self, batch: Batch) -> Values:
        return Values(np.array([self.of(row, one) for row, one in zip(batch.rows, batch.said, strict=True)]))

    def percent(self, value: float) -> float:
        return 100 * min(1.0, max(0.0, value + 1 if self.low < 0 else value))


def metric_part(spec: Mapping[str, Any]) -> Measured:
    compare: dict[str, Callable[[str, str], float]] = {
        "exact_match": exact_match,
        "f1": token_f1,
        "json": lambda text, _: valid_json(text),
    }
    of = matcher(spec["pattern"]) if spec["metric"] == "regex" else compare[spec["metric"]]
    return Measured(
        spec["name"], spec["weight"], lambda row, one: of(one.text, str(row.get("reference") or "")), 0.0,
        binary=spec["metric"] != "f1",
    )  # fmt: skip


def length_part(spec: Mapping[str, Any]) -> Measured:
    def of(_: Row, one: Completion) -> float:
        length = one.tokens_out if spec["unit"] == "tokens" else len(one.text.split())
        return over_length(length, spec["limit"], spec["margin"])

    return Measured(spec["name"], spec["weight"], of, -1.0)


def cost_part(spec: Mapping[str, Any]) -> Measured:
    def of(_: Row, one: Completion) -> float:
        return cost(one.cost if spec["of"] == "money" else one.tokens_in + one.tokens_out, spec["per"])

    return Measured(spec["name"], spec["weight"], of, -1.0)


@dataclass
class Labels:
    """1 where the label that the model prefers is the reference."""

    name: str
    weight: float
    binary: bool = True

    def values(self, batch: Batch) -> Values:
        right = [label == reference for label, reference in zip(batch.labels, batch.references, strict=True)]
        return Values(np.array(right, dtype=float))

    def percent(self, value: float) -> float:
        return 100 * value


@dataclass
class RewardModels:
    """The members of one reward model, or of several, as one ensemble. Each is in deviations
    above the mean of its own training responses; with `lengths`, less what length explains."""

    name: str
    weight: float
    scorers: Sequence[Members]
    how: str = "mean"
    lam: float = 1.0
    lengths: Lengths | None = None
    binary: bool = False

    def values(self, batch: Batch) -> Values:
        each = [scorer.score_members(batch.inputs, batch.texts) for scorer in self.scorers]
        members = np.concatenate([np.asarray(one, dtype=float) for one in each], axis=1)  # (n, k)
        if self.lengths is not None:
            members = self.lengths.without(members, batch.texts)
        spread = members.std(axis=1) if members.shape[1] > 1 else None
        return Values(ensemble(members, self.how, self.lam), spread)

    def percent(self, value: float) -> float:
        from scipy.special import ndtr

        return 100 * float(ndtr(value))


@dataclass
class Judge:
    """A language model that grades each response. What cannot be read, and a call that failed for
    good, count as the lowest grade."""

    name: str
    weight: float
    host: Host
    payer: str
    rubric: str
    answer: str
    sampling: Sampling

    @property
    def binary(self) -> bool:
        return self.answer == "yes_no"

    def ask(self, rows: Sequence[Row], texts: Sequence[str]) -> list[Graded]:
        asked = [question(self.rubric, self.answer, row, text) for row, text in zip(rows, texts, strict=True)]
        return [
            Graded(
                None if one.error else grade(one.text, self.answer),
                one.tokens_in,
                one.tokens_out,
                one.cost,
                one.error,
            )
            for one in self.host.generate(asked, self.sampling)
        ]

    def values(self, batch: Batch) -> Values:
        each = [one.grades[self.name].grade for one in batch.said]
        return Values(
            np.array([value or 0.0 for value in each]),
            unparsed=np.array([value is None for value in each]),
        )

    def percent(self, value: float) -> float:
        return 100 * value


# --- constraints ---------------------------------------------------------------------------------


class Classifies(Protocol):
    def probability(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass
class Constraint:
    """`broken(texts)` -> (n,) of true and false."""

    name: str
    threshold: float
    broken: Callable[[Sequence[str]], np.ndarray]


def rules_constraint(spec: Mapping[str, Any]) -> Constraint:
    rules = Rules(spec["forbidden"], spec["required"])
    return Constraint(
        spec["name"], spec["threshold"], lambda texts: np.array([rules.broken(text) for text in texts])
    )


def classifier_constraint(spec: Mapping[str, Any], classifier: Classifies) -> Constraint:
    return Constraint(
        spec["name"], spec["threshold"], lambda texts: classifier.probability(texts) >= spec["cut"]
    )
