"""Scoring a file, worker side: part by part, so that a killed worker scores nothing twice. No
database.

artifacts/scores.parquet has a row for each row of the file, in its order: row (where it stands
there), input and response(s) as they were read, reward, spread (null where the model has one
member) and cut (what did not fit: input or response); for pairs reward_a, reward_b, …, and p, the
calibrated chance that people prefer response_a. Rows that could not be read have an error only.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit

from core.reward.score import RewardScorer
from core.reward.scored import Scored, cut_flags, scored
from core.runs.context import RunContext, WorkError

PART = 256  # rows scored and written together
NAMED = 100
CUT = (None, "input", "response")
Row = dict[str, Any]


def schema(pairs: bool) -> pa.Schema:
    sides = ("_a", "_b") if pairs else ("",)
    fields = [("row", pa.int64()), ("input", pa.string())]
    fields += [(f"response{side}", pa.string()) for side in sides]
    fields += [("p", pa.float64())] if pairs else []
    for side in sides:
        fields += [
            (f"reward{side}", pa.float64()),
            (f"spread{side}", pa.float64()),
            (f"cut{side}", pa.string()),
        ]
    return pa.schema([*fields, ("error", pa.string())])


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    model = json.loads((context.inputs / "model.json").read_text(encoding="utf-8"))
    problems = json.loads((context.inputs / "problems.json").read_text(encoding="utf-8"))
    rows = pq.read_table(context.inputs / "rows.parquet").to_pylist()
    pairs = bool(context.config["pairs"])
    shape = schema(pairs)
    parts = sorted(context.state.glob("part-*.parquet"))
    made: list[Row] = [row for path in parts for row in pq.read_table(path).to_pylist()]
    done = len(made)
    if done < len(rows):
        context.progress(done / len(rows), f"Loading {model['name']}")
        context.check_cancelled()
        scorer = RewardScorer(Path(model["folder"]))
        for start in range(done, len(rows), PART):
            context.check_cancelled()
            some = _scored(rows[start : start + PART], pairs, scorer, context.config.get("scale"))
            _write(context.state / f"part-{start:09d}.parquet", some, shape)
            made += some
            context.progress(len(made) / len(rows), f"{len(made):,} of {len(rows):,} rows")
    failed = [{"row": number, "error": reason} for number, reason in problems["rows"]]
    path = context.artifacts / "scores.parquet"
    _write(path, sorted(made + failed, key=lambda row: row["row"]), shape)
    context.artifact("scores", path, rows=len(made) + len(failed))
    return _result(context, made, problems, time.monotonic() - started)


def _scored(rows: list[Row], pairs: bool, scorer: RewardScorer, scale: Row | None) -> list[Row]:
    mean, std = (scale["mean"], scale["std"]) if scale else (0.0, 1.0)
    made = [dict(row) for row in rows]
    logits = []
    for side in ("_a", "_b") if pairs else ("",):
        texts = [row["input"] for row in rows], [row[f"response{side}"] for row in rows]
        found: Scored = scored(scorer, *texts)
        if not np.isfinite(found.score).all():
            raise WorkError("The model's scores are not numbers.", "Use another one.")
        logits.append(found.logit)
        for i, (row, cut) in enumerate(zip(made, cut_flags(scorer, *texts), strict=True)):
            row[f"reward{side}"] = float((found.score[i] - mean) / std)
            row[f"spread{side}"] = float(found.spread[i] / std) if found.members > 1 else None
            row[f"cut{side}"] = CUT[int(cut)]
    if pairs:
        for row, p in zip(made, expit(logits[0] - logits[1]), strict=True):
            row["p"] = float(p)
    return made


def _result(context: RunContext, made: list[Row], problems: Row, seconds: float) -> dict[str, Any]:
    pairs, config = bool(context.config["pairs"]), context.config
    sides = ("_a", "_b") if pairs else ("",)
    rewards = np.array([row[f"reward{side}"] for row in made for side in sides], dtype=float)
    cut = sum(any(row[f"cut{side}"] for side in sides) for row in made)
    result: dict[str, Any] = {
        "rows": len(made),
        "unreadable": len(problems["rows"]),
        "mean_reward": float(rewards.mean()),
        "deviation": float(rewards.std()),
        "cut_rows": cut,
        "pairs": pairs,
        "model": config["model_name"],
        "scale": "project" if config.get("scale") else "training",
        "scores": "artifacts/scores.parquet",
        "seconds": round(seconds, 2),
    }
    named = problems["rows"][:NAMED]
    result["notes"] = [f"{problems['unit'].capitalize()} {number}: {reason}." for number, reason in named]
    if len(problems["rows"]) > NAMED:
        result["notes"].append(f"And {len(problems['rows']) - NAMED:,} more; the file names them all.")
    return result


def _write(path: Path, rows: list[Row], shape: pa.Schema) -> None:
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema=shape), part, compression="zstd")
    part.replace(path)
