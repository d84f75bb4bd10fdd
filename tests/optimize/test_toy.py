"""The toy task is what it says: its best prompt is the best, and random search does not get there."""

import itertools

import pytest

from core.optimize.protocol import OutOfBudget
from tests.optimize.toy import NEAR, START, WORDS, Toy, ToyEvaluator, interval, random_best, toy_host


def test_the_best_prompt_is_the_best():
    toy = Toy(3)
    best = " ".join(toy.best)
    assert toy.reward(best) == 1 and toy.reward(START) == 0
    for place, word in itertools.product(range(4), WORDS):
        other = [*toy.best[:place], word, *toy.best[place + 1 :]]
        expected = 0.75 + 0.25 * (1 if word == toy.best[place] else toy.worth[place].get(word, 0))
        assert toy.reward(" ".join(other)) == pytest.approx(expected)
        assert toy.worth[place].get(word, 0) in (0, NEAR, 1)
    assert toy.reward(f"{best} plain") == pytest.approx(0.8)
    assert toy.reward(" ".join(toy.best[:2])) == 0.5
    assert Toy(4).best != toy.best


def test_random_search_stays_far_below_it():
    low, high = interval([random_best(seed, 800) for seed in range(5)])
    assert 0.5 < low < high < 0.8


def test_interval_against_a_table():
    # mean 3, s = 1.5811, t(.975, 4) = 2.7764: 3 +- 1.9632
    assert interval([1, 2, 3, 4, 5]) == pytest.approx((1.0368, 4.9632), abs=1e-4)


def test_its_books(tmp_path):
    evaluator = ToyEvaluator(toy_host(tmp_path), seed=3, budget=3)
    evaluator.evaluate([START, START])
    assert evaluator.work("a step", 2, lambda: 7) == 7 and evaluator.calls == 3
    with pytest.raises(OutOfBudget):
        evaluator.evaluate(["calm calm calm calm"])
    host = evaluator.host
    ids = host.tokens(host.rendered(evaluator.request(START, evaluator.rows["train"][0])))
    assert host.tokenizer.decode(ids).startswith(f"<s> {START} </s>")
