"""Every optimiser on SST-2 and AG News, at equal budget, beside the prompts people would write.

    python benchmarks/optimizers.py [--tasks sst2 agnews] [--methods grips …] [--seeds 5]
        [--data FOLDER] [--hours 1] [--at-once 1 | --together 6] [--table] [--curves FILE.png]

The embedded SmolLM2-135M-Instruct reads a review or an article under an instruction, and the
label whose word it finds likeliest counts. 16 examples of each label are for the search (train) and
16 more for the choice among the start and three finalists (dev), as in the few-shot setting of
GrIPS and RLPrompt. Both together may take 1,280 example forwards (a backward pass counts as two;
what the proposing model is asked counts as one each). Then the sealed test split is read once, 256
examples that are the same for all. Seeds differ in the method's own draws. Everything starts from
the manual prompt.

Beside them: no instruction at all, the manual prompt, and random search at the same budget.

A run takes a minute or so on a core, and there are many: what is done is kept in
benchmarks/results/optimizers.json and not done again, so it can be stopped and gone on with;
`--hours` stops it by itself, between two runs. Seeds are done for all methods before the next
seed, so that what is there can be compared at any time. `--at-once` runs go side by side, each
on its share of the cores; `--together` runs share one process and one model, for methods that wait
long for an answer each (GEPA: benchmarks/together.py). The start's answers on test, which are the same in every run, are asked for
once in a process. `--table` and `--curves` only say and draw what there is.
"""

import argparse
import csv
import hashlib
import json
import os
import platform
import random
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402

from core.optimize.methods import METHODS  # noqa: E402
from core.settings import get_settings  # noqa: E402

CALLS, SHOTS, TEST, FINALISTS = 1_280, 16, 256, 3
TARGET = ROOT / "benchmarks" / "results" / "optimizers.json"
TASKS: dict[str, dict[str, Any]] = {
    "sst2": {
        "title": "SST-2",
        "manual": "Decide whether this sentence from a film review is negative or positive.",
        "words": {"0": "negative", "1": "positive"},
    },
    "agnews": {
        "title": "AG News",
        "manual": "Decide whether this news article is about world, sports, business or technology.",
        "words": {"0": "world", "1": "sports", "2": "business", "3": "technology"},
    },
}
# What differs from a method's defaults, and why: all of them are fit to 1,024 calls of search.
OPTIONS: dict[str, dict[str, Any]] = {
    # As in the paper: the tokens are the prompt. Behind the manual prompt five tokens changed nothing in
    # a trial (another seed, train and dev): the model goes on naming one label.
    "rlprompt": {"keep_start": False},
    # Five appended tokens changed nothing here either, and 2 batches of 16 for a gradient leave four steps:
    # the instruction's own words are exchanged, by gradients of 8 examples.
    "autoprompt": {"place": "instruction", "batch": 8, "accumulate": 1},
}
Run = dict[str, Any]


# --- the examples ----------------------------------------------------------------------------


def read(file: Path) -> list[dict[str, str]]:
    """A column named label, and one beside it with the text, whose name differs between the files."""
    with file.open(encoding="utf-8") as lines:
        found = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        (column,) = set(found.fieldnames or ()) - {"label"}
        return [{"text": row[column].strip(), "label": row["label"]} for row in found]


def draw(rows: list[dict[str, str]], count: int, seed: str) -> list[dict[str, str]]:
    """As many of each label, as far as that goes."""
    chance, labels = random.Random(seed), sorted({row["label"] for row in rows})
    chosen = []
    for place, label in enumerate(labels):
        there = [row for row in rows if row["label"] == label]
        share = count // len(labels) + (place < count % len(labels))
        chosen += chance.sample(there, share)
    chance.shuffle(chosen)
    return chosen


def examples(folder: Path, task: str) -> dict[str, list[dict[str, Any]]]:
    made, shots = {}, SHOTS * len(TASKS[task]["words"])
    for split, count in (("train", shots), ("dev", shots), ("test", TEST)):
        drawn = draw(read(folder / task / f"{split}.tsv"), count, split)
        made[split] = [
            {"id": f"{split}-{hashlib.sha256(row['text'].encode()).hexdigest()[:16]}", "split": split,
             "input": row["text"], "fields": json.dumps({"input": row["text"]}), "messages": None,
             "reference": row["label"]}
            for row in drawn
        ]  # fmt: skip
    return made


# --- a run -----------------------------------------------------------------------------------


def frozen(folder: Path, task: str, method: str, seed: int, rows: dict[str, list[dict[str, Any]]]) -> Any:
    """A run's folder, as the page would freeze it."""
    from core.llm.protocol import HostSpec
    from core.runs.folder import RunFolder, write_json

    train, dev = len(rows["train"]), len(rows["dev"])
    reserve = dev * (FINALISTS + 1) + 2 * TEST
    budget = CALLS + 2 * TEST  # the report on test comes on top
    config = {
        "method": method,
        "reward": "labels",
        "budget": {"calls": budget},
        "start": {"system": TASKS[task]["manual"], "user": "{{input}}", "place": "system", "prompt_id": None,
                  "name": "manual"},
        "plan": {"budget": budget, "train": train, "dev": dev, "test": TEST, "finalists": FINALISTS,
                 "reserve": reserve, "candidates": (budget - reserve) // train - 1},
        "options": METHODS[method].checked_options(OPTIONS.get(method, {})),
        "stop": {},
    }  # fmt: skip
    made = RunFolder(folder)
    made.create(
        {"run_id": folder.name, "project_id": "benchmark", "kind": "optimize", "config": config,
         "seed": seed, "models_dir": str(get_settings().models_dir)}
    )  # fmt: skip
    pq.write_table(
        pa.Table.from_pylist([row for split in rows.values() for row in split]),
        made.inputs / "examples.parquet",
    )
    for name in ("host", "optimizer_host"):
        write_json(made.inputs / f"{name}.json", HostSpec().as_dict())
    write_json(made.inputs / "reward.json", {"kind": "labels", "words": TASKS[task]["words"]})
    return made


# The start's answers on test, by task: whoever reports on test asks the same again.
_known: dict[str, list[dict[str, Any]]] = {}


def searched(task: str, method: str, seed: int, data: Path) -> Run:
    from core.optimize import work
    from core.runs.context import RunContext

    rows = examples(data, task)
    with tempfile.TemporaryDirectory() as name:
        folder = frozen(Path(name) / f"{task}-{method}-{seed}", task, method, seed, rows)
        if task in _known:
            pq.write_table(pa.Table.from_pylist(_known[task]), folder.inputs / "known.parquet")
        context = RunContext(folder)
        began = time.perf_counter()
        result = work.run(context)
        context.close()
        took = time.perf_counter() - began
        events, _ = folder.read_events()
        right = right_on_test(folder, result["best"], rows["test"])
        _known[task] = on_test(folder, result["start"])
    best = [e["data"] for e in events if e["type"] == "metric" and "best" in e["data"]]
    test = result["best"]["test"]
    assert sum(right) == round(test["accuracy"] * TEST)
    return {
        "task": task, "method": method, "seed": seed, "right": "".join(map(str, right)),
        "accuracy": test["accuracy"], "dev": result["best"]["dev"]["accuracy"],
        "train": result["best"]["train"]["accuracy"], "text": result["best"]["text"],
        "improved": result["improved"], "finish_reason": result["finish_reason"],
        "candidates": result["candidates"], "dropped": result["dropped"],
        "calls": result["calls_by_purpose"], "curve": [[m["calls"], round(m["best"], 2)] for m in best],
        "seconds": round(took, 1),
    }  # fmt: skip


def right_on_test(folder: Any, best: dict[str, Any], test: list[dict[str, Any]]) -> list[int]:
    """1 or 0 for each test example, from what the run wrote down."""
    found = {row["example"]: int(row["score"]) for row in on_test(folder, best)}
    return [found[row["id"]] for row in test]


def on_test(folder: Any, candidate: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run wrote down of this candidate's answers, as rows of inputs/known.parquet."""
    from core.optimize.books import answers_in
    from storage.ids import content_hash

    key = content_hash(candidate["text"])
    return [
        {"text": text, "example": example, **outcome, "detail": json.dumps(outcome.get("detail", {}))}
        for text, example, outcome in answers_in(folder.state / "answers.jsonl")
        if text == key and example.startswith("test-")
    ]


def fixed(task: str, data: Path) -> list[Run]:
    """No instruction, and the manual one: read on test, nothing searched."""
    from core.llm.local import LocalHost
    from core.llm.protocol import HostSpec
    from core.optimize.objectives import LabelScore, respond
    from core.prompts.templates import messages

    host, objective = LocalHost(HostSpec(), get_settings().models_dir), LabelScore(TASKS[task]["words"])
    rows, made = examples(data, task)["test"], []
    for name, text in (("empty", ""), ("manual", TASKS[task]["manual"])):
        requests = [messages(text, "{{input}}", json.loads(row["fields"])) for row in rows]
        right = [
            int(outcome.score)
            for outcome in objective.outcomes(host, requests, rows, respond(objective, host, requests))
        ]
        made.append(
            {"task": task, "method": name, "seed": None, "right": "".join(map(str, right)),
             "accuracy": sum(right) / TEST, "text": text}
        )  # fmt: skip
    return made


# --- what it says ----------------------------------------------------------------------------


def bits(run: Run) -> np.ndarray:
    return np.array([int(bit) for bit in run["right"]])


def interval(grid: np.ndarray) -> tuple[float, float]:
    """95 % for the mean of (seeds, examples): resampled by seed and by example, because
    another draw of either would have given another figure (percentile bootstrap)."""
    rng, (seeds, n) = np.random.default_rng(0), grid.shape
    means = [grid[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, n, n))].mean() for _ in range(4_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def figures(runs: list[Run], task: str) -> list[dict[str, Any]]:
    manual = next(bits(run) for run in runs if run["task"] == task and run["method"] == "manual")
    rows = []
    for method in ("empty", "manual", *METHODS):
        mine = [run for run in runs if run["task"] == task and run["method"] == method]
        if not mine:
            continue
        grid = np.stack([bits(run) for run in mine])
        low, high = interval(grid)
        row = {"method": method, "seeds": len(mine), "n": TEST, "accuracy": float(grid.mean()),
               "low": low, "high": high}  # fmt: skip
        if method not in ("empty", "manual"):
            gain_low, gain_high = interval(grid - manual)
            row |= {
                "gain": float((grid - manual).mean()), "gain_low": gain_low, "gain_high": gain_high,
                "train": float(np.mean([run["train"] for run in mine])),
                "seconds": seconds(mine),
                "candidates": float(np.mean([run["candidates"] for run in mine])),
            }  # fmt: skip
        rows.append(row)
    return rows


def seconds(runs: list[Run]) -> float | None:
    """The mean of those that had a process to themselves, if there are any."""
    known = [run["seconds"] for run in runs if run["seconds"]]
    return float(np.mean(known)) if known else None


def table(runs: list[Run]) -> str:
    lines = []
    for task, about in TASKS.items():
        if not any(run["task"] == task and run["method"] == "manual" for run in runs):
            continue
        lines += [
            f"**{about['title']}** (test accuracy, %, n = {TEST})",
            "",
            "| method | accuracy (95 %) | beside the manual prompt (95 %) | train | candidates | seconds | seeds |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in figures(runs, task):
            name = METHODS[row["method"]].short if row["method"] in METHODS else f"{row['method']} prompt"
            said = f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
            if "gain" not in row:
                lines.append(f"| {name} | {said} | | | | | |")
                continue
            gain = f"{100 * row['gain']:+.1f} ({100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f})"
            gain = f"**{gain}**" if row["gain_low"] > 0 else gain
            took = f"{row['seconds']:.0f}" if row["seconds"] else ""
            lines.append(
                f"| {name} | {said} | {gain} | {100 * row['train']:.1f} | {row['candidates']:.0f} "
                f"| {took} | {row['seeds']} |"
            )
        lines.append("")
    return "\n".join(lines)


# --- all of it -------------------------------------------------------------------------------


def share_cores(share: int) -> None:
    torch.set_num_threads(share)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="others than 0 to 4 to try options with")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--hours", type=float, help="begin no further run after so long")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--together", type=int, default=0, help="so many runs in one process, and no more")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--table", action="store_true", help="print what there is")
    parser.add_argument("--curves", type=Path, help="draw what there is into this file")
    asked = parser.parse_args()
    runs: list[Run] = json.loads(asked.out.read_text())["runs"] if asked.out.exists() else []
    if not (asked.table or asked.curves):
        measure(asked, runs)
    if asked.curves:
        from benchmarks.optimizer_curves import draw_curves

        draw_curves(runs, {task: about["title"] for task, about in TASKS.items()}, asked.curves)
    print(table(runs))


def measure(asked: argparse.Namespace, runs: list[Run]) -> None:
    """Do what is not in `runs` yet; each is written down when it is done."""
    done = {(run["task"], run["method"], run["seed"]) for run in runs}
    for task in asked.tasks:
        if (task, "manual", None) not in done:
            runs += fixed(task, asked.data)
            keep(runs, asked.out)
    left = [
        (task, method, seed)
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds)
        for task in asked.tasks
        for method in asked.methods
        if (task, method, seed) not in done
    ]

    def finish(run: Run) -> None:
        runs.append(run)
        keep(runs, asked.out)
        print(f"{run['task']} {run['method']} seed {run['seed']}: test {100 * run['accuracy']:.1f} %, train "
              f"{100 * run['train']:.1f} %, {run['seconds'] or 0:.0f} s", flush=True)  # fmt: skip

    if asked.together:
        from benchmarks.together import search_together

        chosen = left[: asked.together]
        search_together(
            [lambda of=of: {**searched(*of, asked.data), "seconds": None} for of in chosen], finish
        )
        return
    until = time.monotonic() + 3600 * asked.hours if asked.hours else float("inf")
    share = max(1, torch.get_num_threads() // asked.at_once)
    with ProcessPoolExecutor(asked.at_once, get_context("spawn"), share_cores, (share,)) as pool:
        going: set[Future[Run]] = set()
        while going or (left and time.monotonic() < until):
            while left and len(going) < asked.at_once and time.monotonic() < until:
                going.add(pool.submit(searched, *left.pop(0), asked.data))
            finished, going = wait(going, return_when=FIRST_COMPLETED)
            for future in finished:
                finish(future.result())
    if left:
        print(f"Stopped after {asked.hours:g} h with {len(left)} runs to do; run it again to go on.")


def keep(runs: list[Run], out: Path) -> None:
    said = {
        "calls": CALLS, "examples_a_label": SHOTS, "test": TEST, "finalists": FINALISTS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "measured": datetime.now(UTC).date().isoformat(),
        "figures": {task: figures(runs, task) for task in TASKS
                    if any(run["task"] == task for run in runs)},
        "runs": runs,
    }  # fmt: skip
    part = out.with_suffix(".part")
    part.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(out)


if __name__ == "__main__":
    main()
