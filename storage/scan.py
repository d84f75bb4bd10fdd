"""Comparing a column without its index, where the index is in the way.

For a value that most rows of a large table have, DuckDB first gathers the places of all of
them from the index, and only then sees that reading the column is faster: 0.2 s for a
million votes, against 0.01 s without the index. PostgreSQL's planner chooses by itself.
"""

from typing import Any

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class scanned(FunctionElement[str]):
    """`scanned(column) == value`: the same as `column == value`, and DuckDB reads the column.
    For aggregates over most of a table; to find a few rows, the index is right."""

    name = "scanned"
    type = String()
    inherit_cache = True


@compiles(scanned)
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(scanned, "duckdb")
def _without_index(element: Any, compiler: Any, **options: Any) -> str:
    return f"concat({compiler.process(element.clauses, **options)}, '')"
