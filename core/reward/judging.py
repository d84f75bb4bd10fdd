"""What is said about a model on its test split, and what a reader of it must know."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward import metrics
from core.reward.pairs import Pairs
from core.reward.watch import MIN_CHOOSING

MIN_JUDGED = 5  # decided test pairs: with fewer, the accuracy's interval is wider than 60 points
FEW_TEST = 20
CALIBRATED_PAIRS = 300  # of the dev split, at most


def figures(test: Pairs, raw: np.ndarray, temperature: float, criteria: Sequence[str] = ()) -> dict[str, Any]:
    """All that is said of the test split at a glance, from raw scores (k, n, 2, heads): of the
    overall head, the mean over members; of each criterion's own head; and of each member."""
    found = judge(test, raw[:, :, :, 0].mean(axis=0), temperature)
    if criteria:
        found["criteria"] = judge_criteria(test, differences(raw, heads=True), criteria)
    if len(raw) > 1:
        found["member_accuracy"] = [
            metrics.accuracy(of[:, 0, 0] - of[:, 1, 0], test.q)["accuracy"] for of in raw
        ]
    return found


def differences(raw: np.ndarray, *, heads: bool = False) -> np.ndarray:
    """(n,) d = score(a) - score(b) of the overall head, the mean over members, from (k, n, 2,
    heads); with `heads` (n, heads)."""
    d = (raw[:, :, 0] - raw[:, :, 1]).mean(axis=0)
    return d if heads else d[:, 0]


def fitted_temperature(dev: Pairs, raw: np.ndarray) -> float:
    """From the raw scores (k, n, 2, heads) of dev pairs; 1 where these are too few."""
    return metrics.fit_temperature(differences(raw), dev.q) if len(dev) >= MIN_CHOOSING else 1.0


def cut_share(pairs: Pairs) -> dict[str, Any]:
    """What did not fit into the model's length: the share of pairs that lost the beginning of the
    input, and the end of a response."""
    return {
        "n": len(pairs),
        "input": float(np.mean(pairs.cut == 1)) if len(pairs) else 0.0,
        "response": float(np.mean(pairs.cut == 2)) if len(pairs) else 0.0,
    }


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


def not_by_people(*splits: Pairs) -> dict[str, Any]:
    """Of the votes used, on every split: the share that is simulated, and how many are by machine
    judges."""
    votes = sum(float(pairs.n.sum()) for pairs in splits)
    simulated = sum(float(pairs.n_simulated.sum()) for pairs in splits)
    return {
        "simulated_share": simulated / votes if votes else 0.0,
        "machine_votes": int(sum(pairs.n_machine.sum() for pairs in splits)),
    }


def notes(result: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What a reader of the figures must know, in plain words."""
    uploaded = bool(result.get("uploaded"))
    votes = "the votes it was judged by" if uploaded else "the votes"
    said = ["It was uploaded: which votes it was trained on is not known here."] if uploaded else []
    share = result["simulated_share"]
    if share > 0:
        why = " because there are too few of people's own" if config.get("simulated_by_default") else ""
        said.append(
            f"{100 * share:.0f} % of {votes} are simulated, taken in{why}: this says what the simulation "
            "prefers, not what people do."
        )
    if result.get("machine_votes"):
        said.append(
            f"{result['machine_votes']:,} of {votes} are by machine judges, which a lead has taken in: where they "
            "judge otherwise than people, so " + ("are the figures off." if uploaded else "will this model.")
        )
    if result["accuracy"] is None:
        said.append(
            f"It has not been judged: the test split has {result['n_test']} decided pairs, and {MIN_JUDGED} are needed. "
            "Upload it again when there are."
        )
        return said
    if result["n_test"] < FEW_TEST:
        low, high = result["accuracy_low"], result["accuracy_high"]
        said.append(
            f"Only {result['n_test']} decided test pairs: the accuracy may be anywhere from {100 * low:.0f} % to {100 * high:.0f} %."
        )
    lengths = {name: result["baselines"][name] for name in ("longer", "shorter")}
    best = max(lengths, key=lambda name: lengths[name]["accuracy"] or 0)
    if lengths[best]["n"] and result["accuracy_low"] <= lengths[best]["accuracy"]:
        said.append(
            f"Its interval reaches down to what “always the {best} response” gets "
            f"({100 * lengths[best]['accuracy']:.0f} %): it may know little more than length. More votes narrow this."
        )
    if result["n_dev"] < MIN_CHOOSING and not result.get("card_was_there"):
        way = "to calibrate" if uploaded else "to choose the best state by, or to calibrate"
        said.append(f"Only {result['n_dev']} dev pairs: too few {way}.")
    cut = result["cut"]["test" if uploaded else "train"]["response"]
    if cut > 0.05:
        said.append(
            f"{100 * cut:.0f} % of the pairs have a response longer than {result['settings']['max_length']} tokens, of which "
            "the end was not read" + ("." if uploaded else ": a longer preset reads more.")
        )
    return said
