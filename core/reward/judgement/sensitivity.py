"""What the reward does when a response is edited and its worth stays, or falls.

Both responses of a sample of test pairs are edited, one at a time, and scored again. Sizes are
in standard deviations of the reward. A decision is flipped when the edit of one side changes
which side scores higher; `won` looks at the sides that were losing: the share that wins by the
edit is what an optimiser could gain by it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from core.reward.judgement.edits import EDITS
from core.reward.judgement.figures import Bootstrap, figure, mean_of, rate
from core.reward.judgement.pairs import Judged, Scorer

QUOTED = 160  # characters of an example
LEAST = 5  # responses that an edit applies to: below, nothing is said


def sensitivity(
    test: Judged, scorer: Scorer, *, pairs: int, seed: int, resamples: int,
    tell: Callable[[float], None] = lambda share: None, stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:  # fmt: skip
    """`pairs`: how many are drawn; `tell` gets the share done. Stops between edits where `stop`
    says so, with those it has."""
    drawn = np.sort(np.random.default_rng([seed, 3]).permutation(len(test))[:pairs])
    sides = [(i, side) for i in drawn for side in ("a", "b")]
    found = []
    for number, edit in enumerate(EDITS):
        if stop():
            break
        used, before, after, inputs = [], [], [], []
        for i, side in sides:
            text = test.rows[i][f"response_{side}"]
            new = edit.make(text)
            if new is not None and new.strip():
                used.append((i, side))
                before.append(text)
                after.append(new)
                inputs.append(test.rows[i]["input"])
        row: dict[str, Any] = {"name": edit.name, "title": edit.title, "kind": edit.kind}
        if len(used) < LEAST:
            nothing = figure(None, None, None, len(used))
            row |= {"shift": nothing, "size": nothing, "flipped": nothing, "won": nothing, "example": None}
        else:
            row |= effect(test, used, scorer.score(inputs, after), resamples)
            row["example"] = example(before, after)
        found.append(row)
        tell((number + 1) / len(EDITS))
    return found


def effect(test: Judged, used: list[tuple[int, str]], scores: np.ndarray, resamples: int) -> dict[str, Any]:
    """scores: (n,) of the edited responses."""
    at = np.array([i for i, _ in used])
    is_a = np.array([side == "a" for _, side in used])
    own = np.where(is_a, test.score_a[at], test.score_b[at])
    other = np.where(is_a, test.score_b[at], test.score_a[at])
    shift = scores - own
    flipped = (np.sign(own - other) != np.sign(scores - other)).astype(float)
    losing = own < other
    place = test.place[at]
    whole = Bootstrap(place, resamples)
    return {
        "shift": whole.figure(mean_of(shift)),
        "size": whole.figure(mean_of(np.abs(shift))),
        "flipped": rate(flipped, place),
        "won": rate((scores > other)[losing].astype(float), place[losing]),
    }


def example(before: list[str], after: list[str]) -> list[str]:
    """The shortest text that was edited, and what became of it."""
    i = min(range(len(before)), key=lambda i: (len(before[i]) < 40, len(before[i])))
    return [quoted(before[i]), quoted(after[i])]


def quoted(text: str) -> str:
    """With its middle left out, so that an edit at either end can be seen."""
    text = text.strip()
    half = QUOTED // 2
    return text if len(text) <= QUOTED else f"{text[:half]} … {text[-half:]}"
