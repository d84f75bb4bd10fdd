"""Locks that the kernel lets go of when their holder dies, however it dies (flock)."""

import fcntl
import time
from pathlib import Path
from typing import IO


def take(path: Path, wait_s: float = 0.0) -> IO[bytes] | None:
    """Hold the lock until the returned file is closed; None if another still has it
    after `wait_s` seconds. The file is not passed on to programs started from here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() >= deadline:
                file.close()
                return None
            time.sleep(0.02)


def is_free(path: Path) -> bool:
    if not path.exists():
        return True
    file = take(path)
    if file is None:
        return False
    file.close()
    return True
