"""Scoring: a request at once, a file by a run, and the scores of all responses."""

import asyncio
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.bodies import in_thread
from api.deps import CurrentUser, DatabaseDep
from api.runs import RunPublic
from core.errors import NotFound
from core.reward import files, keeping, live
from core.reward.board import board
from core.reward.client import scorer
from core.reward.look import look
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


# --- a file ---------------------------------------------------------------------------------------


@router.post("/projects/{project_id}/score-files", status_code=202)
async def score_a_file(
    project_id: str,
    request: Request,
    db: DatabaseDep,
    who: CurrentUser,
    name: Annotated[str, Query(max_length=200, description="the file's name: its ending tells the format")],
    model: str | None = None,
) -> RunPublic:
    """Score a file: the body is CSV, JSON Lines, JSON or Parquet (also with gzip) with columns
    `input` (or `prompt`, or `messages`) and `response`, or `response_a` and `response_b`. Answers
    the run; its result is at `GET /runs/{id}/scores`."""
    chunks = in_thread(request)
    run = await anyio.to_thread.run_sync(files.score_file, db, who, project_id, name, chunks, model)
    return RunPublic.model_validate(run, from_attributes=True)


@router.get("/runs/{run_id}/scores", response_class=StreamingResponse)
def scored_file(
    run_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    as_: Annotated[Literal["csv", "jsonl", "parquet"], Query(alias="as")] = "jsonl",
) -> StreamingResponse:
    """What scoring a file gave: a row for each of its rows, with `row`, `reward`, `spread`, `cut`
    (for pairs `p` and both sides), or `error`. 409 until the run has ended well."""
    name, pieces = files.result_file(db, who, run_id, as_)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=files.FORMS[as_], headers=headers)


# --- all responses ----------------------------------------------------------------------------------


class StandingPublic(BaseModel):
    """`scored` of `responses` have a score by the active model (`model_id`, null without one);
    `keep`: a run starts by itself when scores are missing; `run_id`: the newest that ended well,
    `busy`: the one under way."""

    model_id: str | None
    run_id: str | None
    current: bool
    responses: int
    scored: int
    missing: int
    keep: bool
    busy: str | None


class KeepWanted(BaseModel):
    keep: bool


class ScoredResponsePublic(BaseModel):
    response_id: str
    example_id: str
    prompt_id: str
    prompt: str
    split: str
    input: str
    response: str
    reward: float
    spread: float | None


def _standing(found: keeping.Standing) -> StandingPublic:
    return StandingPublic(
        model_id=found.model.id if found.model else None, run_id=found.run.id if found.run else None,
        current=found.current, responses=found.responses, scored=found.scored, missing=found.missing,
        keep=found.kept, busy=found.busy.id if found.busy else None,
    )  # fmt: skip


@router.get("/projects/{project_id}/scores/standing")
def standing(project_id: str, db: DatabaseDep, who: CurrentUser) -> StandingPublic:
    """How many responses have a score. Start a run of the kind `score` with `{"scope": "all"}` for
    the others."""
    return _standing(keeping.standing(db, who, project_id))


@router.put("/projects/{project_id}/scores/keep")
def keep(project_id: str, values: KeepWanted, db: DatabaseDep, who: CurrentUser) -> StandingPublic:
    """Keep the scores of all responses current, or not."""
    keeping.keep_current(db, who, project_id, values.keep)
    return _standing(keeping.standing(db, who, project_id))


@router.get("/projects/{project_id}/scores")
def scores(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    response: Response,
    search: str = "",
    prompt_id: str | None = None,
    split: Literal["train", "dev", "test"] | None = None,
    order: Literal["highest", "lowest", "spread"] = "highest",
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[ScoredResponsePublic]:
    """Responses with their rewards, on the project's scale; the header X-Total-Count says how many
    match. None while the model has scored nothing."""
    found = look(
        db, who, project_id, search=search, prompt_id=prompt_id, split=split, order=order, model_id=model,
        limit=limit, offset=offset,
    )  # fmt: skip
    response.headers["X-Total-Count"] = str(found.total if found else 0)
    return (
        [ScoredResponsePublic.model_validate(row, from_attributes=True) for row in found.rows]
        if found
        else []
    )


@router.get("/projects/{project_id}/leaderboard-by-reward")
def leaderboard_by_reward(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    held_out: bool = False,
    simulated: Literal["exclude", "include", "only"] | None = None,
) -> dict[str, Any]:
    """Prompts by the mean reward of the active model beside people's ratings, and where the two
    differ; the model's opinion. `held_out`: only examples it was not trained or chosen on; `seen`
    says which share of the responses it was."""
    found = board(db, who, project_id, held_out=held_out, simulated=simulated)
    if found is None:
        raise NotFound(
            "The active reward model has not scored this project.", 'Start a run "score" with scope "all".'
        )
    return found
