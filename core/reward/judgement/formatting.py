"""Whether the reward goes by length and layout, beside how far people do.

For each feature, the rank correlation over test pairs of the difference of the two responses
in it with d (the model), with the share of votes for a (people), and with d while the votes are
held fixed (what the model adds of its own). Differences within a pair: the input cannot play a
part. Which side is called a means nothing, so every pair is entered both ways round.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward.judgement.figures import Bootstrap, correlation, figure, partial_correlation, rate
from core.reward.judgement.pairs import Judged, Row
from core.reward.metrics import ranks

TITLES = {
    "length": "Length, characters", "headers": "Headers", "lists": "List items", "bold": "Bold passages",
    "code": "Code blocks", "emoji": "Emoji",
}  # fmt: skip
LEAST_VARIED = 10  # pairs whose two responses differ in a feature
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HEADER = re.compile(r"^ {0,3}#{1,6}\s", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_CODE = re.compile(r"```|(?<!`)`[^`\n]+`(?!`)")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]")


def features(text: str) -> tuple[int, ...]:
    """Counts in the order of TITLES; headers, lists and bold outside code blocks."""
    outside = _FENCE.sub("", text)
    return (
        len(text), len(_HEADER.findall(outside)), len(_ITEM.findall(outside)), len(_BOLD.findall(outside)),
        len(_CODE.findall(text)), len(_EMOJI.findall(text)),
    )  # fmt: skip


def differences(rows: Sequence[Row]) -> np.ndarray:
    """(n, 6) features of response a less those of b."""
    found = [np.subtract(features(row["response_a"]), features(row["response_b"])) for row in rows]
    return np.array(found, dtype=float).reshape(-1, len(TITLES))


def both_ways(x: np.ndarray) -> np.ndarray:
    """(2n,) ranks of x and of -x together: the correlation no longer depends on which is a."""
    return ranks(np.concatenate([x, -x]))


def formatting(test: Judged, resamples: int) -> list[dict[str, Any]]:
    apart = differences(test.rows)
    whole = Bootstrap(np.concatenate([test.place, test.place]), resamples)
    d, label = both_ways(test.d), both_ways(test.q - 0.5)
    rows = []
    for i, (name, title) in enumerate(TITLES.items()):
        varied = int((apart[:, i] != 0).sum())
        row: dict[str, Any] = {"name": name, "title": title, "varied": varied}
        nothing = figure(None, None, None, 0)
        if varied < LEAST_VARIED:
            row |= {"model": nothing, "people": nothing, "partial": nothing}
        else:
            x = both_ways(apart[:, i])
            row |= {
                "model": whole.figure(correlation(x, d), len(test)),
                "people": whole.figure(correlation(x, label), len(test)),
                "partial": whole.figure(partial_correlation(x, d, label), len(test)),
            }
        rows.append(row)
    return rows


def length(test: Judged, resamples: int) -> dict[str, Any]:
    """Accuracy where the preferred response is the longer one, the shorter one, and how far
    these are apart: a model that goes by length is right in one case only."""
    by = np.sign(test.length_a - test.length_b) * np.sign(test.q - 0.5)
    longer, shorter = test.decided & (by > 0), test.decided & (by < 0)
    n_longer, n_shorter = longer.astype(float), shorter.astype(float)

    def gap(weights: np.ndarray) -> np.ndarray:
        return (weights @ (test.right * n_longer)) / (weights @ n_longer) - (
            weights @ (test.right * n_shorter)
        ) / (weights @ n_shorter)

    return {
        "follows": rate(test.right[longer], test.place[longer]),
        "against": rate(test.right[shorter], test.place[shorter]),
        "gap": Bootstrap(test.place, resamples).figure(gap, min(int(longer.sum()), int(shorter.sum()))),
    }
