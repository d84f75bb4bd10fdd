"""What is said about a model on its test split, and what a reader of it must know."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward import metrics
from core.reward.pairs import Pairs
from core.reward.watch import MIN_CHOOSING

FEW_TEST = 20


def judge(test: Pairs, scores: np.ndarray, temperature: float) -> dict[str, Any]:
    """Everything that is said about the test split; scores (n, 2)."""
    d, q = scores[:, 0] - scores[:, 1], test.q
    left_known = np.array([row["left_known"] for row in test.rows])
    left_won = np.array([row["left_won"] for row in test.rows])
    found = metrics.accuracy(d, q)
    bins = metrics.reliability(d, q, temperature)
    uncalibrated = metrics.reliability(d, q)
    human = test.n_simulated == 0
    return {
        "accuracy": found["accuracy"],
        "accuracy_low": found["low"],
        "accuracy_high": found["high"],
        "n_test": found["n"],
        "n_test_ties": found["ties"],
        "baselines": metrics.baselines(q, test.length_a, test.length_b, left_known, left_won),
        "log_loss": metrics.log_loss(d, q, temperature),
        "brier": metrics.brier(d, q, temperature),
        "ece": metrics.expected_calibration_error(bins),
        "reliability": bins,
        "uncalibrated": {
            "log_loss": metrics.log_loss(d, q),
            "brier": metrics.brier(d, q),
            "ece": metrics.expected_calibration_error(uncalibrated),
        },
        "length": metrics.length_leaning(d, q, test.length_a, test.length_b),
        "human_test": metrics.accuracy(d[human], q[human]),
    }


def judge_criteria(test: Pairs, d: np.ndarray, criteria: Sequence[str]) -> dict[str, Any]:
    """Accuracy of each criterion's own head on the test pairs that people rated by it, and that
    of the overall head on the same pairs; d (n, 1 + c)."""
    found = {}
    for i, name in enumerate(criteria):
        there = test.rated[:, i] > 0
        q = test.rated_q[there, i]
        found[name] = {
            "own": metrics.accuracy(d[there, 1 + i], q),
            "overall": metrics.accuracy(d[there, 0], q),
        }
    return found


def simulated_share(*splits: Pairs) -> float:
    """Of the votes used, on every split."""
    votes = sum(float(pairs.n.sum()) for pairs in splits)
    return sum(float(pairs.n_simulated.sum()) for pairs in splits) / votes if votes else 0.0


def notes(result: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What a reader of the figures must know, in plain words."""
    said = []
    share = result["simulated_share"]
    if share > 0:
        why = " because there are too few of people's own" if config.get("simulated_by_default") else ""
        said.append(
            f"{share:.0%} of the votes are simulated, taken in{why}: this says what the simulation "
            "prefers, not what people do."
        )
    if result.get("machine_votes"):
        said.append(
            f"{result['machine_votes']:,} of the votes are by machine judges, which a lead has taken in: where "
            "they judge otherwise than people, so will this model."
        )
    if result["n_test"] < FEW_TEST:
        low, high = result["accuracy_low"], result["accuracy_high"]
        said.append(
            f"Only {result['n_test']} decided test pairs: the accuracy may be anywhere from {low:.0%} to {high:.0%}."
        )
    lengths = {name: result["baselines"][name] for name in ("longer", "shorter")}
    best = max(lengths, key=lambda name: lengths[name]["accuracy"] or 0)
    if lengths[best]["n"] and result["accuracy_low"] <= lengths[best]["accuracy"]:
        said.append(
            f"Its interval reaches down to what “always the {best} response” gets "
            f"({lengths[best]['accuracy']:.0%}): it may know little more than length. More votes narrow this."
        )
    if result["n_dev"] < MIN_CHOOSING:
        said.append(
            f"Only {result['n_dev']} dev pairs: too few to choose the best state by, or to calibrate."
        )
    if result["cut"]["train"]["response"] > 0.05:
        said.append(
            f"{result['cut']['train']['response']:.0%} of the pairs have a response longer than "
            f"{result['settings']['max_length']} tokens, of which the end was not read: a longer preset reads more."
        )
    return said
