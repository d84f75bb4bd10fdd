"""Adding and looking up many rows at once, on DuckDB and PostgreSQL alike.

DuckDB runs an executemany row by row (some 700 rows a second); an Arrow table that is
registered on the same connection goes in with one INSERT … SELECT, in the same
transaction. PostgreSQL takes the ordinary executemany, which psycopg pipelines.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, cast

import pyarrow as pa
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, UniqueConstraint
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlmodel import Session, SQLModel

from storage.ids import new_id

T = TypeVar("T")
CHUNK = 5_000  # values in one IN (…): more gain nothing on either database


def insert_many(
    session: Session,
    table: type[SQLModel],
    rows: Sequence[SQLModel | dict[str, Any]],
    *,
    ignore_existing: bool = True,
) -> int:
    """Add rows (instances of `table`, or dicts of its fields; what a dict leaves out gets
    the field's default) in the session's transaction; answers how many were added.

    With `ignore_existing`, a row whose primary or unique key is there already, in the
    table or earlier in `rows`, is left out; without it, the database's IntegrityError is
    raised. What the session has pending is flushed first.
    """
    if not rows:
        return 0
    session.flush()
    columns = list(table.__table__.columns)  # type: ignore[attr-defined]
    names = [column.name for column in columns]
    defaults = {name: _default(table, name) for name in names}
    values: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        given = row if isinstance(row, dict) else row.__dict__
        for name in names:
            values[name].append(given[name] if name in given else defaults[name]())
    if session.connection().dialect.name == "duckdb":
        return _insert_arrow(session, table, columns, values, ignore_existing)
    statement = pg_insert(table.__table__)  # type: ignore[attr-defined]
    if ignore_existing:
        statement = statement.on_conflict_do_nothing()
    records = [dict(zip(names, one, strict=True)) for one in zip(*values.values(), strict=True)]
    statement = statement.execution_options(preserve_rowcount=True)  # else unknown for many at once
    return session.connection().execute(statement, records).rowcount


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of at most `size`, for `column IN (…)`."""
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part


def _default(table: type[SQLModel], name: str) -> Callable[[], Any]:
    field = table.model_fields[name]
    if field.default_factory is not None:
        return cast(Callable[[], Any], field.default_factory)
    if not field.is_required():
        return lambda: field.default

    def missing() -> Any:
        raise ValueError(f"{table.__name__}.{name} has no value and no default")

    return missing


def _insert_arrow(
    session: Session, table: type[SQLModel], columns: list[Any], values: dict[str, list[Any]], ignore: bool
) -> int:
    """DuckDB 1.5's ON CONFLICT DO NOTHING takes two NULLs in a unique column for a
    conflict within one statement, and drops rows; so what is there already is left out
    by hand: repeats within `values` here, the rest by an anti-join on each key."""
    keys = _unique_keys(table)
    data = pa.table({column.name: _array(column, values[column.name]) for column in columns})
    if ignore:
        data = data.take(_without_repeats(values, keys))
    connection = session.connection()
    raw: Any = connection.connection.driver_connection
    view = "incoming_" + new_id().replace("-", "")
    target = f'"{table.__table__.name}"'  # type: ignore[attr-defined]
    names = ", ".join(f'"{column.name}"' for column in columns)
    statement = f"INSERT INTO {target} ({names}) SELECT {names} FROM {view} AS new"
    if ignore:
        matches = (" AND ".join(f'old."{name}" = new."{name}"' for name in key) for key in keys)
        tests = (f"NOT EXISTS (SELECT 1 FROM {target} AS old WHERE {match})" for match in matches)
        statement += " WHERE " + " AND ".join(tests)
    raw.register(view, data)
    try:
        return int(connection.exec_driver_sql(statement).scalar() or 0)
    finally:
        raw.unregister(view)


def _unique_keys(table: type[SQLModel]) -> list[list[str]]:
    """The columns of the primary key and of every unique constraint."""
    described: Any = table.__table__  # type: ignore[attr-defined]
    keys = [[column.name for column in described.primary_key.columns]]
    for constraint in described.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys.append([column.name for column in constraint.columns])
    return keys + [
        [column.name] for column in described.columns if column.unique and [column.name] not in keys
    ]


def _without_repeats(values: dict[str, list[Any]], keys: list[list[str]]) -> list[int]:
    """Which rows to keep so that no key comes twice; a key with a NULL repeats nothing."""
    seen: list[set[tuple[Any, ...]]] = [set() for _ in keys]
    kept = []
    for index in range(len(values[keys[0][0]])):
        own = [tuple(values[name][index] for name in key) for key in keys]
        if any(None not in key and key in before for key, before in zip(own, seen, strict=True)):
            continue
        for key, before in zip(own, seen, strict=True):
            before.add(key)
        kept.append(index)
    return kept


def _array(column: Any, values: list[Any]) -> pa.Array:
    kind = column.type
    if isinstance(kind, JSON):
        dumped = [None if v is None else json.dumps(v, ensure_ascii=False, allow_nan=False) for v in values]
        return pa.array(dumped, pa.string())
    if isinstance(kind, DateTime):
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    if isinstance(kind, Boolean):
        return pa.array(values, pa.bool_())
    if isinstance(kind, Integer):
        return pa.array(values, pa.int64())
    if isinstance(kind, Float):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array(values, pa.string())
