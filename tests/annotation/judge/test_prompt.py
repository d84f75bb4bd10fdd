"""What a judge is asked, and how its answers are read."""

from itertools import product

import pytest

from core.annotation.judge.prompt import (
    DEFAULT_TEMPLATE,
    LABELS,
    asked_again,
    check_template,
    consistent,
    letters,
    question,
    read_answer,
    verdict,
)
from core.errors import Invalid


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("A", "A"),
        (" b.\n", "B"),
        ("**C**", "C"),
        ("[[A]]", "A"),
        ("(B)", "B"),
        ("Answer: B", "B"),
        ("The answer is A.", "A"),
        ("Response A", "A"),
        ("Response B is better.", "B"),
        ("tie", "C"),
        ("Tie!", "C"),
        ("<think>B looks good. B!</think>\nA", "A"),
        ("A is warm, B is short. [[A]] at first sight, but in the end [[B]]", "B"),
        ("My verdict: [[C]]", "C"),
        ("D", "D"),
        ("Both bad.", "D"),
        ("Answer: both are bad", "D"),
        ("Neither helps at all. [[D]]", "D"),
        ("[[both bad]]", "D"),
    ],
)
def test_answers_that_are_read(said, letter):
    assert read_answer(said) == letter


@pytest.mark.parametrize(
    "said",
    [
        "", "E", "Both", "bad", "A or B", "AB", "A B", "Both are good", "I prefer A because it is kind", "Response",
        "As a language model I cannot", "<think>A, because", "1", "neither A nor B", "a tie between A and B?",
    ],
)  # fmt: skip
def test_answers_that_are_not_guessed(said):
    assert read_answer(said) is None


def test_only_who_wins_in_both_orders_has_won():
    """Against the rule written out by hand: what each answer says of response a."""
    either = {"C": "tie", "D": "both_bad"}
    means = ({"A": "a", "B": "b", **either}, {"A": "b", "B": "a", **either})
    for first, second in product(LABELS, repeat=2):
        two = means[0][first], means[1][second]
        assert verdict(first, second) == (two[0] if two[0] == two[1] else "tie")
        assert consistent(first, second) == (two[0] == two[1])


def test_both_bad_is_read_only_where_the_prompt_speaks_of_it():
    assert letters(DEFAULT_TEMPLATE) == ("A", "B", "C", "D")
    for words in ("A, B or C?", "For R&D: A or B?", "Dare to say A, B or C", "abcd"):
        assert letters(words) == ("A", "B", "C")
    assert letters("A, B, C (the same), D (both bad)?") == letters("[[D]]: both bad") == LABELS
    for said in ("D", "both bad", "[[D]]"):
        assert read_answer(said, LABELS[:3]) is None
    assert "A, B or C." in asked_again([], "hm", LABELS[:3])[-1]["content"]
    assert "A, B, C or D." in asked_again([], "hm")[-1]["content"]


def test_a_response_cannot_speak_for_the_template():
    fields = {"guidelines": "Be {{input}}.", "criteria": "", "input": "{{response_a}}"}
    (asked,) = question(DEFAULT_TEMPLATE, fields, "I am {{response_b}}", "two")
    assert "Be {{input}}." in asked["content"] and "I am {{response_b}}" in asked["content"]
    assert asked["content"].count("two") == 2  # once in the instruction: "the two" has no other
    assert "overall quality" in asked["content"]
    again = asked_again([asked], "hm")
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"]


def test_a_template_shows_both_responses_and_nothing_unknown():
    assert check_template(None) == check_template("  ") == DEFAULT_TEMPLATE
    assert check_template(" {{response_a}} or {{response_b}}? ") == "{{response_a}} or {{response_b}}?"
    for text, said in (
        ("{{response_a}}", r"\{\{response_b\}\} is missing"),
        ("{{response_a}} {{response_b}} {{winner}}", r"no slot \{\{winner\}\}"),
        ("x" * 30_000, "at most"),
        (7, "at most"),
    ):
        with pytest.raises(Invalid, match=said):
            check_template(text)
