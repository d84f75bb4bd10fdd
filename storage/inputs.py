"""What a response answers: a text, an object of fields, or a conversation, read alike
wherever it comes from, so that the same input is the same example."""

import json
import math
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from storage.ids import content_hash


class RowProblem(ValueError):
    """Why a row is not taken; the text names the field."""


@dataclass(frozen=True)
class Input:
    """What a response answers: the text people see, the fields of a template's slots,
    and the turns of a conversation before the last one (None without any)."""

    text: str
    fields: dict[str, Any]
    messages: list[dict[str, str]] | None = None

    @cached_property
    def hash(self) -> str:
        return content_hash({"fields": self.fields, "messages": self.messages})

    def as_value(self) -> Any:
        """What `as_input` reads back as the same input."""
        if self.messages is None:
            return self.fields["input"] if set(self.fields) == {"input"} else self.fields
        turns = [*self.messages, {"role": "user", "content": str(self.fields.get("input", ""))}]
        others = {name: value for name, value in self.fields.items() if name != "input"}
        return {**others, "messages": turns} if others else turns


def as_input(value: Any) -> Input:
    """Read a text, an object of fields, or a conversation. An object whose `messages` is
    a conversation may have further fields."""
    if isinstance(value, bool | int | float):
        value = str(value)
    if isinstance(value, str):
        if not value.strip():
            raise RowProblem("input: it is empty")
        return Input(value, {"input": value})
    if isinstance(value, list):
        return _conversation(value, {})
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return _conversation(value["messages"], {k: v for k, v in value.items() if k != "messages"})
        fields = {str(name): item for name, item in value.items() if item is not None}
        if not any(str(item).strip() for item in fields.values()):
            raise RowProblem("input: it is empty")
        return Input(shown(fields), fields)
    raise RowProblem("input: it is missing" if value is None else "input: neither text, object nor list")


def shown(fields: dict[str, Any]) -> str:
    """Fields as people see them: the text alone, or each field under its name."""
    if len(fields) == 1:
        return as_text(next(iter(fields.values())))
    return "\n\n".join(f"{name}: {as_text(value)}" for name, value in fields.items())


def split_of(hash_: str) -> str:
    """The split that an input's hash fixes: train 60 %, dev 20 %, test 20 %."""
    place = int(hash_[:12], 16) / 16**12
    return "train" if place < 0.6 else "dev" if place < 0.8 else "test"


def _conversation(value: list[Any], fields: dict[str, Any]) -> Input:
    turns = messages_of(value, "input")
    if not turns or turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        raise RowProblem("input: a conversation must end with what the user says")
    last = turns[-1]["content"]
    own = {name: item for name, item in fields.items() if item is not None}
    return Input(last, {**own, "input": last}, turns[:-1] or None)


def messages_of(value: list[Any], field: str) -> list[dict[str, str]]:
    """A list of chat messages, checked: role and text content, nothing else."""
    turns = []
    for item in value:
        if not isinstance(item, dict) or item.get("role") not in ("system", "user", "assistant"):
            raise RowProblem(f"{field}: a message needs a role (system, user or assistant) and content")
        content = item.get("content")
        if isinstance(content, list):
            content = "".join(_part(part, field) for part in content)
        if not isinstance(content, str):
            raise RowProblem(f"{field}: a message needs content that is text")
        turns.append({"role": item["role"], "content": content})
    return turns


def _part(part: Any, field: str) -> str:
    """The text of a part of a message. Whoever judged it saw the other kinds as well, so that a
    message which has one is not taken."""
    if isinstance(part, dict):
        kind, text = str(part.get("type") or "text"), part.get("text") or ""
        if kind in ("text", "input_text", "output_text") and not part.get("image") and isinstance(text, str):
            return text
    raise RowProblem(f"{field}: a message has a part that is no text")


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def clean(value: Any) -> dict[str, Any]:
    """A row as plain JSON that every database keeps: times as text, NaN as null. Raises
    RowProblem for what is no object, and for characters that cannot be stored."""
    if not isinstance(value, dict):
        raise RowProblem("the row is not an object")
    return {str(name): _plain(item, str(name)) for name, item in value.items()}


def _plain(value: Any, field: str) -> Any:
    if isinstance(value, str):
        if "\x00" in value or not _encodes(value):
            raise RowProblem(f"{field}: it has a character that cannot be stored (NUL or half a surrogate)")
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(item, field) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, field) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    raise RowProblem(f"{field}: it is neither text, number, list nor object")


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
