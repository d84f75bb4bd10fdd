"""The one way to the database: `read` for a short session, `write` for a unit of work.

DuckDB allows many writers and lets one win; without a lock, retries starve (13
commits/s on one row). So a write holds a process-wide lock for a short session and a
commit, and nothing else; a few retries of the whole unit are left for safety.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session

T = TypeVar("T")
_TRIES = 6
_CONFLICTS = ("conflict", "could not serialize", "deadlock detected", "write-write")
_INVALIDATED = "database has been invalidated"  # DuckDB, after a fatal error: open it anew


class DatabaseTooNew(Exception):
    """The database was written by a newer Prefloop."""


class Database:
    def __init__(self, url: str) -> None:
        self.url = url
        self.is_duckdb = url.startswith("duckdb")
        options = {"pool_size": 16, "max_overflow": 32} if ":memory:" not in url else {}
        self.engine: Engine = create_engine(url, **options)
        self._lock = threading.RLock() if self.is_duckdb else None
        # Units of work of this process that may have changed who can claim what.
        self.commits = 0
        if self.is_duckdb:
            # Times come back as the session's zone: make that UTC.
            @event.listens_for(self.engine, "connect")
            def _utc(connection, _record):  # type: ignore[no-untyped-def]
                connection.execute("SET TimeZone = 'UTC'")
        else:

            @event.listens_for(self.engine, "connect")
            def _utc_pg(connection, _record):  # type: ignore[no-untyped-def]
                with connection.cursor() as cursor:
                    cursor.execute("SET TIME ZONE 'UTC'")
                connection.commit()

    @contextmanager
    def read(self) -> Iterator[Session]:
        try:
            with Session(self.engine, expire_on_commit=False) as session:
                yield session
        except DBAPIError as error:
            if _INVALIDATED in str(error):
                self._open_anew()  # for the next one: what this one had read is half a picture
            raise

    def write(self, work: Callable[[Session], T], *, quiet: bool = False) -> T:
        """Run `work` in one transaction and commit it. `work` may run again after a
        conflict, so it must do nothing but use its session. `quiet`: it changes nothing that
        decides what an annotator is given next, so that what was read for that stays good."""
        for attempt in range(1, _TRIES + 1):
            try:
                if self._lock is None:
                    return self._once(work, quiet)
                with self._lock:
                    return self._once(work, quiet)
            except DBAPIError as error:
                # Two who make the same row at once: the second finds it when it tries again.
                again = _is_conflict(error) or (isinstance(error, IntegrityError) and attempt == 1)
                if _INVALIDATED in str(error):
                    self._open_anew()
                    again = True
                if attempt == _TRIES or not again:
                    raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    def _open_anew(self) -> None:
        """The file is whole; only this process's view of it is lost. It is opened anew as
        soon as the last connection to it is closed."""
        self.engine.dispose()

    def _once(self, work: Callable[[Session], T], quiet: bool) -> T:
        with Session(self.engine, expire_on_commit=False) as session:
            result = work(session)
            session.commit()
            self.commits += not quiet
            return result

    def migrate(self) -> None:
        """Bring the schema to this version's. Raises DatabaseTooNew."""
        config = alembic_config(self.url)
        script = ScriptDirectory.from_config(config)
        with self.engine.begin() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            known = {revision.revision for revision in script.walk_revisions()}
            if current is not None and current not in known:
                raise DatabaseTooNew(current)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def checkpoint(self) -> None:
        """Fold DuckDB's log into its file, so that the server that follows replays nothing."""
        if self.is_duckdb:
            with self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")

    def ping(self) -> bool:
        with self.engine.connect() as connection:
            return connection.execute(text("SELECT 1")).scalar() == 1

    def dispose(self) -> None:
        self.engine.dispose()


def alembic_config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _is_conflict(error: DBAPIError) -> bool:
    said = str(error).lower()
    return isinstance(error, OperationalError) or any(word in said for word in _CONFLICTS)
