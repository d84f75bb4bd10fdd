"""A run is a folder, and this is its shape.

    spec.json        kind, config, seed, versions: frozen when the run is queued
    inputs/          *.parquet and *.json the work reads
    events.jsonl     numbered lines: {"n": 1, "at": "…", "type": "progress", "data": {…}}
    state/           checkpoints, whatever the kind needs to go on
    artifacts/       what it made
    result.json      last: {"status": "succeeded", "result": {…}} or failed / cancelled
    cancel           present when a person asked to stop
    pause            present when a person asked to pause
    worker.lock      held (flock) by the one worker at work here
    worker.json      who that worker is: pid, when it was born, slot
    worker.log       what the worker printed

Everything but events.jsonl and worker.log is written by write-then-rename.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def plain(value: Any) -> Any:
    """The value as JSON can hold it and every database takes it: numbers of NumPy and
    torch as numbers (not as text), NaN and infinities as null, text without lone
    surrogates and NULs, anything unknown as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, torch tensors
        return plain(value.tolist())
    return plain(str(value))


def write_json(path: Path, value: Any) -> None:
    """Write-then-rename, so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(plain(value), file, ensure_ascii=False, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a whole line; None for one that a crash of the machine has damaged."""
    try:
        event = json.loads(line)
        return event if isinstance(event, dict) and isinstance(event.get("n"), int) else None
    except ValueError:
        return None


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self.state = path / "state"
        self.artifacts = path / "artifacts"
        self.events = path / "events.jsonl"
        self.lock = path / "worker.lock"

    def create(self, spec: dict[str, Any]) -> None:
        """Make the folder and freeze the spec. `spec` has: run_id, project_id, kind,
        config, seed, versions, models_dir (absolute path of the shared model folder)."""
        for folder in (self.inputs, self.state, self.artifacts):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "spec.json", spec)

    @property
    def spec(self) -> dict[str, Any]:
        return json.loads((self.path / "spec.json").read_text(encoding="utf-8"))

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def result(self) -> dict[str, Any] | None:
        return self._json("result.json")

    @property
    def worker(self) -> dict[str, Any] | None:
        """The worker that took the lock last: {pid, started, slot, machine}."""
        return self._json("worker.json")

    @property
    def cancel_requested(self) -> bool:
        return (self.path / "cancel").exists()

    def request_cancel(self) -> None:
        """Ask the worker to stop; the first request's time is kept."""
        try:
            (self.path / "cancel").touch(exist_ok=False)
        except FileExistsError:
            return

    @property
    def cancel_requested_at(self) -> float | None:
        """When a person asked to stop, in seconds since the epoch."""
        try:
            return (self.path / "cancel").stat().st_mtime
        except FileNotFoundError:
            return None

    @property
    def pause_requested(self) -> bool:
        return (self.path / "pause").exists()

    def request_pause(self) -> None:
        """Ask the worker to end after the step in hand."""
        (self.path / "pause").touch()

    def clear_end(self) -> None:
        """Take away what says that the run has ended, so that a worker can go on."""
        for name in ("cancel", "pause", "result.json"):
            (self.path / name).unlink(missing_ok=True)

    def read_events(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole lines after byte `offset`, and the offset to go on from. A line still
        being written is left for the next time."""
        found = self.events_from(offset, limit=None)
        return [event for event, _ in found if event is not None], found[-1][1] if found else offset

    def events_from(
        self, offset: int = 0, limit: int | None = 500
    ) -> list[tuple[dict[str, Any] | None, int]]:
        """Up to `limit` whole lines after byte `offset`: each one's event (None where the
        line is damaged) and the byte after it."""
        found: list[tuple[dict[str, Any] | None, int]] = []
        try:
            with self.events.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n") or len(found) == limit:
                        break
                    offset += len(line)
                    found.append((_parsed(line), offset))
        except FileNotFoundError:
            pass
        return found

    def log_tail(self, at_most: int = 64_000) -> str:
        """The end of what the worker printed, as a person would have seen it: of a line
        drawn over again and again (a progress bar) only its last state."""
        try:
            with (self.path / "worker.log").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - at_most))
                block = file.read()
        except FileNotFoundError:
            return ""
        if size > at_most:
            block = block.partition(b"\n")[2]
        text = _ESCAPES.sub("", block.decode("utf-8", "replace")).replace("\r\n", "\n")
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")).strip("\n")
