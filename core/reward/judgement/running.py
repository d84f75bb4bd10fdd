"""The judgement at the end of a run that brings a model: its inputs, its progress, its short form.

Worker side: the one module of this package that brings torch.
"""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core.reward.embedding import Embedding
from core.reward.judgement.baselines import Embed
from core.reward.judgement.curve import Fit
from core.reward.judgement.judge import JUDGEMENT, judge_model
from core.reward.judgement.origin import TRAINED, Origin
from core.reward.judgement.pairs import Row, Scorer
from core.runs.context import RunContext


class Remembered:
    """A scorer that does not ask the model again for what is known already."""

    def __init__(self, scorer: Scorer, known: Mapping[tuple[str, str], float]) -> None:
        self.scorer, self.known = scorer, known
        self.std, self.temperature = scorer.std, scorer.temperature

    def score(self, inputs: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        keys = list(zip(inputs, responses, strict=True))
        new = list(dict.fromkeys(key for key in keys if key not in self.known))
        found = dict(self.known)
        if new:
            scores = self.scorer.score([key[0] for key in new], [key[1] for key in new])
            found.update(zip(new, (float(score) for score in scores), strict=True))
        return np.array([found[key] for key in keys])


def known_scores(rows: Sequence[Row], scores: np.ndarray) -> dict[tuple[str, str], float]:
    """Of (n, 2) normalised scores of a and b."""
    return {
        (row["input"], row[f"response_{side}"]): float(scores[i, j])
        for i, row in enumerate(rows)
        for j, side in enumerate("ab")
    }


def judge_run(
    context: RunContext, scorer: Scorer, rows: Mapping[str, Sequence[Row]], *,
    known: Mapping[tuple[str, str], float] | None = None, embedder: str = "embedded",
    origin: Origin = TRAINED, fit: Fit | None = None, learner: str = "", low: float = 0.9, high: float = 0.99,
) -> dict[str, Any]:  # fmt: skip
    """Judge the model of a run; `rows` by split, `embedder` the backbone whose frozen embeddings
    it is compared with, `low` and `high` its share of the run's progress. Answers what the run's
    result says of it. The model is there already: what goes wrong here is said, and does not take
    it away."""
    votes = context.inputs / "votes.parquet"
    try:
        embed, used = embedding(context, embedder)
        found = judge_model(
            context.artifacts,
            Remembered(scorer, known) if known else scorer,
            rows["train"], rows["dev"], rows["test"],
            pq.read_table(votes).to_pylist() if votes.exists() else (),
            embed=embed, embedder=used, origin=origin, fit=fit, learner=learner,
            plan=str(context.config.get("preset") or "standard"), seed=context.seed,
            tell=lambda share, message: context.progress(low + (high - low) * share, message),
            stop=lambda: context.cancelled,
        )  # fmt: skip
    except Exception as problem:
        traceback.print_exc()
        context.log(f"The model could not be judged: {type(problem).__name__}: {problem}")
        return {
            "path": None,
            "error": f"The model could not be judged ({type(problem).__name__}); the run's log says more.",
        }
    context.artifact("judgement", context.artifacts / JUDGEMENT)
    return short(found)


def headline(judgement: dict[str, Any]) -> dict[str, Any]:
    """The interval of a result's accuracy, as the judgement has it: pairs of one example are
    not independent, which Wilson's does not know. Nothing without a judgement."""
    accuracy = judgement.get("accuracy") or {}
    if accuracy.get("low") is None:
        return {}
    return {"accuracy_low": accuracy["low"], "accuracy_high": accuracy["high"]}


def embedding(context: RunContext, embedder: str) -> tuple[Embed | None, str]:
    """The frozen backbone, and its name in words; none where it cannot be had, or where the
    run was asked to stop."""
    if context.cancelled:
        return None, ""
    try:
        made = Embedding(embedder)
    except (OSError, ValueError, KeyError) as problem:
        context.log(f"No frozen embeddings: {problem}")
        return None, ""
    return made, made.words


def short(found: dict[str, Any]) -> dict[str, Any]:
    """What goes into the run's result, and so into the database: a page's first glance."""
    curve = found["curve"]
    pairs = [
        row for row in found["baselines"] if row["unit"] == "pairs" and row["accuracy"]["value"] is not None
    ]
    best = max(pairs, key=lambda row: float(row["accuracy"]["value"]), default=None)
    return {
        "path": str(Path("artifacts") / JUDGEMENT),
        "accuracy": found["accuracy"],
        "best_baseline": {"title": best["title"], **best["accuracy"]} if best else None,
        "warnings": [row["text"] for row in found["warnings"] if row["level"] == "bad"],
        "codes": [row["code"] for row in found["warnings"]],
        "people": found["people"]["one_out"],
        "model_with_people": found["people"]["model_one_out"],
        "more_votes": curve["accuracy"]["message"] if curve else None,
        "skipped": [row["part"] for row in found["skipped"]],
        "seconds": round(sum(found["seconds"].values()), 1),
    }
