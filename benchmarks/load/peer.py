"""What the load test asks of another annotation tool: to be installed, started with the
pairs and accounts, worked on by many people at once, and read back afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import httpx
import psutil

from benchmarks.load import drive

PASSWORD = "compare-the-answers-1"  # noqa: S105 - of accounts that live for one measurement

START_S = 400  # on a machine that is busy


class Unavailable(Exception):
    """The tool cannot be measured here: not installable, or it does not start."""


class Session(drive.Session, ABC):
    """One annotator, signed in. Calls of one session follow each other; sessions run at once.
    Both calls raise Refused on an error status, OSError or asyncio.IncompleteReadError when the
    connection fails; after a failed submit, the next claim may give the same pair again."""

    annotator: str

    @abstractmethod
    async def claim(self) -> str | None:
        """The id of the pair that this annotator is given, by which `results` names it,
        with its texts read from the tool; None when nothing is left for them."""

    @abstractmethod
    async def submit(self, task: str, choice: str) -> None:
        """Stores a choice ("left" or "right") for the pair claimed last; returns when the tool
        has acknowledged it."""


class Peer(ABC):
    """One tool. `install`, `start`, work through `sessions`, `results`, `stop`; `start` again
    with another folder for the next round."""

    name: str
    package: str  # the distribution's name; the virtual environment's folder as well
    version: str
    _python: Path
    _process: subprocess.Popen[bytes] | None = None
    _log: Path
    url: str

    def install(self, folder: Path) -> None:
        """Makes the virtual environment `folder/<package>` with the pinned version, unless it
        is there. Raises Unavailable."""
        self._python = folder.absolute() / self.package / "bin" / "python"
        found = self._installed()
        if found == self.version:
            return
        if found is not None:
            raise Unavailable(f"{folder / self.package} holds {self.name} {found}, not {self.version}.")
        try:
            run([sys.executable, "-m", "venv", str(folder / self.package)], 300)
            run(
                [str(self._python), "-m", "pip", "install", "--quiet", f"{self.package}=={self.version}"],
                1800,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            shutil.rmtree(folder / self.package, ignore_errors=True)
            raise Unavailable(
                f"{self.name} {self.version} could not be installed: {said[-1] if said else error}"
            ) from error

    def _installed(self) -> str | None:
        if not self._python.exists():
            return None
        ask = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
        try:
            return run([str(self._python), "-c", ask, self.package], 60).strip()
        except subprocess.CalledProcessError:
            return None

    @abstractmethod
    def start(self, folder: Path, pairs: list[dict], annotators: int, cap: int | None) -> None:
        """A fresh server that keeps its data in `folder` (empty or absent), listens on a free
        port of this machine, and has the pairs ({"id", "input", "response_a", "response_b"})
        and an account per annotator. `cap`: by how many people each pair is to be annotated;
        None is by everybody. Raises Unavailable when it does not come up."""

    @abstractmethod
    def sessions(self, keep_alive: bool = True) -> list[Session]:
        """One per annotator, signed in. `keep_alive=False`: a new connection for each request."""

    @abstractmethod
    def results(self) -> list[tuple[str, str]]:
        """(annotator, pair id) of every annotation that the tool has stored."""

    def settle(self) -> None:
        """Until the server has nothing to do."""
        if self._process is not None:
            settled(self._process.pid)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
        self._process = None

    def _serve(self, arguments: list[str], folder: Path, port: int, path: str, env: dict[str, str]) -> None:
        """Starts `python <arguments>` of the environment in `folder`, and waits until `path`
        answers with anything but an error of the server."""
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "server.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._python), *arguments], cwd=folder, env=environment() | env, stdout=log, stderr=log
            )
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise Unavailable(f"{self.name} ended with {self._process.returncode}: {self._said()}")
            try:
                if httpx.get(self.url + path, timeout=10).status_code < 500:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.3)
        self.stop()
        raise Unavailable(f"{self.name} does not answer after {START_S} s: {self._said()}")

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-600:]


def settled(pid: int, after_s: float = 8.0) -> None:
    """Until a process and its children have used little of a core for three seconds; at most a
    minute, for some are never quiet."""
    time.sleep(after_s)
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.cpu_percent()
    quiet, end = 0, time.monotonic() + 60
    while quiet < 3 and time.monotonic() < end:
        time.sleep(1)
        quiet = quiet + 1 if sum(process.cpu_percent() for process in family) < 15 else 0


def annotator_names(annotators: int) -> list[str]:
    return [f"annotator{n + 1:03}@example.com" for n in range(annotators)]


def environment() -> dict[str, str]:
    """Ours, without what is meant for Prefloop or this Python."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PREFLOOP_", "PYTHON"))}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(command: list[str], timeout_s: float, env: dict[str, str] | None = None) -> str:
    """What it printed. Raises subprocess.SubprocessError."""
    done = subprocess.run(
        command,
        env=environment() | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
    )
    return done.stdout
