"""The worker side of the tests' own kind of run: adds up seeded numbers, one a step, with
a checkpoint each; on the way it does whatever its config asks for."""

import errno
import json
import os
import random
import signal
import time

import pyarrow.parquet as pq

from core.runs.context import Cancelled, WorkError
from core.runs.folder import write_json


def run(context):
    config = context.config
    assert len(pq.read_table(context.inputs / "rows.parquet")) == 5
    print("work begins")
    checkpoint = context.state / "done.json"
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "total": 0.0}
    steps = config["steps"]
    try:
        while state["step"] < steps:
            context.check_cancelled()
            if context.paused:
                return {"total": state["total"], "steps": state["step"], "partial": True}
            step = state["step"] + 1
            at_step(context, config.get("at", {}).get(str(step)), step)
            value = random.Random(context.seed * 1000 + step).random()
            time.sleep(config.get("pause", 0.0))
            state = {"step": step, "total": state["total"] + value}
            context.metric(step, value=value)
            say_more(context, step)
            write_json(checkpoint, state)
            context.progress(step / steps, f"step {step} of {steps}")
    except Cancelled:
        if config.get("keep_partial"):
            return {"total": state["total"], "steps": state["step"], "partial": True}
        raise
    return {"total": state["total"], "steps": steps}


def say_more(context, step):
    if not context.config.get("effects"):
        return
    scores = {"train": {"mean": step / 10, "low": 0.0, "high": 1.0, "n": 5}}
    context.emit(
        "candidate", number=step, parent=step - 1, operation="swap", text=f"text {step}",
        accepted=step % 2 == 1, scores=scores, calls=5 * step,
    )  # fmt: skip
    context.emit("ledger", host="h", purpose="target", calls=5 * step, cached=step, tokens_in=100 * step,
                 tokens_out=10 * step, cost=0.5 * step)  # fmt: skip
    path = context.artifacts / f"{step}.json"
    write_json(path, {"name": f"artifact {step}"})
    context.artifact("bad" if context.config.get("bad_artifact") == step else "prompt", path)


def at_step(context, what, step):
    once = context.state / f"did_{step}"
    if what is None or once.exists():
        return
    once.touch()
    if what == "work_error":
        raise WorkError("The key was refused.", "Set another key.")
    if what == "error":
        raise ZeroDivisionError("a secret detail")
    if what == "memory":
        raise MemoryError
    if what == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
    if what == "deaf":  # does not look whether it was cancelled, and ignores SIGTERM
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        context.log("deaf")
        time.sleep(60)
    if what == "wait":  # a step in which a person asks to pause
        until(lambda: context.paused)
    if what == "hang":  # a step that ends only when it is told to
        context.log("hangs")
        until(lambda: context.cancelled)
    if what == "exit":
        raise SystemExit(3)
    if what == "orphan" and os.fork() == 0:  # a child of its own that outlives it, lock and all
        time.sleep(60)
        os._exit(0)
    if what == "orphan":
        os.kill(os.getpid(), signal.SIGKILL)


def until(said, timeout=60.0):
    end = time.monotonic() + timeout
    while not said() and time.monotonic() < end:
        time.sleep(0.01)
