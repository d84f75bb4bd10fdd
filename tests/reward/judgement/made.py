"""Pairs, votes, and a scorer that is any function of the text: what a judgement needs, without
a model."""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.reward.judgement.pairs import Judged

TOPICS = {
    "cooking": ["recipe", "soup", "bread", "oven", "garlic", "butter"],
    "code": ["python", "loop", "server", "compiler", "thread", "socket"],
    "travel": ["train", "hotel", "museum", "harbour", "passport", "island"],
}
FILLER = [
    "people", "often", "find", "this", "part", "rather", "useful", "since", "each", "step", "leads", "onward",
    "with", "some", "care", "every", "detail", "matters", "later", "again",
]  # fmt: skip
GOOD, BAD = "The result is kind and clear.", "The result is rude and vague."


class Made:
    """`prefer`: (draw, text a, text b) -> chance that a vote goes to a."""

    def __init__(
        self, seed: int = 0, prefer: Callable[[str, str], float] | None = None, votes: int = 3, per_example: int = 1
    ) -> None:  # fmt: skip
        self.draw, self.votes, self.per_example = random.Random(seed), votes, per_example
        self.prefer = prefer or (lambda a, b: 0.9 if "kind" in a else 0.1)
        self.ballots: list[dict[str, Any]] = []

    def response(self, good: bool) -> str:
        sentences = []
        for _ in range(self.draw.randint(1, 6)):
            words = [self.draw.choice(FILLER) for _ in range(self.draw.randint(4, 12))]
            sentences.append(" ".join(words).capitalize() + ".")
        return " ".join([*sentences, GOOD if good else BAD])

    def rows(self, split: str, count: int) -> list[dict[str, Any]]:
        rows = []
        for i in range(count):
            topic = self.draw.choice(sorted(TOPICS))
            # One example a few pairs: the same input each time.
            if i % self.per_example == 0:
                asked = " ".join(self.draw.choice(TOPICS[topic]) for _ in range(6)) + f" {split}{i}"
            good_a = self.draw.random() < 0.5
            a, b = self.response(good_a), self.response(not good_a)
            chance = self.prefer(a, b)
            outcomes = ["a" if self.draw.random() < chance else "b" for _ in range(self.votes)]
            pair_id = f"{split}-pair{i}"
            for number, outcome in enumerate(outcomes):
                self.ballots.append(
                    {
                        "pair_id": pair_id, "annotator": f"person {number}", "outcome": outcome,
                        "left": self.draw.choice("ab"), "simulated": False, "machine": False, "source": "app",
                    }
                )  # fmt: skip
            rows.append(
                {
                    "pair_id": pair_id, "example_id": f"{split}-example{i // self.per_example}", "split": split,
                    "input": asked, "response_a": a, "response_b": b, "prompt_a": "one v1", "prompt_b": "two v1",
                    "q": outcomes.count("a") / len(outcomes), "n": len(outcomes), "n_simulated": 0, "n_machine": 0,
                    "margin": 0.0, "left_known": 0, "left_won": 0,
                }
            )  # fmt: skip
        return rows


class Scores:
    """A reward that is a function of the response."""

    std, temperature = 1.0, 1.0

    def __init__(self, of: Callable[[str], float]) -> None:
        self.of = of

    def score(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.array([self.of(response) for response in responses])


def embed(texts: Sequence[str], size: int = 24) -> np.ndarray:
    """Each word a fixed random direction, a text their mean: (n, size)."""
    known: dict[str, np.ndarray] = {}

    def word(of: str) -> np.ndarray:
        if of not in known:
            known[of] = np.random.default_rng(zlib.crc32(of.encode())).normal(size=size)
        return known[of]

    return np.array(
        [np.mean([word(of) for of in text.lower().split()] or [np.zeros(size)], axis=0) for text in texts]
    )


def judged(d: Sequence[float], q: Sequence[float], **columns: Sequence[Any]) -> Judged:
    """Test pairs with these differences and labels, one example each unless `example_id` says."""
    rows = [
        {
            "pair_id": f"p{i}", "example_id": f"e{i}", "input": f"input {i}", "response_a": "x", "response_b": "y",
            "q": label, "n": 1, "n_simulated": 0, "n_machine": 0,
            **{name: values[i] for name, values in columns.items()},
        }
        for i, label in enumerate(q)
    ]  # fmt: skip
    return Judged(rows, np.asarray(d, dtype=float), np.zeros(len(rows)))
