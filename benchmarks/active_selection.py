"""Does choosing pairs beat chance? Each selection strategy against random, at equal votes.

Three replays, several seeds each:

- **llmfao**: 8,931 recorded votes on 2,139 pairs of answers by 59 models to 13 prompts. A
  strategy names the next pair; the next recorded vote on it is revealed. Truth is what all
  votes together say, so the error at the end is zero for everybody.
- **llmfao, new prompts**: the same, but four of the 13 prompts (drawn by the seed) are never asked
  about; the reward model is judged on their pairs, by all votes they have.
- **simulation**: 20 prompts, 20 examples, every two compared on each, up to three votes a pair,
  12 % ties; rewards are linear in known features, so the truth is known. The reward
  model is judged on the pairs of ten further examples (`selection/worlds.py`).

Errors: root mean square of the ratings (Elo points, centred) and of the matrix of win chances
(in points of 100), against the truth; and of the reward model its log-loss (nats) and accuracy
(points of 100) on what was held out. For each strategy and share of the votes, the
difference to random is taken seed by seed; its interval is Student's over seeds.

The strategies are the product's (`core/annotation/selection.py`), and so is the way from scores
to a pair (`core.reward.scores.Scores`, the open pairs with the fewest votes, the value of
a pair). The reward model that two of them ask is a **stand-in**: a Bradley-Terry head with a
ridge on frozen features (of llmfao's answers: embeddings by the embedded MiniLM, of which the 128
directions are kept in which answers to a prompt differ most), fitted anew to all votes so far every 50 votes, and for the disagreement five of them, four by bootstrap. The
product fine-tunes an encoder, which takes a minute or more each time and would make of this
replay some weeks; on HH-RLHF a head on frozen embeddings is as good (.61 against .60 to .64).
It also trains when somebody asks for it, not every 50 votes: here the two strategies are
shown at their best in this.

Then **probes** (`selection/careless.py`): gold checks and hidden repeats at 0, 10 and 20 % of
the answers, without and with a quarter of people who click at random, against no probes
at equal answers; and what probes take from the votes on llmfao.

    python benchmarks/active_selection.py [--seeds 40] [--data DIR] [--processes 2]

The llmfao parts need crowd-comparisons.csv and pairs-crowd.jsonl (in data/llmfao, or --data DIR)
and are left out without them. Writes benchmarks/results/active_selection.json.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace as with_
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the processes share the cores
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.special import stdtrit  # noqa: E402

from benchmarks.selection import careless, replay, worlds  # noqa: E402
from benchmarks.selection.careless import Arm  # noqa: E402
from benchmarks.selection.head import Heads  # noqa: E402
from core.annotation.selection import STRATEGIES  # noqa: E402

AT = (0.1, 0.25, 0.5, 0.75)
ANSWERS_AT = (0.1, 0.25, 0.5, 0.75)
DATA = [ROOT / "data" / "llmfao", ROOT.parent / "shared" / "data" / "llmfao"]
LLMFAO, NEW_PROMPTS, SIMULATION = "llmfao", "llmfao, new prompts", "simulation"
DIRECTIONS = 128  # of 384: six times faster, and the heads are as good
# By cross-validation on random quarters of the votes, before any strategy was looked at.
RIDGE = {LLMFAO: 10.0, NEW_PROMPTS: 10.0, SIMULATION: 100.0}
RATES = ((0.1, 0.0), (0.2, 0.0), (0.0, 0.1), (0.0, 0.2), (0.1, 0.1))
CLICKERS = 0.25
ARMS = [
    Arm(0.0),
    *(Arm(0.0, gold, repeat) for gold, repeat in RATES),
    *(Arm(0.0, gold, repeat, "gold") for gold, repeat in RATES if gold),
    *(Arm(0.0, gold, repeat, "repeats") for gold, repeat in RATES if repeat),
    Arm(0.0, rule="suspects"),
    Arm(CLICKERS),
    *(Arm(CLICKERS, gold, repeat, "gold") for gold, repeat in RATES if gold),
    *(Arm(CLICKERS, gold, repeat, "repeats") for gold, repeat in RATES if repeat),
    Arm(CLICKERS, rule="suspects"),
    Arm(CLICKERS, rule="known"),
]

_recorded: worlds.Recorded | None = None


# --- in the processes -----------------------------------------------------------------------


def prepare(folder: Path | None, embeddings: Path) -> None:
    global _recorded
    if folder is not None:
        recorded = worlds.llmfao(folder)
        features = np.load(embeddings)["features"].astype(float)
        _recorded = with_(recorded, world=with_(recorded.world, features=features))


def embed(folder: Path, to: Path) -> float:
    """Seconds it took."""
    from benchmarks.selection.embedding import embed, principal

    started, texts = time.monotonic(), worlds.llmfao(folder).texts
    np.savez(to, features=principal(embed(texts), np.array([asked for asked, _ in texts]), DIRECTIONS))
    return time.monotonic() - started


def world_of(data: str, seed: int) -> worlds.World:
    if data == SIMULATION:
        return worlds.simulated(seed)
    assert _recorded is not None
    return _recorded.world if data == LLMFAO else worlds.hold_out(_recorded, seed)


def strategy(task: tuple[str, str, int]) -> np.ndarray:
    data, key, seed = task
    return replay.replay(key, world_of(data, seed), seed, AT, RIDGE[data])


def all_votes(task: tuple[str, int]) -> tuple[float, float]:
    """The reward model's measures once every vote is in."""
    data, seed = task
    world = world_of(data, seed)
    heads = Heads(world.features, world.row_a, world.row_b, RIDGE[data])
    for i, of in enumerate(world.votes):
        heads.see(np.full(len(of), i), of)
    heads.fit()
    return replay.reward_measures(heads, world)


def probes(task: tuple[Arm, int]) -> np.ndarray:
    arm, seed = task
    return careless.replay(arm, worlds.simulated(seed, held_examples=0), seed, ANSWERS_AT)


def taken(task: tuple[float, int]) -> np.ndarray:
    """llmfao when so large a share of the answers is given to probes."""
    rate, seed = task
    at = [share * (1 - rate) for share in ANSWERS_AT]
    return replay.replay("fewest_votes", world_of(LLMFAO, seed), seed, at, RIDGE[LLMFAO])[:, :2]


# --- adding up ------------------------------------------------------------------------------


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval over seeds (seeds,)."""
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / sqrt(len(values)))
    return mean, mean - half, mean + half


def rows_of(
    found: dict[Any, np.ndarray], base: Callable[[Any], Any], named: Callable[[Any], dict[str, Any]],
    at: Iterable[float], measures: Iterable[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each arm, share and measure: its mean, and its difference to the arm it is
    measured against, seed by seed."""
    rows = []
    for key, values in found.items():
        against = found[base(key)]
        for s, share in enumerate(at):
            for m, measure in enumerate(measures):
                if np.isnan(values[:, s, m]).any():
                    continue
                mean, low, high = interval(values[:, s, m])
                gap, gap_low, gap_high = interval(values[:, s, m] - against[:, s, m])
                row = {**named(key), "share": share, "measure": measure, "seeds": len(values)}
                row |= {"value": mean, "low": low, "high": high}
                row |= {"difference": gap, "difference_low": gap_low, "difference_high": gap_high}
                rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def gather(
    pool: ProcessPoolExecutor, work: Callable, arms: Iterable[Any], seeds: int
) -> dict[Any, np.ndarray]:
    """{arm: (seeds, …)} of work((*arm, seed))."""
    found = {}
    waiting = {
        arm: [
            pool.submit(work, (*(arm if isinstance(arm, tuple) else (arm,)), seed)) for seed in range(seeds)
        ]
        for arm in arms
    }
    for arm, futures in waiting.items():
        started = time.monotonic()
        found[arm] = np.array([future.result() for future in futures])
        print(f"  {arm}: {time.monotonic() - started:.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    started = time.monotonic()
    there = [one for one in [asked.data, *DATA] if one and (one / "pairs-crowd.jsonl").is_file()]
    folder = there[0] if there else None
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as temporary:
        embeddings = Path(temporary) / "llmfao.npz"
        if folder is None:
            print("  llmfao: left out, its data is not here")
        else:
            with ProcessPoolExecutor(1, spawn) as pool:
                print(f"  embeddings: {pool.submit(embed, folder, embeddings).result():.0f} s", flush=True)
        with ProcessPoolExecutor(asked.processes, spawn, prepare, (folder, embeddings)) as pool:
            data = [SIMULATION] if folder is None else [LLMFAO, NEW_PROMPTS, SIMULATION]
            chosen = gather(pool, strategy, [(name, key) for name in data for key in STRATEGIES], asked.seeds)
            ends = gather(pool, all_votes, [(name,) for name in data if name != LLMFAO], asked.seeds)
            checked = gather(pool, probes, ARMS, asked.seeds)
            cost = gather(pool, taken, [] if folder is None else [(0.0,), (0.1,), (0.2,)], asked.seeds)
    result = {
        "batch": replay.BATCH,
        "strategies": rows_of(
            chosen, lambda arm: (arm[0], "random"), lambda arm: {"data": arm[0], "strategy": arm[1]},
            AT, replay.MEASURES,
        ),
        "reward_model_with_all_votes": [
            {"data": name, "measure": measure, "seeds": asked.seeds}
            | dict(zip(("value", "low", "high"), (round(x, 4) for x in interval(values[:, m])), strict=True))
            for (name,), values in ends.items()
            for m, measure in enumerate(replay.MEASURES[2:])
        ],
        "probes": rows_of(
            checked, lambda arm: Arm(arm.clickers), lambda arm: vars(arm), ANSWERS_AT, careless.MEASURES
        )
        + rows_of(cost, lambda arm: (0.0,), lambda arm: {"data": LLMFAO, "probes": arm[0]}, ANSWERS_AT,
                  replay.MEASURES[:2]),
        "assumed": {
            name.lower(): getattr(careless, name)
            for name in ("PEOPLE", "GOLD_RIGHT", "SAME", "FAILURES", "WINDOW", "LEAST", "REPEAT_AFTER")
        },
    }  # fmt: skip
    out = ROOT / "benchmarks" / "results" / "active_selection.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["strategies"] + result["probes"]:
        what = ", ".join(
            str(v)
            for k, v in row.items()
            if k in ("data", "strategy", "clickers", "gold", "repeat", "rule", "probes")
        )
        print(
            f"{what:<45} {100 * row['share']:>3.0f} % {row['measure']:<22} {row['value']:>8.3f}  "
            f"difference {row['difference']:+.3f} ({row['difference_low']:+.3f} to {row['difference_high']:+.3f})"
        )
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
