"""Metrics, penalties and rules: known answers, worked out by hand or by other code."""

import difflib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.optimize.rewards.asking import grade, question
from core.optimize.rewards.texts import (
    Rules,
    cost,
    exact_match,
    matcher,
    over_length,
    token_f1,
    valid_json,
)

WORDS = st.lists(st.sampled_from(["red", "blue", "green", "cat", "dog"]), max_size=8)


def test_squad_s_own_examples():
    assert exact_match("The Norman Conquest!", "norman conquest") == 1
    assert exact_match("Normans", "norman") == 0
    assert token_f1("in the 10th century", "10th and 11th centuries") == pytest.approx(2 * 1 / (3 + 4))
    assert token_f1("a cat, a cat", "cat") == pytest.approx(2 * 1 / (2 + 1))
    assert (token_f1("", ""), token_f1("the", ""), token_f1("cat", ""), token_f1("", "cat")) == (1, 1, 0, 0)


@given(WORDS, WORDS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(said, wanted):
    """Shared words counted by sorting both sides, as difflib lines them up."""
    value = token_f1(" ".join(said), " ".join(wanted))
    if not said or not wanted:
        assert value == float(said == wanted)
        return
    blocks = difflib.SequenceMatcher(None, sorted(said), sorted(wanted), autojunk=False).get_matching_blocks()
    shared = sum(block.size for block in blocks)
    precision, recall = shared / len(said), shared / len(wanted)
    expected = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert value == pytest.approx(expected)
    assert value == token_f1(" ".join(reversed(wanted)), " ".join(said))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_what_json_writes_is_valid_and_cut_off_it_is_not(value):
    text = json.dumps(value)
    assert valid_json(text) == valid_json(f" {text}\n") == 1
    assert valid_json(f"Here it is: {text}") == 0
    if text[0] in '["':
        assert valid_json(text[:-1]) == 0


@pytest.mark.parametrize("text", ["", "NaN", "{'a': 1}", "[1,]", "[" * 100_000])
def test_no_json(text):
    assert valid_json(text) == 0


def test_a_pattern_may_name_the_reference_and_cannot_stop_a_search():
    assert matcher(r"\b\d{4}\b")("in 1066", "") == 1
    named = matcher(r"^Answer: {{ reference }}$")
    assert named("Answer: 3.5 (about)", "3.5 (about)") == 1
    assert named("Answer: 3x5 (about)", "3.5 (about)") == 0
    assert matcher(r"^(a|aa)+$")("a" * 60 + "b", "") == 0
    with pytest.raises(Invalid, match="no regular expression"):
        matcher("(")


@pytest.mark.parametrize(
    ("length", "value"), [(0, 0), (100, 0), (101, -0.02), (125, -0.5), (150, -1), (900, -1)]
)
def test_daps_soft_penalty(length, value):
    """Equation 13 with L_max = 150 and L_cache = 50."""
    assert over_length(length, 100, 50) == pytest.approx(value)


def test_a_cost_of_minus_one_for_each_thousand():
    assert cost(2_500, 1_000) == -2.5 and cost(0, 1_000) == 0


def test_rules_are_whole_words_in_any_case():
    rules = Rules(["as an AI", "/\\d{3}-\\d{4}/"], [])
    assert rules.broken("Well, As  an\nai, I cannot.")
    assert not rules.broken("as an aide")
    assert rules.broken("call 555-1234") and not rules.broken("call 555 1234")
    must = Rules([], ["sources:"])
    assert must.broken("Nothing.") and not must.broken("Sources: none")
    assert Rules(["/^(a|aa)+$/"], []).broken("a" * 60 + "b")  # not known in time: on the safe side


# --- what a judge says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "answer", "value"),
    [
        ("1", "1-10", 0), ("10", "1-10", 1), ("**Score: 7/10**", "1-10", 6 / 9), ("My rating is 4.", "1-10", 3 / 9),
        ("Good start, weak end. [[3]] No: [[8]]", "1-10", 7 / 9), ("<think>9?</think> 2", "1-10", 1 / 9),
        ("Yes.", "yes_no", 1), ("Answer: no", "yes_no", 0), ("8 out of 10", "1-10", 7 / 9),
    ],
)  # fmt: skip
def test_what_a_judge_says_is_read(said, answer, value):
    assert grade(said, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("0", "1-10"), ("11", "1-10"), ("7.5", "1-10"), ("7 or 8", "1-10"), ("I give it 7", "1-10"), ("", "1-10"),
        ("<think>9", "1-10"), ("yes", "1-10"), ("yes and no", "yes_no"), ("7", "yes_no"),
    ],
)  # fmt: skip
def test_nothing_is_guessed(said, answer):
    assert grade(said, answer) is None


def test_a_judge_sees_rubric_input_reference_and_response():
    (asked,) = question("Is it {kind}?", "yes_no", {"input": "{x}", "reference": "Ref"}, "Resp {y}")
    for part in ("Is it {kind}?", "{x}", "Ref", "Resp {y}", "yes or no"):
        assert part in asked["content"]
    (asked,) = question("Good?", "1-10", {"input": "x", "reference": None}, "y")
    assert "good answer" not in asked["content"]
