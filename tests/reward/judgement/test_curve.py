"""Learning curves: the interval of what more votes should bring covers the truth at its rate,
in simulation; sizes, orders, and the ends."""

import time

import numpy as np
import pytest
from scipy.special import ndtri

from core.reward.judgement.curve import curve_sizes, learning_curve
from core.reward.judgement.extrapolate import covariance, posterior, shape, spread_of_orders, summary
from core.reward.judgement.logistic import Logistic
from tests.reward.judgement.made import judged


def simulated(rng, error_at, n, *, sizes=5, orders=5, test=300, luck=0.5, alike=0.7):
    """Outcomes (orders, sizes, test): 1 where the model is wrong. Each training pair moves the
    error by a bit of its own; test pairs are hard or easy for all models alike."""
    at = np.array([n // 2**j for j in range(sizes)][::-1])
    pull = rng.normal(0, np.sqrt(luck), n)
    hard = rng.normal(size=test)
    out = np.zeros((orders, sizes, test))
    for s in range(orders):
        order = rng.permutation(n)
        for j, size in enumerate(at):
            error = np.clip(error_at(size) + pull[order[:size]].mean(), 0.01, 0.99)
            out[s, j] = np.sqrt(alike) * hard + np.sqrt(1 - alike) * rng.normal(size=test) < ndtri(error)
    return out, at.astype(float)


def drawn_curve(rng, n):
    """a + b n^-c, with an error of .2 to .4 at n, up to .15 more at a sixteenth of it."""
    while True:
        c, end, fall = np.exp(rng.uniform(np.log(0.1), 0.0)), rng.uniform(0.2, 0.4), rng.uniform(0.01, 0.15)
        b = fall / ((n / 16) ** -c - n**-c)
        a = end - b * n**-c
        if a > 0.02:
            return lambda m, a=a, b=b, c=c: a + b * m**-c


@pytest.mark.parametrize("more", [0.3, 1.0])
def test_the_interval_covers_the_truth_at_its_rate(more):
    rng = np.random.default_rng(int(10 * more))
    inside, above, trials = 0, 0, 300
    for _ in range(trials):
        n = int(rng.choice([320, 800, 1600]))
        truly = drawn_curve(rng, n)
        outcomes, sizes = simulated(rng, truly, n)
        after = posterior(outcomes.mean((0, 2)), covariance(outcomes, sizes, np.arange(300)), sizes)
        found = summary(after.gain(n, more * n), 300)
        truth = truly(n) - truly((1 + more) * n)
        inside += found["low"] <= truth <= found["high"]
        above += truth > found["value"]
    # 95 % of 300: 285, give or take two standard errors of 3.8.
    assert 0.92 <= inside / trials <= 0.985
    assert 0.35 <= above / trials <= 0.65  # and the middle is the middle


def test_more_test_pairs_and_a_steeper_curve_say_more():
    rng = np.random.default_rng(3)

    def gain(test, b):
        outcomes, sizes = simulated(rng, lambda m: 0.2 + b * m**-0.5, 800, test=test, luck=0.05)
        after = posterior(outcomes.mean((0, 2)), covariance(outcomes, sizes, np.arange(test)), sizes)
        return summary(after.gain(800, 400), test)

    few, many, flat = gain(100, 2.0), gain(4_000, 2.0), gain(4_000, 0.0)
    assert many["high"] - many["low"] < (few["high"] - few["low"])
    assert many["low"] > 0.002 and flat["high"] < many["value"]


def test_shape_and_spread_by_hand():
    c = np.array([0.5])
    assert shape(100, c, 100, 400)[0] == 1 and shape(400, c, 100, 400)[0] == 0
    # n^-1/2 at 100, 400, 1600 is .1, .05, .025: half as far again beyond the largest.
    assert shape(1600, c, 100, 400)[0] == pytest.approx(-0.5)
    # Orders whose errors have variance v (1/m - 1/N) and nothing of their own.
    rng = np.random.default_rng(5)
    sizes = np.array([50.0, 100, 200, 400])
    pull = rng.normal(0, 1, (4_000, 400))
    pull -= pull.mean(1, keepdims=True)  # all orders end with the same pairs
    errors = np.stack([pull[:, : int(m)].mean(1) for m in sizes], axis=1)
    v, w = spread_of_orders(errors, sizes)
    assert v == pytest.approx(1.0, rel=0.1) and w < 5e-4
    v, w = spread_of_orders(errors + rng.normal(0, 0.1, errors.shape), sizes)
    assert v == pytest.approx(1.0, rel=0.15) and w == pytest.approx(0.01, rel=0.15)


def test_sizes_double_up_to_all_there_is():
    assert curve_sizes(800, 5) == [50, 100, 200, 400, 800]
    assert curve_sizes(90, 5) == [22, 45, 90]
    assert curve_sizes(30, 5) == [30]


def pairs(rng, n, weights, side="pair"):
    x = rng.normal(size=(n, len(weights)))
    q = (rng.random(n) < 1 / (1 + np.exp(-x @ weights))).astype(float)
    return [
        {"pair_id": f"{side}{i}", "input": f"{side}{i}", "response_a": "a", "response_b": "b", "x": x[i], "q": q[i], "n": 2}
        for i in range(n)
    ]  # fmt: skip


def fit(rows, seed):
    x, q = np.array([row["x"] for row in rows]), np.array([row["q"] for row in rows])
    model = Logistic(x, q, 3.0)
    return lambda asked: model.predict(np.array([row["x"] for row in asked]))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    weights = rng.normal(size=20) * 0.6
    train, test = pairs(rng, 400, weights), pairs(rng, 300, weights, "test")
    q = [row["q"] for row in test]
    columns = {name: [row[name] for row in test] for name in ("x", "n")}
    return train, judged(np.zeros(300), q, **columns)


def test_a_learner_gets_better_with_more_pairs(data):
    train, test = data
    told = []
    found = learning_curve(train, test, fit, learner="a test", sizes=5, orders=4, tell=told.append)
    assert [row["pairs"] for row in found["points"]] == [25, 50, 100, 200, 400]
    assert [row["votes"] for row in found["points"]] == [50, 100, 200, 400, 800]  # two votes a pair
    shown = [row["accuracy"]["value"] for row in found["points"]]
    assert shown[-1] > shown[0] + 0.05 and found["points"][0]["fits"] == 4
    assert told == sorted(told) and told[-1] == 1.0
    for name in ("accuracy", "log_loss"):
        for row in found[name]["more"]:
            assert 0 <= row["gain"]["low"] <= row["gain"]["value"] <= row["gain"]["high"]
    assert [row["votes"] for row in found["accuracy"]["more"]] == [100, 500, 2_000]
    assert "500 more votes should bring +" in found["accuracy"]["message"]
    last = found["accuracy"]["fit"][-1]
    assert last["pairs"] == 1_600 and last["low"] <= last["value"] <= last["high"]


def test_it_ends_when_it_is_asked_to_and_when_time_is_up(data):
    train, test = data
    calls = []

    def slow(rows, seed):
        calls.append(len(rows))
        return fit(rows, seed)

    stopped = learning_curve(train, test, slow, learner="", sizes=3, orders=9, stop=lambda: len(calls) >= 2)
    assert stopped is None and len(calls) == 2
    calls.clear()
    short = learning_curve(train, test, slow, learner="", sizes=3, orders=9, budget_s=0.0)
    assert short["points"][0]["fits"] == 2 and len(calls) == 6  # two orders are the least
    assert learning_curve(train[:30], test, slow, learner="", sizes=3, orders=3) is None


def test_a_learner_too_slow_for_two_orders_is_given_up_after_its_first_fits(data):
    train, test = data
    calls = []

    def slow(rows, seed):
        calls.append(len(rows))
        time.sleep(0.05)
        return fit(rows, seed)

    assert (
        learning_curve(train, test, slow, learner="", sizes=5, orders=4, budget_s=0.15, give_up=True) is None
    )
    assert calls == [25]  # .05 s for 25 of 1,550 pairs: 3 s in all, against .15
