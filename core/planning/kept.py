"""Results that are kept as long as what they were computed from is the same."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The newest results by key, each with the state it belongs to. What is kept is shared
    between threads: read it only."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, tuple[Hashable, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, state: Hashable, make: Callable[[], T]) -> T:
        """What is kept under `key` for this `state`, made anew when there is none."""
        with self._lock:
            kept = self._found.get(key)
            if kept is not None and kept[0] == state:
                self._found.move_to_end(key)
                return kept[1]
        made = make()
        with self._lock:
            self._found[key] = (state, made)
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return made
