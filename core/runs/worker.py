"""The process that does the work of one run: `python -m core.runs.worker FOLDER`.

It knows the folder and nothing else: no database, no settings. It holds the folder's
lock while it lives, says in events.jsonl how far it is, and writes result.json last; so
whoever looks at the folder can tell a worker at work, one that ended, and one that died.
What it prints goes to worker.log (its starter opened that)."""

import faulthandler
import os
import platform
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from core.runs import locks
from core.runs.context import Cancelled, RunContext
from core.runs.failures import explain
from core.runs.folder import RunFolder, write_json
from core.runs.kinds import kind_of

NO_RESULT = 74  # exit code: the result could not be written (EX_IOERR)
NICENESS = 10  # people at the pages come first
_LOCK_WAIT_S = 3.0  # somebody may be looking whether the lock is free at this moment


def perform(context: RunContext, signalled: list[int]) -> dict[str, Any]:
    """Do the work; answers what result.json says: status, result, error, hint. Every end
    is caught: only a kill leaves a run without a result."""
    outcome: dict[str, Any] = {"status": "succeeded", "result": None, "error": None, "hint": None}
    try:
        module = context.spec.get("worker") or kind_of(context.spec["kind"]).worker
        result = import_module(module).run(context)
        if not isinstance(result, dict):
            raise TypeError(f"{module}.run answered {type(result).__name__} instead of a result")
        outcome["result"] = result
        if context.cancelled and result.get("partial", True):
            outcome["status"] = "cancelled"
        elif context.paused and result.get("partial", False):
            outcome["status"] = "paused"
    except Cancelled:
        outcome["status"] = "cancelled"
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a library, too
        traceback.print_exc()
        message, hint = explain(error)
        outcome |= {"status": "failed", "error": message, "hint": hint}
    if outcome["status"] == "cancelled" and signalled:
        outcome["signal"] = signal.Signals(signalled[0]).name
    return outcome


def main(argv: list[str]) -> int:
    folder = RunFolder(Path(argv[0]).resolve())
    lock = locks.take(folder.lock, _LOCK_WAIT_S)
    if lock is None or folder.result is not None:
        return 0  # another worker is at it, or it is done
    signalled: list[int] = []

    def told_to_stop(number: int, _frame: object) -> None:
        signalled.append(number)
        folder.request_cancel()

    signal.signal(signal.SIGTERM, told_to_stop)
    signal.signal(signal.SIGINT, told_to_stop)
    faulthandler.enable()
    os.nice(NICENESS)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads of torch that wait for each other sleep instead of spinning: on a machine that
    # is busy with the pages as well, spinning made generation 14 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    me = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "slot": int(os.environ.get("PREFLOOP_SLOT", "0")),
        "machine": platform.node(),
    }
    try:
        write_json(folder.path / "worker.json", me)
        context = RunContext(folder)
        context.emit("state", status="running", pid=me["pid"], machine=me["machine"])
        began = time.monotonic()
        outcome = perform(context, signalled)
        outcome["seconds"] = round(time.monotonic() - began, 3)
        context.close()
        write_json(folder.path / "result.json", outcome)
    except OSError:
        traceback.print_exc()
        return NO_RESULT
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread that a library left behind must not keep the worker, its lock
    # and its GPU. The result is on the disk.
    os._exit(code)
