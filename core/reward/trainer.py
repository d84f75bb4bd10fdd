"""TRL's RewardTrainer with what it lacks: our objectives, several heads, frozen layers of which
the activations are kept, batches of like length in an order that follows from the seed, and
checkpoints without pickle.

TRL's loop (the Trainer's), its collator and its defaults stay; its loss is replaced, because it
knows neither soft labels nor ties, smoothing, weights or criteria, and so is its check that a
model has one output. On the same batch the loss is TRL's where TRL has one: tests hold that.

Dropout is off (TRL's default; of LoRA's own, see lora.py, the draws follow from seed and step),
the data order is a function of seed and epoch, and the optimiser's state is in the checkpoint:
so a training that was killed and resumed ends with the weights of one that was not. The clock
is the only other thing that is kept.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import Sampler
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from core.reward.frozen import Frozen
from core.reward.members import save_tensors
from core.reward.objectives import Targets, preference_loss
from core.reward.options import Objective

MEGABATCH = 32  # batches that are sorted by length together
TIE_RATE = 0.01  # learning rate of the tie parameter, which is one number and not a weight


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


class PairCollator(DataCollatorForPreference):
    """Tokens as TRL pads them, or, with a cache, the numbers (2b,) of both sides' texts in it;
    and what the pairs should be told, as `Targets`."""

    def __init__(self, pad_token_id: int, frozen: Frozen | None = None) -> None:
        super().__init__(pad_token_id=pad_token_id)
        self.frozen = frozen

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if self.frozen is None:
            batch = super().torch_call(examples)
        else:
            sides = [example[side][0] for side in ("chosen_ids", "rejected_ids") for example in examples]
            batch = {"texts": torch.tensor(sides)}
        batch["margin"] = torch.tensor([float(example["margin"]) for example in examples])
        for name in ("q", "weight", "votes", "rated_q", "rated"):
            batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float32)
        return batch


class PreferenceTrainer(RewardTrainer):
    """`train_dataset` is `Pairs.dataset`. `keep` is JSON that goes into each checkpoint and
    comes back from it, and `kept_weights` tensors likewise: the best state so far. `weights`
    are the parameters that are trained, by the names they have in the whole model, and `tie` the
    raw tie parameter of objectives that have one: it travels with the model while it is trained."""

    # Typed as optional by the base class, and always there during training.
    model: Any
    args: Any
    optimizer: Any
    lr_scheduler: Any
    train_dataset: Any
    accelerator: Any
    objective: Objective
    tie: torch.nn.Parameter | None
    frozen: Frozen | None
    weights: Mapping[str, torch.nn.Parameter]
    keep: dict[str, Any]
    kept_weights: dict[str, torch.Tensor]

    def __init__(
        self,
        model: Any,
        *args: Any,
        objective: Objective,
        weights: Mapping[str, torch.nn.Parameter],
        tie: torch.nn.Parameter | None = None,
        frozen: Frozen | None = None,
        **options: Any,
    ) -> None:
        self.objective, self.weights, self.tie, self.frozen = objective, weights, tie, frozen
        self.keep, self.kept_weights = {}, {}
        self.save_seconds = 0.0
        with _as_one_output(model):
            super().__init__(model, *args, **options)

    @torch.no_grad()
    def put_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy into the model; buffers and frozen weights stay."""
        for name, value in self.weights.items():
            value.copy_(weights[name])

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data = self.train_dataset if train_dataset is None else train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        steps = -(-len(data) // size)
        return _Order(
            np.asarray(data["length"]), size, self.args.seed, lambda: self.state.global_step // steps
        )

    def create_optimizer(self, model: Any = None) -> Any:
        made = super().create_optimizer(model)
        if self.tie is not None and self.tie.requires_grad:
            for group in made.param_groups:
                group["params"] = [value for value in group["params"] if value is not self.tie]
            made.add_param_group({"params": [self.tie], "lr": TIE_RATE, "weight_decay": 0.0})
        return made

    def rewards(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(2b, heads) of a batch: of all sides a, then of all sides b."""
        if self.frozen is None:
            return model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).logits.float()
        batch = self.frozen.batch(inputs["texts"].tolist())
        with self.accelerator.autocast():
            return self.frozen.split.logits(*batch).float()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        rewards = self.rewards(model, inputs)
        a, b = torch.chunk(rewards, 2)  # (b, heads) each
        targets = Targets(**{name: inputs[name] for name in Targets.__dataclass_fields__})
        loss = preference_loss(a, b, targets, self.objective, self.tie)
        with torch.no_grad():
            decided = targets.q != 0.5
            if decided.any():
                right = ((a[:, 0] > b[:, 0]) == (targets.q > 0.5))[decided].float().mean()
                self._metrics["train"]["accuracy"].append(right.item())
        return (loss, {"logits": rewards}) if return_outputs else loss

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
        save_tensors(part / "weights.safetensors", self.weights)
        save_tensors(part / "optimizer.safetensors", moments)
        if self.kept_weights:
            save_tensors(part / "kept.safetensors", self.kept_weights)
        scaler = getattr(self.accelerator, "scaler", None)
        document = {
            "groups": optimizer["param_groups"],
            "scheduler": self.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
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
        self.keep.update(_document(folder)["keep"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        document = _document(Path(checkpoint))
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(Path(checkpoint) / "optimizer.safetensors").items():
            index, name = key.split(".", 1)
            slots.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": document["groups"]})
        self.lr_scheduler.load_state_dict(document["scheduler"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if checkpoint is not None and scaler is not None and (said := _document(Path(checkpoint))["scaler"]):
            scaler.load_state_dict(said)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing is drawn during training that does not follow from seed and step."""


@contextmanager
def _as_one_output(model: Any) -> Iterator[None]:
    """TRL refuses a model with several outputs; ours has one for each criterion."""
    config = model.config
    labels = config.id2label, config.label2id
    config.num_labels = 1
    try:
        yield
    finally:
        config.id2label, config.label2id = labels


def _document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))


def last_checkpoint(state: Path) -> Path | None:
    """Checkpoints are renamed into place whole, and the one before is deleted after."""
    found = [path for path in state.glob("checkpoint-*") if (path / "checkpoint.json").is_file()]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def training_config(
    state: Path,
    seed: int,
    *,
    batch_size: int,
    epochs: int,
    steps: int,
    learning_rate: float,
    precision: str,
    accumulation: int = 1,
    report_to: tuple[str, ...] = (),
    name: str = "",
) -> RewardConfig:
    """TRL's configuration without its traps: no checkpointing of activations (a fifth
    slower), nothing dropped for its length (we have cut already). `batch_size` is that of one
    process's pass; `precision` fp32, bf16 or fp16. `use_cpu` is what lets bf16 run on a CPU."""
    has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    return RewardConfig(
        output_dir=str(state),
        run_name=name or None,
        seed=seed,
        data_seed=seed,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, steps // 10),
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not has_accelerator,
        gradient_checkpointing=False,
        disable_dropout=False,  # it is off already, but for LoRA's own
        max_length=None,
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=max(1, steps // 80),
        logging_nan_inf_filter=False,
        save_strategy="no",  # the callback says when
        eval_strategy="no",
        report_to=list(report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
    )


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
