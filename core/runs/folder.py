"""A run is a folder, and this is its shape.

    spec.json        kind, config, seed, versions: frozen when the run is queued
    inputs/          *.parquet and *.json the work reads
    events.jsonl     numbered lines: {"n": 1, "at": "…", "type": "progress", "data": {…}}
    state/           checkpoints, whatever the kind needs to go on
    artifacts/       what it made
    result.json      last: {"status": "succeeded", "result": {…}} or failed / cancelled
    cancel           present when a person asked to stop
    worker.lock      held (flock) by the one worker at work here
    worker.log       what the worker printed

Everything but events.jsonl and worker.log is written by write-then-rename.
"""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write-then-rename, so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + f".{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False, default=str)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self.state = path / "state"
        self.artifacts = path / "artifacts"

    def create(self, spec: dict[str, Any]) -> None:
        """Make the folder and freeze the spec. `spec` has: run_id, project_id, kind,
        config, seed, versions, models_dir (absolute path of the shared model folder)."""
        for folder in (self.inputs, self.state, self.artifacts):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "spec.json", spec)

    @property
    def spec(self) -> dict[str, Any]:
        return json.loads((self.path / "spec.json").read_text(encoding="utf-8"))

    @property
    def result(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.path / "result.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def cancel_requested(self) -> bool:
        return (self.path / "cancel").exists()

    def request_cancel(self) -> None:
        (self.path / "cancel").touch()

    def read_events(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole lines after byte `offset`, and the offset to go on from. A line still
        being written is left for the next time."""
        try:
            with (self.path / "events.jsonl").open("rb") as file:
                file.seek(offset)
                block = file.read()
        except FileNotFoundError:
            return [], offset
        end = block.rfind(b"\n") + 1
        events = [json.loads(line) for line in block[:end].splitlines() if line.strip()]
        return events, offset + end
