"""The leaderboard with style held fixed, and a composite rating over criteria."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.access import Principal, require
from core.annotation.judgements import which_votes
from core.annotation.leaderboard import full_name
from core.annotation.ratings import bradley_terry
from core.annotation.style import FEATURES, controlled, differences, features
from core.errors import Invalid
from core.projects import find_project
from storage import judgements
from storage import quality as facts
from storage.database import Database
from storage.styled import pairs_between_prompts

MOST_PAIRS = 30_000  # texts of so many pairs are read; of more, a sample


def style_controlled(db: Database, who: Principal, project_id: str, **filters: Any) -> dict[str, Any]:
    """Ratings beside the plain ones of the same votes, and what each trait of style adds to
    the log-odds of winning. `filters`: as of `core.annotation.leaderboard.leaderboard`.
    `sampled`: `pairs` are a sample of `all_pairs`."""
    require(who, "leaderboard.view")
    with db.read() as session:
        find_project(session, project_id)
        which, _, _ = which_votes(session, project_id, **filters)
        found_rows, there = pairs_between_prompts(session, which, MOST_PAIRS)
        rows: list[Any] = list(found_rows)
        prompts = judgements.prompts_named(session, {key for row in rows for key in row[:2]})
    ids = sorted(prompts)
    place = {key: number for number, key in enumerate(ids)}
    a, b = (np.array([place[row[side]] for row in rows], dtype=int) for side in (0, 1))
    counts = np.array([row[2:5] for row in rows], dtype=float).reshape(-1, 3)
    known: dict[str, tuple[int, ...]] = {}
    x, y = (
        np.array([known.setdefault(row[side], features(row[side])) for row in rows], float).reshape(-1, 4)
        for side in (5, 6)
    )
    answer: dict[str, Any] = {
        "pairs": len(rows), "all_pairs": there, "sampled": there > len(rows), "votes": int(counts.sum()),
        "items": [], "style": [],
    }  # fmt: skip
    if not rows:
        return answer
    plain = bradley_terry(a, b, counts, len(ids))
    if plain.group.max() > 0:
        raise Invalid(
            "Some prompts never met, not even through others.",
            "Style can be held fixed when pairs join all prompts.",
        )
    found = controlled(a, b, counts, differences(x, y), len(ids))
    answer["items"] = [
        {
            "prompt_id": ids[i],
            "name": full_name(prompts[ids[i]]),
            "rating": float(found.rating[i]),
            "low": float(found.low[i]),
            "high": float(found.high[i]),
            "rank": int(1 + (found.low > found.high[i]).sum()),
            "plain_rating": float(plain.rating[i]),
            "plain_rank": int(plain.rank[i]),
        }
        for i in np.argsort(-found.rating, kind="stable")
    ]
    answer["style"] = [
        {"name": name, "effect": float(value), "low": float(low), "high": float(high)}
        for name, value, low, high in zip(
            FEATURES, found.effect, found.effect_low, found.effect_high, strict=True
        )
    ]
    return answer


def composite(
    db: Database, who: Principal, project_id: str, weights: Mapping[str, float] | None = None, **filters: Any
) -> dict[str, Any]:
    """Ratings by each criterion's marks, and their weighted mean (equal weights unless
    given). Only prompts that every criterion with a weight rates. The composite's interval is
    the weighted mean of theirs: as wide as it could be, as if criteria always erred
    together."""
    require(who, "leaderboard.view")
    with db.read() as session:
        project = find_project(session, project_id)
        unknown = sorted(set(weights or {}) - set(project.criteria))
        if unknown or any(not 0 <= value < 1e6 for value in (weights or {}).values()):
            raise Invalid(
                "weights: for criteria of the project, zero or more.",
                f"It has: {', '.join(project.criteria)}.",
            )
        which, _, _ = which_votes(session, project_id, **filters)
        marked: dict[str, list[Any]] = {
            name: list(found)
            for name in project.criteria
            if (found := facts.criterion_meetings(session, which, name))
        }
        keys = {key for rows in marked.values() for row in rows for key in row[:2]}
        prompts = judgements.prompts_named(session, keys)
    by: dict[str, dict[str, Any]] = {}
    for name, rows in marked.items():
        ids = sorted({key for row in rows for key in row[:2]})
        place = {key: number for number, key in enumerate(ids)}
        a, b = (np.array([place[row[side]] for row in rows], dtype=int) for side in (0, 1))
        counts = np.array([row[2:5] for row in rows], dtype=float)
        rated_by = bradley_terry(a, b, counts, len(ids))
        by[name] = {
            "marks": int(counts.sum()),
            "ratings": {
                key: (float(rated_by.rating[i]), float(rated_by.low[i]), float(rated_by.high[i]))
                for key, i in place.items()
                if rated_by.group[i] == 0
            },
        }
    share = {name: float((weights or {}).get(name, 1.0 if not weights else 0.0)) for name in by}
    total = sum(share.values())
    used = [name for name in by if share[name] > 0]
    rated = set.intersection(*(set(by[name]["ratings"]) for name in used)) if used else set()
    items: list[dict[str, Any]] = [
        {
            "prompt_id": key,
            "name": full_name(prompts[key]),
            **dict(
                zip(
                    ("rating", "low", "high"),
                    (
                        sum(share[name] * by[name]["ratings"][key][end] for name in used) / total
                        for end in range(3)
                    ),
                    strict=True,
                )
            ),
            "criteria": {name: by[name]["ratings"].get(key) for name in by},
        }
        for key in rated
    ]
    items.sort(key=lambda item: (-item["rating"], item["prompt_id"]))
    return {"items": items, "marks": {name: by[name]["marks"] for name in by}, "weights": share}
