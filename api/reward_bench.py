"""Pairwise benchmarks: a file in, a run out, and what runs have found."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.reward import bench
from storage.tables import Run

router = APIRouter(tags=["reward models"])


class BenchPublic(BaseModel):
    """`result`, once the run has succeeded: n rows; `subsets`, each with `accuracy` (value, low,
    high, n), `chance` (what a coin gets) and `best_of`; `weighted`, the mean over rows, and
    `mean`, the mean over subsets, with intervals; `sections` of RewardBench where its subsets
    are there."""

    run_id: str
    name: str
    rows: int
    status: str
    progress: float
    result: dict[str, Any] | None
    error: str | None
    hint: str | None
    created_at: datetime


def public(run: Run) -> BenchPublic:
    return BenchPublic(
        run_id=run.id,
        name=run.config["name"],
        rows=run.config["rows"],
        status=run.status,
        progress=run.progress,
        result=run.result,
        error=run.error,
        hint=run.hint,
        created_at=run.created_at,
    )


@router.post("/reward-models/{model_id}/bench", status_code=202)
def start(
    model_id: str,
    content: Annotated[bytes, Body(media_type="application/octet-stream", description="the file itself")],
    db: DatabaseDep,
    who: CurrentUser,
    name: Annotated[str, Query(description="the file's name, with its ending", max_length=200)],
) -> BenchPublic:
    """Send a file of pairwise judgements (JSON Lines, JSON, CSV, TSV or Parquet, also packed with
    gzip) and queue a run of this model on it. Columns: `prompt` (text, or a list of messages),
    `chosen` and `rejected` (text, a conversation, or a list of texts: the best of several),
    `subset` (optional). A row that cannot be read is named, and nothing is started."""
    return public(bench.start(db, who, model_id, name, content))


@router.get("/reward-models/{model_id}/bench")
def list_(
    model_id: str, db: DatabaseDep, who: CurrentUser, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[BenchPublic]:
    """The benchmark runs of this model, newest first."""
    return [public(run) for run in bench.bench_runs(db, who, model_id, limit)]
