"""Taking in a reward model, worker side: unpack it, check it (core.reward.upload_check), measure
its scores on the project's reference responses, and judge it as a trained one is
(core.reward.judging, core.reward.judgement), on the project's own pairs. No database.

Where it has no reward.json, one is written: the length is the tokenizer's (at most LONGEST
tokens), mean and deviation are those of the reference responses, the temperature is fitted on
the dev split. The train split it has not learnt from, as far as is known: the baselines do.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core.reward.archive import unpack
from core.reward.judgement.origin import Origin
from core.reward.judgement.running import headline, judge_run, known_scores
from core.reward.judging import (
    CALIBRATED_PAIRS,
    MIN_JUDGED,
    cut_share,
    figures,
    fitted_temperature,
    not_by_people,
    notes,
)
from core.reward.normalise import normalisation
from core.reward.pairs import Pairs
from core.reward.score import RewardScorer
from core.reward.upload_check import CARD, Row, check_model, read_card
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json

SPLITS = ("train", "dev", "test")
# Shares of all the work, for the progress bar.
UNPACKED, LOADED, SCALED, CALIBRATED, SCORED, JUDGED = 0.08, 0.15, 0.3, 0.36, 0.5, 0.99


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    part, size = _unpacked(context)
    context.check_cancelled()
    context.progress(UNPACKED, "loading it with transformers")
    ours = read_card(part)
    config = check_model(part, ours)
    card = ours or {
        "format": 1,
        "max_length": config["max_length"],
        "mean": 0.0,
        "std": 1.0,
        "temperature": 1.0,
    }
    write_json(part / CARD, card)
    scorer = RewardScorer(part)
    found = _scale(context, scorer)
    rows = _rows(context)
    criteria = scorer.heads[1:]
    dev, test = (
        Pairs(some, scorer.encode, criteria) for some in (rows["dev"][:CALIBRATED_PAIRS], rows["test"])
    )
    raw_dev = _raw(context, scorer, dev, SCALED, CALIBRATED, "scoring the dev split")
    raw_test = _raw(context, scorer, test, CALIBRATED, SCORED, "judging on the test split")
    if ours is None:
        card |= {name: found[name] for name in ("mean", "std") if found}
        card |= {"temperature": fitted_temperature(dev, raw_dev), "uploaded": True}
        write_json(part / CARD, card)
    target = context.artifacts / "model"
    part.rename(target)
    context.artifact("reward_model", target)
    decided = int((np.abs(test.q - 0.5) > 1e-9).sum())
    result: dict[str, Any] = {
        **(
            figures(test, raw_test, float(card["temperature"]), criteria)
            if decided >= MIN_JUDGED
            else {"accuracy": None, "n_test": decided, "n_test_ties": len(test) - decided}
        ),
        **not_by_people(dev, test),
        "uploaded": True,
        "model": "artifacts/model",
        "backbone": config["backbone"],
        "preset": "uploaded",
        "n_train": 0,
        "n_dev": len(rows["dev"]),
        "n_test_pairs": len(test),
        "temperature": float(card["temperature"]),
        "simulated": context.config.get("simulated", "exclude"),
        "settings": {"max_length": scorer.encode.max_length, "members": scorer.members},
        "cut": {"test": cut_share(test)},
        "card_was_there": ours is not None,
        "bytes": size,
        "partial": False,
    }
    if found:
        result["normalisation"] = found
    result["notes"] = notes(result, context.config)
    if decided >= MIN_JUDGED:
        # By its overall head, as the accuracy and the temperature above.
        judged = RewardScorer(target, combination={})
        known = known_scores(dev.rows, judged.scale.overall(raw_dev)) | known_scores(
            test.rows, judged.scale.overall(raw_test)
        )
        result["judgement"] = judge_run(
            context, judged, rows, known=known, embedder=context.config["embedder"],
            origin=Origin(trained_here=False, fitted=ours is None), low=SCORED, high=JUDGED,
        )  # fmt: skip
        result |= headline(result["judgement"])
        context.check_cancelled()  # a judgement that was cut short is none: the run can be resumed
    result["seconds"] = round(time.monotonic() - started, 2)
    context.progress(1.0, "done")
    return result


def _unpacked(context: RunContext) -> tuple[Path, int]:
    """The folder, and its bytes. What an earlier try of this run left is taken away."""
    asked = json.loads((context.inputs / "upload.json").read_text(encoding="utf-8"))
    part = context.artifacts / "model.part"
    for left in (part, context.artifacts / "model"):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    context.progress(0.01, "unpacking")
    return part, unpack(Path(asked["path"]), part, int(asked["most_bytes"]))


def _rows(context: RunContext) -> dict[str, list[Row]]:
    """The project's pairs by split."""
    path = context.inputs / "judging.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    return {split: [row for row in rows if row["split"] == split] for split in SPLITS}


def _scale(context: RunContext, scorer: RewardScorer) -> dict[str, Any] | None:
    """Mean and deviation of its scores of the reference responses."""
    path = context.inputs / "reference.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    if not rows:
        return None
    version = json.loads((context.inputs / "reference.json").read_text(encoding="utf-8"))["version"]
    told = _teller(context, len(rows) * scorer.members, LOADED, SCALED, "scoring the project's responses")
    scores = scorer.score([row["input"] for row in rows], [row["response"] for row in rows], told)
    found = normalisation(_finite(scores), version)
    return found.as_dict() if found else None


def _raw(
    context: RunContext, scorer: RewardScorer, pairs: Pairs, low: float, high: float, message: str
) -> np.ndarray:
    """(k, n, 2, heads) raw scores of a and b."""
    told = _teller(context, 2 * len(pairs) * scorer.members, low, high, message)
    flat = _finite(scorer.raw(pairs.sides, told))
    return flat.reshape(len(flat), 2, len(pairs), flat.shape[-1]).transpose(0, 2, 1, 3)


def _teller(context: RunContext, total: int, low: float, high: float, message: str) -> Any:
    def told(done: int) -> None:
        context.check_cancelled()
        context.progress(low + (high - low) * done / max(1, total), message)

    return told


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise WorkError("Its scores are not numbers.", "Check its weights.")
    return scores
