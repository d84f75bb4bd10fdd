"""Reward models as a finished training leaves them: rows, folder, inputs, judged test pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.reward import runs
from core.runs.folder import RunFolder, write_json
from core.settings import get_settings
from storage.tables import RewardModel, Run


def row(pair: str, split: str = "test", example: str | None = None, **values: Any) -> dict[str, Any]:
    """A row of inputs/pairs.parquet; the pair's example is its own unless said otherwise."""
    return {
        "pair_id": pair, "split": split, "example_id": example or f"example of {pair}", "input": f"Why {pair}?",
        "response_a": f"Because of {pair}.", "response_b": f"Not because of {pair}.", "prompt_a": "one v1",
        "prompt_b": "two v1", "q": 1.0, "n": 1, "n_simulated": 0, "n_machine": 0, "margin": 0.0,
        "left_known": 0, "left_won": 0, **values,
    }  # fmt: skip


def trained(
    db: Any,
    project: Any,
    rows: Sequence[dict[str, Any]],
    scores: dict[str, float],
    judgement: dict[str, Any] | None = None,
    **result: Any,
) -> RewardModel:
    """`scores`: pair id -> d of the test pairs (score of a less score of b)."""
    run = Run(project_id=project.id, kind="reward_model", status="succeeded", config={"preset": "quick"})
    folder = RunFolder(get_settings().runs_dir / run.id)
    folder.inputs.mkdir(parents=True)
    (folder.artifacts / "model").mkdir(parents=True)
    write_json(folder.artifacts / "model" / "reward.json", {})
    pq.write_table(pa.Table.from_pylist(list(rows)), folder.inputs / "pairs.parquet")
    test = [r for r in rows if r["split"] == "test"]
    d = np.array([scores[r["pair_id"]] for r in test])
    q = np.array([r["q"] for r in test])
    columns = {
        **{name: [r[name] for r in test] for name in ("pair_id", "example_id", "q", "n")},
        "n_people": [r["n"] - r["n_simulated"] - r["n_machine"] for r in test],
        "d": d, "p": 1 / (1 + np.exp(-d)), "right": (np.sign(d) * np.sign(q - 0.5) + 1) / 2,
        "length_difference": [len(r["response_a"]) - len(r["response_b"]) for r in test],
        "prompt_a": [r["prompt_a"] for r in test], "prompt_b": [r["prompt_b"] for r in test],
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder.artifacts / "test_pairs.parquet")
    if judgement is not None:
        write_json(folder.artifacts / "judgement.json", judgement)
    told = {
        "simulated_share": 0.0,
        "backbone": "embedded",
        "partial": False,
        "model": "artifacts/model",
        **result,
    }

    def work(session):
        session.add(run)
        runs.finish(session, run, folder, told)

    db.write(work)
    with db.read() as session:
        return session.get(RewardModel, told["reward_model_id"])
