"""Looking at the scores of all responses: filtered, ordered, a page at a time, with texts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, or_, select

from core.access import Principal, require
from core.errors import Invalid
from core.projects import find_project
from core.reward.keeping import current_scores
from core.reward.normalise import Normalisation
from storage.bulk import chunks
from storage.database import Database
from storage.listing import like
from storage.rows import prompt_label
from storage.tables import Example, Prompt, Response, RewardModel

ORDERS = {"highest": "Highest first", "lowest": "Lowest first", "spread": "Members disagree most"}
SPLITS = ("train", "dev", "test")
PAGE = 1_000


@dataclass(frozen=True)
class ScoredResponse:
    response_id: str
    example_id: str
    prompt_id: str
    prompt: str
    split: str
    input: str
    response: str
    reward: float
    spread: float | None


@dataclass(frozen=True)
class Look:
    """`rows` of `total` that match; `rewards` (total,) of all that match and `everything` (n,) of
    the project, for charts; `members` of the model, `prompts` id -> name, of those with scores."""

    model: RewardModel
    scale: Normalisation
    members: int
    run_id: str
    rows: list[ScoredResponse]
    total: int
    rewards: np.ndarray
    everything: np.ndarray
    prompts: dict[str, str]


def look(
    db: Database,
    who: Principal,
    project_id: str,
    *,
    search: str = "",
    prompt_id: str | None = None,
    split: str | None = None,
    order: str = "highest",
    model_id: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> Look | None:
    """The newest scores of all responses by a model (default: the active one); None where there
    are none. `search` is looked for in inputs and responses."""
    require(who, "run.view")
    _check(split, order, limit, offset)
    with db.read() as session:
        project = find_project(session, project_id)
        found = current_scores(session, project, model_id)
        if found is None:
            return None
        scores, column, scale = found
        model = session.get(RewardModel, scores.models[column])
        if model is None or model.project_id != project_id:
            return None
        reward = scale(scores.scores[:, column])
        spread = scores.spreads[:, column] / scale.std
        wanted = np.isfinite(reward)
        everything = reward[wanted]
        names = _names(session, project_id, set(scores.prompt[wanted]))
        if prompt_id:
            wanted &= scores.prompt == prompt_id
        if split:
            wanted &= scores.split == split
        ids = np.array(list(scores.place), dtype=object)
        if search.strip():
            wanted &= np.isin(ids, _matching(session, project_id, search))
        rows = np.flatnonzero(wanted)
        key = {"highest": -reward, "lowest": reward, "spread": -np.nan_to_num(spread, nan=-1.0)}[order]
        ordered = rows[np.lexsort((ids[rows], key[rows]))]
        shown = ordered[offset : offset + limit]
        texts = _texts(session, [ids[i] for i in shown])
    return Look(
        model, scale, scores.members[column], scores.run_id,
        [
            ScoredResponse(
                ids[i], scores.example[i], scores.prompt[i], names.get(scores.prompt[i], ""), scores.split[i],
                *texts.get(ids[i], ("", "")),
                float(reward[i]), float(spread[i]) if np.isfinite(spread[i]) else None,
            )
            for i in shown
        ],
        len(rows), reward[rows], everything, names,
    )  # fmt: skip


def _check(split: str | None, order: str, limit: int, offset: int) -> None:
    if split is not None and split not in SPLITS:
        raise Invalid(f"split: one of {', '.join(SPLITS)}.")
    if order not in ORDERS:
        raise Invalid(f"order: one of {', '.join(ORDERS)}.")
    if not 1 <= limit <= PAGE:
        raise Invalid(f"limit: a number from 1 to {PAGE}.")
    if offset < 0:
        raise Invalid("offset: a number from 0.")


def _names(session: Session, project_id: str, wanted: set[str]) -> dict[str, str]:
    query = select(Prompt.id, Prompt.name, Prompt.version).where(Prompt.project_id == project_id)
    found = {key: prompt_label(name, version) for key, name, version in session.exec(query) if key in wanted}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _matching(session: Session, project_id: str, search: str) -> list[str]:
    pattern = like(search)
    fields: tuple[Any, ...] = (col(Example.input), col(Response.text))
    query = (
        select(Response.id)
        .join(Example, col(Example.id) == col(Response.example_id))
        .where(
            Response.project_id == project_id, or_(*(field.ilike(pattern, escape="\\") for field in fields))
        )
    )
    return list(session.exec(query))


def _texts(session: Session, ids: list[str]) -> dict[str, tuple[str, str]]:
    """response id -> (input, response)"""
    found: dict[str, tuple[str, str]] = {}
    for part in chunks(ids):
        query = (
            select(Response.id, Example.input, Response.text)
            .join(Example, col(Example.id) == col(Response.example_id))
            .where(col(Response.id).in_(part))
        )
        found |= {key: (said, answered) for key, said, answered in session.exec(query)}
    return found
