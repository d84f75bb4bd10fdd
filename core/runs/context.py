"""What a worker gives to the work: the spec, the folder, events, progress, cancel.

A kind of run is a function `run(context) -> dict` that reads `context.spec` and
`context.inputs`, and returns its result. It must be able to start again from
`context.state` after its process was killed, and reach the same result.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import PrefloopError
from core.runs.folder import RunFolder, plain


class Cancelled(Exception):
    """A person asked to stop. Raise it (via `check_cancelled`) between steps; a kind
    may catch it to keep the best so far, and return its result with `partial=True`.
    (A result with `partial=False` says that all was done in spite of the request.)"""


class WorkError(PrefloopError):
    """The run cannot go on, for a reason that a person can act on: message and hint."""


class RunContext:
    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.spec: dict[str, Any] = folder.spec
        self.config: dict[str, Any] = self.spec["config"]
        self.seed: int = int(self.spec["seed"])
        self.inputs: Path = folder.inputs
        self.state: Path = folder.state
        self.artifacts: Path = folder.artifacts
        self.models_dir = Path(self.spec["models_dir"])
        self._clock = clock
        self._started = clock()
        self._start_fraction: float | None = None
        self._file = self._open_events()

    def _open_events(self):  # type: ignore[no-untyped-def]
        """Go on after the last whole line: a killed worker may have left half of one."""
        path = self.folder.events
        events, end = self.folder.read_events()
        self.number = events[-1]["n"] if events else 0
        if path.exists() and path.stat().st_size > end:
            with path.open("r+b") as file:
                file.truncate(end)
        return path.open("a", encoding="utf-8")

    def emit(self, type: str, **data: Any) -> int:
        """Append one event; types: progress, metric, candidate, artifact, log, ledger
        (and state: started, interrupted, resumed; not for kinds)."""
        self.number += 1
        line = {"n": self.number, "at": datetime.now(UTC).isoformat(), "type": type, "data": plain(data)}
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        return self.number

    def log(self, text: str) -> None:
        self.emit("log", text=text)

    def progress(self, fraction: float, message: str = "", **detail: float) -> None:
        """`fraction` of all the work, 0 to 1, also after a resume; the time left is
        reckoned from the pace of this process. `detail` is kept in the event."""
        if self._start_fraction is None:
            self._start_fraction, self._started = fraction, self._clock()
        gained = fraction - self._start_fraction
        spent = self._clock() - self._started
        eta = spent / gained * (1 - fraction) if gained > 0 and spent > 0 else None
        self.emit(
            "progress", fraction=round(min(max(fraction, 0.0), 1.0), 4), message=message, eta_s=eta, **detail
        )

    def metric(self, step: int, **values: float) -> None:
        self.emit("metric", step=step, **values)

    def artifact(self, kind: str, path: Path, **detail: Any) -> None:
        """Announce a finished file under artifacts/; `kind` decides what is done with it."""
        self.emit("artifact", kind=kind, path=str(path.relative_to(self.folder.path)), **detail)

    @property
    def cancelled(self) -> bool:
        return self.folder.cancel_requested

    def check_cancelled(self) -> None:
        if self.cancelled:
            raise Cancelled

    @property
    def paused(self) -> bool:
        """A person asked to pause. Between steps, a kind that can (`Kind.pauses`) returns what
        it has so far with `partial=True`; it is started again from its state."""
        return self.folder.pause_requested

    def close(self) -> None:
        self._file.close()
