"""Known answers."""

import numpy as np
import pytest

from core.reward import metrics


def test_accuracy_leaves_ties_out_and_counts_equal_scores_half():
    d = np.array([2.0, -1.0, 0.5, 0.0, 3.0])
    q = np.array([1.0, 0.0, 0.25, 1.0, 0.5])  # right, right, wrong, half, tie
    found = metrics.accuracy(d, q)
    assert found["accuracy"] == pytest.approx(2.5 / 4)
    assert (found["n"], found["ties"]) == (4, 1)
    assert metrics.accuracy(d[:0], q[:0]) == {"accuracy": None, "low": 0.0, "high": 1.0, "n": 0, "ties": 0}


def test_the_interval_is_wilsons():
    # 52 of 100: Wilson's 95 % interval, Newcombe (1998) form.
    found = metrics.rate(52, 100)
    assert (found["low"], found["high"]) == pytest.approx((0.4231, 0.6154), abs=1e-4)


def test_log_loss_and_brier_of_a_coin_and_by_hand():
    q = np.array([1.0, 0.0])
    assert metrics.log_loss(np.zeros(2), q) == pytest.approx(0.693147, abs=1e-6) == metrics.COIN
    assert metrics.brier(np.zeros(2), q) == 0.25
    d = np.log([3.0, 3.0])  # p = .75 both times
    assert metrics.log_loss(d, q) == pytest.approx((-np.log(0.75) - np.log(0.25)) / 2)
    assert metrics.brier(d, q) == pytest.approx((0.0625 + 0.5625) / 2)
    # A soft label is best met by its own probability.
    soft = np.array([0.75])
    assert metrics.brier(np.array([np.log(3.0)]), soft) == pytest.approx(0, abs=1e-12)
    losses = [metrics.log_loss(np.array([np.log(p / (1 - p))]), soft) for p in (0.7, 0.75, 0.8)]
    assert losses[1] == min(losses)
    assert np.isfinite(metrics.log_loss(np.array([1e4, -1e4]), q))


def test_temperature_finds_how_much_too_sure_the_scores_are():
    draw = np.random.default_rng(0)
    honest = draw.normal(0, 2, 20_000)
    q = (draw.random(20_000) < metrics.probability(honest)).astype(float)
    for times in (0.5, 1.0, 3.0):
        assert metrics.fit_temperature(honest * times, q) == pytest.approx(times, rel=0.05)
    assert metrics.fit_temperature(np.zeros(5), np.ones(5)) == 1.0
    assert metrics.fit_temperature(np.array([]), np.array([])) == 1.0


def test_reliability_and_ece_by_hand():
    # Ten pairs at p = .92 of which six are right; ten at p = .63 of which six are right.
    d = np.repeat([np.log(0.92 / 0.08), np.log(0.63 / 0.37)], 10)
    q = np.array([1.0] * 6 + [0.0] * 4 + [1.0] * 6 + [0.0] * 4)
    bins = metrics.reliability(d, q)
    found = [(round(row["confidence"], 2), row["accuracy"], row["n"]) for row in bins]
    assert found == [(0.63, 0.6, 10), (0.92, 0.6, 10)]
    assert metrics.expected_calibration_error(bins) == pytest.approx((0.03 + 0.32) / 2)
    assert metrics.expected_calibration_error([]) is None
    uneven = [{"n": 9, "confidence": 0.9, "accuracy": 0.8}, {"n": 1, "confidence": 0.6, "accuracy": 0.1}]
    assert metrics.expected_calibration_error(uneven) == pytest.approx(0.9 * 0.1 + 0.1 * 0.5)
    # Which side is called a does not matter.
    turned = metrics.reliability(-d, 1 - q)
    assert [row["accuracy"] for row in turned] == [row["accuracy"] for row in bins]
    # Certainty falls into the last bin, not beyond it.
    assert metrics.reliability(np.array([1e6]), np.array([1.0]))[0]["to"] == pytest.approx(1.0)


def test_baselines_by_hand():
    q = np.array([1.0, 0.0, 1.0, 0.5])
    found = metrics.baselines(
        q,
        length_a=np.array([10, 10, 5, 9]),
        length_b=np.array([5, 5, 5, 1]),
        left_known=np.array([2, 1, 0, 7]),
        left_won=np.array([2, 0, 0, 7]),
    )
    assert found["longer"]["accuracy"] == pytest.approx(0.5)  # right, wrong, half
    assert found["shorter"]["accuracy"] == pytest.approx(0.5)
    assert (found["left"]["accuracy"], found["left"]["n"]) == (pytest.approx(2 / 3), 3)
    assert (found["left"]["unit"], found["longer"]["unit"]) == ("votes", "pairs")


def test_a_model_that_only_counts_letters_is_found_out():
    draw = np.random.default_rng(1)
    a, b = draw.integers(10, 500, 300), draw.integers(10, 500, 300)
    q = (draw.random(300) < 0.5).astype(float)
    leaning = metrics.length_leaning((b - a).astype(float), q, a, b)
    assert leaning["spearman"] == pytest.approx(-1.0)
    assert leaning["preferred_shorter"]["accuracy"] == 1.0
    assert leaning["preferred_longer"]["accuracy"] == 0.0
    assert metrics.length_leaning(np.zeros(3), q[:3], a[:3], b[:3])["spearman"] is None
