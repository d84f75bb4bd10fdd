"""Where workers run. The local executor starts a process per run on this machine; the
protocol asks for nothing that only a local process has, so others (Ray Jobs on a cluster
with a shared folder) can stand beside it.
"""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Protocol

import psutil

from core.runs import locks
from core.runs.folder import RunFolder
from core.runs.worker import NO_RESULT
from core.settings import ROOT, Settings

_SAME_BIRTH_S = 2.0  # the kernel tells births by a clock that may be set
# Of a child: this process remembers when the machine started by the clock of its own beginning,
# the worker by that of its own; between them a clock that is kept right may have moved by more.
_CHILD_BIRTH_S = 3600.0
# What a worker has no business to know: it reads its folder, never the database.
_KEPT_BACK = ("PREFLOOP_DATABASE_URL", "PREFLOOP_OIDC_CLIENT_SECRET")


def child_environment() -> dict[str, str]:
    """The environment of a process that works for us, without what it must not know."""
    environment = {key: value for key, value in os.environ.items() if key not in _KEPT_BACK}
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


@dataclass(frozen=True)
class Handle:
    """A worker as the run's row remembers it: its process id, and when it was born, so
    that another process that got the same id later is not taken for it."""

    pid: int
    started: float


class Executor(Protocol):
    @property
    def slots(self) -> int:
        """How many runs may be at work at once."""
        ...

    def start(self, folder: RunFolder, slot: int) -> Handle:
        """Start a worker that outlives this process. OSError when it cannot be."""
        ...

    def alive(self, folder: RunFolder, handle: Handle | None) -> bool:
        """Is a worker at work in this folder? Also one that another process started."""
        ...

    def stop(self, folder: RunFolder, handle: Handle | None, *, hard: bool) -> None:
        """Tell the worker to end (SIGTERM), or end it and all it started (SIGKILL)."""
        ...

    def post_mortem(self, handle: Handle | None) -> tuple[str, str]:
        """Why a worker that is gone without a result may have died, and what to do."""
        ...


class LocalExecutor:
    """One process per run, in a session of its own: it goes on when the web process dies."""

    def __init__(self, settings: Settings) -> None:
        self.gpus = visible_gpus()
        self._slots = settings.worker_slots or len(self.gpus) or 1
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def slots(self) -> int:
        return self._slots

    def start(self, folder: RunFolder, slot: int) -> Handle:
        self._reap()
        environment = child_environment()
        environment["PREFLOOP_SLOT"] = str(slot)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        with (folder.path / "worker.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "core.runs.worker", str(folder.path)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[child.pid] = child
        # Not reaped yet, so the process is there to be asked even if it ended at once.
        return Handle(child.pid, psutil.Process(child.pid).create_time())

    def alive(self, folder: RunFolder, handle: Handle | None) -> bool:
        if handle is not None and self._lives(handle):
            return True
        holder = _holder(folder)
        if holder is not None and self._lives(holder):
            return not locks.is_free(folder.lock)
        if locks.is_free(folder.lock):
            return False
        # Its own processes may outlive a worker, and hold its lock: end them, then it is free.
        for gone in (holder, handle):
            if gone is not None:
                _end_session(gone)
        return True

    def stop(self, folder: RunFolder, handle: Handle | None, *, hard: bool) -> None:
        for worker in {_holder(folder), handle}:
            if worker is None or not self._lives(worker):
                continue
            try:
                if hard:
                    os.killpg(worker.pid, signal.SIGKILL)
                else:
                    os.kill(worker.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def post_mortem(self, handle: Handle | None) -> tuple[str, str]:
        child = self._children.get(handle.pid) if handle else None
        code = child.poll() if child else None
        memory = "If memory ran out, choose a smaller model or batch size before you resume."
        if code == -signal.SIGKILL:
            return (
                "The worker was killed. If nobody did that, the machine probably ran out of memory.",
                memory,
            )
        if code is not None and code < 0:
            return f"The worker died of {signal.Signals(-code).name}.", "The log below may say why."
        if code == NO_RESULT:
            return "The worker could not write into its run folder.", "Check that the disk is not full."
        if code is not None:
            return f"The worker ended early (exit code {code}).", "The log below may say why."
        return (
            "The worker is gone: it was killed, memory ran out, or the machine was restarted.",
            memory,
        )

    def _lives(self, handle: Handle) -> bool:
        child = self._children.get(handle.pid)
        if child is not None and child.poll() is not None:
            return False
        try:
            process = psutil.Process(handle.pid)
            apart = abs(process.create_time() - handle.started)
            if child is not None:
                # A child of ours is gone when waiting for it says so: while its last threads end it
                # is a zombie that cannot be waited for yet. Its number is nobody else's till then.
                return apart < _CHILD_BIRTH_S
            return apart < _SAME_BIRTH_S and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _reap(self) -> None:
        """Forget children that ended long ago, so that they do not pile up."""
        ended = [pid for pid, child in self._children.items() if child.poll() is not None]
        for pid in ended[:-32]:
            del self._children[pid]


def _holder(folder: RunFolder) -> Handle | None:
    worker = folder.worker
    return Handle(worker["pid"], worker["started"]) if worker else None


def _end_session(gone: Handle) -> None:
    """Kill what a dead worker left behind. Its children are known by the session they
    were born into, whose number is not given to others while one of them lives."""
    if psutil.pid_exists(gone.pid):
        return
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == gone.pid and process.create_time() >= gone.started - _SAME_BIRTH_S:
                process.kill()
        except (psutil.Error, OSError):
            continue


def visible_gpus() -> list[str]:
    """The GPUs workers may use, as CUDA_VISIBLE_DEVICES names them: what that variable
    already allows, else what nvidia-smi lists (a partitioned GPU by its parts)."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(listing.stdout)


def parse_gpus(listing: str) -> list[str]:
    """Names out of `nvidia-smi -L`: `GPU 0: … (UUID: GPU-…)`, with a line
    `  MIG 1g.18gb Device 0: (UUID: MIG-…)` for each part of a partitioned GPU."""
    gpus: list[str] = []
    whole: str | None = None
    for line in listing.splitlines():
        found = re.search(r"\(UUID: ((GPU|MIG)-[^)]+)\)", line)
        if not found:
            continue
        if found[2] == "GPU":
            whole = found[1]
            gpus.append(whole)
        else:
            if gpus and gpus[-1] == whole:
                gpus.pop()
            gpus.append(found[1])
    return gpus
