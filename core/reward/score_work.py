"""Score runs, worker side: reward models over responses. No database.

Scores are kept in state/ part by part, so that a killed worker scores nothing twice;
artifacts/scores.parquet has a row for each model and response: model_id, response_id, where the
response is from (prompt_id, example_id, split), logit (p(a beats b) = sigmoid(logit a - logit b),
calibrated as the model was), score (mean over the model's members, in units of its training
responses), spread (standard deviation over them; null where there is one) and members.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.reward.normalise import normalisation
from core.reward.score import RewardScorer
from core.reward.scored import scored
from core.runs.context import RunContext

PART = 256  # responses scored and written together
PLACE = ("prompt_id", "example_id", "split")
SCHEMA = pa.schema(
    [
        ("model_id", pa.string()), ("response_id", pa.string()),
        *((name, pa.string()) for name in PLACE),
        ("logit", pa.float64()), ("score", pa.float64()), ("spread", pa.float64()), ("members", pa.int32()),
    ]
)  # fmt: skip
Row = dict[str, Any]


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    models = json.loads((context.inputs / "models.json").read_text(encoding="utf-8"))
    responses = pq.read_table(context.inputs / "responses.parquet").to_pylist()
    rows: list[Row] = []
    for path in (context.inputs / "known.parquet", *sorted(context.state.glob("part-*.parquet"))):
        rows += pq.read_table(path).to_pylist() if path.exists() else []
    there = {(row["model_id"], row["response_id"]) for row in rows}
    known = int(context.config["known"])
    wanted = {
        model["id"]: [row for row in responses if (model["id"], row["response_id"]) not in there]
        for model in models
    }
    total = max(1, len(rows) + sum(map(len, wanted.values())))
    parts = len(list(context.state.glob("part-*.parquet")))
    scored_now, cut = 0, 0.0
    for model in models:
        left = wanted[model["id"]]
        if not left:
            continue
        context.progress(len(rows) / total, f"Loading {model['name']}")
        context.check_cancelled()
        scorer = RewardScorer(Path(model["folder"]))
        for start in range(0, len(left), PART):
            context.check_cancelled()
            some = left[start : start + PART]
            made = _rows_of(model["id"], some, scorer)
            parts += 1
            _write(context.state / f"part-{parts:05d}.parquet", made)
            rows += made
            context.progress(len(rows) / total, f"{len(rows):,} of {total:,} scores")
        scored_now += len(left)
        cut += scorer.cut_share * len(left)
    path = context.artifacts / "scores.parquet"
    _write(path, rows)
    context.artifact("scores", path, rows=len(rows))
    result = {
        "models": [model["name"] for model in models],
        "scope": context.config.get("scope", "open"),
        "pairs": int(context.config.get("n_pairs") or 0),
        "responses": int(context.config["n_responses"]),
        "scored": len(rows) - known,
        "known": known,
        "left": int(context.config.get("left") or 0),
        "cut_share": cut / scored_now if scored_now else 0.0,
        "seconds": round(time.monotonic() - started, 2),
    }
    if (found := _normalisations(context, rows)) is not None:
        result["normalisation"] = found
    return result


def _rows_of(model_id: str, some: list[Row], scorer: RewardScorer) -> list[Row]:
    made = scored(scorer, [row["input"] for row in some], [row["response"] for row in some])
    return [
        {
            "model_id": model_id,
            "response_id": row["response_id"],
            **{name: row.get(name) for name in PLACE},
            "logit": float(made.logit[i]),
            "score": float(made.score[i]),
            "spread": None if np.isnan(made.spread[i]) else float(made.spread[i]),
            "members": made.members,
        }
        for i, row in enumerate(some)
    ]


def _normalisations(context: RunContext, rows: list[Row]) -> dict[str, Any] | None:
    """model id -> mean, std and n of its scores of the project's reference responses."""
    path = context.inputs / "reference.json"
    if not path.exists():
        return None
    reference = json.loads(path.read_text(encoding="utf-8"))
    ids = set(reference["ids"])
    by_model: dict[str, list[float]] = {}
    for row in rows:
        if row["response_id"] in ids:
            by_model.setdefault(row["model_id"], []).append(row["score"])
    found = {
        model_id: normalisation(np.array(values, dtype=float), reference["version"])
        for model_id, values in by_model.items()
    }
    return {model_id: of.as_dict() for model_id, of in found.items() if of is not None}


def _write(path: Path, rows: list[Row]) -> None:
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), part, compression="zstd")
    part.replace(path)
