"""From the columns people have to the fields an import takes."""

import pytest

from core import mapping
from core.errors import Invalid


@pytest.mark.parametrize(
    ("columns", "kind", "expected"),
    [
        (["sentence", "label"], "examples", {"input": "sentence", "reference": "label"}),
        (["id", "Question", "Answer"], "examples", {"input": "Question", "reference": "Answer", "external_id": "id"}),
        (["chosen", "rejected"], "preferences", {"chosen": "chosen", "rejected": "rejected"}),
        (["prompt", "chosen", "rejected"], "preferences", {"prompt": "prompt"}),
        (
            ["question_id", "model_a", "model_b", "winner", "judge", "prompt", "response_a", "response_b", "tstamp"],
            "comparisons",
            {"input": "prompt", "prompt_a": "model_a", "prompt_b": "model_b", "choice": "winner",
             "annotator": "judge", "created_at": "tstamp", "left": None},
        ),
        (["text", "result_x", "model_x", "result_y", "model_y"], "comparisons",
         {"input": "text", "response_a": "result_x", "prompt_b": "model_y"}),
    ],
)  # fmt: skip
def test_columns_are_recognised_by_their_names(columns, kind, expected):
    assert mapping.guess_kind(columns) == kind
    guessed = mapping.guess_mapping(kind, columns)
    assert {field: (guessed[field] or [None])[0] for field in expected} == expected
    used = [column for chosen in guessed.values() for column in chosen]
    assert len(used) == len(set(used))
    mapping.check_mapping(kind, guessed)


def test_what_is_missing_is_named():
    with pytest.raises(Invalid, match="No column yet for: Input, Response B"):
        mapping.check_mapping("comparisons", {"response_a": ["x"]})
    needed = {"input": ["i"], "response_a": ["a"], "response_b": ["b"]}
    with pytest.raises(Invalid, match="a column for choice, but none for annotator"):
        mapping.check_mapping("comparisons", {**needed, "choice": ["c"]})


def test_one_input_column_is_the_text_and_several_are_fields():
    rows = [{"q": "why", "c": "because"}]
    assert mapping.apply("examples", {"input": ["q"]}, rows) == [{"input": "why"}]
    assert mapping.apply("examples", {"input": ["q", "c"]}, rows) == [{"input": rows[0]}]


def test_choices_in_other_words_and_by_side():
    columns = {"prompt_a": ["x"], "prompt_b": ["y"], "annotator": ["who"], "choice": ["won"], "left": ["l"]}
    rows = [
        {"x": "P", "y": "Q", "who": "1", "won": won, "l": left}
        for won, left in (("model_a", "P"), ("tie (bothbad)", "Q"), ("right", "Q"), ("left", "Q"), ("best", "P"), ("skip", ""))
    ]  # fmt: skip
    meanings = {value: mapping.guess_meaning(value) for value in mapping.choice_values(rows, "won")}
    assert meanings["best"] == "?"
    made = mapping.apply("comparisons", columns, rows, {**meanings, "skip": ""})
    assert [(row["choice"], row["left"]) for row in made] == [
        ("a", "a"), ("both_bad", "b"), ("a", "b"), ("b", "b"), ("best", "a"), (None, ""),
    ]  # fmt: skip
    assert [row["annotator"] for row in made] == ["1"] * 5 + [None]
    without = {name: column for name, column in columns.items() if name != "left"}
    made = mapping.apply("comparisons", without, rows[2:4], meanings)
    assert [(row["choice"], row["left"]) for row in made] == [("b", "a"), ("a", "a")]


def test_a_preference_file_without_an_annotator_gets_one():
    made = mapping.apply(
        "preferences", {"chosen": ["c"], "rejected": ["r"]}, [{"c": "x", "r": "y"}], None, "crowd"
    )
    assert made == [{"chosen": "x", "rejected": "y", "annotator": "crowd"}]
