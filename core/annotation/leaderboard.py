"""The leaderboard of prompts: ratings with intervals, wins, and the win matrix."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlmodel import Session

from core.access import Principal, require
from core.annotation.judgements import Simulated, which_votes
from core.annotation.ratings import Ratings, bradley_terry
from core.kept import Kept
from core.projects import find_project
from core.stats import wilson
from storage import judgements
from storage.counting import left_out_state
from storage.database import Database
from storage.evidence import is_large, votes_state
from storage.tables import Prompt

DEFINITION = (
    "Bradley-Terry: the chance that a beats b is 1 / (1 + 10^((rating b - rating a) / 400)). A tie, and a "
    "pair of which both are bad, counts half a win to each. Interval: 95 %, from the sandwich variance, over "
    "votes or over pairs, the wider. Rank: 1 + the number of prompts whose whole interval lies above this one's."
)


def leaderboard(
    db: Database,
    who: Principal,
    project_id: str,
    *,
    annotators: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    simulated: Simulated | str | None = None,
) -> dict[str, Any]:
    """Every prompt that has votes, best rating first, with ratings as in
    `core.annotation.ratings`. `wins[i][j]` of the matrix: how often item i beat item j,
    a tie counting half; `n[i][j]`: how often they met. "Both bad" counts as a tie, as in
    Chatbot Arena. Pairs of one prompt with itself do not count (`same_prompt_votes`).
    `annotators` are ids; `since` is inclusive, `until` exclusive."""
    require(who, "leaderboard.view")
    asked = (tuple(annotators) if annotators else None, since, until, simulated and str(simulated))

    def make() -> dict[str, Any]:
        return _board(db, project_id, annotators, since, until, simulated)

    with db.read() as session:
        find_project(session, project_id)
        votes = votes_state(session, project_id)
        if is_large(votes):
            # Who was left out is seen at once; new votes a moment later.
            key = (db.url, project_id, asked, left_out_state(session, project_id))
            return _kept.get(key, votes, make, meanwhile=True)
    return make()


_kept: Kept[dict[str, Any]] = Kept()


def _board(
    db: Database,
    project_id: str,
    annotators: Sequence[str] | None,
    since: datetime | None,
    until: datetime | None,
    simulated: Simulated | str | None,
) -> dict[str, Any]:
    with db.read() as session:
        which, people, machine = which_votes(
            session, project_id, simulated=simulated, annotators=annotators, since=since, until=until
        )
        total = judgements.totals(session, which)
        rows = judgements.by_pair(session, which)
        prompts = _prompts(session, rows)
    ids = sorted(prompts)
    place = {key: number for number, key in enumerate(ids)}
    a = np.array([place[row[0]] for row in rows], dtype=int)
    b = np.array([place[row[1]] for row in rows], dtype=int)
    votes = np.array([row[2:] for row in rows], dtype=float).reshape(-1, 4)
    other = a != b
    counts = np.column_stack([votes[:, 0], votes[:, 1], votes[:, 2] + votes[:, 3]])
    ratings = bradley_terry(a[other], b[other], counts[other], len(ids))
    wins, met = _matrix(a[other], b[other], counts[other], len(ids))
    plain, _ = _matrix(a[other], b[other], counts[other] * [1, 1, 0], len(ids))
    order = sorted(range(len(ids)), key=lambda i: (ratings.group[i], -ratings.rating[i], ids[i]))
    order = [i for i in order if met[i].sum() > 0]
    groups = sorted({int(ratings.group[i]) for i in order})
    return {
        "items": [_item(prompts[ids[i]], i, ratings, wins, plain, met) for i in order],
        "votes": int(counts[other].sum()),
        "annotators": total.annotators,
        "same_prompt_votes": int(counts[~other].sum()),
        "both_bad": int(votes[other, 3].sum()),
        "simulated": which.simulated,
        "simulated_votes": total.simulated,
        "machine_votes": total.machine,
        "all_human_votes": people,
        "all_simulated_votes": machine,
        "groups": [[ids[i] for i in order if ratings.group[i] == number] for number in groups],
        "smoothed": bool(ratings.smoothed[order].any()) if order else False,
        "matrix": {
            "prompts": [ids[i] for i in order],
            "wins": wins[np.ix_(order, order)].tolist(),
            "n": met[np.ix_(order, order)].astype(int).tolist(),
        },
        "definition": DEFINITION,
    }


def judges(db: Database, who: Principal, project_id: str) -> list[tuple[str, str, bool, int]]:
    """Who has voted: (id, name, simulated, votes), for the filter."""
    require(who, "leaderboard.view")
    with db.read() as session:
        find_project(session, project_id)
        return judgements.annotators_with_votes(session, project_id)


def full_name(prompt: Prompt) -> str:
    return prompt.name if prompt.version == 1 else f"{prompt.name} v{prompt.version}"


def _prompts(session: Session, rows: Sequence[tuple[Any, ...]]) -> dict[str, Prompt]:
    return judgements.prompts_named(session, {row[0] for row in rows} | {row[1] for row in rows})


def _matrix(a: np.ndarray, b: np.ndarray, counts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """wins (k, k), ties as halves, and how often each two met (k, k)."""
    wins = np.zeros((k, k))
    np.add.at(wins, (a, b), counts[:, 0] + counts[:, 2] / 2)
    np.add.at(wins, (b, a), counts[:, 1] + counts[:, 2] / 2)
    return wins, wins + wins.T


def _item(
    prompt: Prompt, i: int, ratings: Ratings, wins: np.ndarray, plain: np.ndarray, met: np.ndarray
) -> dict[str, Any]:
    n, won, lost = int(met[i].sum()), int(plain[i].sum()), int(plain[:, i].sum())
    low, high = wilson(float(wins[i].sum()), n)
    return {
        "prompt_id": prompt.id,
        "name": full_name(prompt),
        "version": prompt.version,
        "rank": int(ratings.rank[i]),
        "rating": float(ratings.rating[i]),
        "low": float(ratings.low[i]),
        "high": float(ratings.high[i]),
        "n": n,
        "wins": won,
        "losses": lost,
        "ties": n - won - lost,
        "win_rate": float(wins[i].sum() / n),
        "win_rate_low": low,
        "win_rate_high": high,
        "group": int(ratings.group[i]),
        "smoothed": bool(ratings.smoothed[i]),
    }
