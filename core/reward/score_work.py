"""Score runs, worker side: reward models over the responses of open pairs. No database.

Scores are kept in state/ part by part, so that a killed worker scores nothing twice;
artifacts/scores.parquet has a row for each model and response: model_id, response_id, logit,
such that p(a beats b) = sigmoid(logit a - logit b), calibrated as the model was.
"""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.reward.score import RewardScorer
from core.runs.context import RunContext

PART = 256  # responses scored and written together
_SCHEMA = pa.schema([("model_id", pa.string()), ("response_id", pa.string()), ("logit", pa.float64())])
Row = dict[str, Any]


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    models = json.loads((context.inputs / "models.json").read_text(encoding="utf-8"))
    responses = pq.read_table(context.inputs / "responses.parquet").to_pylist()
    rows: list[Row] = []
    for path in (context.inputs / "known.parquet", *sorted(context.state.glob("part-*.parquet"))):
        rows += pq.read_table(path).to_pylist() if path.exists() else []
    there = {(row["model_id"], row["response_id"]) for row in rows}
    total = len(models) * len(responses)
    parts = len(list(context.state.glob("part-*.parquet")))
    for model in models:
        left = [row for row in responses if (model["id"], row["response_id"]) not in there]
        if not left:
            continue
        context.progress(len(there) / total, f"Loading {model['name']}")
        context.check_cancelled()
        scorer = RewardScorer(Path(model["folder"]))
        for start in range(0, len(left), PART):
            context.check_cancelled()
            some = left[start : start + PART]
            scores = scorer.score([row["input"] for row in some], [row["response"] for row in some])
            made = [
                {
                    "model_id": model["id"],
                    "response_id": row["response_id"],
                    "logit": float(score * scorer.std / scorer.temperature),
                }
                for row, score in zip(some, scores, strict=True)
            ]
            parts += 1
            _write(context.state / f"part-{parts:05d}.parquet", made)
            rows += made
            there |= {(row["model_id"], row["response_id"]) for row in made}
            context.progress(len(there) / total, f"{len(there):,} of {total:,} scores")
    path = context.artifacts / "scores.parquet"
    _write(path, rows)
    context.artifact("scores", path, rows=len(rows))
    return {
        "models": [model["name"] for model in models],
        "pairs": int(context.config["n_pairs"]),
        "responses": len(responses),
        "scored": len(rows) - int(context.config["known"]),
        "known": int(context.config["known"]),
        "seconds": round(time.monotonic() - started, 2),
    }


def _write(path: Path, rows: list[Row]) -> None:
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), part, compression="zstd")
    part.replace(path)
