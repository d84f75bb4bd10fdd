"""The process's one database, for pages, routes and the lifespan.

Module state is shared by all of them (the file watcher is off); tests put their own
database in place with `use_database`.
"""

from core.settings import get_settings
from storage.database import Database

_database: Database | None = None


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
