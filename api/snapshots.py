"""Preference data sets: frozen snapshots of votes that reward models are trained on."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.reward.snapshots import service
from core.reward.snapshots.checks import failed
from storage.tables import Snapshot

router = APIRouter(tags=["preference data"])
_TYPES = {
    "zip": "application/zip",
    "pairs": "application/vnd.apache.parquet",
    "votes": "application/vnd.apache.parquet",
}


class Asked(BaseModel):
    """`filters`: which votes, and how they become labels (see docs/reward-models.md); what is
    left out is as the project has it."""

    name: str
    filters: dict[str, Any] = Field(default_factory=dict)


class SnapshotPublic(BaseModel):
    """`filters` are those that differ from the defaults. `counts`: pairs, votes, what was left
    out, balance; every share with its 95 % interval and n. `checks`: leak checks with their
    verdict (pass, warn, fail); `trainable` is false when one failed. `automatic`: made for a
    training that named no data set."""

    id: str
    project_id: str
    name: str
    filters: dict[str, Any]
    counts: dict[str, Any]
    checks: list[dict[str, Any]]
    trainable: bool
    content_hash: str
    automatic: bool
    created_by: str | None
    created_at: datetime
    archived_at: datetime | None


class Preview(BaseModel):
    """What a data set with these filters would hold now."""

    counts: dict[str, Any]
    checks: list[dict[str, Any]]
    trainable: bool
    content_hash: str


def public(snapshot: Snapshot) -> SnapshotPublic:
    return SnapshotPublic(**snapshot.model_dump(exclude={"folder"}), trainable=not failed(snapshot.checks))


@router.get("/projects/{project_id}/snapshots")
def list_(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    archived: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[SnapshotPublic]:
    """Newest first; with `archived`, those that were put away too."""
    found = service.list_snapshots(db, who, project_id, archived=archived)
    return [public(snapshot) for snapshot in found[offset : offset + limit]]


@router.post("/projects/{project_id}/snapshots", status_code=201)
def make(project_id: str, asked: Asked, db: DatabaseDep, who: CurrentUser) -> SnapshotPublic:
    """Freeze the votes as they are now. One with a failed leak check is made all the same, says
    so, and is trained on only with `allow_leaks`."""
    return public(service.make(db, who, project_id, asked.name, asked.filters))


@router.post("/projects/{project_id}/snapshots/preview")
def preview(project_id: str, filters: dict[str, Any], db: DatabaseDep, who: CurrentUser) -> Preview:
    """What these filters leave; nothing is stored."""
    data = service.preview(db, who, project_id, filters)
    return Preview(
        counts=data.counts,
        checks=data.checks,
        trainable=not failed(data.checks),
        content_hash=data.content_hash,
    )


@router.get("/snapshots/{snapshot_id}")
def get(snapshot_id: str, db: DatabaseDep, who: CurrentUser) -> SnapshotPublic:
    return public(service.get_snapshot(db, who, snapshot_id))


@router.get("/snapshots/{snapshot_id}/compare")
def compare(
    snapshot_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    with_: Annotated[
        str, Query(alias="with", description="the data set it is held against, as the later one")
    ],
) -> dict[str, Any]:
    """Which filters differ, counts side by side, pairs and votes that came, went, moved or are
    labelled anew (the first 200 of each by id)."""
    return service.compare(db, who, snapshot_id, with_)


@router.get("/snapshots/{snapshot_id}/card")
def card(snapshot_id: str, db: DatabaseDep, who: CurrentUser) -> Response:
    """The card, as Markdown."""
    return Response(service.card_of(db, who, snapshot_id), media_type="text/markdown")


@router.get("/snapshots/{snapshot_id}/download")
def download(
    snapshot_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    as_: Annotated[Literal["zip", "pairs", "votes"], Query(alias="as")] = "zip",
) -> Response:
    """The folder as a zip, or one of its Parquet files."""
    name, content = service.download(db, who, snapshot_id, as_)
    service.exported(db, who, snapshot_id, as_)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=_TYPES[as_], headers=headers)


@router.post("/snapshots/{snapshot_id}/archive")
def archive(snapshot_id: str, db: DatabaseDep, who: CurrentUser) -> SnapshotPublic:
    """Put it away: no longer listed or offered. Its files stay for the models trained on it."""
    return public(service.archive(db, who, snapshot_id))
