"""The web process's side of the resident scorer (`core.reward.serve`): started when somebody
first asks, started again when it died, ended with the web process. Never imports torch.

Each web process has a scorer of its own, a child on two pipes: no port, no socket file, nobody
else can ask it, and it ends when its parent does, however that ends.
"""

import atexit
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import PrefloopError, Unavailable
from core.runs.executors import child_environment
from core.settings import ROOT, get_settings

MOST_WAITING = 64  # requests
MOST_ROWS = 16_384  # responses that wait, of all requests
HUNG_S = 300.0  # a scorer that owes answers and has said nothing for so long is ended
Found = dict[str, Any]


class _Child:
    """A scorer process, and the thread that writes to it: a scorer that hangs must not block who
    asks, or the event loop that gives up on it."""

    def __init__(self, idle_s: float, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "core.reward.serve", str(idle_s)],
                cwd=ROOT,
                env=child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
            )
        self._outbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="scorer-writer", daemon=True).start()

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def send(self, line: str | None) -> None:
        self._outbox.put(line)

    def _write(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # it died: whoever listens to it notices
            while (line := self._outbox.get()) is not None:
                self.process.stdin.write(line)
                self.process.stdin.flush()


@dataclass
class _Pending:
    id: int
    line: str
    rows: int
    future: "Future[Found]" = field(default_factory=Future)
    child: _Child | None = None  # that owes the answer
    lost: int = 0  # times the scorer died over it


class ScorerClient:
    """Thread-safe. `idle_s`: how long the scorer stays without a request."""

    def __init__(self, idle_s: float, log: Path, most_waiting: int = MOST_WAITING) -> None:
        self.idle_s, self.log, self.most_waiting = idle_s, log, most_waiting
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._pending: dict[int, _Pending] = {}
        self._number = 0
        self._heard = time.monotonic()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the scorer at work, if there is one."""
        child = self._child
        return child.process.pid if child is not None and child.lives else None

    def submit(self, folder: str, inputs: Sequence[str], responses: Sequence[str]) -> "Future[Found]":
        """Ask for scores by the model in this folder; the future gets the scorer's answer (see
        `core.reward.serve`), or a PrefloopError that says what is wrong. Raises Unavailable when
        too much waits already."""
        with self._lock:
            if self._closed:
                raise Unavailable("The server is stopping.", retry_after=10)
            rows = sum(one.rows for one in self._pending.values())
            if len(self._pending) >= self.most_waiting or rows + len(inputs) > MOST_ROWS:
                raise Unavailable(
                    f"{len(self._pending)} requests wait to be scored already.", "Try again in a moment."
                )
            self._number += 1
            body = {
                "id": self._number,
                "folder": folder,
                "inputs": list(inputs),
                "responses": list(responses),
            }
            pending = _Pending(self._number, json.dumps(body) + "\n", len(inputs))
            if not self._pending:
                self._heard = time.monotonic()
            self._pending[pending.id] = pending
            self._send(pending)
            pending.future.prefloop_id = pending.id  # type: ignore[attr-defined]
            return pending.future

    def drop(self, future: "Future[Found]") -> None:
        """Nobody waits for this any more. A scorer that hangs is ended here."""
        with self._lock:
            pending = self._pending.pop(getattr(future, "prefloop_id", 0), None)
            if pending is None or pending.child is None:
                return
            pending.child.send(json.dumps({"drop": pending.id}) + "\n")
            if time.monotonic() - self._heard > HUNG_S:
                pending.child.process.kill()

    def stop(self) -> None:
        """End the scorer; what waits gets Unavailable."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
            waiting, self._pending = list(self._pending.values()), {}
        for pending in waiting:
            _fail(pending, Unavailable("The server is stopping.", retry_after=10))
        if child is not None:  # it has nothing to lose
            child.send(None)
            child.process.kill()
            child.process.wait(10)

    # --- under the lock ----------------------------------------------------------------------

    def _send(self, pending: _Pending) -> None:
        try:
            if self._child is None or not self._child.lives:
                self._child = _Child(self.idle_s, self.log)
                self._heard = time.monotonic()
                threading.Thread(
                    target=self._listen, args=(self._child,), name="scorer-reader", daemon=True
                ).start()
        except OSError as problem:
            self._pending.pop(pending.id, None)
            raise Unavailable(f"The scoring process could not be started: {problem.strerror}.") from problem
        pending.child = self._child
        self._child.send(pending.line)

    # --- what it says ------------------------------------------------------------------------

    def _listen(self, child: _Child) -> None:
        assert child.process.stdout is not None
        for line in child.process.stdout:
            try:
                found = json.loads(line)
            except ValueError:  # half a line of a process that was killed
                continue
            with self._lock:
                self._heard = time.monotonic()
                pending = self._pending.pop(found.get("id"), None)
            if pending is None:
                continue
            if "error" in found:
                _fail(pending, PrefloopError(found["error"], found.get("hint", "")))
            elif pending.future.set_running_or_notify_cancel():
                pending.future.set_result(found)
        child.process.wait()
        child.send(None)
        self._gone(child)

    def _gone(self, child: _Child) -> None:
        """It ended: by itself when it was idle, or it was killed. What it owes is asked of
        another one, once."""
        failed: list[tuple[_Pending, Unavailable]] = []
        with self._lock:
            if self._child is child:
                self._child = None
            for pending in [one for one in self._pending.values() if one.child is child]:
                pending.lost += 1
                try:
                    if pending.lost > 1:
                        raise Unavailable("The scoring process died twice over this.", "Send fewer rows.")
                    self._send(pending)
                except Unavailable as problem:
                    self._pending.pop(pending.id, None)
                    failed.append((pending, problem))
        for lost, reason in failed:
            _fail(lost, reason)


def _fail(pending: _Pending, problem: PrefloopError) -> None:
    with suppress(Exception):  # cancelled meanwhile
        if pending.future.set_running_or_notify_cancel():
            pending.future.set_exception(problem)


_client: ScorerClient | None = None
_making = threading.Lock()


def scorer() -> ScorerClient:
    """The process's one client."""
    global _client
    with _making:
        if _client is None:
            settings = get_settings()
            _client = ScorerClient(settings.scorer_idle_minutes * 60, settings.data_dir / "scorer.log")
            atexit.register(_client.stop)
        return _client


def stop_scorer() -> None:
    """End it, if there is one; the next who asks gets a new one."""
    global _client
    with _making:
        client, _client = _client, None
    if client is not None:
        atexit.unregister(client.stop)
        client.stop()
