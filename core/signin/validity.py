"""Which sign-ins are known to be good, for a moment.

The gate asks for every request, and a page is a hundred requests. So an answer is
remembered for a second. What ends a sign-in in this process forgets at once; in another
process (PostgreSQL), it is noticed within that second.
"""

import threading
import time
from collections.abc import Callable

from core.errors import NotSignedIn
from storage.database import Database

REMEMBER_S = 1.0
_KEPT = 5_000


class Validity:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, bool]] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def known(self, sign_in_id: str) -> bool | None:
        """What was found within the last second, without touching the database."""
        with self._lock:
            at, good = self._known.get(sign_in_id, (float("-inf"), False))
        return good if self._clock() - at <= REMEMBER_S else None

    def check(self, db: Database, sign_in_id: str) -> bool:
        """Ask the database, and remember."""
        from core.signin.sessions import principal_of_sign_in

        with self._lock:
            generation = self._generation
        at = self._clock()
        try:
            principal_of_sign_in(db, sign_in_id)
            good = True
        except NotSignedIn:
            good = False
        with self._lock:
            if generation == self._generation:  # else it may have ended while we asked
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[sign_in_id] = (at, good)
        return good

    def forget(self) -> None:
        """Something ended: ask again for everybody."""
        with self._lock:
            self._generation += 1
            self._known.clear()


validity = Validity()
