"""A file of pairwise judgements, read into rows of one shape: RewardBench's (Lambert et al.
2024, arXiv 2403.13787: prompt, chosen, rejected, subset), RewardBench 2's (Malik et al. 2025,
arXiv 2506.01937: several rejected ones, several chosen ones among its ties), and any like them.

A row that cannot be read stops the whole file and is named: a benchmark with holes is no
benchmark.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Invalid
from core.reward.text import input_text
from storage.files import FileProblem, Table, read_table

PROMPT = ("prompt", "input", "question", "instruction")
SUBSET = ("subset", "category", "task")
MOST_ROWS = 20_000
MOST_RESPONSES = 64  # of one row
ALL = "all"  # the subset of rows without one
HINT = (
    "Columns: prompt (text, or a list of messages), chosen and rejected (text, a conversation, or a list of texts), "
    "subset (optional)."
)


def read_bench(name: str, data: bytes, limit: int) -> list[dict[str, Any]]:
    """Rows: row (where it stands in the file), subset, input, chosen, rejected (lists of texts).
    Raises Invalid, naming the row."""
    try:
        table = read_table(name, data, limit)
    except FileProblem as problem:
        raise Invalid(str(problem), problem.hint) from problem
    if table.broken:
        number, reason = table.broken[0]
        raise Invalid(f"{table.unit.capitalize()} {number}: {reason}.", "Correct it there.")
    if len(table.rows) > MOST_ROWS:
        raise Invalid(f"The file has {len(table.rows):,} rows; at most {MOST_ROWS:,} are taken.", "Split it.")
    for column in ("chosen", "rejected"):
        if column not in table.columns:
            raise Invalid(f"The file has no column “{column}”.", HINT)
    return [one_row(table, row, number) for row, number in zip(table.rows, table.numbers, strict=True)]


def one_row(table: Table, row: Mapping[str, Any], number: int) -> dict[str, Any]:
    where = f"{table.unit.capitalize()} {number}"
    asked = prompt_of(row, where)
    sides = {}
    for column in ("chosen", "rejected"):
        before, texts = responses(row.get(column), where, column)
        asked = before if asked is None else asked
        sides[column] = texts
    if asked is None:
        raise Invalid(f"{where}: there is no prompt.", HINT)
    same = set(sides["chosen"]) & set(sides["rejected"])
    if same:
        raise Invalid(f"{where}: the same text is chosen and rejected.", "Remove the row, or correct it.")
    subset = next((str(row[name]).strip() for name in SUBSET if row.get(name) not in (None, "")), ALL)
    return {"row": number, "subset": subset or ALL, "input": asked, **sides}


def prompt_of(row: Mapping[str, Any], where: str) -> str | None:
    """The text of the prompt; None where the row has none (it may stand in a conversation)."""
    value = next((row[name] for name in PROMPT if row.get(name) not in (None, "")), None)
    if value is None:
        return None
    value = parsed(value)
    if isinstance(value, str):
        return value
    if is_messages(value):
        return conversation(value, where, "prompt")
    raise Invalid(f"{where}: prompt is neither text nor a list of messages.", HINT)


def responses(value: Any, where: str, column: str) -> tuple[str | None, list[str]]:
    """(the prompt before it, where the column holds conversations; the texts)."""
    value = parsed(value)
    if isinstance(value, str):
        value = [value]
    if is_messages(value):
        value = [value]
    if not isinstance(value, Sequence) or not value:
        raise Invalid(f"{where}: {column} is empty.", HINT)
    if len(value) > MOST_RESPONSES:
        raise Invalid(f"{where}: {column} has {len(value):,} responses; at most {MOST_RESPONSES} are taken.")
    before, texts = None, []
    for item in value:
        if is_messages(item):
            if item[-1].get("role") != "assistant":
                raise Invalid(f"{where}: {column} does not end with the assistant's message.", HINT)
            before = conversation(item[:-1], where, column) if len(item) > 1 else before
            item = item[-1].get("content")
        if not isinstance(item, str) or not item.strip():
            raise Invalid(f"{where}: {column} is empty, or not text.", HINT)
        texts.append(item)
    return before, texts


def conversation(messages: Sequence[Mapping[str, Any]], where: str, column: str) -> str:
    """As a reward model reads it: the last turn of the user, after the earlier ones."""
    for message in messages:
        if not isinstance(message.get("content"), str):
            raise Invalid(f"{where}: a message of {column} has no text.", HINT)
    if not messages or messages[-1].get("role") != "user":
        raise Invalid(
            f"{where}: what comes before the response in {column} does not end with the user's message.", HINT
        )
    return input_text(messages[-1]["content"], list(messages[:-1]))  # type: ignore[arg-type]


def is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "role" in item for item in value)
    )


def parsed(value: Any) -> Any:
    """A list that a CSV file holds as JSON; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            found = json.loads(value)
        except ValueError:
            return value
        if (
            isinstance(found, list)
            and found
            and (is_messages(found) or all(isinstance(x, str | list) for x in found))
        ):
            return found
    return value
