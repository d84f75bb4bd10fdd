"""Ratings with style held fixed: what is left of a prompt's lead when its responses are as
long, and as much laid out, as the others'.

As Chatbot Arena's style control (LMSYS, "Does style matter?", 2024): to the logit of a
Bradley-Terry model come, for length, headers, list items and bold, the difference of the two
responses by their sum, (x_a - x_b) / (x_a + x_b), scaled to a standard deviation of one. It
is not centred: which response is called a means nothing, so no difference must mean no
effect. Interval: sandwich variance over pairs, since votes on one pair hang together.
"""

import re
from dataclasses import dataclass

import numpy as np

from core.annotation.ratings import SCALE, Z

FEATURES = ("length", "headers", "lists", "bold")
_HEADER = re.compile(r"^ {0,3}#{1,6}\s", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
RIDGE = 1e-4  # of a rating of 1,000 points' size: nothing, but separated data stay finite


def features(text: str) -> tuple[int, int, int, int]:
    """Characters, headers, list items, bold passages; the last three outside code blocks."""
    outside = _FENCE.sub("", text)
    return (
        len(text), len(_HEADER.findall(outside)), len(_ITEM.findall(outside)), len(_BOLD.findall(outside))
    )  # fmt: skip


def differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(pairs, F) of two (pairs, F) counts: scaled, zero where neither has any."""
    total = a + b
    apart = np.where(total > 0, (a - b) / np.maximum(total, 1), 0.0)
    spread = np.sqrt((apart**2).mean(0)) if len(apart) else np.ones(apart.shape[1])
    return np.asarray(apart / np.where(spread > 0, spread, 1.0))


@dataclass(frozen=True)
class Controlled:
    """rating, low, high: (n,) with style held fixed; effect, effect_low, effect_high: (F,)
    log-odds of a difference of one standard deviation."""

    rating: np.ndarray
    low: np.ndarray
    high: np.ndarray
    effect: np.ndarray
    effect_low: np.ndarray
    effect_high: np.ndarray


def controlled(a: np.ndarray, b: np.ndarray, counts: np.ndarray, style: np.ndarray, n: int) -> Controlled:
    """a, b: (pairs,) item indices, a != b. counts: (pairs, 3) votes for a, for b, even. style:
    (pairs, F) differences. Ratings are centred over all items: of groups that never met, the
    difference says nothing, here as in `core.annotation.ratings`."""
    rows, wide = len(a), style.shape[1]
    design = np.zeros((rows, n + wide))
    design[np.arange(rows), a] = 1.0
    design[np.arange(rows), b] -= 1.0
    design[:, n:] = style
    total = counts.sum(1).astype(float)
    won = counts[:, 0] + counts[:, 2] / 2
    beta = np.zeros(n + wide)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        information = (design * (total * p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(n + wide)
        step = np.linalg.solve(information, design.T @ (won - total * p) - RIDGE * beta)
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    p = 1 / (1 + np.exp(-design @ beta))
    information = (design * (total * p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(n + wide)
    inverse = np.linalg.inv(information)
    single = counts[:, 0] * (1 - p) ** 2 + counts[:, 1] * p**2 + counts[:, 2] * (0.5 - p) ** 2
    together = (won - total * p) ** 2
    centre = np.eye(n + wide)
    centre[:n, :n] -= 1 / n
    spreads = []
    for squares in (single, together):
        middle = (design * squares[:, None]).T @ design
        spreads.append(np.diag(centre @ inverse @ middle @ inverse @ centre.T))
    half = Z * np.sqrt(np.maximum(0, np.max(spreads, axis=0)))
    beta = centre @ beta
    rating, wing = 1000 + SCALE * beta[:n], SCALE * half[:n]
    effect = beta[n:]
    return Controlled(rating, rating - wing, rating + wing, effect, effect - half[n:], effect + half[n:])
