"""One conditional UPDATE that also answers what it changed, on both databases.

On PostgreSQL that is UPDATE … RETURNING. DuckDB 1.5 carries UPDATE … RETURNING out as a
delete and an insert, which rewrites every index of the table; after a kill -9 and the
replay of its log, such a delete has ended in "Failed to delete all rows from index", which
makes the whole database unusable until a restart. A plain UPDATE of columns without an
index is done in place. So there the row is found first, and read back afterwards; the
process-wide write lock (`Database.write`) keeps anybody from coming between.
"""

from typing import Any

from sqlalchemy import Update, select
from sqlmodel import Session


def update_one(session: Session, statement: Update, *columns: Any) -> Any:
    """Run an UPDATE whose condition matches at most one row; answers the row's `columns`
    as they are afterwards, or None when nothing matched."""
    statement = statement.execution_options(synchronize_session=False)
    if session.get_bind().dialect.name != "duckdb":
        return session.execute(statement.returning(*columns)).first()
    condition = statement.whereclause
    if condition is None:
        raise ValueError("an UPDATE of one row needs a condition")
    key: Any = statement.table.c.id  # type: ignore[attr-defined]
    found = session.execute(select(key).where(condition)).first()
    if found is None:
        return None
    session.execute(statement.where(key == found[0]))
    return session.execute(select(*columns).where(key == found[0])).first()
