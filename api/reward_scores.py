"""Scoring: a request at once, a file by a run, and the scores of all responses."""

import asyncio
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Body
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.reward import live
from core.reward.client import scorer
from core.settings import get_settings

router = APIRouter(tags=["reward scores"])


class ScoreRequest(BaseModel):
    """One of `items` ({input, messages?, response}) and `pairs` ({input, messages?, response_a,
    response_b}), up to 256 responses. `input`: a text, an object of fields, or a conversation;
    `messages`: its earlier turns. `model`: an id; left out, the active reward model."""

    items: list[Any] | None = None
    pairs: list[Any] | None = None
    model: str | None = None


class ScoredBy(BaseModel):
    id: str
    name: str
    active: bool


class ScoredItem(BaseModel):
    reward: float
    spread: float | None
    cut: str | None


class ScoredPair(BaseModel):
    p: float
    reward_a: float
    reward_b: float
    spread_a: float | None
    spread_b: float | None
    cut_a: str | None
    cut_b: str | None


class ScoreAnswer(BaseModel):
    """In the order of the request. `reward`: standard deviations above the mean of the project's
    reference responses (`scale.kind` project), or, until those are scored, of the model's
    training responses (training). `spread`: over the model's members, null where there is one.
    `cut`: what did not fit into the model's length (input: its beginning, response: its end).
    `p`: the calibrated probability that people prefer response_a."""

    model: ScoredBy
    scale: dict[str, Any]
    members: int
    seconds: float
    items: list[ScoredItem] | None = None
    pairs: list[ScoredPair] | None = None


@router.post("/projects/{project_id}/score", response_model_exclude_unset=True)
async def score(
    project_id: str, values: Annotated[ScoreRequest, Body()], db: DatabaseDep, who: CurrentUser
) -> ScoreAnswer:
    """Score responses, or pairs of them, at once. Nothing is kept. Answers 503 with Retry-After
    when too much waits already, or when it takes too long. A token with scope `read` will do."""
    asked = await anyio.to_thread.run_sync(
        live.question, db, who, project_id, values.items, values.pairs, values.model
    )
    client, seconds = scorer(), get_settings().scorer_timeout_s
    future = await anyio.to_thread.run_sync(live.submit, client, asked)
    try:
        found = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), seconds)
    except TimeoutError:
        raise live.too_late(seconds) from None
    finally:
        if not future.done():  # too late, or the client hung up
            client.drop(future)
    return ScoreAnswer(**live.answer(asked, found))
