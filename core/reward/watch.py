"""Looks on while a member is trained: tells the loss, accuracy, learning rate and gradient
norm, and the progress; asks the dev split now and then and keeps the best state; stops early,
or when asked to; checkpoints by the clock.

With several processes the first one alone decides, and the others follow it.
"""

import os
import time
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from core.reward import metrics
from core.reward.frozen import Reader
from core.reward.pairs import Pairs
from core.reward.trainer import PreferenceTrainer
from core.runs.context import RunContext

CHECKPOINT_S = 30.0  # between checkpoints; more where writing one takes long
CHECKS_AN_EPOCH = 4
CHECKED_PAIRS = 120  # of the dev split, while training
MIN_CHOOSING = 20  # dev pairs needed to choose a state by them
WORKER = "PREFLOOP_TRAINING_WORKER"  # process id of the worker that launched this one


class Watch(TrainerCallback):
    def __init__(
        self,
        context: RunContext,
        trainer: PreferenceTrainer,
        reader: Reader,
        dev: Pairs,
        *,
        steps: int,
        epochs: int,
        shares: tuple[float, float],
        member: int = 0,
        members: int = 1,
        patience: int | None = None,
        started: float,
    ) -> None:
        self.context, self.trainer, self.reader, self.steps = context, trainer, reader, steps
        self.low, self.high = shares
        self.member, self.members, self.patience = member, members, patience
        every = max(1, steps // (CHECKS_AN_EPOCH * epochs))
        self.checks = {step for step in range(every, steps, every) if steps - step > every // 2} | {steps}
        count = min(len(dev), CHECKED_PAIRS)
        self.q = dev.q[:count]
        self.ids = [*dev.a[:count], *dev.b[:count]] if count >= MIN_CHOOSING else []
        self.every_s = float(context.config.get("checkpoint_s", CHECKPOINT_S))
        self.started = self.saved = self.told = started
        self.diverged = self.cancelled = False
        self.leads = trainer.args.process_index == 0
        self.worker = int(os.environ.get(WORKER, "0"))

    @property
    def best_step(self) -> int | None:
        return self.trainer.keep.get("best_step")

    @property
    def stopped_early(self) -> bool:
        since = self.trainer.keep.get("checks_since_best", 0)
        return self.patience is not None and since >= self.patience

    def seconds(self) -> float:
        """Spent on this member, by all the processes it took."""
        return self.trainer.keep.get("seconds", 0.0) + time.monotonic() - self.started

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # What LoRA's dropout draws follows from seed and step, so no state need be kept.
        torch.manual_seed((args.seed * 1_000_003 + state.global_step * 64 + args.process_index) % 2**63)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        if not np.isfinite(logs["loss"]):
            self.diverged = control.should_training_stop = True
            return
        values = {"loss": round(float(logs["loss"]), 5), "lr": float(logs["learning_rate"])}
        for name, digits in (("accuracy", 4), ("grad_norm", 4)):
            if name in logs and np.isfinite(float(logs[name])):
                values[name] = round(float(logs[name]), digits)
        self._tell(state.global_step, values)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        if self.leads and step in self.checks and self.ids:
            self._ask_dev(step)
        now = time.monotonic()
        if now - self.told > 0.5 or step == self.steps:
            self.told = now
            done = self.low + (self.high - self.low) * step / self.steps
            which = f"member {self.member + 1} of {self.members}, " if self.members > 1 else ""
            self.context.progress(done, f"{which}step {step} of {self.steps}")
        if self.worker and not _alive(self.worker):
            raise SystemExit("the worker that launched this process is gone")
        cancelled = self._agreed(self.context.cancelled) and step < self.steps
        early = self._agreed(self.stopped_early)
        self.cancelled = self.cancelled or cancelled
        if cancelled or early:
            control.should_training_stop = True
        due = max(self.every_s, 10 * self.trainer.save_seconds)
        if self.leads and (cancelled or (now - self.saved >= due and step < self.steps and not early)):
            # The seconds so far go into the checkpoint; this process counts on from here.
            self.trainer.keep["seconds"] = self.seconds()
            self.started = self.saved = now
            control.should_save = True

    def _agreed(self, said: bool) -> bool:
        """What the first process says."""
        if self.trainer.args.world_size == 1:
            return said
        flag = torch.tensor(float(said and self.leads), device=self.trainer.args.device)
        torch.distributed.broadcast(flag, src=0)
        return bool(flag.item())

    def _tell(self, step: int, values: dict[str, float]) -> None:
        # Members one after the other, on one axis of steps.
        which = {"member": self.member} if self.members > 1 else {}
        self.context.metric(step + self.member * self.steps, **values, **which)

    def _ask_dev(self, step: int) -> None:
        scores = self.reader(self.ids)[:, 0].reshape(2, -1)
        d = scores[0] - scores[1]
        # Judged at its best temperature: which state orders the pairs best, not which
        # happens to be least sure of itself.
        loss = metrics.log_loss(d, self.q, metrics.fit_temperature(d, self.q))
        values = {"dev_loss": round(loss, 5)}
        if (agreed := metrics.accuracy(d, self.q))["n"]:
            values["dev_accuracy"] = round(agreed["accuracy"], 4)
        self._tell(step, values)
        keep = self.trainer.keep
        if loss < keep.get("best_loss", float("inf")):
            keep["best_loss"], keep["best_step"], keep["checks_since_best"] = loss, step, 0
            self.trainer.kept_weights = {
                name: value.detach().cpu().clone() for name, value in self.trainer.weights.items()
            }
        else:
            keep["checks_since_best"] = keep.get("checks_since_best", 0) + 1


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
