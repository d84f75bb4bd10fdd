"""Reward hacking, watched: what a search's outputs look like beside the reward that they get.

A proxy that is optimised goes on rising when what people want has begun to fall (Gao, Schulman and
Hilton 2022, arXiv 2210.10760). So every text that was scored on a whole split is also judged by a
gold reward model, trained on other votes than the proxy, on the outputs that were generated anyway:
no further call is made. Beside it: how long the outputs are, how far an ensemble's members disagree,
how many outputs are degenerate, how far the policy has moved (KL), and how reward and length go
together. Each number has its n and its interval (95 %).
What follows from them, when gold falls: core/optimize/watched.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.stats import rankdata

from core.optimize.protocol import Scores
from core.optimize.rewards.scores import mean_of

NGRAM, REPEATED = 3, 0.3  # an output repeats itself when this share of its n-grams was there before
LEAST_WORDS = 12  # shorter ones are not looked at for repetition
COPIED = 0.8  # an output copies its input when this share of its n-grams comes from there
RESAMPLES = 500


class Gold(Protocol):
    def score(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray: ...


# --- what is wrong with an output ----------------------------------------------------------------


def repeats(text: str) -> bool:
    """Whether it says the same again and again: the share of its word 3-grams that occurred
    before in it."""
    words = text.lower().split()
    if len(words) < LEAST_WORDS:
        return False
    grams = ngrams(words)
    return 1 - len(set(grams)) / len(grams) >= REPEATED


def copies(text: str, input: str) -> bool:
    """Whether it is its input over again. Short outputs, which may quote, are not looked at."""
    words = text.lower().split()
    if len(words) < LEAST_WORDS:
        return False
    there = set(ngrams(input.lower().split()))
    grams = ngrams(words)
    return sum(gram in there for gram in grams) / len(grams) >= COPIED


def ngrams(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]


def faults(text: str, input: str, cut: bool) -> list[str]:
    """Of one output, by name."""
    if not text.strip():
        return ["empty"]
    found = {"repeated": repeats(text), "copied": copies(text, input), "cut off": cut}
    return [name for name, there in found.items() if there]


# --- how reward and length go together -----------------------------------------------------------


def rank_correlation(x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> Scores | None:
    """Spearman's correlation of x and y (n,), None where one of them does not differ. The interval
    resamples the groups (the examples: outputs on one are not independent), with the ranks as
    they are."""
    a, b = rankdata(x), rankdata(y)
    if len(x) < 3 or a.std() == 0 or b.std() == 0:
        return None
    _, of = np.unique(np.array(groups), return_inverse=True)
    sums = np.stack([np.bincount(of, v) for v in (np.ones(len(a)), a, b, a * a, b * b, a * b)], axis=1)
    m = len(sums)
    weights = np.random.default_rng(0).multinomial(m, np.full(m, 1 / m), RESAMPLES)
    drawn = _pearson(weights @ sums)
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if m > 1 else (-1.0, 1.0)
    score = float(_pearson(sums.sum(axis=0)[None])[0])
    return {"score": score, "low": float(low), "high": float(high), "n": len(x), "examples": m}


def _pearson(sums: np.ndarray) -> np.ndarray:
    """(B,) from (B, 6): n, sum x, sum y, sum xx, sum yy, sum xy; nan without variance."""
    n, x, y, xx, yy, xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))
    return found


def length_correlation(outputs: Sequence[tuple[str, float, str]]) -> Scores | None:
    """Of (example, reward, output): all that a search has seen so far."""
    if not outputs:
        return None
    examples, rewards, texts = zip(*outputs, strict=True)
    lengths = np.array([len(text.split()) for text in texts], dtype=float)
    return rank_correlation(np.array(rewards), lengths, examples)


# --- one text on one split -----------------------------------------------------------------------


class Watch:
    """`kl()`: how far the policy has moved from its reference, in nats, with its n; None where there
    is none."""

    def __init__(self, gold: Gold | None, kl: Callable[[], Scores | None] = lambda: None) -> None:
        self.gold, self.kl = gold, kl

    def look(
        self,
        outputs: Sequence[str],
        details: Sequence[Mapping[str, Any]],
        rows: Sequence[Mapping[str, Any]],
    ) -> Scores:
        """What is kept with the scores of one text on a whole split. It follows from its outputs
        alone, so that a search that goes on after a kill sees the same."""
        inputs = [str(row["input"]) for row in rows]
        lengths = np.array([len(output.split()) for output in outputs], dtype=float)
        found: Scores = {"words": mean_of(lengths)}
        if self.gold is not None:
            gold = np.asarray(self.gold.score(inputs, list(outputs)), dtype=float)
            found["gold"] = mean_of(gold) | {"each": [round(float(value), 6) for value in gold]}
        spreads = [detail["spread"] for detail in details if "spread" in detail]
        if spreads:
            found["disagreement"] = mean_of(np.array(spreads))
        wrong = [
            faults(output, input, bool(detail.get("cut")))
            for output, input, detail in zip(outputs, inputs, details, strict=True)
        ]
        found["degenerate"] = mean_of(np.array([float(bool(of)) for of in wrong]), binary=True)
        found["degenerate"]["faults"] = {
            name: sum(name in of for of in wrong) for name in ("empty", "repeated", "copied", "cut off")
        }
        moved = self.kl()
        if moved is not None:
            found["kl"] = dict(moved)
        return found


# --- agreement with people -----------------------------------------------------------------------


def agreement(scorer: Gold, votes: Sequence[Mapping[str, Any]]) -> Scores | None:
    """On how many sealed pairs (test split, decided by people) the model prefers what people did;
    equal scores count half. Wilson's interval. None without votes."""
    if not votes:
        return None
    inputs = [vote["input"] for vote in votes]
    a, b = (scorer.score(inputs, [vote[f"response_{side}"] for vote in votes]) for side in "ab")
    d = np.asarray(a) - np.asarray(b)
    right = np.where(d == 0, 0.5, (d > 0) == np.array([vote["q"] > 0.5 for vote in votes]))
    return mean_of(right.astype(float), binary=True)
