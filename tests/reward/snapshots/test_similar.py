"""Near-duplicates, against comparing every two texts, and splits that they never cross."""

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.reward.snapshots.build import build, split_of
from core.reward.snapshots.filters import Filters
from core.reward.snapshots.similar import groups, near_duplicates, normalised
from tests.reward.snapshots.material import Asked, Said, material

WORDS = ["sea", "sun", "how", "why", "do", "I", "sail", "a", "boat", "home", "fast", "slow", "now"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
# A text, and what people do to it: case, signs, a word more.
varied = st.builds(
    lambda text, how: [text, text.upper() + "!", f"  {text}? ", f"{text} please"][how],
    texts,
    st.integers(0, 3),
)


def brute(values: list[str], threshold: float = 0.7) -> set[tuple[int, int]]:
    """Written apart from the code under test: sets of words and of neighbouring words, less
    what is common."""

    def parts(text: str) -> set[str]:
        words = text.split(" ")
        return set(words) | {" ".join(words[i : i + 2]) for i in range(len(words) - 1)}

    every = [parts(value) for value in values]
    often = Counter(part for one in every for part in one)
    most = max(20, -(-len(values) // 20))
    sets = [{part for part in one if often[part] <= most} or one for one in every]
    return {
        (i, j)
        for j in range(len(values))
        for i in range(j)
        if len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j])
    }


@settings(max_examples=80, deadline=None)
@given(st.lists(varied, min_size=1, max_size=40))
def test_every_near_duplicate_is_found_and_nothing_else(values):
    unique = sorted({normalised(value) for value in values})
    found = {tuple(pair) for pair in near_duplicates(unique).tolist()}
    assert found == brute(unique)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(varied, st.sampled_from(["train", "dev", "test"]), st.integers(0, 5)), min_size=1, max_size=30)
)  # fmt: skip
def test_no_example_and_no_near_duplicate_of_one_is_in_two_splits(drawn):
    pairs = [
        Asked(f"example {i // 2}", drawn[i // 2 % len(drawn)][0], [Said("x", "a")], split, made_at=at, a=f"{i} yes")
        for i, (_, split, at) in enumerate(drawn)
    ]  # fmt: skip
    rows = build(material(pairs), Filters()).pairs
    assert len(rows) == len(pairs)
    by_example, by_text = {}, {}
    for row in rows:
        assert by_example.setdefault(row["example_id"], row["split"]) == row["split"]
        assert by_text.setdefault(normalised(row["input"]), row["split"]) == row["split"]
    unique = sorted(by_text)
    for i, j in brute(unique):
        assert by_text[unique[i]] == by_text[unique[j]]


def test_what_counts_as_nearly_the_same():
    def alike(first: str, second: str) -> bool:
        found = groups([first, second, "something else altogether, about geese"])
        return bool(found[0] == found[1])

    ten = "how do I get a red boat from here to"
    assert alike("How do I sail?", "how do i sail")
    assert alike("How do I sail home?", "How do I sail home, please?")
    assert alike(f"{ten} home", f"{ten} town")  # ten words, one replaced
    assert alike("ＦＵＬＬ width", "full width") and alike("Straße", "STRASSE")
    assert not alike("What is the capital of France?", "What is the capital of Spain?")
    assert not alike("!", "?")  # nothing but signs is a text of its own
    assert not alike("sail the boat", "walk the dog")


def test_a_chain_of_near_duplicates_is_one_group_and_a_template_makes_none():
    words = [f"w{i}" for i in range(30)]
    chain = [" ".join(words[i : i + 20]) for i in range(6)]
    assert len(set(groups(chain).tolist())) == 1
    start = "please write a short friendly letter to a customer of ours who has asked about the thing called"
    templated = [f"{start} n{i} m{i}" for i in range(200)]
    assert len(set(groups(templated).tolist())) == 200
    # Of a few, it is a text with other words at its end.
    assert len(set(groups(templated[:5]).tolist())) == 1


def test_a_group_goes_where_its_first_member_is_and_what_moved_is_counted():
    pairs = [
        Asked("late", "How do I sail home?", [Said("x", "a")], "train", made_at=2.0, a="1"),
        Asked("first", "how do I sail home", [Said("x", "a")], "test", made_at=1.0, a="2"),
        Asked("other", "Why do geese fly?", [Said("x", "a")], "dev", made_at=3.0, a="3"),
        Asked("late", "How do I sail home?", [Said("x", "a")], "train", made_at=2.0, a="4"),
    ]
    splits, moved = split_of(material(pairs), True)
    assert splits == ["test", "test", "dev", "test"]
    assert moved.as_json() == {
        "pairs": 2, "examples": 1, "groups": 1, "ways": [{"from": "train", "to": "test", "pairs": 2}],
    }  # fmt: skip
    assert split_of(material(pairs), False)[0] == [pair.split for pair in pairs]
    # Nor do pairs of the same two responses stand on both sides.
    same = [
        Asked("e", "Why?", [Said("x", "a")], "train", a="Because!", b="No idea."),
        Asked("f", "How so?", [Said("x", "a")], "test", a="no idea", b="because", made_at=1.0),
    ]
    assert split_of(material(same), True)[0] == ["train", "train"]


def test_ten_thousand_texts_take_seconds():
    """Ten thousand, of which one in ten has a near-copy."""
    import time

    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{i}" for i in range(3_000)])
    plain = [" ".join(rng.choice(vocabulary, 30)) for _ in range(9_000)]
    copies = [text.replace(text.split()[7], "changed", 1) + "!" for text in plain[:1_000]]
    before = time.process_time()
    found = groups([*plain, *copies])
    assert time.process_time() - before < 10
    assert len(set(found.tolist())) == 9_000
    assert (found[:1_000] == found[9_000:]).all()


def test_words_of_other_scripts_are_words():
    assert normalised("«Où est… la gare?»") == "où est la gare"
    assert normalised("東京へ 行く。") == "東京へ 行く"
    assert not re.search(r"[^\w ]", normalised("a-b_c/d"))
