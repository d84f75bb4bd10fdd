"""Results that are kept as long as what they were computed from is the same.

On a large project the state changes all the time and counting anew takes a second or two:
there the result before is given meanwhile, and a thread counts anew.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
_one_at_a_time = Lock()  # a query may take all cores
log = logging.getLogger(__name__)


class Kept(Generic[T]):
    """The newest results by key, each with the state it belongs to. What is kept is shared
    between threads: read it only."""

    def __init__(self, most: int = 64, pause_s: float = 1.0) -> None:
        self._most, self._pause_s = most, pause_s
        self._found: OrderedDict[Hashable, tuple[Hashable, T]] = OrderedDict()
        self._busy: set[Hashable] = set()  # keys that a thread counts anew
        self._lock = Lock()

    def get(self, key: Hashable, state: Hashable, make: Callable[[], T], *, meanwhile: bool = False) -> T:
        """What is kept under `key` for this `state`, made anew when there is none. With
        `meanwhile`, what was kept for another state does until a thread has made it anew;
        `make` must then open its own session."""
        with self._lock:
            kept = self._found.get(key)
            if kept is not None and kept[0] == state:
                self._found.move_to_end(key)
                return kept[1]
            if kept is not None and meanwhile:
                if key not in self._busy:
                    self._busy.add(key)
                    # Not a daemon: a query that is torn down with the process aborts it.
                    Thread(target=self._anew, args=(key, state, make), name="kept").start()
                return kept[1]
        return self._keep(key, state, make())

    def _keep(self, key: Hashable, state: Hashable, made: T) -> T:
        with self._lock:
            self._found[key] = (state, made)
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return made

    def _anew(self, key: Hashable, state: Hashable, make: Callable[[], T]) -> None:
        time.sleep(self._pause_s)  # the page that asked is served first
        try:
            with _one_at_a_time:
                self._keep(key, state, make())
        except Exception:  # the next who asks tries again
            log.exception("what is kept could not be made anew")
        finally:
            with self._lock:
                self._busy.discard(key)

    def forget(self) -> None:
        """Nothing is kept any more."""
        with self._lock:
            self._found.clear()
