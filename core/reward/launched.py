"""Training on several processes: one for each GPU, by `accelerate launch`.

The worker launches `python -m core.reward.launched FOLDER` in so many processes, which train
the members together (DistributedDataParallel) and leave them in state/; then the worker goes on
alone, as if it had trained them. The first process writes the events; the worker waits.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from core.reward.members import Member, finished_member, keep_member
from core.reward.watch import WORKER
from core.runs.context import Cancelled, RunContext, WorkError
from core.runs.folder import RunFolder, write_json

ROOT = Path(__file__).resolve().parents[2]
UNFINISHED = "unfinished"  # in state/: the best so far of a member that was stopped
TOLD = "launched.json"  # in state/: how the processes ended, when not well


class Silent(RunContext):
    """Of the processes that are not the first: reads, and says nothing."""

    def _open_events(self):  # type: ignore[no-untyped-def]
        self.number = 0
        return Path(os.devnull).open("a", encoding="utf-8")

    def emit(self, type: str, **data: Any) -> int:
        return 0


def launch(context: RunContext, processes: int) -> bool:
    """Train the members on so many processes. Answers whether it was cancelled on the way (what
    there is lies in state/). Raises Cancelled when there is nothing yet, and WorkError."""
    _check_devices(processes)
    told = context.state / TOLD
    told.unlink(missing_ok=True)
    context.state.mkdir(parents=True, exist_ok=True)
    on_gpu = torch.cuda.is_available()
    command = [
        sys.executable, "-m", "accelerate.commands.launch",
        "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--main_process_port", "0",
        *(["--multi_gpu"] if on_gpu else ["--cpu", "--num_cpu_threads_per_process", str(_threads(processes))]),
        "-m", "core.reward.launched", str(context.folder.path),
    ]  # fmt: skip
    surroundings = {**os.environ, WORKER: str(os.getpid()), "PYTHONPATH": str(ROOT)}
    if on_gpu:
        surroundings.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(command, env=surroundings, cwd=ROOT, check=False)
    events, _ = context.folder.read_events()
    context.number = events[-1]["n"] if events else context.number
    said = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    if said.get("error"):
        raise WorkError(said["error"], said.get("hint", ""))
    if done.returncode != 0:
        raise WorkError(
            f"The {processes} training processes ended with code {done.returncode}.",
            "What they printed is in worker.log in the run's folder. Resume goes on from the last checkpoint.",
        )
    return bool(said.get("cancelled"))


def _check_devices(processes: int) -> None:
    there = torch.cuda.device_count() if torch.cuda.is_available() else os.cpu_count() or 1
    if processes > there:
        what = "GPUs" if torch.cuda.is_available() else "processor cores"
        raise WorkError(
            f"processes: {processes} were asked for, and there are {there} {what}.", "Ask for fewer."
        )


def _threads(processes: int) -> int:
    return max(1, (os.cpu_count() or 1) // processes)


def main(path: str) -> None:
    """One of the processes."""
    from accelerate import PartialState

    from core.reward.work import LOADED, TRAINED, begin

    state = PartialState(cpu=not torch.cuda.is_available())
    folder = RunFolder(Path(path))
    context = (RunContext if state.is_main_process else Silent)(folder)
    told: dict[str, Any] = {}
    try:
        training = begin(context, processes=state.num_processes)
        members, cancelled = training.members(LOADED, TRAINED)
        if cancelled:
            told = {"cancelled": True}
            unfinished = members[-1]
            if state.is_main_process and finished_member(context.state, unfinished.number) is None:
                (context.state / UNFINISHED).mkdir(parents=True, exist_ok=True)
                keep_member(context.state / UNFINISHED, unfinished)
    except Cancelled:
        told = {"cancelled": True}
    except WorkError as problem:
        told = {"error": problem.message, "hint": problem.hint}
    if told and state.is_main_process:
        write_json(folder.state / TOLD, told)
    context.close()


def left_behind(state: Path, members: int) -> list[Member]:
    """The members that the processes left: finished ones, and the best so far of the one that
    was stopped, if any. A resume goes on from its checkpoint."""
    found = [done for number in range(members) if (done := finished_member(state, number)) is not None]
    if len(found) < members and (begun := finished_member(state / UNFINISHED, len(found))) is not None:
        found.append(begun)
    return found


if __name__ == "__main__":
    main(sys.argv[1])
