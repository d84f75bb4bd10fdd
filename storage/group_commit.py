"""Group commit: what is asked for while one unit of work is being written is done together
in the next, with one commit. Nobody is answered before the commit that holds their own.

The more come at once, the more share a commit; one alone waits for nobody. (DeWitt et al.,
"Implementation techniques for main memory database systems", SIGMOD 1984, section 5.)
For DuckDB, whose writes come one after the other; PostgreSQL groups commits by itself.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

MOST = 64  # asks in one unit of work: later ones wait for the next instead of making all wait
# Who was answered together comes back together, over some milliseconds; without waiting for
# the rest, the first two would have a unit of work to themselves, every time.
_GATHER_S = 0.01
_GAP_S = 0.002  # nobody came in this time: the rest is not coming
_IDLE_S = 5.0


class GroupCommit(Generic[A, R]):
    """`work` takes what was asked for and answers, in the same order, a result or the error
    that this one alone gets; what it raises, all of them get. It runs on a thread of its
    own, which ends when nothing was asked for in a while."""

    def __init__(self, work: Callable[[list[A]], Sequence[R | BaseException]], name: str) -> None:
        self._work = work
        self._name = name
        self._waiting: deque[tuple[A, Future[R]]] = deque()
        self._changed = threading.Condition()
        self._running = False

    def ask(self, what: A) -> Future[R]:
        future: Future[R] = Future()
        with self._changed:
            self._waiting.append((what, future))
            if self._running:
                self._changed.notify()
            else:
                self._running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def _run(self) -> None:
        before = 0
        while batch := self._next(before):
            before = len(batch)
            try:
                results = self._work([what for what, _ in batch])
            except BaseException as error:
                results = [error] * before
            for (_, future), result in zip(batch, results, strict=True):
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next(self, before: int) -> list[tuple[A, Future[R]]]:
        """What to do next; nothing when nobody has asked in a while."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(_IDLE_S)
            end = time.monotonic() + _GATHER_S
            while 1 < before > len(self._waiting) > 0 and time.monotonic() < end:
                if not self._changed.wait(_GAP_S):
                    break
            self._running = bool(self._waiting)
            return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
