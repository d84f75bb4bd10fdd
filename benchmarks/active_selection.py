"""Does choosing pairs beat chance? Each selection strategy against random, at equal votes.

Two replays, several seeds each:

- **llmfao**: 8,931 recorded votes on 2,139 pairs of answers by 59 models. A strategy names
  the next pair; the next recorded vote on it is revealed. Truth is what all votes together
  say, so the error at the end is zero for everybody.
- **simulation**: 20 prompts with known ratings (normal, standard deviation 1 on the logit
  scale), 40 pairs for each two of them, up to three votes each, 12 % ties.

Error: root mean square of the ratings (Elo points, centred) and of the matrix of win chances
(in points of 100), against the truth. For each strategy and share of the votes, the
difference to random is taken seed by seed; its interval is Student's over seeds.

Left out are the strategies that ask the reward model (uncertainty, disagreement): a replay of
them has to train reward models again and again, on every seed, and a cheaper stand-in would
say nothing about them.

    python benchmarks/active_selection.py [--seeds 20] [--data DIR]

The llmfao part needs crowd-comparisons.csv (in data/llmfao, or --data DIR) and is left out
without it. Writes benchmarks/results/active_selection.json.
"""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable
from math import sqrt
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy.special import stdtrit  # noqa: E402

from core.annotation.selection import STRATEGIES, OpenPairs, choose, standing  # noqa: E402

BATCH = 50  # votes between two rankings of the open pairs
AT = (0.1, 0.25, 0.5, 0.75)
ELO = 400 / np.log(10)
DATA = [ROOT / "data" / "llmfao", ROOT.parent / "shared" / "data" / "llmfao"]


def replay(
    strategy: str,
    a: np.ndarray,
    b: np.ndarray,
    votes: list[np.ndarray],
    truth_t: np.ndarray,
    truth_p: np.ndarray,
    seed: int,
) -> list[tuple[float, float]]:
    """(rating error, win matrix error) at each share in AT. votes[i]: what a gets of each
    vote on pair i (1, 0.5, 0), revealed in an order drawn by the seed. The champion of
    that strategy is the best in truth."""
    rng = np.random.default_rng([seed, sum(map(ord, strategy))])
    order = np.random.default_rng(seed)
    waiting = [list(order.permutation(of)) for of in votes]
    k, given = len(truth_t), np.zeros(len(a), dtype=int)
    wins = np.zeros((k, k))
    total, done = sum(map(len, votes)), 0
    marks, errors = [round(share * total) for share in AT], []
    champion = int(np.argmax(truth_t))
    while marks:
        now = standing(wins)
        while marks and done >= marks[0]:
            t = now.t - now.t.mean()
            off = ~np.eye(k, dtype=bool)
            errors.append(
                (
                    ELO * sqrt(((t - truth_t) ** 2).mean()),
                    100 * sqrt(((now.p - truth_p)[off] ** 2).mean()),
                )
            )
            marks.pop(0)
        open_ = np.flatnonzero([bool(of) for of in waiting])
        wanted = min(BATCH, (marks[0] - done) if marks else 0)
        if not wanted:
            break
        picked = open_[
            choose(strategy, OpenPairs(a[open_], b[open_], given[open_]), now, wanted, rng, champion)
        ]
        for i in picked:
            score = waiting[i].pop()
            given[i] += 1
            done += 1
            wins[a[i], b[i]] += score
            wins[b[i], a[i]] += 1 - score
    return errors


def llmfao(folder: Path) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    with (folder / "crowd-comparisons.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    models = sorted({row[side] for row in rows for side in ("left", "right")})
    place = {name: i for i, name in enumerate(models)}
    pairs: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        left, right = place[row["left"]], place[row["right"]]
        score = {"left": 1.0, "right": 0.0, "tie": 0.5}[row["winner"]]
        low, high = min(left, right), max(left, right)
        pairs.setdefault((row["prompt"], low, high), []).append(score if left == low else 1 - score)
    keys = list(pairs)
    return (
        np.array([key[1] for key in keys]),
        np.array([key[2] for key in keys]),
        [np.array(pairs[key]) for key in keys],
    )


def truth_of(a: np.ndarray, b: np.ndarray, votes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    k = int(max(a.max(), b.max())) + 1
    wins = np.zeros((k, k))
    for i, of in enumerate(votes):
        wins[a[i], b[i]] += of.sum()
        wins[b[i], a[i]] += (1 - of).sum()
    now = standing(wins)
    return now.t - now.t.mean(), now.p


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 7])
    k, each = 20, 40
    t = rng.normal(0, 1, k)
    t -= t.mean()
    i, j = np.triu_indices(k, 1)
    a, b = np.repeat(i, each), np.repeat(j, each)
    p = 1 / (1 + np.exp(t[None, :] - t[:, None]))
    # What votes without end would say, ties as halves: the truth that can be learned.
    expected = 0.88 * p + 0.06
    limit = standing(1e5 * (expected - np.diag(np.diag(expected))))
    votes = []
    for x, y in zip(a, b, strict=True):
        tie = rng.random(3) < 0.12
        votes.append(np.where(tie, 0.5, (rng.random(3) < p[x, y]).astype(float)))
    return a, b, votes, limit.t - limit.t.mean(), limit.p


def compare(name: str, make: Callable[[int], tuple], seeds: int) -> list[dict]:
    found: dict[str, np.ndarray] = {}
    for strategy in (key for key, rule in STRATEGIES.items() if not rule.models):
        started = time.monotonic()
        found[strategy] = np.array([replay(strategy, *make(seed), seed) for seed in range(seeds)])
        print(f"  {name}: {strategy} {time.monotonic() - started:.0f} s", flush=True)
    rows = []
    for strategy, errors in found.items():
        gap = errors - found["random"]  # (seeds, shares, 2)
        half = stdtrit(seeds - 1, 0.975) * gap.std(axis=0, ddof=1) / sqrt(seeds)
        for s, share in enumerate(AT):
            for m, measure in enumerate(("ratings_elo", "win_matrix_points")):
                rows.append(
                    {
                        "data": name,
                        "strategy": strategy,
                        "share_of_votes": share,
                        "measure": measure,
                        "error": round(float(errors[:, s, m].mean()), 2),
                        "against_random": round(float(gap[:, s, m].mean()), 2),
                        "low": round(float(gap[:, s, m].mean() - half[s, m]), 2),
                        "high": round(float(gap[:, s, m].mean() + half[s, m]), 2),
                        "seeds": seeds,
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    rows = []
    folder = next((one for one in [asked.data, *DATA] if one and one.is_dir()), None)
    if folder is not None:
        a, b, votes = llmfao(folder)
        truth = truth_of(a, b, votes)
        rows += compare("llmfao", lambda seed: (a, b, votes, *truth), asked.seeds)
    else:
        print("  llmfao: left out, its data is not here")
    rows += compare("simulation", simulated, asked.seeds)
    out = ROOT / "benchmarks" / "results" / "active_selection.json"
    out.write_text(json.dumps({"batch": BATCH, "rows": rows}, indent=1) + "\n")
    for row in rows:
        if row["strategy"] != "random":
            print(
                f"{row['data']:>10} {row['strategy']:<20} {100 * row['share_of_votes']:>3.0f} % "
                f"{row['measure']:<18} {row['error']:>7.2f}  against random {row['against_random']:+.2f} "
                f"({row['low']:+.2f} to {row['high']:+.2f})"
            )


if __name__ == "__main__":
    main()
