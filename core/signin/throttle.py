"""Slowing down who guesses passwords: after some failures each further try must wait,
twice as long each time.

Counted by account and address together, which stops a guesser without locking the
owner out elsewhere; and, with more patience, by account and by address alone, which
stops guessers who spread out. In memory: a restart forgets, and a restart is not
something that a guesser can cause.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_FORGET_S = 3600.0
_KEPT = 10_000


@dataclass
class _Count:
    failures: int
    last: float


@dataclass(frozen=True)
class Limit:
    """`free` failures cost nothing; after that 1, 2, 4 … seconds up to `longest_s`."""

    free: int
    longest_s: float


BOTH = Limit(free=4, longest_s=300)
ACCOUNT = Limit(free=20, longest_s=30)
ADDRESS = Limit(free=40, longest_s=120)


class Throttle:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, ...], _Count] = {}
        self._lock = threading.Lock()

    def wait_s(self, account: str, address: str) -> float:
        """Seconds until the next try is heard; 0 when it may be made now."""
        now = self._clock()
        with self._lock:
            return max(self._wait(key, limit, now) for key, limit in _keys(account, address))

    def failed(self, account: str, address: str) -> None:
        now = self._clock()
        with self._lock:
            if len(self._counts) > _KEPT:
                self._forget(now)
            for key, _limit in _keys(account, address):
                count = self._counts.get(key)
                if count is None or now - count.last > _FORGET_S:
                    count = self._counts[key] = _Count(0, now)
                count.failures += 1
                count.last = now

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of this account here; the address alone keeps its count, or
        somebody with one account could guess the others' freely."""
        with self._lock:
            for key in (("both", account, address), ("account", account)):
                self._counts.pop(key, None)

    def _wait(self, key: tuple[str, ...], limit: Limit, now: float) -> float:
        count = self._counts.get(key)
        if count is None or count.failures <= limit.free:
            return 0.0
        pause = min(2.0 ** (count.failures - limit.free - 1), limit.longest_s)
        return max(0.0, count.last + pause - now)

    def _forget(self, now: float) -> None:
        """Drop what is old; if that is not enough, the older half."""
        items = sorted(self._counts.items(), key=lambda item: item[1].last)
        fresh = [item for item in items if now - item[1].last <= _FORGET_S]
        self._counts = dict(fresh[-_KEPT // 2 :])


def _keys(account: str, address: str) -> list[tuple[tuple[str, ...], Limit]]:
    return [
        (("both", account, address), BOTH),
        (("account", account), ACCOUNT),
        (("address", address), ADDRESS),
    ]
