"""Comparison runs, worker side: two reward models over the same pairs. No database.

Differences in score are kept in state/ part by part, so that a killed worker scores nothing
twice; artifacts/compared.parquet has a row for each pair: pair_id, example_id, q, n,
n_people, and for each model d (difference in score, a less b) and p (calibrated chance
that a is preferred).
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.reward.metrics import probability
from core.reward.score import RewardScorer
from core.runs.context import RunContext

PART = 128  # pairs scored and written together
_SIDES = ("first", "second")


def run(context: RunContext) -> dict[str, Any]:
    started = time.monotonic()
    models = json.loads((context.inputs / "models.json").read_text(encoding="utf-8"))
    rows = pq.read_table(context.inputs / "pairs.parquet").to_pylist()
    columns: dict[str, Any] = {
        name: [row[name] for row in rows] for name in ("pair_id", "example_id", "q", "n")
    }
    columns["n_people"] = [row["n"] - row["n_simulated"] - (row.get("n_machine") or 0) for row in rows]
    total = 2 * len(rows)
    for number, (side, model) in enumerate(zip(_SIDES, models, strict=True)):
        scorer: RewardScorer | None = None
        found = []
        for start in range(0, len(rows), PART):
            context.check_cancelled()
            path = context.state / f"{side}-{start:06d}.npy"
            if path.exists():
                found.append(np.load(path, allow_pickle=False))
                continue
            done = number * len(rows) + start
            if scorer is None:
                context.progress(done / total, f"Loading {model['name']}")
                scorer = RewardScorer(Path(model["folder"]))
            some = rows[start : start + PART]
            inputs = [row["input"] for row in some]
            a, b = (
                scorer.score(inputs, [row[name] for row in some]) for name in ("response_a", "response_b")
            )
            d = (a - b) * scorer.std
            found.append(np.stack([d, probability(d, scorer.temperature)]))
            _write(path, found[-1])
            context.progress(
                (done + len(some)) / total, f"{model['name']}: {start + len(some):,} pairs scored"
            )
        both = np.concatenate(found, axis=1)
        columns[f"d_{side}"], columns[f"p_{side}"] = both[0], both[1]
    target = context.artifacts / "compared.parquet"
    part = target.with_suffix(".part")
    pq.write_table(pa.table(columns), part, compression="zstd")
    part.replace(target)
    context.artifact("compared", target, rows=len(rows))
    return {
        "models": [model["name"] for model in models],
        "pairs": len(rows),
        "seconds": round(time.monotonic() - started, 2),
    }


def _write(path: Path, values: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    part.replace(path)
