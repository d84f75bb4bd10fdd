"""Exports of other tools, recognised by their shape and turned into a table that the import
page maps like any other.

A converter takes one record of the file and gives its comparisons: rows with our names where
the format says what a thing is, and with the file's own names where only the person who set
the tool up knows (those are mapped on the page). For what is no comparison it gives a
sentence instead, which the report shows with the record's number. Suggestions and
predictions of models are not votes, and are never taken for any.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.foreign import argilla, chatbot_arena, label_studio, langsmith, openai_logs
from storage.files import Table
from storage.inputs import RowProblem

Row = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """`fits` looks at one record; `rows` gives its comparisons, or why there is none."""

    name: str
    title: str
    fits: Callable[[Row], bool]
    rows: Callable[[Row], Iterator[Row | str]]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("label-studio", "Label Studio", label_studio.fits, label_studio.rows),
        Tool("argilla", "Argilla", argilla.fits, argilla.rows),
        Tool("langsmith", "LangSmith", langsmith.fits, langsmith.rows),
        Tool("chatbot-arena", "Chatbot Arena", chatbot_arena.fits, chatbot_arena.rows),
        Tool("openai", "OpenAI", openai_logs.fits, openai_logs.rows),
    )
}


def recognised(table: Table) -> Tool | None:
    """The tool that wrote the file: most of its first 20 records have that tool's shape."""
    first = table.rows[:20]
    for tool in TOOLS.values():
        if 2 * sum(_fits(tool, row) for row in first) > len(first):
            return tool
    return None


def converted(tool: Tool, table: Table) -> Table:
    """The comparisons of a tool's export. A record can give several (one a vote), which all
    bear its number; what it does not give goes to `broken` with the reason."""
    made = Table(f"{tool.title} export", table.unit, broken=list(table.broken))
    for number, record in zip(table.numbers, table.rows, strict=True):
        try:
            if not _fits(tool, record):
                raise RowProblem(f"it is not a record of {tool.title}'s")
            for row in tool.rows(record):
                if isinstance(row, str):
                    made.broken.append((number, row))
                else:
                    made.add(number, row)
        except RowProblem as problem:
            made.broken.append((number, str(problem)))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            made.broken.append((number, f"it is not as {tool.title} writes its records"))
    made.broken.sort(key=lambda one: one[0])
    made.columns = list(dict.fromkeys(name for row in made.rows for name in row))
    return made


def _fits(tool: Tool, record: Row) -> bool:
    try:
        return tool.fits(record)
    except (KeyError, TypeError, AttributeError):
        return False
