"""TRL's RewardTrainer with what it lacks: soft labels, batches of like length in an order
that follows from the seed, and checkpoints without pickle.

Against Bradley-Terry's -log sigmoid(d) with d = r(a) - r(b), the loss of a pair is
    -q log sigmoid(d - m) - (1 - q) log sigmoid(m - d)
with q the share of votes for a, and m the margin that the stated strengths ask for
(Llama 2, arXiv 2307.09288, section 3.2.2; signed, so that votes for either side cancel).

Dropout is off (TRL's default), the data order is a function of seed and epoch, and the
optimiser's state is in the checkpoint: so a training that was killed and resumed ends
with the weights of one that was not. The clock is the only other thing that is kept.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.utils.data import Sampler
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

MEGABATCH = 32  # batches that are sorted by length together


def batch_order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[int]:
    """Indices of an epoch: shuffled, sorted by length within blocks of MEGABATCH batches,
    and the batches shuffled, so that a batch holds pairs of like length (padding falls
    from more than half to a tenth) and long batches do not come first. The one short batch
    is the last."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    block = batch_size * MEGABATCH
    for start in range(0, len(order), block):
        part = order[start : start + block]
        order[start : start + block] = part[np.argsort(-lengths[part], kind="stable")]
    whole = len(order) // batch_size
    batches = order[: whole * batch_size].reshape(whole, batch_size)
    return [*batches[random.permutation(whole)].ravel().tolist(), *order[whole * batch_size :].tolist()]


class _Order(Sampler[int]):
    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(batch_order(self.lengths, self.batch_size, self.seed, self.epoch()))


class SoftPreferenceCollator(DataCollatorForPreference):
    """Also passes on `q` and `margin`, (b,) each."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        batch["q"] = torch.tensor([example["q"] for example in examples])
        return batch


def soft_loss(d: torch.Tensor, q: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """Mean over pairs; d, q, margin (b,)."""
    x = d - margin
    return -(q * F.logsigmoid(x) + (1 - q) * F.logsigmoid(-x)).mean()


class SoftRewardTrainer(RewardTrainer):
    """`train_dataset` has chosen_ids and rejected_ids (sides a and b), q, margin, length.
    `keep` is JSON that goes into each checkpoint and comes back from it, and `kept_weights`
    tensors likewise: the best state so far."""

    # Typed as optional by the base class, and always there during training.
    model: Any
    args: Any
    optimizer: Any
    lr_scheduler: Any
    train_dataset: Any
    keep: dict[str, Any]
    kept_weights: dict[str, torch.Tensor]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.keep, self.kept_weights = {}, {}
        self.save_seconds = 0.0

    def trainable(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def put_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy into the model; buffers and frozen weights stay."""
        with torch.no_grad():
            for name, value in self.trainable().items():
                value.copy_(weights[name])

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data = self.train_dataset if train_dataset is None else train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        steps = -(-len(data) // size)
        return _Order(
            np.asarray(data["length"]), size, self.args.seed, lambda: self.state.global_step // steps
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        a, b = torch.chunk(logits.float().squeeze(-1), 2)  # (b,) each
        q = inputs["q"]
        loss = soft_loss(a - b, q, inputs["margin"])
        with torch.no_grad():
            decided = q != 0.5
            if decided.any():
                right = ((a > b) == (q > 0.5))[decided].float().mean()
                self._metrics["train"]["accuracy"].append(right.item())
        return (loss, {"logits": logits}) if return_outputs else loss

    # --- checkpoints: one folder, whole or not there at all -----------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        started = time.monotonic()
        state = Path(self.args.output_dir)
        part = state / "checkpoint.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        optimizer = self.optimizer.state_dict()
        moments = {
            f"{index}.{name}": value
            for index, slots in optimizer["state"].items()
            for name, value in slots.items()
        }
        _save(part / "weights.safetensors", self.trainable())
        _save(part / "optimizer.safetensors", moments)
        if self.kept_weights:
            _save(part / "kept.safetensors", self.kept_weights)
        document = {
            "groups": optimizer["param_groups"],
            "scheduler": self.lr_scheduler.state_dict(),
            "keep": self.keep,
        }
        (part / "checkpoint.json").write_text(json.dumps(document), encoding="utf-8")
        self.state.save_to_json(str(part / "trainer_state.json"))
        for file in part.iterdir():
            _sync(file)
        done = state / f"checkpoint-{self.state.global_step}"
        shutil.rmtree(done, ignore_errors=True)
        part.replace(done)
        for other in state.glob("checkpoint-*"):
            if other != done:
                shutil.rmtree(other, ignore_errors=True)
        self.save_seconds = time.monotonic() - started

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self.put_weights(load_file(folder / "weights.safetensors"))
        if (folder / "kept.safetensors").exists():
            self.kept_weights = load_file(folder / "kept.safetensors")
        self.keep.update(json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))["keep"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        document = json.loads((Path(checkpoint) / "checkpoint.json").read_text(encoding="utf-8"))
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(Path(checkpoint) / "optimizer.safetensors").items():
            index, name = key.split(".", 1)
            slots.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": document["groups"]})
        self.lr_scheduler.load_state_dict(document["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing is drawn during training."""


def last_checkpoint(state: Path) -> Path | None:
    """Checkpoints are renamed into place whole, and the one before is deleted after."""
    found = [path for path in state.glob("checkpoint-*") if (path / "checkpoint.json").is_file()]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def training_config(
    state: Path, seed: int, *, batch_size: int, epochs: int, steps: int, learning_rate: float, bf16: bool
) -> RewardConfig:
    """TRL's configuration without its traps: no checkpointing of activations (a fifth
    slower), nothing dropped for its length (we have cut already), nothing reported
    elsewhere. `use_cpu` is what lets bf16 run on a CPU."""
    has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    return RewardConfig(
        output_dir=str(state),
        seed=seed,
        data_seed=seed,
        per_device_train_batch_size=batch_size,
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, steps // 10),
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=bf16,
        use_cpu=not has_accelerator,
        gradient_checkpointing=False,
        max_length=None,
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=max(1, steps // 80),
        logging_nan_inf_filter=False,
        save_strategy="no",  # the callback says when
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
