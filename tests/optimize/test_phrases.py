"""Phrases and the edits on them: nothing is lost, nothing is doubled, slots stay whole."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.optimize.phrases import GRANULARITIES, LONGEST_PHRASE, split
from core.prompts.templates import SLOT

WORD = st.sampled_from(
    [
        "Read",
        "the",
        "review,",
        "of",
        "a film.",
        "and",
        "say",
        "{{input}}",
        "{{ other }}.",
        "-",
        "\n\n",
        "(x)",
        "ö",
    ]
)
TEXT = st.lists(st.tuples(WORD, st.sampled_from([" ", "", "  ", "\n"])), max_size=25).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
GRAIN = st.sampled_from(GRANULARITIES)


def test_breaks_where_phrases_open():
    row = split("In this task, you are given sentences from movie reviews. Answer with one word.")
    assert row.pieces == (
        "In this task,", "you are given sentences", "from movie reviews.", "Answer", "with one word.",
    )  # fmt: skip
    assert split("One two. Three, four! Five", "sentence").pieces == ("One two.", "Three, four!", "Five")
    assert split("One two.", "word").pieces == ("One", "two.")


def test_slots_and_bare_punctuation_are_fixed():
    row = split("Classify: {{input}}.\n- Be kind")
    assert row.pieces == ("Classify:", "{{input}}", ".", "-", "Be kind")
    assert row.fixed == (False, True, True, True, False)


@settings(deadline=None)
@given(st.text(max_size=80), GRAIN)
def test_any_text_comes_back_letter_by_letter(text, grain):
    assert split(text, grain).text == text


@settings(deadline=None)
@given(TEXT, GRAIN)
def test_no_phrase_is_too_long_and_no_slot_is_inside_one(text, grain):
    row = split(text, grain)
    for piece, fixed in zip(row.pieces, row.fixed, strict=True):
        assert fixed or not SLOT.search(piece)
        assert grain == "sentence" or len(piece.split()) <= LONGEST_PHRASE


@settings(max_examples=150, deadline=None)
@given(TEXT, GRAIN, st.data())
def test_a_swap_is_a_permutation_of_the_phrases(text, grain, data):
    row = split(text, grain)
    if len(row.editable) < 2:
        return
    i, j = data.draw(st.permutations(row.editable))[:2]
    swapped = row.swap(i, j)
    assert Counter(swapped.pieces) == Counter(row.pieces)
    assert (swapped.pieces[i], swapped.pieces[j]) == (row.pieces[j], row.pieces[i])
    assert swapped.gaps == row.gaps
    assert swapped.swap(i, j) == row
    assert [s for s in swapped.pieces if SLOT.search(s)] == [s for s in row.pieces if SLOT.search(s)]


@settings(max_examples=150, deadline=None)
@given(TEXT, GRAIN, st.data())
def test_delete_shortens_by_the_phrase_and_add_restores_it(text, grain, data):
    row = split(text, grain)
    if len(row.editable) < 2:
        return
    i = data.draw(st.sampled_from(row.editable))
    shorter = row.delete(i)
    assert shorter.pieces == row.pieces[:i] + row.pieces[i + 1 :]
    assert len(shorter.text) < len(row.text)
    assert SLOT.findall(shorter.text) == SLOT.findall(text)
    place = data.draw(st.sampled_from(shorter.places))
    longer = shorter.insert(place, row.pieces[i])
    assert Counter(longer.pieces) == Counter(row.pieces)
    assert longer.pieces[place] == row.pieces[i]
    assert SLOT.findall(longer.text) == SLOT.findall(text)
    if place == i and i in row.places and i + 1 in row.places:
        assert longer.text.split() == text.split()


def test_only_the_one_occurrence_is_replaced():
    row = split("be kind, be kind, be kind,")
    assert row.replace(1, "be short,").text == "be kind, be short, be kind,"


@pytest.mark.parametrize(("i", "left"), [(0, "b\n\nc"), (1, "a\n\nc"), (2, "a b")])
def test_a_line_break_outlives_a_space(i, left):
    assert split("a b\n\nc", "word").delete(i).text == left
