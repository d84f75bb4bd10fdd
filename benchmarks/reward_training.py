"""Training a reward model, from TRL's defaults to our presets, step by step, on HH-RLHF.

The test split of harmless-base: 500 pairs held out, some 1,800 trained on, split by their first
question, so that no conversation is trained on and judged by. A seed draws the split, the head
and the order of the data. All steps of a seed see the same pairs, two passes, and are judged on
the same held-out ones, without a dev split: what the last step left is what counts.

    TRL defaults      RewardTrainer as it comes: length 512, batches of 8 in random order,
                      activation checkpointing, learning rate 1e-4, bf16; given an end token
    no checkpointing  the same without recomputing activations
    grouped           ours from here: pairs of like length in a batch of 16; what is too long
                      loses the beginning of its input instead of the pair
    length 128        batches of 32
    3, 4 frozen       embeddings and lower layers frozen
    … kept            and what they say of each text is computed once and kept
    quick, standard   the presets as the page offers them (quick: one pass)

Pairs a second are of training as a whole: for kept activations the reading of all texts counts,
for all of them the setting up does not. “(CPU)” is the same by processor seconds, which other work
on the machine disturbs less. TRL's defaults are trained whole on `--whole` seeds; on
the others, and for steps marked (n steps), throughput is that of `--steps` steps and nothing is
said of accuracy. Intervals: accuracy, Wilson; differences to TRL's defaults, percentile bootstrap
over held-out questions, all seeds together (questions drawn once, whatever the seed).

About 25 minutes on two free cores as it stands, of which TRL's own two passes take 18:

    python benchmarks/reward_training.py [--seeds 2] [--whole 1] [--only NAME …] [--minutes 30]

Each training that is done is kept in benchmarks/results/reward_training.json, and a further call
goes on from there (--fresh begins anew). Needs the data set's harmless-base test split as
data/harmless-base-test.jsonl.gz (or --data FILE).
"""

import argparse
import gzip
import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from core.llm.embedded import embedded_encoder  # noqa: E402
from core.reward import metrics  # noqa: E402
from core.reward.options import Options  # noqa: E402
from core.reward.presets import PRESETS  # noqa: E402
from core.runs.context import RunContext  # noqa: E402
from core.runs.folder import RunFolder  # noqa: E402

TURN = "\n\nAssistant:"
HELD_OUT = 500
DATA = [
    ROOT / "data" / "harmless-base-test.jsonl.gz",
    ROOT.parent / "shared" / "data" / "hh_rlhf" / "harmless-base-test.jsonl.gz",
    ROOT.parent.parent / "shared" / "data" / "hh_rlhf" / "harmless-base-test.jsonl.gz",
]
TARGET = Path(__file__).parent / "results" / "reward_training.json"
BASE = replace(PRESETS["quick"], epochs=2, shorter=())
# name -> preset; None: TRL's own. Kept or not follows from the name.
STEPS: dict[str, Any] = {
    "TRL defaults": None,
    "no checkpointing": None,
    "grouped": replace(BASE, max_length=512, frozen=0.0, batch_size=16, learning_rate=1e-4),
    "length 128": replace(BASE, max_length=128, frozen=0.0, batch_size=32, learning_rate=1e-4),
    "3 frozen": replace(BASE, max_length=128, frozen=3 / 6, batch_size=32, learning_rate=2e-4),
    "3 frozen, kept": replace(BASE, max_length=128, frozen=3 / 6, batch_size=32, learning_rate=2e-4),
    "4 frozen, kept": replace(BASE, max_length=128, frozen=4 / 6, batch_size=32, learning_rate=3e-4),
    "5 frozen, kept": replace(BASE, max_length=128, frozen=5 / 6, batch_size=32, learning_rate=3e-4),
    "quick": PRESETS["quick"],
    "standard": PRESETS["standard"],
}
TIMED_ONLY = ("no checkpointing", "grouped", "length 128", "3 frozen")  # on the way: only their pace is asked
WITHOUT_KEEPING = ("grouped", "length 128", "3 frozen")


def share(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def question_of(row: dict[str, Any]) -> str:
    return row["input"].split(TURN)[0]


def read_pairs(file: Path, seed: int, held_out: int = HELD_OUT) -> list[dict[str, Any]]:
    """Rows as a run's inputs/pairs.parquet has them; which side is a follows from a hash, what is
    held out from the seed."""
    rows: list[dict[str, Any]] = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            question, _, good = pair["chosen"].rpartition(TURN)
            other, _, bad = pair["rejected"].rpartition(TURN)
            if question != other or good.strip() == bad.strip():
                continue
            a_wins = share(question + good) < 0.5
            rows.append(
                {
                    "pair_id": str(len(rows)),
                    "input": question.strip(),
                    "response_a": (good if a_wins else bad).strip(),
                    "response_b": (bad if a_wins else good).strip(),
                    "q": float(a_wins),
                    "n": 1,
                    **dict.fromkeys(("margin", "n_simulated", "left_known", "left_won"), 0),
                }
            )
    rows.sort(key=lambda row: share(f"{seed} {question_of(row)}"))
    # Of one question, all pairs fall on one side.
    last = question_of(rows[held_out - 1])
    for i, row in enumerate(rows):
        row["split"] = "test" if i < held_out or question_of(row) == last else "train"
    return rows


# --- one training ---------------------------------------------------------------------------------


def ours(rows: list[dict[str, Any]], name: str, seed: int, place: Path, steps: int | None) -> dict[str, Any]:
    """One of our steps: trained as members are, without a dev split to choose by."""
    from core.reward.split import Split
    from core.reward.training import Training

    preset = STEPS[name]
    train = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    if steps:
        train = train[: steps * preset.batch_size]
        preset = replace(preset, epochs=1)
    folder = RunFolder(place / f"{name}-{seed}".replace(" ", "-").replace(",", ""))
    config = {"preset": "quick", "backbone": "embedded", "checkpoint_s": 1e9}
    folder.create(
        {"run_id": "", "kind": "reward_model", "config": config, "seed": seed, "models_dir": str(place)}
    )
    whole = Split.of
    if name in WITHOUT_KEEPING:
        Split.of = classmethod(lambda *args, **options: None)  # type: ignore[method-assign,assignment]
    try:
        training = Training(RunContext(folder), [*train, *test], Options(), preset)
    finally:
        Split.of = whole  # type: ignore[method-assign]
    started, busy = time.monotonic(), time.process_time()
    training.look_below(0.0, 0.1)
    below = time.monotonic() - started
    [member], _ = training.members(0.1, 0.9)
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    pairs = training.pairs(test)
    raw = training.scores(pairs, [member])[0, :, :, 0]
    return judged(raw[:, 0] - raw[:, 1], test, len(train) * training.epochs, seconds, busy) | {
        "seconds_below": round(below, 1), "frozen": training.frozen_layers, "epochs": training.epochs,
        "batch": training.batch_size, "length": training.encode.max_length,
    }  # fmt: skip


def trl(rows: list[dict[str, Any]], name: str, seed: int, place: Path, steps: int | None) -> dict[str, Any]:
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from core.reward.encode import score_ids

    def texts(row: dict[str, Any]) -> tuple[str, str]:
        both = [f"{row['input']}{TURN} {row[f'response_{side}']}" for side in ("a", "b")]
        return (both[0], both[1]) if row["q"] else (both[1], both[0])

    pairs = [texts(row) for row in rows if row["split"] == "train"]
    trainer = RewardTrainer(
        model=str(embedded_encoder()),
        args=RewardConfig(
            output_dir=str(place / f"trl-{seed}"), seed=seed, num_train_epochs=2, use_cpu=True,
            max_length=512, eos_token="[SEP]", save_strategy="no", report_to="none", disable_tqdm=True,  # noqa: S106
            max_steps=steps or -1, **({} if name == "TRL defaults" else {"gradient_checkpointing": False}),
        ),
        train_dataset=Dataset.from_dict({"chosen": [c for c, _ in pairs], "rejected": [r for _, r in pairs]}),
    )  # fmt: skip
    started, busy = time.monotonic(), time.process_time()
    trainer.train()
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    test = [row for row in rows if row["split"] == "test"]
    encode = trainer.processing_class
    ids = encode([text for row in test for text in texts(row)], truncation=True, max_length=512)["input_ids"]
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    good, bad = score_ids(model, ids, encode.pad_token_id).reshape(-1, 2).T
    d = np.where([row["q"] == 1 for row in test], good - bad, bad - good)
    trained = steps * 8 if steps else len(trainer.train_dataset) * 2
    return judged(d, test, trained, seconds, busy) | {"frozen": 0, "epochs": 2, "batch": 8, "length": 512}


def judged(
    d: np.ndarray, test: list[dict[str, Any]], trained: int, seconds: float, busy: float
) -> dict[str, Any]:
    q = np.array([row["q"] for row in test])
    found = metrics.accuracy(d, q)
    return {
        "pairs_a_second": round(trained / seconds, 2), "seconds": round(seconds, 1), "trained": trained, "cpu_seconds": round(busy, 1),
        "accuracy": found["accuracy"], "low": found["low"], "high": found["high"], "n": found["n"],
        "log_loss": metrics.log_loss(d, q),
        "ece": metrics.expected_calibration_error(metrics.reliability(d, q)),
        "right": {row["pair_id"]: float((np.sign(x) * np.sign(y - 0.5) + 1) / 2)
                  for row, x, y in zip(test, d, q, strict=True)},
        "load": os.getloadavg()[0],
    }  # fmt: skip


# --- all of them ----------------------------------------------------------------------------------


def difference(
    mine: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]], question: dict[str, str]
) -> dict[str, Any] | None:
    """Accuracy less that of TRL's defaults on the same held-out pairs of the same seeds, with a
    95 % percentile bootstrap over questions."""
    by_question: dict[str, list[float]] = {}
    for seed in mine.keys() & theirs.keys():
        for pair, right in mine[seed].items():
            by_question.setdefault(question[pair], []).append(right - theirs[seed][pair])
    if not by_question:
        return None
    sums = np.array([sum(of) for of in by_question.values()])
    counts = np.array([len(of) for of in by_question.values()])
    draws = np.random.default_rng(0).integers(0, len(sums), (4000, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"value": sums.sum() / counts.sum(), "low": low, "high": high, "n": int(counts.sum()),
            "seeds": sorted(mine.keys() & theirs.keys())}  # fmt: skip


def table(rows: list[dict[str, Any]], question: dict[str, str]) -> list[dict[str, Any]]:
    """One row a step: means over seeds, and the two ratios to TRL's defaults."""
    found = []
    whole = {row["seed"]: row for row in rows if row["what"] == "TRL defaults" and not row["steps"]}
    work = np.mean(
        [row["cpu_seconds"] / row["trained"] for row in rows if row["what"] == "TRL defaults"] or [np.nan]
    )
    speed = np.mean([row["pairs_a_second"] for row in rows if row["what"] == "TRL defaults"] or [np.nan])
    for name in STEPS:
        mine = [row for row in rows if row["what"] == name]
        if not mine:
            continue
        full = [row for row in mine if not row["steps"]]
        pace = float(np.mean([row["pairs_a_second"] for row in mine]))
        said: dict[str, Any] = {
            "what": name,
            "seeds": len(full),
            "pairs_a_second": pace,
            "times": pace / speed,
            "times_cpu": work / float(np.mean([row["cpu_seconds"] / row["trained"] for row in mine])),
        }
        if full:
            right = sum(row["accuracy"] * row["n"] for row in full)
            said |= metrics.rate(right, sum(row["n"] for row in full))
            said |= {
                key: float(np.mean([row[key] for row in full])) for key in ("seconds", "log_loss", "ece")
            }
            if name != "TRL defaults":
                said["difference"] = difference(
                    {row["seed"]: row["right"] for row in full},
                    {seed: row["right"] for seed, row in whole.items()}, question,
                )  # fmt: skip
        found.append(said)
    return found


def shown(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'':18}{'pairs/s':>8}{'times':>7}{'(CPU)':>7}{'seconds':>9}  {'accuracy (95 %), n':28}{'log-loss':>9}{'ECE':>6}"
        "  against TRL's defaults (95 %)"
    ]
    for row in rows:
        line = f"{row['what']:18}{row['pairs_a_second']:8.1f}{row['times']:7.1f}{row['times_cpu']:7.1f}"
        if "accuracy" in row:
            said = f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['n']:,}"
            line += f"{row['seconds']:9.0f}  {said:28}{row['log_loss']:9.3f}{row['ece']:6.3f}"
            if of := row.get("difference"):
                line += f"  {of['value']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--seeds", type=int, default=2)
    ask.add_argument("--whole", type=int, default=1, help="seeds on which TRL's defaults train to the end")
    ask.add_argument("--steps", type=int, default=12, help="steps where only throughput is measured")
    ask.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    ask.add_argument("--minutes", type=float, default=30.0, help="no further training is begun after these")
    ask.add_argument("--fresh", action="store_true")
    ask.add_argument("--out", type=Path, default=TARGET)
    ask.add_argument("--data", type=Path, default=next((path for path in DATA if path.exists()), DATA[0]))
    given = ask.parse_args()
    if not given.data.exists():
        sys.exit(f"{given.data} is not there: see the top of this file.")
    logging.disable(logging.WARNING)
    kept: dict[str, Any] = {}
    if given.out.exists() and not given.fresh:
        kept = json.loads(given.out.read_text(encoding="utf-8"))
    rows = [row for row in kept.get("trainings", []) if row["what"] in STEPS]
    until = time.monotonic() + 60 * given.minutes
    question: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        for seed in range(given.seeds):
            pairs = read_pairs(given.data, seed)
            question |= {row["pair_id"]: question_of(row) for row in pairs}
            # What is short first: a run that is stopped has said most.
            for name in [*[name for name in given.only if name != "TRL defaults"], "TRL defaults"]:
                steps: int | None = given.steps if name in TIMED_ONLY else None
                if name == "TRL defaults" and seed >= given.whole:
                    steps = given.steps
                done = any(
                    row["what"] == name and row["seed"] == seed and (steps or not row["steps"])
                    for row in rows
                )
                if done or name not in given.only or (steps and name in TIMED_ONLY and seed):
                    continue
                if time.monotonic() > until:
                    print(f"time is up: {name}, seed {seed} is left out; call again to go on", flush=True)
                    continue
                work = trl if STEPS[name] is None else ours
                made = work(pairs, name, seed, Path(place), steps)
                rows.append({"what": name, "seed": seed, "steps": steps, **made})
                print(f"{name}, seed {seed}: {made['pairs_a_second']} pairs/s, accuracy "
                      + (f"{made['accuracy']:.3f}" if not steps else "not asked"), flush=True)  # fmt: skip
                write(given.out, rows, question)
    write(given.out, rows, question)
    print(shown(table(rows, question)))


def write(target: Path, rows: list[dict[str, Any]], question: dict[str, str]) -> None:
    target.parent.mkdir(exist_ok=True)
    about = {"python": platform.python_version(), "cpus": os.cpu_count(), "held_out": HELD_OUT}
    document = {**about, "table": table(rows, question), "trainings": rows}
    part = target.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    part.replace(target)


if __name__ == "__main__":
    main()
