"""Training a reward model, as a kind of run: the worker side. No database.

read       inputs/pairs.parquet: input, two responses, the share q of votes for a, a split
train      on the train split alone; the dev split says which state to keep
calibrate  the temperature on the dev split; the mean and spread on training responses
judge      once, on the test split, beside trivial baselines
keep       artifacts/model: safetensors, tokenizer, reward.json
"""

import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A thread that waits for the other one must sleep, not spin: beside other work on the
# machine, spinning takes twice the processor time for the same training. To be set before
# torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from transformers import TrainerCallback, set_seed

from core.reward import metrics
from core.reward.encode import Encoder, device, fast_bf16, load, longest, score_ids
from core.reward.presets import PRESETS, Preset, schedule
from core.reward.trainer import SoftPreferenceCollator, SoftRewardTrainer, last_checkpoint, training_config
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json

CHECKPOINT_S = 30.0  # between checkpoints; more where writing one takes long
CHECKS_AN_EPOCH = 4
CHECKED_PAIRS = 120  # of the dev split, while training
CALIBRATED_PAIRS = 300
MIN_CHOOSING = 20  # dev pairs needed to choose a state by them
NORMALISED_PAIRS = 150  # training pairs whose scores give mean and spread
FEW_TEST = 20
# Shares of all the work, for the progress bar.
READ, TRAINED, JUDGED = 0.03, 0.88, 0.99


class Pairs:
    """One split, encoded. q, margin, … are (n,) arrays; a and b are lists of token ids."""

    def __init__(self, rows: list[dict[str, Any]], encode: Encoder) -> None:
        def column(name: str) -> np.ndarray:
            return np.array([row[name] for row in rows], dtype=float)

        self.rows = rows
        self.q, self.margin, self.n = column("q"), column("margin"), column("n")
        self.n_simulated = column("n_simulated")
        self.n_machine = np.array([row.get("n_machine") or 0 for row in rows], dtype=float)
        inputs = [row["input"] for row in rows]
        self.a, cut_a = encode(inputs, [row["response_a"] for row in rows])
        self.b, cut_b = encode(inputs, [row["response_b"] for row in rows])
        self.cut = np.maximum(cut_a, cut_b)  # (n,)
        self.length_a = np.array([len(row["response_a"]) for row in rows], dtype=int)
        self.length_b = np.array([len(row["response_b"]) for row in rows], dtype=int)

    def __len__(self) -> int:
        return len(self.rows)

    def dataset(self) -> Dataset:
        lengths = [max(len(a), len(b)) for a, b in zip(self.a, self.b, strict=True)]
        return Dataset.from_dict(
            {
                "chosen_ids": self.a, "rejected_ids": self.b,
                "q": self.q, "margin": self.margin, "length": lengths,
            }
        )  # fmt: skip


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    torch.use_deterministic_algorithms(True, warn_only=True)
    if torch.cuda.device_count() > 1:  # TRL refuses to spread over the GPUs of one process
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    preset = PRESETS[context.config["preset"]]
    context.progress(0.0, "loading the backbone")
    set_seed(context.seed)  # the score head is drawn
    model, tokenizer = load(context.config["backbone"], head=True)
    encode = Encoder(
        tokenizer, longest(model, tokenizer, context.config.get("max_length") or preset.max_length)
    )
    context.progress(READ / 2, "reading the pairs")
    rows = pq.read_table(context.inputs / "pairs.parquet").to_pylist()
    train, dev, test = (
        Pairs([row for row in rows if row["split"] == split], encode) for split in ("train", "dev", "test")
    )

    frozen = freeze(model, preset.frozen)
    n_dev = len(dev)
    batch_size, epochs = schedule(preset, len(train))
    trainer, watch = _trainer(context, preset, model, tokenizer, train, dev, batch_size, epochs, started)
    checkpoint = last_checkpoint(context.state)
    if checkpoint is not None:
        context.log(f"Going on from step {checkpoint.name.rsplit('-', 1)[1]}.")
    context.check_cancelled()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if watch.diverged:
        raise WorkError(
            "The training diverged: its loss is not a number.",
            "Try another seed or the quick preset; if it happens again, look at the pairs with extreme text.",
        )
    partial = trainer.state.global_step < watch.steps
    if watch.best_step is not None and watch.best_step < trainer.state.global_step:
        trainer.put_weights(trainer.kept_weights)
    # Without the trainer's wrapper: what is judged is what is saved.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()

    if len(dev) > CALIBRATED_PAIRS:
        dev = Pairs(dev.rows[:CALIBRATED_PAIRS], encode)

    def scores(pairs: Pairs, low: float, high: float, message: str) -> np.ndarray:
        """(n, 2) raw scores of a and b, with progress from `low` to `high`."""
        total = 2 * len(pairs)
        both = score_ids(
            model,
            [*pairs.a, *pairs.b],
            tokenizer.pad_token_id,
            lambda done: context.progress(low + (high - low) * done / total, message),
        )
        return both.reshape(2, -1).T

    step = (JUDGED - TRAINED) / 3
    dev_scores = scores(dev, TRAINED, TRAINED + step, "calibrating on the dev split")
    enough = len(dev) >= MIN_CHOOSING
    temperature = metrics.fit_temperature(dev_scores[:, 0] - dev_scores[:, 1], dev.q) if enough else 1.0
    drawn = np.random.default_rng(context.seed).permutation(len(train))[:NORMALISED_PAIRS]
    some = Pairs([train.rows[i] for i in sorted(drawn)], encode)
    train_scores = scores(some, TRAINED + step, TRAINED + 2 * step, "scoring training responses")
    mean, std = float(train_scores.mean()), max(float(train_scores.std()), 1e-6)
    test_scores = scores(test, TRAINED + 2 * step, JUDGED, "judging on the test split")

    settings = {
        "preset": preset.name,
        "max_length": encode.max_length,
        "batch_size": batch_size,
        "epochs": epochs,
        "steps": trainer.state.global_step,
        "best_step": watch.best_step,
        "learning_rate": preset.learning_rate,
        "frozen_layers": frozen[0],
        "layers": frozen[1],
        "precision": "bf16" if trainer.args.bf16 else "fp32",
        "device": device().type,
        "seed": context.seed,
    }
    judged = judge(test, test_scores, temperature)
    result: dict[str, Any] = {
        **judged,
        "n_train": len(train),
        "n_dev": n_dev,
        "n_test_pairs": len(test),
        "temperature": temperature,
        "settings": settings,
        "preset": preset.name,
        "backbone": context.config["backbone"],
        "simulated": context.config.get("simulated", "exclude"),
        "simulated_share": simulated_share(train, dev, test),
        "machine_votes": int(sum(pairs.n_machine.sum() for pairs in (train, dev, test))),
        "cut": {
            split: {
                "n": len(pairs),
                "input": float(np.mean(pairs.cut == 1)) if len(pairs) else 0.0,
                "response": float(np.mean(pairs.cut == 2)) if len(pairs) else 0.0,
            }
            for split, pairs in (("train", train), ("test", test))
        },
        "normalisation": {"mean": mean, "std": std, "n": 2 * len(some)},
        "model": "artifacts/model",
        "partial": partial,
        "seconds": watch.seconds(),
    }
    result["notes"] = notes(result, context.config)
    card = {
        "format": 1,
        "max_length": encode.max_length,
        "mean": mean,
        "std": std,
        "temperature": temperature,
        "preset": preset.name,
        "backbone": context.config["backbone"],
        "run_id": context.spec.get("run_id"),
        "accuracy": {key: judged[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "n_test")},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "tokenizers")},
    }
    save_model(context.artifacts / "model", model, tokenizer, card)
    context.artifact("reward_model", context.artifacts / "model")
    context.progress(1.0, "done")
    if not partial:  # a cancelled run can be resumed from where it was
        shutil.rmtree(context.state, ignore_errors=True)
    return result


def _trainer(
    context: RunContext,
    preset: Preset,
    model: Any,
    tokenizer: Any,
    train: Pairs,
    dev: Pairs,
    batch_size: int,
    epochs: int,
    started: float,
) -> tuple[SoftRewardTrainer, "Watch"]:
    steps = -(-len(train) // batch_size) * epochs
    trainer = SoftRewardTrainer(
        model=model,
        args=training_config(
            context.state, context.seed, batch_size=batch_size, epochs=epochs, steps=steps,
            learning_rate=preset.learning_rate, bf16=fast_bf16(),
        ),
        data_collator=SoftPreferenceCollator(pad_token_id=tokenizer.pad_token_id),
        train_dataset=train.dataset(),
        processing_class=tokenizer,
    )  # fmt: skip
    watch = Watch(context, trainer, dev, steps, epochs, tokenizer.pad_token_id, started)
    trainer.add_callback(watch)
    return trainer, watch


class Watch(TrainerCallback):
    """Looks on: emits the loss curve and the progress, asks the dev split now and then and
    keeps the best state, checkpoints by the clock, stops when asked to."""

    def __init__(
        self,
        context: RunContext,
        trainer: SoftRewardTrainer,
        dev: Pairs,
        steps: int,
        epochs: int,
        pad_id: int,
        started: float,
    ) -> None:
        self.context, self.trainer, self.steps, self.pad_id = context, trainer, steps, pad_id
        every = max(1, steps // (CHECKS_AN_EPOCH * epochs))
        self.checks = {step for step in range(every, steps, every) if steps - step > every // 2} | {steps}
        count = min(len(dev), CHECKED_PAIRS)
        self.q = dev.q[:count]
        self.ids = [*dev.a[:count], *dev.b[:count]] if count >= MIN_CHOOSING else []
        self.every_s = float(context.config.get("checkpoint_s", CHECKPOINT_S))
        self.started = self.saved = self.told = started
        self.diverged = False

    @property
    def best_step(self) -> int | None:
        return self.trainer.keep.get("best_step")

    def seconds(self) -> float:
        """Spent on this run, by all of its processes."""
        return self.trainer.keep.get("seconds", 0.0) + time.monotonic() - self.started

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        if not np.isfinite(logs["loss"]):
            self.diverged = control.should_training_stop = True
            return
        values = {"loss": round(float(logs["loss"]), 5), "lr": float(logs["learning_rate"])}
        if "accuracy" in logs:
            values["accuracy"] = round(float(logs["accuracy"]), 4)
        self.context.metric(state.global_step, **values)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        if step in self.checks and self.ids:
            self._ask_dev(step)
        now = time.monotonic()
        if now - self.told > 0.5 or step == self.steps:
            self.told = now
            done = READ + (TRAINED - READ) * step / self.steps
            self.context.progress(done, f"step {step} of {self.steps}")
        stop = self.context.cancelled and step < self.steps
        if stop:
            control.should_training_stop = True
        due = max(self.every_s, 10 * self.trainer.save_seconds)
        if stop or (now - self.saved >= due and step < self.steps):
            # The seconds so far go into the checkpoint; this process counts on from here.
            self.trainer.keep["seconds"] = self.seconds()
            self.started = self.saved = now
            control.should_save = True

    def _ask_dev(self, step: int) -> None:
        scores = score_ids(self.trainer.model, self.ids, self.pad_id).reshape(2, -1)
        d = scores[0] - scores[1]
        # Judged at its best temperature: which state orders the pairs best, not which
        # happens to be least sure of itself.
        loss = metrics.log_loss(d, self.q, metrics.fit_temperature(d, self.q))
        values = {"dev_loss": round(loss, 5)}
        if (agreed := metrics.accuracy(d, self.q))["n"]:
            values["dev_accuracy"] = round(agreed["accuracy"], 4)
        self.context.metric(step, **values)
        keep = self.trainer.keep
        if loss < keep.get("best_loss", float("inf")):
            keep["best_loss"], keep["best_step"] = loss, step
            self.trainer.kept_weights = {
                name: value.detach().cpu().clone() for name, value in self.trainer.trainable().items()
            }


def freeze(model: Any, share: float) -> tuple[int, int]:
    """Keep the embeddings and the lower `share` of the layers as they are. Answers (frozen
    layers, layers). With 0, all is trained."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers: Any = max(stacks, key=len, default=[])
    count = int(len(layers) * share)
    if share > 0:
        base = model.base_model
        lowest = [getattr(base, "embeddings", None) or model.get_input_embeddings(), *layers[:count]]
        for module in lowest:
            module.requires_grad_(False)
    return count, len(layers)


def judge(test: Pairs, scores: np.ndarray, temperature: float) -> dict[str, Any]:
    """Everything that is said about the test split; scores (n, 2)."""
    d, q = scores[:, 0] - scores[:, 1], test.q
    left_known = np.array([row["left_known"] for row in test.rows])
    left_won = np.array([row["left_won"] for row in test.rows])
    found = metrics.accuracy(d, q)
    bins = metrics.reliability(d, q, temperature)
    uncalibrated = metrics.reliability(d, q)
    human = test.n_simulated == 0
    return {
        "accuracy": found["accuracy"],
        "accuracy_low": found["low"],
        "accuracy_high": found["high"],
        "n_test": found["n"],
        "n_test_ties": found["ties"],
        "baselines": metrics.baselines(q, test.length_a, test.length_b, left_known, left_won),
        "log_loss": metrics.log_loss(d, q, temperature),
        "brier": metrics.brier(d, q, temperature),
        "ece": metrics.expected_calibration_error(bins),
        "reliability": bins,
        "uncalibrated": {
            "log_loss": metrics.log_loss(d, q),
            "brier": metrics.brier(d, q),
            "ece": metrics.expected_calibration_error(uncalibrated),
        },
        "length": metrics.length_leaning(d, q, test.length_a, test.length_b),
        "human_test": metrics.accuracy(d[human], q[human]),
    }


def simulated_share(*splits: Pairs) -> float:
    """Of the votes used, on every split."""
    votes = sum(float(pairs.n.sum()) for pairs in splits)
    return sum(float(pairs.n_simulated.sum()) for pairs in splits) / votes if votes else 0.0


def notes(result: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """What a reader of the figures must know, in plain words."""
    said = []
    share = result["simulated_share"]
    if share > 0:
        why = " because there are too few of people's own" if config.get("simulated_by_default") else ""
        said.append(
            f"{share:.0%} of the votes are simulated, taken in{why}: this says what the simulation "
            "prefers, not what people do."
        )
    if result.get("machine_votes"):
        said.append(
            f"{result['machine_votes']:,} of the votes are by machine judges, which a lead has taken in: where "
            "they judge otherwise than people, so will this model."
        )
    if result["n_test"] < FEW_TEST:
        low, high = result["accuracy_low"], result["accuracy_high"]
        said.append(
            f"Only {result['n_test']} decided test pairs: the accuracy may be anywhere from {low:.0%} to {high:.0%}."
        )
    lengths = {name: result["baselines"][name] for name in ("longer", "shorter")}
    best = max(lengths, key=lambda name: lengths[name]["accuracy"] or 0)
    if lengths[best]["n"] and result["accuracy_low"] <= lengths[best]["accuracy"]:
        said.append(
            f"Its interval reaches down to what “always the {best} response” gets "
            f"({lengths[best]['accuracy']:.0%}): it may know little more than length. More votes narrow this."
        )
    if result["n_dev"] < MIN_CHOOSING:
        said.append(
            f"Only {result['n_dev']} dev pairs: too few to choose the best state by, or to calibrate."
        )
    if result["cut"]["train"]["response"] > 0.05:
        said.append(
            f"{result['cut']['train']['response']:.0%} of the pairs have a response longer than "
            f"{result['settings']['max_length']} tokens, of which the end was not read: a longer preset reads more."
        )
    return said


def save_model(target: Path, model: Any, tokenizer: Any, card: dict[str, Any]) -> None:
    """Write the folder beside its place, then rename it there."""
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    write_json(part / "reward.json", card)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
