"""The rows that come in and go out: an example, a comparison.

The canonical comparison row is what files, the API and exports share:

    input                   text, an object of fields, or a conversation (list of messages)
    response_a, response_b  two responses to it
    prompt_a, prompt_b      names of what produced them ("A" and "B" when left out)
    annotator, choice       who judged, and a, b, tie or both_bad; without both, the row is
                            a pair that waits for votes
    strength, left, reason, criteria, created_at, duration_ms, external_id    optional; a
                            criterion's mark is a, b, same, or a rating
    simulated               true for a vote that no person cast (exports mark them so)
    machine                 true for a vote of a language model as a judge (marked likewise)
    adjudication            true for the vote of an adjudicator, which decides its pair

TRL's preference rows are read as canonical ones. What cannot be taken raises RowProblem,
whose text names the field.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from storage.inputs import Input, RowProblem, as_input, as_text, clean, messages_of
from storage.preferences import preference_row

CHOICES = ("a", "b", "tie", "both_bad")
STRENGTHS = ("significantly", "clearly", "slightly", "barely")
# Margins by preference strength (Llama 2, arXiv 2307.09288, table 27, the small scale).
MARGINS = {"significantly": 1.0, "clearly": 2 / 3, "slightly": 1 / 3, "barely": 0.0}
_SPLIT_WORDS = {"training": "train", "val": "dev", "valid": "dev", "validation": "dev", "testing": "test"}
_MAX_INT = 2**31 - 1


def _response(value: Any) -> str:
    """A response's text, given as text, as a message, or as a list of assistant messages."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        turns = messages_of(value, "the response")
        if len(turns) != 1 or turns[0]["role"] != "assistant":
            raise ValueError("it must be one message of the assistant's")
        return turns[0]["content"]
    if isinstance(value, bool | int | float):
        return as_text(value)
    if not isinstance(value, str):
        raise ValueError("it is missing" if value is None else "it is not text")
    return value


def _optional_text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return as_text(value).strip()


def _word(value: Any) -> Any:
    """A word of a fixed list, however it is spelled; empty is none."""
    if value is None or not isinstance(value, str):
        return value
    word = re.sub(r"[\s-]+", "_", value.strip().lower())
    return {"negligibly": "barely", "": None}.get(word, _SPLIT_WORDS.get(word, word))


def _criteria(value: Any) -> Any:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it must be an object of criterion and rating")
    return value


def _milliseconds(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = round(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("it is not a number of milliseconds") from None
    if not 0 <= number <= _MAX_INT:
        raise ValueError(f"a number of milliseconds from 0 to {_MAX_INT}")
    return number


def _moment(value: Any) -> Any:
    return None if value == "" else value


def _read_input(value: Any) -> Input:
    return value if isinstance(value, Input) else as_input(value)


Name = Annotated[str, BeforeValidator(_optional_text), StringConstraints(max_length=200)]
OptionalName = Annotated[Name | None, BeforeValidator(_optional_text)]
Text = Annotated[str, BeforeValidator(_response)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class ComparisonRow(BaseModel):
    model_config = {"arbitrary_types_allowed": True, "extra": "ignore"}

    input: Annotated[Input, BeforeValidator(_read_input)]
    response_a: Text
    response_b: Text
    prompt_a: Annotated[Name, BeforeValidator(lambda value: _optional_text(value) or "A")] = "A"
    prompt_b: Annotated[Name, BeforeValidator(lambda value: _optional_text(value) or "B")] = "B"
    annotator: OptionalName = None
    choice: Annotated[Literal["a", "b", "tie", "both_bad"] | None, BeforeValidator(_word)] = None
    strength: Annotated[
        Literal["significantly", "clearly", "slightly", "barely"] | None, BeforeValidator(_word)
    ] = None
    left: Annotated[Literal["a", "b"] | None, BeforeValidator(_word)] = None
    reason: Annotated[str, BeforeValidator(lambda value: "" if value is None else as_text(value))] = ""
    criteria: Annotated[dict[str, Any], BeforeValidator(_criteria)] = Field(default_factory=dict)
    created_at: Moment = None
    duration_ms: Annotated[int | None, BeforeValidator(_milliseconds)] = None
    external_id: OptionalName = None
    simulated: bool = False
    machine: bool = False
    adjudication: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "ComparisonRow":
        if self.annotator is not None and self.choice is None:
            raise ValueError("choice: it is missing, though there is an annotator")
        if self.annotator is None and self.choice is not None:
            raise ValueError("annotator: it is missing, though there is a choice")
        if (self.prompt_a, self.response_a) == (self.prompt_b, self.response_b):
            raise ValueError("response_b: the same text by the same prompt as response_a")
        if self.created_at is not None and self.created_at.tzinfo is None:
            self.created_at = self.created_at.replace(tzinfo=UTC)
        return self


class ExampleRow(BaseModel):
    model_config = {"arbitrary_types_allowed": True}

    input: Annotated[Input, BeforeValidator(_read_input)]
    reference: Annotated[str | None, BeforeValidator(lambda v: None if v in (None, "") else as_text(v))] = (
        None
    )
    split: Annotated[Literal["train", "dev", "test"] | None, BeforeValidator(_word)] = None
    external_id: OptionalName = None


def renamed(criteria: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Marks on criteria with the two sides under other names: rows say a and b, the database
    response ids. A mark is the better side ("a"), a rating of each ({"a": 4, "b": 2}), or
    something of its own, which stays as it is."""

    def one(mark: Any) -> Any:
        if isinstance(mark, dict):
            return {names.get(side, side): value for side, value in mark.items()}
        return names.get(mark, mark) if isinstance(mark, str) else mark

    return {name: one(mark) for name, mark in criteria.items()}


def prompt_label(name: str, version: int) -> str:
    """How exports name a prompt, and imports find it again: `name`, later versions `name v2`."""
    return name if version == 1 else f"{name} v{version}"


def comparison_row(value: Any) -> ComparisonRow:
    """Check one canonical row, or one of TRL's preference rows."""
    row = clean(value)
    if "chosen" in row and "rejected" in row and "response_a" not in row:
        row = preference_row(row)
    return _checked(ComparisonRow, row)


def example_row(value: Any) -> ExampleRow:
    """Check one example: a text, or an object with `input` (text or object), `reference`,
    `split`, `external_id`; any other names are fields of the input."""
    row = clean({"input": value} if isinstance(value, str) else value)
    known = {name: row.pop(name, None) for name in ("reference", "split", "external_id")}
    given = row.pop("input", None)
    if not row:
        fields = given
    elif isinstance(given, dict):
        fields = {**given, **row}
    else:
        fields = row if given is None else {"input": given, **row}
    return _checked(ExampleRow, {"input": fields, **known})


def _checked(model: type[Any], row: dict[str, Any]) -> Any:
    try:
        return model.model_validate(row)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"][:1])
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            said = "it is missing"
        elif first["type"].startswith("datetime"):
            said = "it is not a time like 2026-01-31T12:00:00Z"
        elif field == "input" or not field or said.startswith(f"{field}:"):
            raise RowProblem(said) from None
        given = row.get(field)
        example = f" (it says {given!r})" if isinstance(given, str) and 0 < len(given) <= 40 else ""
        raise RowProblem(f"{field}: {said[0].lower() + said[1:]}{example}") from None
