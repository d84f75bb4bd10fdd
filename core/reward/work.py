"""Training a reward model, as a kind of run: the worker side. No database.

read       inputs/pairs.parquet: input, two responses, the share q of votes for a, a split
train      one member or several, on the train split alone; the dev split says which state to keep
calibrate  the temperature on the dev split; the mean and spread on training responses
judge      on the test split, once: its accuracy beside trivial baselines
keep       artifacts/model: safetensors, tokenizer, reward.json
and then   everything else that is said about it (core.reward.judgement)
"""

import os
import resource
import shutil
import time
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

# A thread that waits for the other one must sleep, not spin: beside other work on the
# machine, spinning takes twice the processor time for the same training. To be set before
# torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pyarrow.parquet as pq
import torch

from core.reward import launched
from core.reward.encode import device
from core.reward.ensemble import Scale, averaged
from core.reward.judgement.running import headline, judge_run, known_scores
from core.reward.judging import (
    CALIBRATED_PAIRS,
    cut_share,
    figures,
    fitted_temperature,
    not_by_people,
    notes,
)
from core.reward.members import Member
from core.reward.options import read_options
from core.reward.pairs import Pairs
from core.reward.presets import PRESETS
from core.reward.saving import save_model
from core.reward.score import RewardScorer
from core.reward.training import Training
from core.runs.context import Cancelled, RunContext

NORMALISED_PAIRS = 150  # training pairs whose scores give mean and spread
# Shares of all the work, for the progress bar.
LOADED, READ, TRAINED, SCORED, JUDGED = 0.02, 0.15, 0.8, 0.86, 0.99


def run(context: RunContext) -> dict[str, Any]:
    options = read_options(context.config)
    stopped = False
    if options.processes > 1:
        context.check_cancelled()
        stopped = launched.launch(context, options.processes)
    training = begin(context)
    if options.processes > 1:
        members = launched.left_behind(context.state, options.members)
        if not members:
            raise Cancelled
    else:
        training.look_below(LOADED, READ)
        members, stopped = training.members(READ, TRAINED)
    trained = time.monotonic()
    whole = len(members) == options.members and not stopped
    records = [member.record for member in members]
    adapter = training.merge(context.state / "adapter" if len(members) == 1 else None)
    if options.average == "warm" and len(members) > 1:
        members = [averaged(members)]
    result = judged(context, training, members)
    result |= {
        "members": {
            "asked": options.members, "kept": len(members), "average": options.average, "each": records,
        },
        "model": "artifacts/model",
        "estimate": context.config.get("estimate"),
        "partial": not whole,
        # Of this process, and of those that trained members before it was killed.
        "seconds": sum(record["seconds"] for record in records)
        + time.monotonic() - trained + training.seconds_below + training.seconds_to_load,
        "seconds_of": {
            "loading": training.seconds_to_load,
            "frozen_layers": training.seconds_below,
            "training": sum(record["seconds"] for record in records),
            "judging": time.monotonic() - trained,
        },
        "memory_bytes": memory_bytes(),
    }  # fmt: skip
    result["notes"] = notes(result, context.config)
    saved = time.monotonic()
    training.put(members[0].weights)
    training.end()
    save_model(
        context.artifacts / "model", training.model, training.tokenizer, card(context, training, members, result),
        members[1:], adapter,
    )  # fmt: skip
    context.artifact("reward_model", context.artifacts / "model")
    refit = training.fit if training.can_refit else None
    judging = time.monotonic()
    # By its overall head, as the accuracy and the temperature above: a combination can be changed.
    result["judgement"] = judge_run(
        context, RewardScorer(context.artifacts / "model", combination={}), training.rows, known=training.known,
        embedder=context.config["backbone"], fit=refit, learner="the model itself, refitted" if refit else "",
        low=SCORED, high=JUDGED,
    )  # fmt: skip
    result |= headline(result["judgement"])
    result["seconds_of"]["judgement"] = time.monotonic() - judging
    result["seconds"] += time.monotonic() - saved
    context.progress(1.0, "done")
    if whole:  # a cancelled run can be resumed from where it was
        shutil.rmtree(context.state, ignore_errors=True)
    return result


def begin(context: RunContext, processes: int = 1) -> Training:
    """Load the backbone, read the pairs: all that comes before training. `processes` are those
    that train together, of which this is one."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    if processes == 1 and torch.cuda.device_count() > 1:  # TRL refuses to spread over the GPUs of one process
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    context.progress(0.0, "loading the backbone")
    rows = pq.read_table(context.inputs / "pairs.parquet").to_pylist()
    return Training(
        context, rows, read_options(context.config), PRESETS[context.config["preset"]], processes=processes
    )


def judged(context: RunContext, training: Training, members: list[Member]) -> dict[str, Any]:
    """Calibrate on the dev split, normalise on training responses, judge on the test split."""
    step = (SCORED - TRAINED) / 3

    def scores(pairs: Pairs, place: int, message: str) -> np.ndarray:
        """(k, n, 2, heads) raw, with progress."""
        low = TRAINED + place * step
        return training.scores(pairs, members, lambda done: context.progress(low + step * done, message))

    dev, train = training.dev, training.train
    some_dev = training.pairs(dev.rows[:CALIBRATED_PAIRS]) if len(dev) > CALIBRATED_PAIRS else dev
    raw_dev = scores(some_dev, 0, "calibrating on the dev split")
    temperature = fitted_temperature(some_dev, raw_dev)
    drawn = np.random.default_rng(context.seed).permutation(len(train))[:NORMALISED_PAIRS]
    some = training.pairs([train.rows[i] for i in sorted(drawn)])
    raw = scores(some, 1, "scoring training responses")
    training.scale = Scale.of(raw.reshape(len(members), 2 * len(some), -1))
    test = training.pairs(training.rows["test"])
    raw = scores(test, 2, "judging on the test split")
    training.known = {
        **known_scores(some_dev.rows, training.scale.overall(raw_dev)),
        **known_scores(test.rows, training.scale.overall(raw)),
    }
    return {
        **figures(test, raw, temperature, training.options.criteria),
        **not_by_people(train, dev, test),
        "n_train": len(train),
        "n_dev": len(dev),
        "n_test_pairs": len(test),
        "temperature": temperature,
        "settings": settings(context, training, members),
        "preset": training.preset.name,
        "backbone": context.config["backbone"],
        "simulated": context.config.get("simulated", "exclude"),
        "cut": {"train": cut_share(train), "test": cut_share(test)},
        "normalisation": {**training.scale.as_card(training.heads), "n": 2 * len(some)},
    }


def settings(context: RunContext, training: Training, members: list[Member]) -> dict[str, Any]:
    """What the training was, for the page and for whoever repeats it."""
    options, preset = training.options, training.preset
    return {
        **options.as_config(),
        "preset": preset.name,
        "loss": options.objective.loss,
        "max_length": training.encode.max_length,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "steps": members[0].record["steps"],
        "best_step": members[0].record["best_step"],
        "learning_rate": training.learning_rate,
        "frozen_layers": training.frozen_layers,
        "layers": training.layers,
        "kept_activations": training.frozen is not None,
        "precision": training.precision,
        "device": device().type,
        "seed": context.seed,
        "tie": members[0].record.get("tie"),
    }


def card(
    context: RunContext, training: Training, members: list[Member], result: dict[str, Any]
) -> dict[str, Any]:
    """reward.json: what scoring needs, and where the model comes from."""
    tie = members[0].record.get("tie")
    return {
        "format": 2,
        "max_length": training.encode.max_length,
        **training.scale.as_card(training.heads),
        "temperature": result["temperature"],
        "members": len(members),
        "frozen_layers": training.frozen_layers,
        "precision": training.precision,
        "combination": asdict(training.options.combination),
        "tie": {"loss": training.options.objective.loss, "value": tie} if tie is not None else None,
        "preset": training.preset.name,
        "backbone": context.config["backbone"],
        "run_id": context.spec.get("run_id"),
        "accuracy": {key: result[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "n_test")},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "tokenizers")},
    }


def memory_bytes() -> int:
    """The most that this process held: of the GPU where it has one, else of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
