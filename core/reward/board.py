"""The leaderboard by reward: what the active reward model says of every prompt, and where people
say otherwise. The model's opinion throughout; people's is `core.annotation.leaderboard`.

Three things are told apart. The mean reward of a prompt's responses, with an interval over
examples (responses to one example hang together, so an example is the unit that is sampled).
The win share: of all couples of a prompt's response and another prompt's to the same example,
how often its reward is higher; also over examples. And disagreement: on exactly the pairs that
people have voted on, the share people gave to one prompt less the share the model gives it.

Held-out: examples that the model was neither trained on nor chosen and calibrated by (no pair of
them stands in its run's train or dev split). On the others it may only remember.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.special import stdtrit
from sqlalchemy import text
from sqlmodel import Session

from core.access import Principal, require
from core.annotation.leaderboard import leaderboard
from core.kept import Kept
from core.projects import find_project
from core.reward.keeping import current_scores
from core.reward.normalise import Normalisation
from core.reward.scores import Scores
from core.runs.service import run_folder
from storage.counting import left_out_state
from storage.database import Database
from storage.evidence import votes_state
from storage.judgements import prompts_named
from storage.rows import prompt_label
from storage.tables import RewardModel

LEVEL = 0.95
WORST = 20  # pairs on which people and the model disagree most
DEFINITION = (
    "Mean reward of the prompt's responses by the active reward model, in standard deviations above the mean of "
    "the project's reference responses. Interval: 95 %, t, over examples. It is the model's opinion, not people's."
)


@dataclass(frozen=True)
class Estimate:
    """A mean over examples with its interval; `n` examples."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        known = self.n > 1
        return {
            "value": self.value,
            "low": self.low if known else None,
            "high": self.high if known else None,
            "n": self.n,
        }


def clustered(values: np.ndarray, cluster: np.ndarray, tests: int = 1) -> Estimate:
    """The mean of values (n,) with a t interval over clusters (n,): the linearised variance of a
    ratio of sums (Cochran 1977, section 6.3), which allows clusters of different size. With
    `tests`, wide enough that so many intervals hold together (Bonferroni)."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    _, place = np.unique(cluster, return_inverse=True)
    k = int(place.max()) + 1
    mean = float(values.mean())
    if k < 2:
        return Estimate(mean, float("nan"), float("nan"), k)
    residual = np.bincount(place, weights=values - mean, minlength=k)
    error = sqrt(k / (k - 1) * float((residual**2).sum())) / len(values)
    half = float(stdtrit(k - 1, 1 - (1 - LEVEL) / (2 * tests))) * error
    return Estimate(mean, mean - half, mean + half, k)


def rank_range(low: np.ndarray, high: np.ndarray) -> list[tuple[int, int]]:
    """(best, worst) rank that each item can have: 1 + those wholly above it; n - those wholly below.
    Items without an interval (nan) can have any."""
    n = len(low)
    low, high = np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)
    above = (low[None, :] > high[:, None]).sum(axis=1)
    below = (high[None, :] < low[:, None]).sum(axis=1)
    return [(1 + int(a), n - int(b)) for a, b in zip(above, below, strict=True)]


# --- what is read -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """Every scored response: prompt, example (n,) ids, reward (n,), and seen (n,): its example is
    in the model's train or dev pairs; None where that is not known."""

    model: RewardModel
    scores: Scores
    column: int
    scale: Normalisation
    prompt: np.ndarray
    example: np.ndarray
    reward: np.ndarray
    seen: np.ndarray | None


def opinion(session: Session, project_id: str) -> Opinion | None:
    project = find_project(session, project_id)
    found = current_scores(session, project)
    if found is None:
        return None
    scores, column, scale = found
    model = session.get(RewardModel, scores.models[column])
    if model is None:
        return None
    known = np.isfinite(scores.scores[:, column])
    learnt = trained_examples(model.run_id)
    example = scores.example[known]
    seen = None if learnt is None else np.isin(example, list(learnt))
    reward = scale(scores.scores[known, column])
    return Opinion(model, scores, column, scale, scores.prompt[known], example, reward, seen)


def trained_examples(run_id: str) -> frozenset[str] | None:
    """Examples of the run's train and dev pairs; None where the run's inputs do not say (an
    uploaded model, or a folder that is gone)."""
    path = run_folder(run_id).inputs / "pairs.parquet"
    kind = path.parent.parent / "spec.json"
    if not path.is_file() or not kind.is_file():
        return None
    return _trained(str(path), str(kind))


@lru_cache(maxsize=16)
def _trained(path: str, spec: str) -> frozenset[str] | None:
    if json.loads(Path(spec).read_text(encoding="utf-8")).get("kind") != "reward_model":
        return None
    table = pq.read_table(path, columns=["example_id", "split"])
    return frozenset(
        example
        for example, split in zip(table["example_id"].to_pylist(), table["split"].to_pylist(), strict=True)
        if split != "test"
    )


# --- the board ----------------------------------------------------------------------------------


def board(
    db: Database,
    who: Principal,
    project_id: str,
    *,
    held_out: bool = False,
    simulated: str | None = None,
) -> dict[str, Any] | None:
    """The prompts by mean reward, highest first, beside people's ratings; None while the active
    model has not scored the project. `held_out`: only examples that it has not seen (all, where
    that is not known). `simulated`: which votes, as in `leaderboard`."""
    require(who, "leaderboard.view")
    with db.read() as session:
        found = opinion(session, project_id)
        if found is None:
            return None
        state = (
            found.scores.run_id, found.model.id, found.model.run_id, found.scale,
            votes_state(session, project_id), left_out_state(session, project_id),
        )  # fmt: skip
    key = (db.url, project_id, held_out, simulated)
    return _kept.get(key, state, lambda: _board(db, who, project_id, found, held_out, simulated))


_kept: Kept[dict[str, Any]] = Kept()


def _board(
    db: Database, who: Principal, project_id: str, found: Opinion, held_out: bool, simulated: str | None
) -> dict[str, Any]:
    with db.read() as session:
        prompts = prompts_named(session, set(found.prompt))
        votes = voted(session, project_id, found, simulated)
    names = {key: prompt_label(prompt.name, prompt.version) for key, prompt in prompts.items()}
    kept = ~found.seen if held_out and found.seen is not None else np.ones(len(found.reward), dtype=bool)
    prompt, example, reward = found.prompt[kept], found.example[kept], found.reward[kept]
    people = leaderboard(db, who, project_id, simulated=simulated)
    rated = {item["prompt_id"]: item for item in people["items"]}
    items = _items(prompt, example, reward, names, rated)
    if held_out:
        votes = [vote for vote in votes if vote.seen is not True]
    return {
        "model": {"id": found.model.id, "name": found.model.name},
        "scale": found.scale.as_dict(),
        "items": items,
        "responses": len(reward),
        "examples": len(np.unique(example)),
        "all_responses": len(found.reward),
        "seen": None if found.seen is None else float(found.seen.mean()) if len(found.seen) else 0.0,
        "held_out": held_out,
        "human_votes": people["votes"],
        "simulated": people["simulated"],
        "simulated_votes": people["simulated_votes"],
        "versus": _versus(votes, names),
        "agreement": _agreement(votes),
        "worst": [
            vote.as_dict(names) for vote in sorted(votes, key=lambda one: -one.gap)[:WORST] if vote.gap > 0.5
        ],
        "voted_pairs": len(votes),
        "definition": DEFINITION,
    }


def _items(
    prompt: np.ndarray,
    example: np.ndarray,
    reward: np.ndarray,
    names: dict[str, str],
    rated: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    ids = sorted(set(prompt))
    shares = win_shares(prompt, example, reward)
    means = {key: clustered(reward[prompt == key], example[prompt == key]) for key in ids}
    order = sorted(ids, key=lambda key: (-means[key].value, key))
    by_reward = dict(
        zip(
            order,
            rank_range(
                np.array([means[key].low for key in order]), np.array([means[key].high for key in order])
            ),
            strict=True,
        )
    )
    # People's ranks among the same prompts, so that the two can be compared.
    both = [key for key in order if key in rated]
    by_people = dict(
        zip(
            both,
            rank_range(
                np.array([rated[key]["low"] for key in both]), np.array([rated[key]["high"] for key in both])
            ),
            strict=True,
        )
    )
    by_model = dict(
        zip(
            both,
            rank_range(
                np.array([means[key].low for key in both]), np.array([means[key].high for key in both])
            ),
            strict=True,
        )
    )
    made = []
    for key in order:
        share = shares.get(key)
        row: dict[str, Any] = {
            "prompt_id": key,
            "name": names.get(key, ""),
            "rank": by_reward[key][0],
            "rank_worst": by_reward[key][1],
            "reward": means[key].as_dict(),
            "responses": int((prompt == key).sum()),
            "win_share": share.as_dict() if share else None,
            "human": None,
        }
        if key in rated:
            human, model = by_people[key], by_model[key]
            row["human"] = {
                "rating": rated[key]["rating"],
                "low": rated[key]["low"],
                "high": rated[key]["high"],
                "n": rated[key]["n"],
                "rank": human[0],
                "rank_worst": human[1],
                "rank_by_reward": model[0],
                "rank_by_reward_worst": model[1],
                "differs": human[1] < model[0] or model[1] < human[0],
            }
        made.append(row)
    return made


def win_shares(prompt: np.ndarray, example: np.ndarray, reward: np.ndarray) -> dict[str, Estimate]:
    """prompt -> how often a response of it has a higher reward than one of another prompt to the
    same example (equal ones count half): the mean over examples of the share within one."""
    order = np.argsort(example, kind="stable")
    if not len(order):
        return {}
    cuts = np.flatnonzero(np.r_[True, example[order][1:] != example[order][:-1], True])
    found: dict[str, list[float]] = {}
    for start, end in pairwise(cuts):
        rows = order[start:end]
        if len(set(prompt[rows])) < 2:
            continue
        won = (np.sign(reward[rows][:, None] - reward[rows][None, :]) + 1) / 2  # (m, m)
        other = prompt[rows][:, None] != prompt[rows][None, :]
        for key in set(prompt[rows]):
            mine = prompt[rows] == key
            found.setdefault(key, []).append(float(won[mine][other[mine]].mean()))
    return {key: clustered(np.array(values), np.arange(len(values))) for key, values in found.items()}


# --- beside people's votes ------------------------------------------------------------------------


@dataclass(frozen=True)
class Voted:
    """A pair with votes: q the share for a, p the model's calibrated chance that a is preferred;
    seen: whether the model was trained or chosen on its example (None: not known)."""

    pair_id: str
    example_id: str
    prompt_a: str
    prompt_b: str
    n: int
    q: float
    p: float
    seen: bool | None

    @property
    def gap(self) -> float:
        return abs(self.q - self.p)

    def as_dict(self, names: dict[str, str]) -> dict[str, Any]:
        return {
            "pair_id": self.pair_id,
            "example_id": self.example_id,
            "prompt_a": names.get(self.prompt_a, ""),
            "prompt_b": names.get(self.prompt_b, ""),
            "n": self.n,
            "q": self.q,
            "p": self.p,
            "held_out": None if self.seen is None else not self.seen,
        }


def voted(session: Session, project_id: str, found: Opinion, simulated: str | None) -> list[Voted]:
    """The pairs with votes that say which is better, both of whose responses are scored. By people's
    votes, unless `simulated` is include or only, or there are no others (as on the leaderboard)."""
    query = text(
        "SELECT pair_id, example_id, response_a, response_b, n, q, n_simulated FROM preference "
        "WHERE project_id = :project ORDER BY pair_id"
    )
    rows = list(session.connection().execute(query, {"project": project_id}))
    if simulated is None:
        simulated = "exclude" if any(row.n_simulated < row.n for row in rows) else "include"
    if simulated == "exclude":
        rows = [row for row in rows if not row.n_simulated]
    elif simulated == "only":
        rows = [row for row in rows if row.n_simulated == row.n]
    rows = [
        row for row in rows if row.response_a in found.scores.place and row.response_b in found.scores.place
    ]
    if not rows:
        return []
    chance = found.scores.chances([row.response_a for row in rows], [row.response_b for row in rows])
    prompts = dict(zip(found.scores.place, found.scores.prompt, strict=True))
    learnt = trained_examples(found.model.run_id)
    return [
        Voted(
            row.pair_id, row.example_id, prompts[row.response_a], prompts[row.response_b], int(row.n), float(row.q),
            float(p), None if learnt is None else row.example_id in learnt,
        )
        for row, p in zip(rows, chance[:, found.column], strict=True)
        if np.isfinite(p)
    ]  # fmt: skip


def _versus(votes: Sequence[Voted], names: dict[str, str]) -> list[dict[str, Any]]:
    """For every two prompts that people have compared: the share people gave the first, the share
    of the same pairs on which the model prefers it, and the difference. `opposite`: people prefer
    one and the model the other, each with an interval that excludes one half; `differs`: the
    interval of the difference excludes zero. Intervals hold together over all couples."""
    groups: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for vote in votes:
        if vote.prompt_a == vote.prompt_b:
            continue
        picked = 1.0 if vote.p > 0.5 else 0.0 if vote.p < 0.5 else 0.5
        swap = vote.prompt_a > vote.prompt_b
        key = (vote.prompt_b, vote.prompt_a) if swap else (vote.prompt_a, vote.prompt_b)
        row = (1 - vote.q, 1 - picked, vote.example_id) if swap else (vote.q, picked, vote.example_id)
        groups.setdefault(key, []).append(row)
    made = []
    for (first, second), rows in groups.items():
        people, model = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        example = np.array([row[2] for row in rows])
        by_people, by_model, gap = (
            clustered(values, example, tests=len(groups)) for values in (people, model, model - people)
        )
        sides = [_side(of) for of in (by_people, by_model)]
        made.append(
            {
                "first": names.get(first, ""),
                "second": names.get(second, ""),
                "pairs": len(rows),
                "people": by_people.as_dict(),
                "model": by_model.as_dict(),
                "difference": gap.as_dict(),
                "differs": gap.low > 0 or gap.high < 0,
                "opposite": sides[0] * sides[1] < 0,
            }
        )
    return sorted(
        made, key=lambda row: (not row["opposite"], not row["differs"], -abs(row["difference"]["value"]))
    )


def _side(of: Estimate) -> int:
    return 1 if of.low > 0.5 else -1 if of.high < 0.5 else 0


def _agreement(votes: Sequence[Voted]) -> dict[str, Any]:
    """On how many of the decided pairs the model prefers what people prefer."""
    decided = [vote for vote in votes if vote.q != 0.5]
    right = np.array(
        [((vote.p > 0.5) == (vote.q > 0.5)) if vote.p != 0.5 else 0.5 for vote in decided], dtype=float
    )
    return clustered(right, np.array([vote.example_id for vote in decided])).as_dict() | {
        "pairs": len(decided)
    }
