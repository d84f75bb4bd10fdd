"""Test pairs that the training has seen something of: the model may remember, not judge.

Texts are compared without case, punctuation and white space. A response alone counts where it
is long enough not to be a phrase that anybody might write.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward.judgement.figures import rate
from core.reward.judgement.pairs import Judged, Row

LONG = 60  # characters, as compared
_REST = re.compile(r"[\W_]+")


def key(text: str) -> str:
    return _REST.sub(" ", text.casefold()).strip()


def leaked(train: Sequence[Row], test: Sequence[Row]) -> dict[str, np.ndarray]:
    """(n,) bool for each way: the input, both responses (as a pair), one long response."""
    inputs = {key(row["input"]) for row in train} - {""}
    texts = {key(row[side]) for row in train for side in ("response_a", "response_b")}
    both = {frozenset((key(row["response_a"]), key(row["response_b"]))) for row in train} - {frozenset(("",))}
    found: dict[str, list[bool]] = {"input": [], "responses": [], "response": []}
    for row in test:
        a, b = key(row["response_a"]), key(row["response_b"])
        found["input"].append(key(row["input"]) in inputs)
        found["responses"].append(frozenset((a, b)) in both)
        found["response"].append(any(len(text) >= LONG and text in texts for text in (a, b)))
    return {name: np.array(values, dtype=bool) for name, values in found.items()}


def leaks(train: Sequence[Row], test: Judged) -> tuple[dict[str, Any], np.ndarray]:
    """The figures, and (n,) whether a test pair has leaked in any way."""
    found = leaked(train, test.rows)
    some = np.logical_or.reduce(list(found.values())) if len(test) else np.zeros(0, dtype=bool)
    inside, outside = some & test.decided, ~some & test.decided
    return {
        **{name: int(values.sum()) for name, values in found.items()},
        "pairs": int(some.sum()),
        "accuracy": rate(test.right[inside], test.place[inside]),
        "clean": rate(test.right[outside], test.place[outside]),
        "ids": [test.rows[i].get("pair_id") for i in np.flatnonzero(some)[:100]],
    }, some
