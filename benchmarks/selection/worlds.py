"""What is replayed: pairs with the votes they would get, and the truth these are held against."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from core.annotation.selection import standing

TIES = 0.12
PROMPTS, EXAMPLES, HELD_EXAMPLES = 20, 20, 10
FEATURES = 64
MOST_VOTES = 3
HELD_SHARE = 0.3  # of llmfao's prompts


@dataclass(frozen=True)
class HeldOut:
    """Pairs of examples that are never asked about. a, b (h,): rows of the features of their
    responses; q (h,): what a gets of the votes, or of votes without end where that is known."""

    a: np.ndarray
    b: np.ndarray
    q: np.ndarray


@dataclass(frozen=True)
class World:
    """m pairs. a, b (m,): what they compare (prompts, or models); votes[i]: what a gets of each
    vote on pair i (1, 0.5, 0). truth_t (k,), truth_p (k, k): ratings and chances of winning.
    features (R, d) of responses, with row_a, row_b (m,) those of a pair; chance (m,): how
    often a careful person who sees a difference prefers a (nan where only votes are known)."""

    a: np.ndarray
    b: np.ndarray
    votes: list[np.ndarray]
    truth_t: np.ndarray
    truth_p: np.ndarray
    features: np.ndarray
    row_a: np.ndarray
    row_b: np.ndarray
    chance: np.ndarray
    held: HeldOut | None = None

    @property
    def total(self) -> int:
        return sum(map(len, self.votes))


def simulated(seed: int, examples: int = EXAMPLES, held_examples: int = HELD_EXAMPLES) -> World:
    """PROMPTS prompts, every two compared on every example, up to three votes each, TIES ties.
    A response's reward is a linear function of its FEATURES normal features: its prompt's mean
    (standard deviation .8 over prompts) and what is its own (.8); a vote prefers a with
    the logistic chance of the difference. Truth is what votes without end would say."""
    rng = np.random.default_rng([seed, 7])
    weights = rng.normal(0, 1, FEATURES)
    weights /= np.sqrt((weights**2).sum())
    together = examples + held_examples
    of_prompt = rng.normal(0, 0.8, (PROMPTS, 1, FEATURES))
    features = (of_prompt + rng.normal(0, 0.8, (PROMPTS, together, FEATURES))).reshape(-1, FEATURES)
    reward = features @ weights
    i, j = np.triu_indices(PROMPTS, 1)
    a, b = np.repeat(i, together), np.repeat(j, together)
    example = np.tile(np.arange(together), len(i))
    row_a, row_b = a * together + example, b * together + example
    chance = expit(reward[row_a] - reward[row_b])
    asked = example < examples
    votes = []
    for p in chance[asked]:
        tie = rng.random(MOST_VOTES) < TIES
        votes.append(np.where(tie, 0.5, (rng.random(MOST_VOTES) < p).astype(float)))
    expected = TIES / 2 + (1 - TIES) * chance
    wins = np.zeros((PROMPTS, PROMPTS))
    np.add.at(wins, (a[asked], b[asked]), expected[asked])
    np.add.at(wins, (b[asked], a[asked]), 1 - expected[asked])
    limit = standing(1e5 * wins)
    return World(
        a[asked], b[asked], votes, limit.t - limit.t.mean(), limit.p,
        features.astype(np.float32), row_a[asked], row_b[asked], chance[asked],
        HeldOut(row_a[~asked], row_b[~asked], expected[~asked]),
    )  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """llmfao as it lies there. prompts (m,): of each pair; texts[i]: (prompt, response) of row i
    of the features."""

    world: World
    prompts: np.ndarray
    texts: list[tuple[str, str]]


def llmfao(folder: Path) -> Recorded:
    """Its pairs and votes; the features are still to be filled in."""
    with (folder / "crowd-comparisons.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (folder / "pairs-crowd.jsonl").open(encoding="utf-8") as file:
        sources = {item["id"]: item for item in map(json.loads, file)}
    models = sorted({row[side] for row in rows for side in ("left", "right")})
    place = {name: i for i, name in enumerate(models)}
    texts: dict[tuple[str, int], tuple[str, str]] = {}
    pairs: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        left, right = place[row["left"]], place[row["right"]]
        source = sources[int(row["id"])]
        # `left` and `right` name the models; x and y are numbers, x standing left.
        texts[row["prompt"], left] = source["text"], source["result_x"]
        texts[row["prompt"], right] = source["text"], source["result_y"]
        score = {"left": 1.0, "right": 0.0, "tie": 0.5}[row["winner"]]
        low, high = min(left, right), max(left, right)
        pairs.setdefault((row["prompt"], low, high), []).append(score if left == low else 1 - score)
    at = {key: i for i, key in enumerate(texts)}
    a, b = (np.array([key[side] for key in pairs]) for side in (1, 2))
    votes = [np.array(of) for of in pairs.values()]
    world = World(
        a, b, votes, *truth_of(a, b, votes, len(models)),
        features=np.zeros((len(texts), 0), np.float32),
        row_a=np.array([at[prompt, low] for prompt, low, _ in pairs]),
        row_b=np.array([at[prompt, high] for prompt, _, high in pairs]),
        chance=np.full(len(a), np.nan),
    )  # fmt: skip
    return Recorded(world, np.array([int(prompt) for prompt, *_ in pairs]), list(texts.values()))


def truth_of(a: np.ndarray, b: np.ndarray, votes: list[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """What all votes together say of k prompts."""
    wins = np.zeros((k, k))
    for i, of in enumerate(votes):
        wins[a[i], b[i]] += of.sum()
        wins[b[i], a[i]] += (1 - of).sum()
    now = standing(wins)
    return now.t - now.t.mean(), now.p


def hold_out(recorded: Recorded, seed: int) -> World:
    """HELD_SHARE of the prompts, drawn by the seed, are never asked about; truth is what the
    votes on the others say."""
    world, every = recorded.world, np.unique(recorded.prompts)
    drawn = np.random.default_rng([seed, 11]).permutation(every)[: round(HELD_SHARE * len(every))]
    out = np.isin(recorded.prompts, drawn)
    asked = np.flatnonzero(~out)
    a, b = world.a[asked], world.b[asked]
    votes = [world.votes[i] for i in asked]
    t, p = truth_of(a, b, votes, len(world.truth_t))
    q = np.array([world.votes[i].mean() for i in np.flatnonzero(out)])
    return replace(
        world, a=a, b=b, votes=votes, truth_t=t, truth_p=p,
        row_a=world.row_a[asked], row_b=world.row_b[asked], chance=world.chance[asked],
        held=HeldOut(world.row_a[out], world.row_b[out], q),
    )  # fmt: skip
