"""The web process's side of the resident scorer (`core.reward.serve`): started when somebody
first asks, started again when it died, ended with the web process. Never imports torch.

Each web process has a scorer of its own, a child on two pipes: no port, no socket file, nobody
else can ask it, and it ends when its parent does, however that ends.
"""

import atexit
import json
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


@dataclass
class _Pending:
    id: int
    line: str
    rows: int
    future: "Future[Found]" = field(default_factory=Future)
    lost: int = 0  # times the scorer died over it


class ScorerClient:
    """Thread-safe. `idle_s`: how long the scorer stays without a request."""

    def __init__(self, idle_s: float, log: Path, most_waiting: int = MOST_WAITING) -> None:
        self.idle_s, self.log, self.most_waiting = idle_s, log, most_waiting
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._pending: dict[int, _Pending] = {}
        self._number = 0
        self._heard = time.monotonic()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the scorer at work, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

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
            if pending is None or self._process is None:
                return
            with suppress(OSError, ValueError):
                self._write(json.dumps({"drop": pending.id}) + "\n")
            if time.monotonic() - self._heard > HUNG_S:
                self._process.kill()

    def stop(self) -> None:
        """End the scorer; what waits gets Unavailable."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
            waiting, self._pending = list(self._pending.values()), {}
        for pending in waiting:
            _fail(pending, Unavailable("The server is stopping.", retry_after=10))
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)

    # --- under the lock ----------------------------------------------------------------------

    def _send(self, pending: _Pending) -> None:
        for _ in range(2):
            try:
                if self._process is None or self._process.poll() is not None:
                    self._start()
                self._write(pending.line)
                return
            except OSError:  # it ended between the two lines: once more with a new one
                self._process = None
        self._pending.pop(pending.id, None)
        raise Unavailable("The scoring process could not be started.", f"Its words are in {self.log.name}.")

    def _write(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.reward.serve", str(self.idle_s)],
                cwd=ROOT,
                env=child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._heard = time.monotonic()
        threading.Thread(target=self._listen, args=(self._process,), name="scorer", daemon=True).start()

    # --- what it says ------------------------------------------------------------------------

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
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
        process.wait()
        self._gone(process)

    def _gone(self, process: "subprocess.Popen[str]") -> None:
        """It ended: by itself when it was idle, or it was killed. What it owes is asked of a new
        one, once."""
        failed: list[_Pending] = []
        with self._lock:
            if self._closed or self._process is not process:
                return
            self._process = None
            for pending in list(self._pending.values()):
                pending.lost += 1
                try:
                    if pending.lost > 1:
                        raise Unavailable("The scoring process died twice over this.", "Send fewer rows.")
                    self._send(pending)
                except Unavailable as problem:
                    self._pending.pop(pending.id, None)
                    failed.append(pending)
                    log_of_last = problem
        for pending in failed:
            _fail(pending, log_of_last)


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
