"""Mini-batches hold as many of each label, as far as that goes."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.optimize.batches import balanced


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 99))
def test_labels_take_turns(labels, count, seed):
    rows = [{"reference": label} for label in labels]
    drawn = balanced(rows, count, random.Random(seed))
    assert drawn == sorted(set(drawn)) and len(drawn) == min(count, len(rows))
    assert drawn == balanced(rows, count, random.Random(seed))
    there, taken = Counter(labels), Counter(labels[i] for i in drawn)
    for label in there:  # a label with fewer than another is used up, or one short of it
        assert taken[label] == there[label] or taken[label] >= max(taken.values()) - 1


def test_free_text_is_not_balanced_and_another_seed_draws_others():
    rows = [{"reference": f"text {i}"} for i in range(60)]
    draws = {tuple(balanced(rows, 5, random.Random(seed))) for seed in range(4)}
    assert len(draws) == 4 and all(len(draw) == 5 for draw in draws)
    assert len(balanced([{}] * 3, 2, random.Random(0))) == 2  # no references at all
