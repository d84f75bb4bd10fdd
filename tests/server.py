"""A whole Prefloop of a test's own: `python -m core.launch` on a free port, its own data."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prefloop:
    """Start with `start`, kill with `kill` (SIGKILL) or `stop`; the data folder stays, so
    it can be started again."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PREFLOOP_")},
            "PREFLOOP_DATA_DIR": str(data_dir),
            "PREFLOOP_PORT": str(self.port),
            "HF_HUB_OFFLINE": "1",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str] | None = None, wait_s: float = 60) -> "Prefloop":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command or [sys.executable, "-m", "core.launch"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.said()}")
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"not up after {wait_s} s: {self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def first_admin_link(self) -> str:
        found = re.findall(r"http\S+/auth/invite/\S+", self.said())
        assert found, self.said()
        return found[-1]

    def token(self, role: str = "admin") -> str:
        """As `make token` prints it, asked of the running server."""
        done = subprocess.run(
            [sys.executable, "-m", "core.token", "--role", role],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]

    def api(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=120)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
