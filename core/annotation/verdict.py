"""Is the data good enough, and what to do: the quality page's first answer, from its figures.

Krippendorff asks for an alpha of 0.8, and 0.667 for tentative conclusions. Preferences
between close responses are often far below (llmfao: 0.29), and many votes still add up to
sound ratings; so an alpha whose interval lies above USUAL counts as usable here.
"""

from dataclasses import dataclass
from typing import Any

from core.annotation.detail import Detail

GOOD, USUAL = 0.667, 0.2
ENOUGH_SHARED = 50  # pairs with two votes; with fewer, alpha's interval says nothing
MUCH_TOO_FAST, MUCH_PULL = 0.1, 0.03


@dataclass(frozen=True)
class Verdict:
    """level: good, usable, weak or unknown. `answer` in a sentence; `todo`: what to do next,
    most important first."""

    level: str
    answer: str
    todo: list[str]


def verdict(found: dict[str, Any], detail: Detail | None) -> Verdict:
    """found: what `core.annotation.quality.quality` answers."""
    value, low, high = found["alpha_nominal"], found["alpha_low"], found["alpha_high"]
    said = (
        f"alpha {value:.2f} ({low:.2f} to {high:.2f}) on {found['pairs_shared']:,} pairs"
        if value is not None
        else ""
    )
    todo: list[str] = []
    if value is None or found["pairs_shared"] < ENOUGH_SHARED:
        level = "unknown"
        answer = (
            f"It cannot be told yet: {found['pairs_shared']:,} pairs have two votes or more, and agreement "
            f"needs {ENOUGH_SHARED} and votes that differ."
        )
        todo.append("Ask for two votes a pair or more in the settings, at least on some of the pairs.")
    elif low >= GOOD:
        level, answer = "good", f"Good: annotators agree far beyond chance, {said}."
    elif low >= USUAL:
        level = "usable"
        answer = f"Usable: agreement is what preferences between close responses usually have, {said}."
    elif high < USUAL:
        level, answer = "weak", f"Weak: annotators agree little more than chance, {said}."
        todo.append("Make the guidelines sharper, with examples, before collecting more votes.")
    else:
        level, answer = "weak", f"Uncertain: agreement may be little more than chance, {said}."
        todo.append("Collect more votes on pairs that have one already, to know how far people agree.")
    if found["simulated_votes"]:
        todo.insert(0, "Collect votes of people: simulated ones say nothing about what people prefer.")
    if detail is not None and (named := [judge for judge in detail.judges if judge.suspected]):
        todo.append(
            f"Look at {len(named)} annotator{'s' * (len(named) > 1)} who may click at random (below): pause "
            "them, or leave their votes out."
        )
    if found["too_fast_low"] is not None and found["too_fast_low"] > MUCH_TOO_FAST:
        share, low, high = (100 * found[f"too_fast_{name}"] for name in ("share", "low", "high"))
        todo.append(
            f"{share:.0f} % ({low:.0f} to {high:.0f}, n {found['timed_votes']:,}) of the timed votes came too fast to "
            "have read both responses."
        )
    if found["left_low"] is not None and (
        found["left_low"] > 0.5 + MUCH_PULL or found["left_high"] < 0.5 - MUCH_PULL
    ):
        side = "left" if found["left_share"] > 0.5 else "right"
        todo.append(f"Annotators are drawn to the {side} response: remind them, and keep sides drawn by lot.")
    return Verdict(level, answer, todo)
