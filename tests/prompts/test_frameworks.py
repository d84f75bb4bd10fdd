"""Frameworks make templates and come back from them; the word diff loses nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.prompts.diff import word_diff
from core.prompts.frameworks import FRAMEWORKS, build, framework_of, structure_of


@pytest.mark.parametrize("key", FRAMEWORKS)
def test_a_structure_makes_a_template_and_comes_back(key):
    framework = FRAMEWORKS[key]
    texts = {section.key: f"text of {section.key}" for section in framework.sections}
    texts["input"] = "Question: {{input}}"
    structure = structure_of(key, texts)
    system, user = build(structure)
    assert user == "Question: {{input}}"
    places = [system.index(texts[section.key]) for section in framework.sections if section.key != "input"]
    assert places == sorted(places)
    assert framework_of(structure) == (framework, texts)
    assert [s.title for s in framework.sections][:-1] == {
        "role": ["Role", "Task", "Tone and form"],
        "risen": ["Role", "Instructions", "Steps", "End goal", "Narrowing"],
        "wiser": ["Who", "Instructions", "Sub-tasks", "Examples", "Review"],
        "chain_of_thought": ["Task", "Thinking", "Answer"],
    }[key]


@pytest.mark.parametrize("key", FRAMEWORKS)
def test_every_section_says_what_belongs_in_it_and_required_ones_are_asked_for(key):
    framework = FRAMEWORKS[key]
    assert all(section.help for section in framework.sections)
    texts = {section.key: "x {{input}}" for section in framework.sections if section.required}
    build(structure_of(key, texts))
    for missing in texts:
        with pytest.raises(Invalid, match=f"^{missing}:"):
            build(structure_of(key, {k: v for k, v in texts.items() if k != missing}))


def test_the_opening_is_not_said_twice():
    def role(text):
        return build(structure_of("role", {"role": text, "task": "Do.", "input": "{{input}}"}))[0]

    assert role("a cook") == "You are a cook.\n\nDo."
    assert role("You are a cook!") == "You are a cook!\n\nDo."


def test_word_diff_marks_words():
    assert word_diff("Answer in one sentence.", "Answer in two short sentences.") == [
        ("equal", "Answer in "),
        ("delete", "one sentence"),
        ("insert", "two short sentences"),
        ("equal", "."),
    ]
    assert word_diff("same", "same") == [("equal", "same")]
    assert word_diff("", "new") == [("insert", "new")]


texts = st.text(st.sampled_from("ab c.,\nÄ{}"), max_size=60)


@given(texts, texts)
@settings(max_examples=200, deadline=None)
def test_word_diff_keeps_both_texts(old, new):
    segments = word_diff(old, new)
    assert "".join(text for kind, text in segments if kind != "insert") == old
    assert "".join(text for kind, text in segments if kind != "delete") == new
    assert all(text for _, text in segments)
