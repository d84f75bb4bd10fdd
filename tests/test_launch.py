"""What stops the start is said in one line, with what to change; never a traceback."""

import os
import socket
import subprocess
import sys

import duckdb
import pytest

from storage.database import Database
from tests.conftest import ROOT
from tests.server import Prefloop, free_port


def refused(data_dir, **env: str) -> str:
    """Launch and expect it to stop; the one line it said."""
    done = subprocess.run(
        [sys.executable, "-m", "core.launch"],
        cwd=ROOT,
        env={**os.environ, "PREFLOOP_DATA_DIR": str(data_dir), "PREFLOOP_PORT": str(free_port()), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Prefloop did not start: ")
    return lines[0]


def test_a_taken_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(tmp_path / "data", PREFLOOP_PORT=str(port))
    assert f"port {port}" in said and "PREFLOOP_PORT" in said


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = refused(tmp_path / "file" / "data")
    assert "cannot be written" in said and "PREFLOOP_DATA_DIR" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's rights, which only root can take")
def test_a_read_only_folder(tmp_path):
    """As a user who may read the folder and not write it: root itself may write anywhere."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    # Imports first: afterwards the environment itself may be out of reach.
    code = (
        "import os, sys; from pathlib import Path; from core.launch import check_data_dir;"
        "os.setuid(65534); check_data_dir(Path(sys.argv[1]))"
    )
    for folder in [data, *data.parents][:-2]:
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(data)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be written (Permission denied)" in done.stderr and "Traceback" not in done.stderr


def test_a_database_of_a_newer_version(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    db = Database(f"duckdb:///{data / 'prefloop.duckdb'}")
    db.migrate()
    db.dispose()
    with duckdb.connect(str(data / "prefloop.duckdb")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_2031'")
    said = refused(data)
    assert "newer Prefloop" in said and "from_2031" in said


def test_a_database_that_another_process_holds(tmp_path):
    first = Prefloop(tmp_path / "data", PREFLOOP_DEMO="false").start()
    try:
        assert "open in another process" in refused(tmp_path / "data")
    finally:
        first.stop()


def test_a_database_server_that_does_not_answer(tmp_path):
    said = refused(
        tmp_path / "data", PREFLOOP_DATABASE_URL=f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x"
    )
    assert "PREFLOOP_DATABASE_URL" in said


def test_a_wrong_setting_is_named(tmp_path):
    assert "PREFLOOP_PORT" in refused(tmp_path / "data", PREFLOOP_PORT="many")


def test_streamlit_run_starts_the_same(tmp_path):
    """`streamlit run app.py` takes the settings of PREFLOOP_* too, and prints the link."""
    server = Prefloop(tmp_path / "data", PREFLOOP_DEMO="false")
    server.start([sys.executable, "-m", "streamlit", "run", "app.py"])
    try:
        assert "/auth/invite/" in server.first_admin_link
    finally:
        server.stop()
