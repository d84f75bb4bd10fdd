"""Planted leaks are named, and what is none is not."""

import random

import pytest

from core.reward.snapshots.build import build
from core.reward.snapshots.checks import failed, run
from core.reward.snapshots.filters import Filters
from tests.reward.snapshots.material import Asked, Said, material


def clean(n=60, seed=0):
    rng = random.Random(seed)
    return [
        Asked(
            f"e{i}", f"question{i} about thing{i} and thing{i + 1000}", [Said("x", rng.choice("ab"), left=rng.choice("ab"))],
            ["train", "test", "dev"][i % 3], a="a" * rng.randint(1, 9) + f" {i}", b="b" * rng.randint(1, 9) + f" {i}",
            prompt_a=rng.choice("pq") + " v1",
        )
        for i in range(n)
    ]  # fmt: skip


def verdicts(pairs, **filters):
    return {check["check"]: check for check in build(material(pairs), Filters(**filters)).checks}


def test_clean_data_passes():
    found = verdicts(clean())
    assert {check["verdict"] for check in found.values()} <= {"pass", "warn"}
    assert (
        found["same_text"]["verdict"]
        == found["near_duplicates"]["verdict"]
        == found["identical"]["verdict"]
        == "pass"
    )


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("QUESTION0 about thing0, and thing1000!", "same_text"),
        ("question0 about thing0 and thing1000 please", "near_duplicates"),
    ],
)
def test_a_copy_of_an_example_in_another_split_is_named(text, check):
    planted = [*clean(), Asked("copy", text, [Said("x", "a")], "test", a="1", made_at=9.0)]
    found = verdicts(planted, split="stored")[check]
    assert found["verdict"] == "fail"
    assert (
        found["examples"][0]["splits"] == ["test", "train"]
        and "question0" in found["examples"][0]["text"].lower()
    )
    # Which is why a data set keeps them together, unless told otherwise.
    mended = build(material(planted), Filters())
    assert not failed(mended.checks) and mended.counts["moved"]["pairs"] == 1


def test_copied_responses_are_named_and_a_templates_answers_are_not():
    planted = [
        *clean(),
        Asked("copy", "Something else?", [Said("x", "a")], "test", a=clean()[0].b.upper(), b=clean()[0].a),
    ]
    found = verdicts(planted, split="stored")["same_text"]
    assert found["verdict"] == "fail" and found["responses"] == 1 and found["inputs"] == 0
    for pair in (canned := clean(90)):
        pair.a, pair.b = "I cannot help with that.", "Sure."
    found = verdicts(canned)["same_text"]
    assert found["verdict"] == "warn"


def test_a_label_that_follows_from_the_side_is_named():
    left = clean()
    for pair in left:
        pair.votes = [Said("x", vote.choice, left=vote.choice) for vote in pair.votes]
    found = verdicts(left)["left"]
    assert found["verdict"] == "fail" and found["share"] == 1 and found["low"] > 0.9 and found["n"] == 60
    # A pull to one side is told, and is no leak.
    for place, pair in enumerate(pulled := clean(400)):
        choice = pair.votes[0].choice
        pair.votes = [Said("x", choice, left=choice if place % 10 < 6 else "ab".replace(choice, ""))]
    found = verdicts(pulled)["left"]
    assert found["verdict"] == "warn" and 0.55 < found["share"] < 0.65


def test_a_label_that_follows_from_the_order_is_named_and_a_better_prompt_is_not():
    always = clean()
    for pair in always:
        pair.votes = [Said("x", "a", left=pair.votes[0].left)]
    assert verdicts(always)["first"]["verdict"] == "fail"
    # One prompt always is a, and mostly better: that may be the prompt.
    for place, pair in enumerate(better := clean(100)):
        pair.prompt_a, pair.votes = "p v1", [Said("x", "b" if place % 8 == 0 else "a")]
    found = verdicts(better)["first"]
    assert found["verdict"] == "pass" and "cannot be told from the prompt" in found["said"]
    for pair in better:
        pair.votes = [Said("x", "a")]
    assert verdicts(better)["first"]["verdict"] == "fail"
    # Both orders, and the same prompt wins in both.
    for place, pair in enumerate(swapped := clean(100)):
        pair.prompt_a, pair.prompt_b = ("p v1", "q v1") if place % 2 else ("q v1", "p v1")
        pair.votes = [Said("x", "a" if place % 2 else "b")]
    assert verdicts(swapped)["first"]["verdict"] == "pass"


def test_length_is_told_and_does_not_fail():
    for pair in (longer := clean()):
        pair.a, pair.b = pair.a + " and much more", pair.b
        pair.votes = [Said("x", "a" if len(pair.a) > len(pair.b) else "b")]
    found = verdicts(longer)["length"]
    assert found["verdict"] == "warn" and found["share"] == 1 and "length" in found["said"]


def test_identical_responses_are_left_out_and_would_be_named():
    same = [*clean(), Asked("e", "Same?", [Said("x", "a")], a="the  same", b="the same ")]
    data = build(material(same), Filters())
    found = {check["check"]: check for check in data.checks}["identical"]
    assert found["verdict"] == "pass" and "1 such pair" in found["said"] and len(data.pairs) == 60
    row = {**data.pairs[0], "response_a": "x y", "response_b": "x  y"}
    assert {check["check"] for check in failed(run([row, *data.pairs[1:]]))} == {"identical"}


def test_a_few_of_many_templated_examples_are_no_copies_of_each_other():
    """What is a template's is known from all examples, also where filters leave a few."""
    start = "please write a short friendly letter to a customer of ours who has asked about the thing called"
    pairs = [
        Asked(
            f"e{i}",
            f"{start} n{i} m{i}",
            [Said("x" if i < 15 else "y", "ab"[i % 2])],
            ["train", "test"][i // 2 % 2],
        )
        for i in range(60)
    ]
    few = build(material(pairs), Filters(annotators=["x"]))
    assert len(few.pairs) == 15 and not failed(few.checks) and few.counts["moved"]["pairs"] == 0
    assert {row["split"] for row in few.pairs} == {"train", "test"}


def test_nothing_at_all_is_no_leak():
    assert failed(run([])) == []
