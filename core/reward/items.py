"""What programs ask to be scored: responses, or pairs of them, checked row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.reward.text import input_text
from storage.inputs import RowProblem, as_input, messages_of

LONGEST = 100_000  # characters of one text
SIDES = ("response_a", "response_b")


@dataclass(frozen=True)
class Asked:
    """Texts as a reward model reads them. Of pairs, item 2 i is the first and 2 i + 1 the
    second response of pair i."""

    pairs: bool
    inputs: list[str]
    responses: list[str]

    def __len__(self) -> int:
        return len(self.inputs)


def asked(items: Sequence[Any] | None, pairs: Sequence[Any] | None, most: int) -> Asked:
    """From the body of a request: exactly one of the two lists, of 1 to `most` responses. An
    item has input (text, object of fields, or conversation), or messages, or both (the earlier
    turns), and response; a pair response_a and response_b. Raises Invalid naming the row."""
    if (items is None) == (pairs is None):
        raise Invalid("items, pairs: send one of the two.", "items: [{input, response}], or pairs.")
    name, rows = ("items", items) if items is not None else ("pairs", pairs)
    assert rows is not None
    if not rows:
        raise Invalid(f"{name}: it is empty.", "Send at least one.")
    count = len(rows) * (2 if pairs is not None else 1)
    if count > most:
        raise Invalid(
            f"{name}: {count:,} responses, where one request may have {most:,}.",
            "Send several requests, or score a file.",
        )
    found = Asked(pairs is not None, [], [])
    for place, row in enumerate(rows):
        try:
            one = read_row(row, found.pairs)
        except RowProblem as problem:
            raise Invalid(f"{name}[{place}].{problem}.") from None
        for response in one[1:]:
            found.inputs.append(one[0])
            found.responses.append(response)
    return found


def read_row(row: Any, pair: bool) -> tuple[str, ...]:
    """(input as the model reads it, response) or (input, response_a, response_b). Raises
    RowProblem, which names the field."""
    if not isinstance(row, Mapping):
        raise RowProblem("row: it is not an object")
    said = _input(row)
    names = SIDES if pair else ("response",)
    responses = [_response(row, name) for name in names]
    if len(said) > LONGEST:
        raise RowProblem(f"input: longer than {LONGEST:,} characters")
    return (said, *responses)


def _input(row: Mapping[str, Any]) -> str:
    value, messages = row.get("input"), row.get("messages")
    if value is None:
        value = row.get("prompt")
    if messages in (None, []):
        one = as_input(value)
        return input_text(one.text, one.messages)
    if not isinstance(messages, list):
        raise RowProblem("messages: not a list of {role, content}")
    if value is None:
        one = as_input(messages)
        return input_text(one.text, one.messages)
    one = as_input(value)
    return input_text(one.text, [*messages_of(messages, "messages"), *(one.messages or [])])


def _response(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name)
    if text is None:
        raise RowProblem(f"{name}: it is missing")
    if isinstance(text, list):  # chat completions: what the assistant said last
        turns = messages_of(text, name)
        text = turns[-1]["content"] if turns and turns[-1]["role"] == "assistant" else ""
    if not isinstance(text, str):
        raise RowProblem(f"{name}: it is not a text")
    if not text.strip():
        raise RowProblem(f"{name}: it is empty")
    if len(text) > LONGEST:
        raise RowProblem(f"{name}: longer than {LONGEST:,} characters")
    return text
