"""Training a reward model: TRL's defaults beside our presets, on HH-RLHF harmless-base.

Pairs are split by their first question, so that no conversation is trained on and judged
by. TRL's defaults are RewardTrainer as it comes (length 512, batches of 8 in random order,
activation checkpointing), given an end token and one epoch. Both are judged on the same
held-out pairs, beside "the shorter response".

    python benchmarks/reward_training.py [--pairs 2000] [--presets quick standard] [--seeds 1] [--skip-trl]

Needs the data set's harmless-base test split as data/harmless-base-test.jsonl.gz (or
--data FILE). Writes benchmarks/results/reward_training.json.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from core.llm.embedded import embedded_encoder  # noqa: E402
from core.reward import metrics  # noqa: E402
from core.runs.context import RunContext  # noqa: E402
from core.runs.folder import RunFolder  # noqa: E402

TURN = "\n\nAssistant:"
DATA = [
    ROOT / "data" / "harmless-base-test.jsonl.gz",
    ROOT.parent / "shared" / "data" / "hh_rlhf" / "harmless-base-test.jsonl.gz",
]


def share(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def read_pairs(file: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows as a run's inputs/pairs.parquet has them; which side is a follows from a hash."""
    rows: list[dict[str, Any]] = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            question, _, good = pair["chosen"].rpartition(TURN)
            other, _, bad = pair["rejected"].rpartition(TURN)
            if question != other or good.strip() == bad.strip():
                continue
            a_wins = share(question + good) < 0.5
            at = share(f"{seed} {question.split(TURN)[0]}")
            rows.append(
                {
                    "split": "train" if at < 0.7 else "dev" if at < 0.8 else "test",
                    "input": question.strip(),
                    "response_a": (good if a_wins else bad).strip(),
                    "response_b": (bad if a_wins else good).strip(),
                    "q": float(a_wins),
                    **dict.fromkeys(("n", "margin", "n_simulated", "left_known", "left_won"), 0),
                }
            )
    return [{**row, "n": 1} for row in rows[:count]]


def ours(rows: list[dict[str, Any]], preset: str, seed: int, place: Path) -> dict[str, Any]:
    from core.reward.work import run

    folder = RunFolder(place / f"{preset}-{seed}")
    config = {"preset": preset, "backbone": "embedded", "simulated": "exclude"}
    spec = {"run_id": "", "kind": "reward_model", "config": config, "seed": seed, "models_dir": str(place)}
    folder.create(spec)
    pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "pairs.parquet")
    result = run(RunContext(folder))
    return {
        **{key: result[key] for key in ("accuracy", "accuracy_low", "accuracy_high", "n_test", "seconds")},
        "log_loss_raw": result["uncalibrated"]["log_loss"],
        "log_loss": result["log_loss"],
        "ece": result["ece"],
        "n_train": result["n_train"],
        "shorter": result["baselines"]["shorter"]["accuracy"],
    }


def trl_defaults(rows: list[dict[str, Any]], seed: int, place: Path) -> dict[str, Any]:
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from core.reward.encode import score_ids

    def texts(row: dict[str, Any]) -> tuple[str, str]:
        sides = (row["response_a"], row["response_b"])
        whole = [f"{row['input']}{TURN} {side}" for side in sides]
        return (whole[0], whole[1]) if row["q"] else (whole[1], whole[0])

    started = time.monotonic()
    pairs = [texts(row) for row in rows if row["split"] == "train"]
    trainer = RewardTrainer(
        model=str(embedded_encoder()),
        args=RewardConfig(
            output_dir=str(place / f"trl-{seed}"), seed=seed, num_train_epochs=1, use_cpu=True,
            max_length=512, eos_token="[SEP]", save_strategy="no", report_to="none", disable_tqdm=True,  # noqa: S106
        ),
        train_dataset=Dataset.from_dict({"chosen": [c for c, _ in pairs], "rejected": [r for _, r in pairs]}),
    )  # fmt: skip
    trainer.train()
    seconds = time.monotonic() - started
    test = [row for row in rows if row["split"] == "test"]
    encode = trainer.processing_class
    sides = [[texts(row)[side] for row in test] for side in (0, 1)]
    ids = encode([*sides[0], *sides[1]], truncation=True, max_length=512)["input_ids"]
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    good, bad = score_ids(model, ids, encode.pad_token_id).reshape(2, -1)
    d, q = good - bad, np.ones(len(test))
    found = metrics.accuracy(d, q)
    return {
        "accuracy": found["accuracy"], "accuracy_low": found["low"], "accuracy_high": found["high"],
        "n_test": found["n"], "seconds": seconds, "log_loss_raw": metrics.log_loss(d, q),
        "ece": metrics.expected_calibration_error(metrics.reliability(d, q)), "n_train": len(pairs),
    }  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--pairs", type=int, default=2000)
    ask.add_argument("--presets", nargs="+", default=["quick", "standard"])
    ask.add_argument("--seeds", type=int, default=1)
    ask.add_argument("--skip-trl", action="store_true")
    ask.add_argument("--data", type=Path, default=next((path for path in DATA if path.exists()), DATA[0]))
    given = ask.parse_args()
    if not given.data.exists():
        sys.exit(f"{given.data} is not there: see the top of this file.")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for seed in range(given.seeds):
            rows = read_pairs(given.data, given.pairs, seed)
            for name in given.presets:
                found.append({"what": name, "seed": seed, **ours(rows, name, seed, Path(place))})
            if not given.skip_trl:
                found.append({"what": "TRL defaults", "seed": seed, **trl_defaults(rows, seed, Path(place))})
    for row in found:
        print(
            f"{row['what']:14} seed {row['seed']}  accuracy {row['accuracy']:.3f} "
            f"({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}, n {row['n_test']})  "
            f"log-loss {row['log_loss_raw']:.3f}  {row['seconds']:.0f} s"
        )
    target = Path(__file__).parent / "results" / "reward_training.json"
    target.parent.mkdir(exist_ok=True)
    about = {"pairs": given.pairs, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    target.write_text(json.dumps({"python": platform.python_version(), **about, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
