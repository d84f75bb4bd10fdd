"""What is maximised: the labels of a task, or a reward on what the prompt generates.

An objective asks the host about a batch of examples, gives each an outcome, and turns
the outcomes of one text into a score with an interval. Intervals are at 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.special import ndtr, softmax
from scipy.stats import t as student

from core.llm.protocol import Completion, CountsTokens, Host, Messages, Sampling
from core.optimize.protocol import Evaluation, Scores
from core.stats import wilson

RESAMPLES = 2_000
ENTROPY_WEIGHT = 10.0
TARGET: Mapping[str, int] = {"target": 1}


@dataclass(frozen=True)
class Outcome:
    """One text on one example. `score`: 1 or 0 for right or wrong, or the reward.
    `output`: the label chosen, or the response. `detail`: what else is known of it, as JSON:
    of a label its `gap` (see `worth`); of a response that it was `cut` at its length limit, and
    the `spread` over a reward model's members; and what core/optimize/rewards/composed.py says."""

    score: float
    output: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    error: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graded:
    """What a judge said of a response: from 0 to 1, or None where it could not be read, or where
    the call failed for good (`error`). Tokens and cost are what that took."""

    grade: float | None
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Heard(Completion):
    """A response that is to be scored, with what judges said of it: by their components' names."""

    grades: Mapping[str, Graded] = field(default_factory=dict)


class Judging(Protocol):
    """A component that asks a language model about a response; `payer` is paid for it."""

    name: str
    payer: str

    def ask(self, rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[Graded]: ...


def worth(evaluation: Evaluation) -> np.ndarray:
    """(texts, examples): what an output was worth, more finely than right or wrong. For labels
    the gap, p(right label) less the largest other one, where p is the softmax over the labels;
    for a reward the reward. (An answer that was kept before gaps were counts as certain.)"""
    gaps = [[detail.get("gap") for detail in row] for row in evaluation.details]
    if not any(gap is not None for row in gaps for gap in row):
        return evaluation.scores
    known = np.array(gaps, dtype=float)  # None -> nan
    return np.where(np.isnan(known), 2 * evaluation.scores - 1, known)


class Objective(Protocol):
    """`price`: calls that one text on one example takes, by who is paid. `sampling`: how a response
    is generated; None where nothing has to be. `judges` are asked about a response before its outcome
    is made."""

    name: str
    price: Mapping[str, int]
    unit: float
    needs: str  # what the host must give: an item of Host.access
    sampling: Sampling | None
    judges: Sequence[Judging]

    def again(self, said: Heard) -> Mapping[str, int]:
        """Calls that it takes where the host's response is known already, and so are its grades."""
        ...

    def outcomes(
        self,
        host: Host,
        requests: Sequence[Messages],
        rows: Sequence[Mapping[str, Any]],
        said: Sequence[Heard],
    ) -> list[Outcome]:
        """`said`: what the host responded (see `respond`), with every judge's grade. A response that
        failed for good counts as an empty one."""
        ...

    def measure(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> Scores:
        """The score of one text. `scores` and `outputs` line up with `rows`."""
        ...

    def detailed(self, details: Sequence[Mapping[str, Any]]) -> Scores:
        """What stands beside the score, from the examples' details: a composed reward's
        components and constraints."""
        ...

    def resampled(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]], drawn: np.ndarray
    ) -> np.ndarray:
        """The score on resampled examples: `drawn` (B, n) holds indices into `rows`;
        returns (B,)."""
        ...

    def draws(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(RESAMPLES, n) indices of a seeded bootstrap over the examples."""
        ...

    def percent(self, scores: Scores) -> float:
        """A score between 0 and 100, for a language model to read."""
        ...

    def answer_of(self, row: Mapping[str, Any]) -> str:
        """What an example shows as its right answer; empty where nothing is known."""
        ...

    def told(
        self, score: float, output: str, row: Mapping[str, Any], detail: Mapping[str, Any] | None = None
    ) -> tuple[str, str]:
        """An output, and how good it was on its example, both in words."""
        ...


def respond(objective: Objective, host: Host, requests: Sequence[Messages]) -> list[Heard]:
    """What has to be generated, if anything has: else empty texts. No judge has seen it."""
    if objective.sampling is None:
        return [Heard("")] * len(requests)
    return [Heard(**asdict(one)) for one in host.generate(requests, objective.sampling)]


# --- labels ------------------------------------------------------------------------------


class LabelScore:
    """GrIPS's score on a labelled task: 100 x balanced accuracy + 10 x H, where H is the
    entropy (natural log) of the labels it predicts (Prasad et al. 2023, section 3.2: it
    keeps the search away from instructions that give everything the same label).

    `words` maps a reference to the word the language model is asked to prefer."""

    name = "labels"
    unit = 100.0
    needs = "label_logprobs"
    price: Mapping[str, int] = TARGET
    sampling: Sampling | None = None
    judges: Sequence[Judging] = ()

    def __init__(self, words: Mapping[str, str]) -> None:
        self.labels = list(words)
        self.words = [words[label] for label in self.labels]
        self._index = {label: i for i, label in enumerate(self.labels)}

    def again(self, said: Heard) -> Mapping[str, int]:
        return self.price

    def outcomes(
        self,
        host: Host,
        requests: Sequence[Messages],
        rows: Sequence[Mapping[str, Any]],
        said: Sequence[Heard],
    ) -> list[Outcome]:
        p = softmax(host.label_logprobs(requests, self.words), axis=1)  # (n, K)
        right = np.array([self._index[row["reference"]] for row in rows])
        read = host.count_tokens(requests) if isinstance(host, CountsTokens) else [0] * len(rows)
        return [
            Outcome(
                float(chosen == place),
                self.labels[chosen],
                tokens,
                detail={"gap": float(one[place] - np.delete(one, place).max())},
            )
            for one, chosen, place, tokens in zip(p, p.argmax(axis=1), right, read, strict=True)
        ]

    def measure(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> Scores:
        n = len(rows)
        every = np.arange(n)[None, :]
        value = float(self.resampled(scores, outputs, rows, every)[0])
        low, high = np.quantile(self.resampled(scores, outputs, rows, self.draws(rows)), [0.025, 0.975])
        right = float(scores.sum())
        accuracy_low, accuracy_high = wilson(right, n)
        predicted, truth = self._codes(outputs, rows)
        return {
            "score": value,
            "low": float(low),
            "high": float(high),
            "n": n,
            "accuracy": right / n,
            "accuracy_low": accuracy_low,
            "accuracy_high": accuracy_high,
            "balanced_accuracy": float(balanced_accuracy(predicted[None], truth[None])[0]),
            "entropy": float(entropy(predicted[None], len(self.labels))[0]),
        }

    def resampled(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]], drawn: np.ndarray
    ) -> np.ndarray:
        predicted, truth = self._codes(outputs, rows)
        return 100 * balanced_accuracy(predicted[drawn], truth[drawn]) + ENTROPY_WEIGHT * entropy(
            predicted[drawn], len(self.labels)
        )

    def draws(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Resampled within each true label, so that none goes missing."""
        rng = np.random.default_rng(0)
        truth = np.array([self._index[row["reference"]] for row in rows])
        parts = []
        for label in np.unique(truth):
            members = np.flatnonzero(truth == label)
            parts.append(members[rng.integers(0, len(members), (RESAMPLES, len(members)))])
        return np.concatenate(parts, axis=1)

    def percent(self, scores: Scores) -> float:
        return 100 * float(scores["accuracy"])

    def answer_of(self, row: Mapping[str, Any]) -> str:
        return self.words[self._index[row["reference"]]]

    def detailed(self, details: Sequence[Mapping[str, Any]]) -> Scores:
        return {}

    def told(
        self, score: float, output: str, row: Mapping[str, Any], detail: Mapping[str, Any] | None = None
    ) -> tuple[str, str]:
        said, right = self.words[self._index[output]], self.answer_of(row)
        return said, f"Right: the answer is “{right}”." if score else f"Wrong: the right answer is “{right}”."

    def _codes(
        self, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        predicted = np.array([self._index[output] for output in outputs])
        return predicted, np.array([self._index[row["reference"]] for row in rows])


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean over the labels that occur of the share predicted right. (B, n) -> (B,)"""
    recalls, present = np.zeros(len(truth)), np.zeros(len(truth))
    for label in np.unique(truth):
        members = truth == label  # (B, n)
        count = members.sum(axis=1)
        hits = (members & (predicted == label)).sum(axis=1)
        recalls += np.divide(hits, count, out=np.zeros(len(truth)), where=count > 0)
        present += count > 0
    return recalls / present


def entropy(predicted: np.ndarray, labels: int) -> np.ndarray:
    """Entropy in nats of how often each label is predicted. (B, n) -> (B,)"""
    shares = np.stack([(predicted == label).mean(axis=1) for label in range(labels)], axis=1)
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)


# --- reward ------------------------------------------------------------------------------


class Scorer(Protocol):
    def score(self, inputs: list[str], responses: list[str]) -> np.ndarray: ...


@runtime_checkable
class HasMembers(Protocol):
    """A scorer whose score is the mean over its members: (n, k)."""

    def score_members(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray: ...


class RewardScore:
    """The mean reward of what the host generates. `scorer` is normalised: over its own
    training responses the reward has mean 0 and standard deviation 1."""

    name = "reward_model"
    unit = 1.0
    needs = "text"
    price: Mapping[str, int] = TARGET
    judges: Sequence[Judging] = ()

    def __init__(self, scorer: Scorer, sampling: Sampling) -> None:
        self.scorer = scorer
        self.sampling: Sampling | None = sampling

    def again(self, said: Heard) -> Mapping[str, int]:
        return {}  # a reward model is no call

    def outcomes(
        self,
        host: Host,
        requests: Sequence[Messages],
        rows: Sequence[Mapping[str, Any]],
        said: Sequence[Heard],
    ) -> list[Outcome]:
        inputs, texts = [row["input"] for row in rows], [answer.text for answer in said]
        details: list[dict[str, Any]] = [
            {"cut": True} if answer.finish_reason == "length" else {} for answer in said
        ]
        if isinstance(self.scorer, HasMembers):
            members = np.asarray(self.scorer.score_members(inputs, texts), dtype=float)  # (n, k)
            rewards = members.mean(axis=1)
            if members.shape[1] > 1:
                for detail, spread in zip(details, members.std(axis=1), strict=True):
                    detail["spread"] = float(spread)
        else:
            rewards = self.scorer.score(inputs, texts)
        return [
            Outcome(float(reward), a.text, a.tokens_in, a.tokens_out, a.cost, a.error, detail)
            for reward, a, detail in zip(rewards, said, details, strict=True)
        ]

    def measure(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> Scores:
        n = len(scores)
        mean = float(scores.mean())
        spread = float(scores.std(ddof=1)) if n > 1 else 0.0
        half = float(student.ppf(0.975, max(n - 1, 1))) * spread / sqrt(n)
        words = float(np.mean([len(output.split()) for output in outputs]))
        return {"score": mean, "low": mean - half, "high": mean + half, "n": n, "words": words}

    def resampled(
        self, scores: np.ndarray, outputs: Sequence[str], rows: Sequence[Mapping[str, Any]], drawn: np.ndarray
    ) -> np.ndarray:
        return scores[drawn].mean(axis=1)

    def draws(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))

    def percent(self, scores: Scores) -> float:
        return 100 * float(ndtr(scores["score"]))

    def answer_of(self, row: Mapping[str, Any]) -> str:
        return str(row.get("reference") or "")

    def detailed(self, details: Sequence[Mapping[str, Any]]) -> Scores:
        return {}

    def told(
        self, score: float, output: str, row: Mapping[str, Any], detail: Mapping[str, Any] | None = None
    ) -> tuple[str, str]:
        said = f"A reward model of people's preferences gives {score:+.2f}, where 0 is an average answer."
        better = self.answer_of(row)
        return output, f"{said} A good answer is: {better}" if better else said
