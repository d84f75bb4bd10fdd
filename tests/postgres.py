"""A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, on a free port.

`PREFLOOP_TEST_POSTGRES_URL` names another server instead. The server refuses to run as
root, so root starts it as the user that the package made for it.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder with initdb and pg_ctl: the newest installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    which = shutil.which("initdb")
    return Path(which).resolve().parent if which else None


def _as_postgres(*command: str) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, cwd="/tmp")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


@contextmanager
def running() -> Iterator[str]:
    """The URL of a running server's empty database."""
    given = os.environ.get("PREFLOOP_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    bin_dir = programs()
    if bin_dir is None:
        raise RuntimeError("PostgreSQL is not installed; `make test` installs it.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="prefloop-pg-"))
    folder.chmod(0o777)
    data = str(folder / "data")
    try:
        _as_postgres(
            str(bin_dir / "initdb"), "-D", data, "-U", "prefloop", "-A", "trust", "--no-sync", "-E", "UTF8"
        )
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c full_page_writes=off"
        _as_postgres(
            str(bin_dir / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start"
        )
        try:
            yield f"postgresql+psycopg://prefloop@127.0.0.1:{port}/postgres"
        finally:
            _as_postgres(str(bin_dir / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
