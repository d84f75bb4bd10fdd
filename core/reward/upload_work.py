"""Taking in a reward model, worker side: unpack it, load it as `transformers` does anywhere,
measure its scores on the project's reference responses, judge it on the test split.

What is asked of it: a sequence-classification model with one output (or, with a reward.json of
ours, one per head), every weight in safetensors, a tokenizer, no code of its own. Where it has
no reward.json, one is written: the length is the tokenizer's (at most LONGEST tokens), mean and
deviation are those of the reference responses, the temperature is fitted on the dev split. No
database.
"""

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from core.reward import metrics
from core.reward.archive import unpack
from core.reward.encode import longest
from core.reward.normalise import normalisation
from core.reward.score import RewardScorer
from core.reward.shards import INDEX, WHOLE, check_shard, read_index
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json

LONGEST = 512
MIN_DEV, MIN_TEST = 20, 5
CARD = "reward.json"
Row = dict[str, Any]


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    asked = json.loads((context.inputs / "upload.json").read_text(encoding="utf-8"))
    target = context.artifacts / "model"
    part = context.artifacts / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    part.mkdir(parents=True)
    context.progress(0.02, "Unpacking")
    size = unpack(Path(asked["path"]), part, int(asked["most_bytes"]))
    context.check_cancelled()
    context.progress(0.15, "Loading it with transformers")
    ours = _read_card(part)
    config = _check_model(part, ours)
    if ours is None:
        write_json(part / CARD, {"format": 1, "max_length": config["max_length"], "mean": 0.0, "std": 1.0,
                                 "temperature": 1.0})  # fmt: skip
    context.check_cancelled()
    scorer = RewardScorer(part)
    context.progress(0.4, "Scoring the project's responses")
    found = _scale(context, scorer)
    rows = _rows(context, "judging")
    dev, test = ([row for row in rows if row["split"] == split] for split in ("dev", "test"))
    context.check_cancelled()
    context.progress(0.6, "Judging it on the project's votes")
    # In raw scores: the mean does not matter to differences, and the deviation may change below.
    d_dev, d_test = (_differences(scorer, some) * scorer.std for some in (dev, test))
    context.check_cancelled()
    temperature = scorer.temperature
    if ours is None:
        if len(dev) >= MIN_DEV:
            temperature = metrics.fit_temperature(d_dev, _column(dev, "q"))
        card: Row = {
            "format": 1,
            "max_length": config["max_length"],
            "mean": found["mean"] if found else 0.0,
            "std": found["std"] if found else 1.0,
            "temperature": temperature,
            "uploaded": True,
        }
        write_json(part / CARD, card)
    part.rename(target)
    context.artifact("reward_model", target)
    result: dict[str, Any] = {
        **_judged(test, d_test, temperature),
        "uploaded": True,
        "model": "artifacts/model",
        "backbone": config["backbone"],
        "preset": "uploaded",
        "n_train": 0,
        "n_dev": len(dev),
        "n_test_pairs": len(test),
        "temperature": temperature,
        "simulated": context.config.get("simulated", "exclude"),
        "settings": {"max_length": config["max_length"], "members": scorer.members},
        "card_was_there": ours is not None,
        "bytes": size,
        "partial": False,
        "seconds": round(time.monotonic() - started, 2),
    }
    if found:
        result["normalisation"] = found
    result["notes"] = _notes(result, rows)
    context.progress(1.0, "done")
    return result


# --- what it is ---------------------------------------------------------------------------------


def _read_card(folder: Path) -> Row | None:
    """reward.json, checked; None without one. Raises WorkError naming the field."""
    path = folder / CARD
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise WorkError("reward.json is not JSON.", "Take it out, and it is made anew here.") from None
    for name in ("max_length", "mean", "std", "temperature"):
        value = card.get(name) if isinstance(card, dict) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        low = -math.inf if name == "mean" else 0.0
        if not number or not low < float(value) < math.inf:  # type: ignore[arg-type]
            raise WorkError(
                f"reward.json: {name} is no number it can be.", "Take it out, and it is made anew here."
            )
    return card


def _check_model(folder: Path, card: Row | None) -> Row:
    """Load it as anybody would. Answers max_length and backbone. Raises WorkError."""
    _check_weights(folder)
    raw = _json(folder / "config.json")
    if "auto_map" in raw:
        raise WorkError("config.json: this model needs code of its own, which is not run here.", "")
    if raw.get("transformers_weights") not in (None, WHOLE, INDEX):
        # transformers would read that file, and an index that nobody has looked at.
        raise WorkError(
            "config.json: “transformers_weights” names another file than its weights.", f"Call them {WHOLE}."
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise WorkError(f"config.json: {_line(problem)}", "transformers must know the model.") from None
    kinds = [str(name) for name in config.architectures or []]
    if kinds and not any("SequenceClassification" in name for name in kinds):
        raise WorkError(
            f"config.json: this is a {kinds[0]}, which has no score head.",
            "Train it as a sequence-classification model with one output first.",
        )
    heads = list((card or {}).get("heads") or ["overall"])
    if config.num_labels != len(heads):
        raise WorkError(
            f"The model has {config.num_labels} outputs, where a reward model has {len(heads)}.",
            "Train it with num_labels=1.",
        )
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as problem:
        raise WorkError(f"transformers cannot load it: {_line(problem)}", "Save the model anew.") from None
    if missing := sorted(loading["missing_keys"]):
        raise WorkError(
            f"It lacks {len(missing)} weights of a sequence-classification model, such as {missing[0]}.",
            "A plain language model or encoder has no score head: train one first.",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise WorkError(
            f"The tokenizer cannot be loaded: {_line(problem)}", "Save it into the folder."
        ) from None
    length = int((card or {}).get("max_length") or longest(model, tokenizer, LONGEST))
    return {"max_length": length, "backbone": str(raw.get("_name_or_path") or config.model_type)}


def _check_weights(folder: Path) -> None:
    """Every file of weights can be read, and of several each holds what the index says. Raises
    WorkError, or Invalid."""
    held: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).as_posix()
        try:
            with safe_open(path, framework="pt") as file:
                held[name] = list(file.keys())
        except (SafetensorError, OSError, ValueError) as problem:
            said = str(problem).splitlines()[0][:200]
            raise WorkError(f"{name} is not a safetensors file: {said}", "Save the model anew.") from None
    if (folder / INDEX).is_file():
        for name, wanted in read_index((folder / INDEX).read_bytes(), held).items():
            check_shard(name, held[name], wanted)


def _json(path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WorkError(f"{path.name} is not a JSON object.", "Save the model anew.")
    return found


def _line(problem: Exception) -> str:
    return next((line.strip()[:300] for line in str(problem).splitlines() if line.strip()), "no message")


# --- what it gives ------------------------------------------------------------------------------


def _rows(context: RunContext, name: str) -> list[Row]:
    path = context.inputs / f"{name}.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


def _column(rows: list[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], dtype=float)


def _scale(context: RunContext, scorer: RewardScorer) -> dict[str, Any] | None:
    """Mean and deviation of its scores of the reference responses."""
    rows = _rows(context, "reference")
    if not rows:
        return None
    version = json.loads((context.inputs / "reference.json").read_text(encoding="utf-8"))["version"]
    scores = scorer.score([row["input"] for row in rows], [row["response"] for row in rows])
    if not np.isfinite(scores).all():
        raise WorkError("Its scores are not numbers.", "Check its weights.")
    found = normalisation(scores, version)
    return found.as_dict() if found else None


def _differences(scorer: RewardScorer, rows: list[Row]) -> np.ndarray:
    """(n,) score of a less score of b."""
    if not rows:
        return np.zeros(0)
    inputs = [row["input"] for row in rows]
    a, b = (scorer.score(inputs, [row[f"response_{side}"] for row in rows]) for side in ("a", "b"))
    return a - b


def _judged(test: list[Row], d: np.ndarray, temperature: float) -> dict[str, Any]:
    """Figures on the test split, in the shape of a training's; none where it is too small."""
    q = _column(test, "q")
    found = metrics.accuracy(d, q) if len(test) else {"n": 0, "ties": 0}
    if found["n"] < MIN_TEST:
        return {"accuracy": None, "n_test": found["n"], "n_test_ties": found["ties"]}
    length_a, length_b = (
        np.array([len(row[f"response_{side}"]) for row in test], dtype=int) for side in ("a", "b")
    )
    bins, before = metrics.reliability(d, q, temperature), metrics.reliability(d, q)
    known, won = _column(test, "left_known"), _column(test, "left_won")
    human = _column(test, "n_simulated") == 0
    return {
        "accuracy": found["accuracy"],
        "accuracy_low": found["low"],
        "accuracy_high": found["high"],
        "n_test": found["n"],
        "n_test_ties": found["ties"],
        "baselines": metrics.baselines(q, length_a, length_b, known, won),
        "log_loss": metrics.log_loss(d, q, temperature),
        "brier": metrics.brier(d, q, temperature),
        "ece": metrics.expected_calibration_error(bins),
        "reliability": bins,
        "uncalibrated": {
            "log_loss": metrics.log_loss(d, q),
            "brier": metrics.brier(d, q),
            "ece": metrics.expected_calibration_error(before),
        },
        "length": metrics.length_leaning(d, q, length_a, length_b),
        "human_test": metrics.accuracy(d[human], q[human]),
    }


def _notes(result: dict[str, Any], rows: list[Row]) -> list[str]:
    notes = ["It was uploaded: which votes it was trained on is not known here."]
    if result["accuracy"] is None:
        notes.append(f"It has not been judged: the test split has {result['n_test']} decided pairs.")
    elif result["n_test"] < 20:
        low, high = result["accuracy_low"], result["accuracy_high"]
        notes.append(
            f"Only {result['n_test']} decided test pairs: the accuracy may be anywhere from {low:.0%} to {high:.0%}."
        )
    votes = sum(row["n"] for row in rows)
    if simulated := sum(row["n_simulated"] for row in rows):
        notes.append(f"{simulated / votes:.0%} of the votes it was judged by are simulated.")
    if not result["card_was_there"] and result["n_dev"] < MIN_DEV:
        notes.append(f"Only {result['n_dev']} dev pairs: its probabilities are not calibrated.")
    return notes
