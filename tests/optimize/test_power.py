"""What is told before a comparison, against the test itself on every sequence there can be."""

from itertools import product

import numpy as np
import pytest

from core.optimize.power import power
from core.optimize.sequential import Rule, judge

SHORT = Rule(alpha=0.4, minimum=3, maximum=8)


@pytest.mark.parametrize(
    ("share", "ties", "examples"), [(0.5, 0.0, 8), (0.7, 0.0, 8), (0.8, 0.25, 7), (0.7, 0.1, 5)]
)
def test_it_is_the_sum_over_every_sequence_of_votes(share, ties, examples):
    chance = {1.0: (1 - ties) * share, 0.5: ties, 0.0: (1 - ties) * (1 - share)}
    told = dict.fromkeys(("better", "worse", "futile", "undecided"), 0.0)
    votes = total = 0.0
    for values in product(chance, repeat=examples):
        p = float(np.prod([chance[value] for value in values]))
        if p == 0:
            continue
        found = judge(values, SHORT)
        told[found.verdict] += p
        votes += p * (found.decided_at or examples)
        total += p
    assert total == pytest.approx(1)
    exact = power(share, examples, ties, SHORT)
    assert (exact.better, exact.worse, exact.votes) == pytest.approx((told["better"], told["worse"], votes))
    assert min(told["better"], told["futile"] + told["undecided"]) > 0.01  # there was something to tell


def test_the_default_size_has_the_power_it_is_chosen_for():
    """Ten simulated comparisons in eleven of 65 % pass within 200, one in three within 60."""
    whole, sixty = power(0.65, 200), power(0.65, 60)
    assert 0.895 < whole.better < 0.91 and 0.33 < sixty.better < 0.35
    rng = np.random.default_rng(3)
    found = [judge((rng.random(200) < 0.65).astype(float).tolist()) for _ in range(120)]
    passed = np.array([item.verdict == "better" for item in found])
    taken = np.array([item.decided_at for item in found], dtype=float)
    for values, told in ((passed, whole.better), (taken, whole.votes)):
        assert abs(values.mean() - told) < 4 * values.std() / np.sqrt(len(values))
    assert power(0.5, 200).better == pytest.approx(power(0.5, 200).worse) and power(0.5, 200).better < 0.025


def test_too_few_examples_decide_nothing():
    assert power(1.0, 19).better == 0 and power(1.0, 20).better == pytest.approx(1)
    assert power(0.65, 500).examples == 200  # no more are asked for
