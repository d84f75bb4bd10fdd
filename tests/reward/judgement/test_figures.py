"""Intervals, resampling, correlations, multiplicity, logistic regression: against scipy, by
hand, and in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, rankdata, spearmanr

from core.reward.judgement import figures
from core.reward.judgement.logistic import Logistic, choose_ridge
from core.reward.judgement.multiplicity import benjamini_hochberg, holm
from core.reward.metrics import ranks
from core.stats import wilson


def test_a_rate_is_wilsons_where_pairs_stand_alone():
    right = np.array([1.0] * 52 + [0.0] * 48)
    found = figures.rate(right, np.arange(100))
    assert (found["low"], found["high"]) == pytest.approx(wilson(52, 100))
    assert figures.rate(np.zeros(0)) == {"value": None, "low": 0.0, "high": 1.0, "n": 0}


def test_the_same_pairs_three_times_say_no_more_than_once():
    right = np.random.default_rng(0).binomial(1, 0.6, 200).astype(float)
    once = figures.rate(right, np.arange(200))
    thrice = figures.rate(np.repeat(right, 3), np.repeat(np.arange(200), 3))
    assert thrice["n"] == 600
    assert thrice["high"] - thrice["low"] == pytest.approx(once["high"] - once["low"], rel=0.02)
    # Fewer than ten examples cannot tell how far examples differ: then by pairs.
    assert figures.design_effect(np.repeat(right[:5], 40), np.repeat(np.arange(5), 40)) == 1.0


def test_clustered_rates_cover_the_truth():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        chance = rng.beta(3, 2, 50)
        place = np.repeat(np.arange(50), rng.integers(1, 7, 50))
        found = figures.rate(rng.binomial(1, chance[place]).astype(float), place)
        inside += found["low"] <= 0.6 <= found["high"]
    assert 0.92 <= inside / 400 <= 0.98


def test_the_bootstrap_of_a_mean_is_its_standard_error():
    rng = np.random.default_rng(2)
    values = rng.normal(3, 2, 400)
    found = figures.Bootstrap(np.arange(400), 2_000).figure(figures.mean_of(values))
    half = 1.96 * values.std() / 20
    assert found["value"] == pytest.approx(values.mean())
    assert (found["low"], found["high"]) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.03
    )
    kept = values > 3
    assert figures.Bootstrap(np.arange(400)).figure(figures.mean_of(values, kept))["value"] == pytest.approx(
        values[kept].mean()
    )
    alone = figures.Bootstrap(np.zeros(5, dtype=int)).figure(figures.mean_of(np.arange(5.0)))
    assert alone == {"value": 2.0, "low": None, "high": None, "n": 5}  # one example: no interval


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=40))
def test_ranks_are_scipys(values):
    assert ranks(np.array(values)) == pytest.approx(rankdata(values))


def test_correlations_are_scipys():
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=300), rng.normal(size=300)
    y = x + z + rng.normal(size=300)
    ones = np.ones((1, 300))
    ranked = [ranks(of) for of in (x, y, z)]
    assert figures.correlation(*ranked[:2])(ones)[0] == pytest.approx(spearmanr(x, y).statistic)
    # Partial correlation is that of what linear regression on z leaves over.
    design = np.stack([np.ones(300), ranked[2]], axis=1)
    left = [of - design @ np.linalg.lstsq(design, of)[0] for of in ranked[:2]]
    expected = np.corrcoef(*left)[0, 1]
    assert figures.partial_correlation(*ranked)(ones)[0] == pytest.approx(expected)
    assert np.isnan(figures.correlation(np.ones(300), y)(ones)[0])
    # A weight of two is the pair twice.
    weights = rng.integers(0, 3, 300)
    again = np.repeat(np.arange(300), weights)
    assert figures.correlation(x, y)(weights[None].astype(float))[0] == pytest.approx(
        np.corrcoef(x[again], y[again])[0, 1]
    )


def test_benjamini_hochberg_and_holm_as_published():
    # The fifteen p-values of Benjamini and Hochberg (1995), section 3.2: at .05 their procedure
    # rejects four, Bonferroni's (and Holm's) three.
    p = np.array(
        [.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .3240, .4262, .5719, .6528, .7590, 1.0]
    )  # fmt: skip
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4 and (holm(p) <= 0.05).sum() == 3
    assert holm(p)[:3] == pytest.approx([0.0015, 0.0056, 0.0247])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(values):
    p = np.array(values)
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p))
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()


def test_logistic_regression_finds_the_weights_and_its_gradient_vanishes():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5_000, 3)) * [1.0, 5.0, 0.2]
    d = x @ [1.0, -0.1, 4.0]
    q = (rng.random(5_000) < 1 / (1 + np.exp(-d))).astype(float)
    model = Logistic(x, q, 1e-6)
    assert model.weights / model.scale == pytest.approx([1.0, -0.1, 4.0], abs=0.3)
    z = x / model.scale
    assert z.T @ (1 / (1 + np.exp(-z @ model.weights)) - q) == pytest.approx(0, abs=0.05)
    # Which side is called a does not matter.
    assert Logistic(-x, 1 - q, 1.0).weights == pytest.approx(Logistic(x, q, 1.0).weights, abs=1e-3)
    # Noise wants a strong ridge, much clear data a weak one; few dev pairs get the middle.
    noise = rng.normal(size=(60, 40))
    coin = rng.integers(0, 2, 60).astype(float)
    assert (
        choose_ridge(noise, coin, rng.normal(size=(200, 40)), rng.integers(0, 2, 200).astype(float)) == 300.0
    )
    clear = rng.normal(size=(300, 5))
    sure = (clear[:, 0] > 0).astype(float)
    assert choose_ridge(clear[:200], sure[:200], clear[200:], sure[200:]) == 3.0
    assert choose_ridge(x, q, x[:5], q[:5]) == 30.0
