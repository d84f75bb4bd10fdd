"""Who a sign-in or a token speaks for, remembered for a moment.

The gate asks for every request: a page is a hundred of them, and a program may send hundreds a
second. So an answer is remembered. What ends a sign-in, a token or an account in this process
forgets at once. With PostgreSQL it may also end in another process, which is noticed within
a second; with DuckDB there is no other, and only the time a token was given can run out.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.access import Principal
from core.errors import NotSignedIn
from storage.database import Database

REMEMBER_S = 1.0  # where other processes may end it
REMEMBER_ALONE_S = 10.0
_KEPT = 5_000


@dataclass(frozen=True)
class Found:
    """What the database said: who it is, or why it is nobody."""

    who: Principal | None
    problem: NotSignedIn | None = None

    def principal(self) -> Principal:
        """Raises NotSignedIn."""
        if self.who is None:
            raise self.problem or NotSignedIn("You are not signed in.")
        return self.who


class Validity:
    """`find` asks the database: it answers who it is, or raises NotSignedIn."""

    def __init__(
        self, find: Callable[[Database, str], Principal], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._clock = clock
        self._known: dict[str, tuple[float, Found]] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def known(self, key: str) -> Found | None:
        """What was found a moment ago, without touching the database."""
        with self._lock:
            until, found = self._known.get(key, (float("-inf"), None))
        return found if self._clock() <= until else None

    def check(self, db: Database, key: str) -> Found:
        """Ask the database, and remember."""
        with self._lock:
            generation = self._generation
        until = self._clock() + (REMEMBER_ALONE_S if db.is_duckdb else REMEMBER_S)
        try:
            found = Found(self._find(db, key))
        except NotSignedIn as problem:
            found = Found(None, NotSignedIn(problem.message, problem.hint))  # without its traceback
        with self._lock:
            if generation == self._generation:  # else it may have ended while we asked
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[key] = (until, found)
        return found

    def of(self, db: Database, key: str) -> Found:
        return self.known(key) or self.check(db, key)

    def forget(self) -> None:
        with self._lock:
            self._generation += 1
            self._known.clear()


def _of_sign_in(db: Database, key: str) -> Principal:
    from core.signin.sessions import principal_of_sign_in

    return principal_of_sign_in(db, key)


def _of_token(db: Database, key: str) -> Principal:
    from core.tokens import principal_of_token

    return principal_of_token(db, key)


sign_ins = Validity(_of_sign_in)
tokens = Validity(_of_token)


def forget() -> None:
    """Something ended: ask again for everybody."""
    sign_ins.forget()
    tokens.forget()
