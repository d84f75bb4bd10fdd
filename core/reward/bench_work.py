"""Benchmark runs, worker side: a reward model over the rows of a file. No database.

Scores are kept in state/ part by part, so that a killed worker scores nothing twice.
artifacts/bench.parquet has a row for each of the file's: row, subset, credit (1 right, 0
wrong, a share where scores are equal), margin (lowest chosen less highest rejected, in
standard deviations of the reward).
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.reward.judgement.benchmark import credit, summary
from core.reward.score import RewardScorer
from core.runs.context import RunContext

PART = 256  # rows scored and kept together
_SCHEMA = pa.schema(
    [("row", pa.int64()), ("subset", pa.string()), ("credit", pa.float64()), ("margin", pa.float64())]
)


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    model = json.loads((context.inputs / "model.json").read_text(encoding="utf-8"))
    rows = pq.read_table(context.inputs / "rows.parquet").to_pylist()
    parts = [context.state / f"part-{start:06d}.parquet" for start in range(0, len(rows), PART)]
    context.progress(0.0, f"Loading {model['name']}")
    context.check_cancelled()
    scorer = RewardScorer(Path(model["folder"]))
    for number, path in enumerate(parts):
        if not path.exists():
            context.check_cancelled()
            _write(path, _scored(scorer, rows[number * PART : (number + 1) * PART]))
        context.progress(
            (number + 1) / len(parts), f"{min(len(rows), (number + 1) * PART):,} of {len(rows):,} rows"
        )
    found = [row for path in parts for row in pq.read_table(path).to_pylist()]
    target = context.artifacts / "bench.parquet"
    _write(target, found)
    context.artifact("bench", target, rows=len(found))
    return {
        "model": model["id"],
        "model_name": model["name"],
        "name": context.config["name"],
        **summary(rows, np.array([row["credit"] for row in found])),
        "cut_share": scorer.cut_share,
        "seconds": round(time.monotonic() - started, 2),
    }


def _scored(scorer: RewardScorer, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    inputs = [row["input"] for row in rows for _ in (*row["chosen"], *row["rejected"])]
    scores = iter(scorer.score(inputs, [text for row in rows for text in (*row["chosen"], *row["rejected"])]))
    found = []
    for row in rows:
        chosen, rejected = ([float(next(scores)) for _ in row[side]] for side in ("chosen", "rejected"))
        found.append(
            {
                "row": row["row"], "subset": row["subset"], "credit": credit(chosen, rejected),
                "margin": min(chosen) - max(rejected),
            }
        )  # fmt: skip
    return found


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), part, compression="zstd")
    part.replace(path)
