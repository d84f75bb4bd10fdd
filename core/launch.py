"""The start: check what could stop us, migrate, seed, print the first admin's link, serve.

`make run` calls this; `streamlit run app.py` comes here too, before it serves anything.
What is wrong is said in one line, with the setting that changes it.
"""

import errno
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import psutil
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from core.settings import ROOT, Settings, get_settings
from storage.database import Database, DatabaseTooNew


def stop(message: str) -> NoReturn:
    print(f"Prefloop did not start: {message}", file=sys.stderr, flush=True)
    os._exit(1)  # also from inside a server's own thread, where SystemExit would be logged


def read_settings() -> Settings:
    try:
        return get_settings()
    except ValidationError as problem:
        said = "; ".join(
            f"PREFLOOP_{str(item['loc'][0]).upper()}: {item['msg']}, not “{item['input']}”"
            for item in problem.errors()
        )
        stop(said)


def check_data_dir(folder: Path) -> None:
    try:
        for path in (folder, folder / "runs", folder / "models"):
            path.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        stop(
            f"the data folder {folder} cannot be written ({problem.strerror}). "
            "Make it writable, or set PREFLOOP_DATA_DIR to another folder."
        )


def check_port(host: str, port: int) -> None:
    if _listening_ourselves(port):  # `streamlit run` has bound it already
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                stop(
                    f"port {port} on {host} is taken. Stop what uses it, or set PREFLOOP_PORT to another port."
                )
            stop(f"cannot listen on {host}:{port} ({problem.strerror}). Set PREFLOOP_HOST and PREFLOOP_PORT.")


def _listening_ourselves(port: int) -> bool:
    try:
        mine = psutil.Process().net_connections(kind="inet")
    except psutil.Error:
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr and item.laddr.port == port for item in mine)


def open_database(settings: Settings) -> Database:
    """The migrated database. A file that another process holds, a server that does not
    answer and a schema of a newer version each stop the start."""
    try:
        db = Database(settings.sqlalchemy_url)
        db.migrate()
        db.checkpoint()
        return db
    except DatabaseTooNew as problem:
        stop(
            f"the database is from a newer Prefloop (revision {problem}). "
            "Update Prefloop, or set PREFLOOP_DATA_DIR (or PREFLOOP_DATABASE_URL) to another database."
        )
    except DBAPIError as problem:
        reason = str(problem.orig).strip().splitlines()[0]
        if "lock" in reason.lower() and settings.sqlalchemy_url.startswith("duckdb"):
            stop(
                f"the database in {settings.data_dir} is open in another process. "
                "Stop that one, or set PREFLOOP_DATA_DIR to another folder."
            )
        stop(f"the database cannot be opened: {reason}. Check PREFLOOP_DATABASE_URL or PREFLOOP_DATA_DIR.")


def main() -> NoReturn:
    settings = read_settings()
    check_data_dir(settings.data_dir)
    check_port(settings.host, settings.port)
    db = open_database(settings)

    from core import accounts, demo

    if settings.demo:
        demo.seed_once(db)
    link = accounts.first_admin_link(db, settings.url)
    db.dispose()

    print(f"Prefloop is starting on {settings.url}", flush=True)
    if link:
        print(f"Open this link once to make the first admin: {link}", flush=True)
    os.environ["PREFLOOP_LAUNCHED"] = "1"
    os.chdir(ROOT)
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    command += ["--server.address", settings.host, "--server.port", str(settings.port)]
    command += ["--server.maxUploadSize", str(settings.max_upload_mb)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
