"""What can be reached without reading: a reward model has to stand above this.

Nothing here sees the test split: directions and weights come from the train split (the ridge
from dev), then each baseline chooses on the same test pairs as the model.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.reward.judgement.figures import Figure, figure, rate, renumbered
from core.reward.judgement.logistic import Logistic, choose_ridge
from core.reward.judgement.pairs import Judged, Row, agree
from core.reward.judgement.votes import Ballot
from core.reward.paired import accuracy_difference

Embed = Callable[[Sequence[str]], np.ndarray]  # texts -> (n, dimensions)
_WORD = re.compile(r"\w+")


def compared(
    name: str, title: str, how: str, chosen: np.ndarray, model: np.ndarray, place: np.ndarray, unit: str = "pairs"
) -> dict[str, Any]:  # fmt: skip
    """chosen, model: (n,) whether each was right (a half: neither)."""
    difference, p, _ = accuracy_difference(chosen, model, place)
    known = np.isfinite(difference.low)
    return {
        "name": name, "title": title, "how": how, "unit": unit,
        "accuracy": rate(chosen, place), "model": rate(model, place),
        "difference": figure(
            difference.value if len(chosen) else None,
            difference.low if known else None, difference.high if known else None, len(chosen),
        ),
        "p": p,
    }  # fmt: skip


def lexical_overlap(rows: Sequence[Row]) -> np.ndarray:
    """(n,) Dice's coefficient of the words of input and response a, less that of b."""

    def words(text: str) -> set[str]:
        return set(_WORD.findall(text.lower()))

    def dice(one: set[str], other: set[str]) -> float:
        return 2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0

    found = []
    for row in rows:
        asked = words(row["input"])
        found.append(dice(asked, words(row["response_a"])) - dice(asked, words(row["response_b"])))
    return np.array(found)


def prompt_scores(rows: Sequence[Row]) -> dict[str, float]:
    """The share of votes that each prompt's responses won, less a half; shrunk by two votes."""
    won: dict[str, float] = defaultdict(float)
    met: dict[str, int] = defaultdict(int)
    for row in rows:
        a, b = row.get("prompt_a") or "", row.get("prompt_b") or ""
        if a and b and a != b:
            won[a] += row["q"]
            won[b] += 1 - row["q"]
            met[a] += 1
            met[b] += 1
    return {name: (won[name] + 1) / (met[name] + 2) - 0.5 for name in met}


def by_prompt(rows: Sequence[Row], scores: dict[str, float]) -> np.ndarray:
    return np.array(
        [
            scores.get(row.get("prompt_a") or "", 0.0) - scores.get(row.get("prompt_b") or "", 0.0)
            for row in rows
        ]
    )


def learnt(
    train_x: np.ndarray, train_q: np.ndarray, dev_x: np.ndarray, dev_q: np.ndarray, test_x: np.ndarray
) -> np.ndarray:
    """(n,) d of a logistic regression on differences, its ridge chosen on dev."""
    ridge = choose_ridge(train_x, train_q, dev_x, dev_q)
    return Logistic(train_x, train_q, ridge).predict(test_x)


def length_differences(rows: Sequence[Row]) -> np.ndarray:
    return np.array([float(len(row["response_a"]) - len(row["response_b"])) for row in rows])


def baselines(
    train: Sequence[Row],
    test: Judged,
    features: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    train_q: np.ndarray,
    dev_q: np.ndarray,
    ballots: Sequence[Ballot],
    n_embedded: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """`features`: name (style, embeddings) -> differences of the train, dev and test pairs.
    `n_embedded`: the q of the train and dev pairs that were embedded, where not all were."""
    decided = np.flatnonzero(test.decided).tolist()
    q, place = test.q[decided], renumbered(test.place[decided])
    model = test.right[decided]
    found = []

    def add(name: str, title: str, how: str, d: np.ndarray) -> None:
        found.append(compared(name, title, how, agree(d[decided], q), model, place))

    length = length_differences(test.rows)
    add("longer", "Always the longer one", "more characters", length)
    add("shorter", "Always the shorter one", "fewer characters", -length)
    seen = lexical_overlap(train)
    sign = (
        1.0
        if not len(train) or agree(seen, train_q)[train_q != 0.5].sum() * 2 >= (train_q != 0.5).sum()
        else -1.0
    )
    which = "more" if sign > 0 else "fewer"
    add(
        "overlap", f"The one with {which} words of the input",
        f"Dice's coefficient of the words; “{which}” is what the train split prefers", sign * lexical_overlap(test.rows),
    )  # fmt: skip
    scores = prompt_scores(train)
    if len(scores) > 1:
        add(
            "prompt", "The prompt that wins more often",
            f"each prompt's share of the train split's votes, {len(scores):,} prompts", by_prompt(test.rows, scores),
        )  # fmt: skip
    titles = {
        "style": (
            "Length and formatting",
            "logistic regression on length, headers, lists, bold, code, emoji",
        ),
        "embeddings": ("Frozen embeddings", "logistic regression on the backbone's mean-pooled embeddings"),
    }
    for name, (train_x, dev_x, test_x) in features.items():
        labels = n_embedded if name == "embeddings" and n_embedded else (train_q, dev_q)
        if len(train_x) < 10:
            continue
        title, how = titles[name]
        add(
            name,
            title,
            f"{how}; fitted on {len(train_x):,} training pairs",
            learnt(train_x, labels[0], dev_x, labels[1], test_x),
        )
    if left := left_baseline(test, ballots):
        found.append(left)
    return found


def left_baseline(test: Judged, ballots: Sequence[Ballot]) -> dict[str, Any] | None:
    """By votes: which side a response was shown on differs from vote to vote."""
    used = [ballot for ballot in ballots if ballot.decisive and ballot.left is not None]
    if not used:
        return None
    at = np.array([ballot.pair for ballot in used])
    for_a = np.array([ballot.outcome == "a" for ballot in used])
    left_a = np.array([ballot.left == "a" for ballot in used])
    model = agree(test.d[at], for_a.astype(float))
    return compared(
        "left", "Always the left one", "decisive votes of which the side is known",
        (for_a == left_a).astype(float), model, renumbered(test.place[at]), "votes",
    )  # fmt: skip


def position(test: Judged, ballots: Sequence[Ballot]) -> dict[str, Figure]:
    """How far the votes, and the model, go with the left side."""
    found = left_baseline(test, ballots)
    if found is None:
        return {"left": rate(np.zeros(0)), "model": rate(np.zeros(0))}
    used = [ballot for ballot in ballots if ballot.decisive and ballot.left is not None]
    at = np.array([ballot.pair for ballot in used])
    with_left = agree(test.d[at], np.array([float(ballot.left == "a") for ballot in used]))
    return {
        "left": found["accuracy"],
        "model": rate(with_left, renumbered(test.place[at])),
    }
