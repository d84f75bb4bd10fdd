"""Scores with known answers."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from core.llm.protocol import Sampling
from core.optimize.objectives import LabelScore, RewardScore, balanced_accuracy, entropy, respond
from tests.optimize.fakes import WORDS, FakeHost, FakeScorer, rows

TRUTH = rows(8, 2, 2)["train"]  # 0 1 0 1 0 1 0 1


def measured(outputs):
    scores = np.array([float(out == row["reference"]) for out, row in zip(outputs, TRUTH, strict=True)])
    return LabelScore(WORDS).measure(scores, outputs, TRUTH)


def test_all_right_and_balanced_is_100_and_ten_ln_2():
    scores = measured(["0", "1"] * 4)
    assert scores["score"] == pytest.approx(100 + 10 * math.log(2))
    assert scores["low"] == scores["high"] == pytest.approx(scores["score"])
    assert (scores["accuracy"], scores["n"]) == (1.0, 8)
    assert scores["accuracy_low"] < 0.7  # eight right of eight prove little


def test_one_label_for_everything_is_half_right_and_without_entropy():
    scores = measured(["1"] * 8)
    assert scores["score"] == pytest.approx(50)
    assert (scores["entropy"], scores["balanced_accuracy"]) == (0.0, 0.5)


def test_balanced_accuracy_weighs_labels_not_examples():
    truth = np.array([[0, 0, 0, 1]])
    assert balanced_accuracy(np.array([[0, 0, 0, 0]]), truth)[0] == 0.5
    assert balanced_accuracy(np.array([[1, 1, 0, 1]]), truth)[0] == pytest.approx((1 / 3 + 1) / 2)


def test_entropy_of_four_even_labels_is_ln_4():
    assert entropy(np.array([[0, 1, 2, 3]]), 4)[0] == pytest.approx(math.log(4))


def test_the_interval_holds_the_score_and_narrows_with_examples():
    few = measured(["0", "1", "0", "0", "1", "1", "0", "1"])
    assert few["low"] < few["score"] < few["high"]
    many_rows = TRUTH * 8
    outputs = ["0", "1", "0", "0", "1", "1", "0", "1"] * 8
    scores = np.array([float(o == r["reference"]) for o, r in zip(outputs, many_rows, strict=True)])
    many = LabelScore(WORDS).measure(scores, outputs, many_rows)
    assert many["score"] == pytest.approx(few["score"])
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def test_the_mean_reward_has_students_interval():
    objective = RewardScore(FakeScorer(), Sampling(temperature=0))
    rewards = np.array([0.1, 0.4, -0.2, 0.9, 0.3])
    scores = objective.measure(rewards, ["a b"] * 5, TRUTH[:5])
    low, high = ttest_1samp(rewards, 0).confidence_interval(0.95)
    assert (scores["score"], scores["low"], scores["high"]) == pytest.approx((0.3, low, high))
    assert (scores["n"], scores["words"]) == (5, 2.0)


def test_a_host_s_labels_become_right_and_wrong():
    requests = [
        [{"role": "system", "content": "Read"}, {"role": "user", "content": r["input"]}] for r in TRUTH
    ]
    objective, host = LabelScore(WORDS), FakeHost()
    outcomes = objective.outcomes(host, requests, TRUTH, respond(objective, host, requests))
    assert {outcome.output for outcome in outcomes} <= {"0", "1"}
    for outcome, row in zip(outcomes, TRUTH, strict=True):
        assert outcome.score == float(outcome.output == row["reference"])
