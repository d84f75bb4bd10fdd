"""Canonical rows, examples and TRL's preference rows: what is taken, and what is said of
what is not."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from storage.inputs import RowProblem, as_input, split_of
from storage.rows import comparison_row, example_row
from tests.conftest import SHARED_DATA

ROW = {"input": "x", "response_a": "1", "response_b": "2", "annotator": "ann", "choice": "tie"}
TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "how?"},
]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": ""}, "input: it is empty"),
        ({"input": None}, "input: it is missing"),
        ({"input": {"a": ""}}, "input: it is empty"),
        ({"input": TURNS[:2]}, "input: a conversation must end with what the user says"),
        ({"response_b": None}, "response_b: it is missing"),
        (
            {"response_b": "1", "prompt_a": "p", "prompt_b": "p"},
            "response_b: the same text by the same prompt",
        ),
        ({"choice": "left"}, "choice: input should be 'a', 'b', 'tie' or 'both_bad' (it says 'left')"),
        ({"choice": None}, "choice: it is missing, though there is an annotator"),
        ({"annotator": ""}, "annotator: it is missing, though there is a choice"),
        ({"left": "c"}, "left: "),
        ({"strength": "hugely"}, "strength: "),
        ({"criteria": "{"}, "criteria: it is not JSON"),
        ({"created_at": "yesterday"}, "created_at: it is not a time"),
        ({"duration_ms": -1}, "duration_ms: a number of milliseconds"),
        ({"duration_ms": 1e12}, "duration_ms: a number of milliseconds"),
        ({"response_a": "a\x00b"}, "response_a: it has a character that cannot be stored"),
        ({"input": {"a": ["\ud800"]}}, "input: it has a character that cannot be stored"),
        ({"simulated": "perhaps"}, "simulated: "),
    ],
)
def test_a_row_that_is_not_taken_names_the_field(change, said):
    with pytest.raises(RowProblem) as problem:
        comparison_row({**ROW, **change})
    assert said in str(problem.value)


def test_a_row_that_is_no_object():
    with pytest.raises(RowProblem, match="not an object"):
        comparison_row([1])


def test_what_is_left_out_has_sensible_values():
    row = comparison_row({"input": "x", "response_a": "", "response_b": "2"})
    assert (row.prompt_a, row.prompt_b, row.annotator, row.choice, row.response_a) == (
        "A",
        "B",
        None,
        None,
        "",
    )


def test_words_numbers_and_times_are_read_as_people_write_them():
    row = comparison_row(
        {**ROW, "choice": "Both bad", "annotator": 58, "strength": "negligibly", "left": "A", "duration_ms": "12.6",
         "created_at": "2026-01-31 12:00:00", "criteria": '{"helpful": 4}', "external_id": 7}
    )  # fmt: skip
    assert (row.choice, row.annotator, row.strength, row.left) == ("both_bad", "58", "barely", "a")
    assert (row.duration_ms, row.criteria, row.external_id) == (13, {"helpful": 4}, "7")
    assert row.created_at == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "text",
        {"question": "q", "context": ["c", 1]},
        TURNS,
        {"messages": TURNS, "topic": "x"},
        {"input": "i", "b": 2},
    ],
)
def test_an_input_goes_out_as_it_came_in(value):
    read = as_input(value)
    assert as_input(json.loads(json.dumps(read.as_value()))) == read


def test_text_and_its_one_field_are_the_same_input():
    assert as_input("x").hash == as_input({"input": "x"}).hash == as_input([TURNS[0] | {"content": "x"}]).hash
    assert as_input("x").hash != as_input({"other": "x"}).hash != as_input(TURNS).hash


def test_splits_follow_from_content_in_their_shares():
    splits = [split_of(as_input(f"input {i}").hash) for i in range(5000)]
    assert [round(splits.count(name) / 5000, 1) for name in ("train", "dev", "test")] == [0.6, 0.2, 0.2]
    assert splits[:3] == [split_of(as_input(f"input {i}").hash) for i in range(3)]


def test_examples_take_any_fields():
    plain = example_row("text")
    assert plain.input.fields == {"input": "text"} and plain.reference is None
    row = example_row(
        {"question": "q", "context": "c", "reference": 1, "split": "validation", "external_id": 3}
    )
    assert row.input.fields == {"question": "q", "context": "c"}
    assert (row.reference, row.split, row.external_id) == ("1", "dev", "3")
    assert example_row({"input": {"a": 1}, "b": 2}).input.fields == {"a": 1, "b": 2}
    with pytest.raises(RowProblem, match=r"split: .*'train', 'dev' or 'test'.*'most'"):
        example_row({"input": "x", "split": "most"})


# --- TRL ---


def test_trl_plain_and_conversational_rows_are_the_same_vote():
    plain = comparison_row({"prompt": "hello", "chosen": "hi", "rejected": "go away"})
    chat = comparison_row(
        {
            "prompt": [TURNS[0]],
            "chosen": [{"role": "assistant", "content": "hi"}],
            "rejected": [{"role": "assistant", "content": "go away"}],
        }
    )
    implicit = comparison_row(
        {
            "chosen": [TURNS[0], {"role": "assistant", "content": "hi"}],
            "rejected": [TURNS[0], {"role": "assistant", "content": "go away"}],
        }
    )
    assert plain == chat == implicit
    assert (plain.annotator, plain.choice, plain.prompt_a, plain.prompt_b) == (
        "imported",
        "a",
        "unknown",
        "unknown",
    )
    assert plain.left is None


def test_an_implicit_prompt_ends_at_the_last_assistant_both_share():
    start = "\n\nHuman: hello\n\nAssistant: hi\n\nHuman: how?\n\nAssistant:"
    row = comparison_row({"chosen": start + " So.", "rejected": start + " Somehow.\n\nHuman: no"})
    assert row.input == as_input(TURNS)
    assert (row.response_a, row.response_b) == ("So.", "Somehow.\n\nHuman: no")


def test_a_prompt_and_messages_that_repeat_it_count_once():
    answers = [[TURNS[0], {"role": "assistant", "content": text}] for text in ("hi", "no")]
    row = comparison_row({"prompt": "hello", "chosen": answers[0], "rejected": answers[1]})
    assert row.input == as_input("hello") and (row.response_a, row.response_b) == ("hi", "no")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": "abc", "rejected": "xyz"}, "prompt: it is missing"),
        ({"chosen": "abc", "rejected": ["x"]}, "both be text"),
        ({"prompt": "p", "chosen": "same", "rejected": "same"}, "the same text by the same prompt"),
        ({"chosen": [{"role": "robot", "content": "x"}], "rejected": []}, "chosen: a message needs a role"),
    ],
)
def test_preferences_that_cannot_be_taken(row, said):
    with pytest.raises(RowProblem, match=said):
        comparison_row(row)


@pytest.mark.skipif(not (SHARED_DATA / "hh_rlhf").is_dir(), reason="shared/data/hh_rlhf is not here")
def test_hh_rlhf_is_read_whole():
    file = next((SHARED_DATA / "hh_rlhf").glob("*.jsonl.gz"))
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    taken = [comparison_row(row) for row in rows]
    assert len(taken) == 2312
    for row, read in zip(rows, taken, strict=True):
        assert row["chosen"].endswith(read.response_a) and row["rejected"].endswith(read.response_b)
        assert "\n\nAssistant:" not in read.input.text and not read.input.text.startswith("Human:")
