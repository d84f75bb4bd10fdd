"""The process's one database and one run supervisor, for pages, routes and the lifespan.

Module state is shared by all of them (the file watcher is off); tests put their own
database in place with `use_database`.
"""

from core.runs.supervisor import Supervisor
from core.settings import get_settings
from storage.database import Database

_database: Database | None = None
_supervisor: Supervisor | None = None


def database() -> Database:
    global _database
    if _database is None:
        _database = Database(get_settings().sqlalchemy_url)
    return _database


def use_database(value: Database | None) -> None:
    global _database
    if _database is not None and _database is not value:
        _database.dispose()
    _database = value


def supervisor() -> Supervisor:
    """The process's supervisor of runs, of the database in use now. The lifespan starts
    and stops it."""
    global _supervisor
    db = database()
    if _supervisor is None or _supervisor.db is not db:
        if _supervisor is not None:
            _supervisor.stop()
        _supervisor = Supervisor(db, get_settings())
    return _supervisor
