"""Versions of reward models: stage, lineage, card; archive, restore, download, upload."""

from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.bodies import in_thread
from api.deps import CurrentUser, DatabaseDep
from api.runs import RunPublic
from core.reward import cards, stages
from core.reward.download import model_zip
from core.reward.stages import Version
from core.reward.upload import upload_model

router = APIRouter(tags=["reward models"])


class VersionPublic(BaseModel):
    """`stage`: candidate, active or archived. `lineage`: run, snapshot, pairs, backbone, seed, and
    who started it. `files`: its folder is there, of so many `bytes`."""

    id: str
    project_id: str
    name: str
    stage: str
    uploaded: bool
    files: bool
    bytes: int
    lineage: dict[str, Any]
    created_at: datetime
    archived_at: datetime | None


class EditPublic(BaseModel):
    number: int
    author: str
    at: datetime
    text: str


class CardPublic(BaseModel):
    """Markdown: `generated` from what is kept, `edited` by a person (null where nobody did), and
    every text that was ever saved, newest first."""

    generated: str
    edited: str | None
    edits: list[EditPublic]


class CardWanted(BaseModel):
    """An empty text takes the edited card away."""

    text: str


def public(found: Version) -> VersionPublic:
    model = found.model
    return VersionPublic(
        id=model.id, project_id=model.project_id, name=model.name, stage=found.stage, uploaded=found.uploaded,
        files=found.files, bytes=found.bytes, lineage=found.lineage(), created_at=model.created_at,
        archived_at=model.archived_at,
    )  # fmt: skip


@router.get("/projects/{project_id}/reward-models/versions")
def versions(
    project_id: str, db: DatabaseDep, who: CurrentUser, stage: Annotated[str | None, Query()] = None
) -> list[VersionPublic]:
    """Newest first, archived ones too; `stage`: candidate, active or archived."""
    return [public(one) for one in stages.versions(db, who, project_id, stage)]


@router.post("/reward-models/{model_id}/archive")
def archive(model_id: str, db: DatabaseDep, who: CurrentUser) -> VersionPublic:
    """Put a version away. 409 for the active one."""
    stages.archive(db, who, model_id)
    return public(stages.version(db, who, model_id))


@router.post("/reward-models/{model_id}/restore")
def restore(model_id: str, db: DatabaseDep, who: CurrentUser) -> VersionPublic:
    stages.restore(db, who, model_id)
    return public(stages.version(db, who, model_id))


@router.get("/reward-models/{model_id}/card")
def card(model_id: str, db: DatabaseDep, who: CurrentUser) -> CardPublic:
    return CardPublic.model_validate(cards.card_of(db, who, model_id), from_attributes=True)


@router.put("/reward-models/{model_id}/card")
def edit_card(model_id: str, values: CardWanted, db: DatabaseDep, who: CurrentUser) -> CardPublic:
    """Write a card in place of the generated one. What was there stays in `edits`."""
    cards.edit_card(db, who, model_id, values.text)
    return CardPublic.model_validate(cards.card_of(db, who, model_id), from_attributes=True)


@router.get("/reward-models/{model_id}/download", response_class=StreamingResponse)
def download(model_id: str, db: DatabaseDep, who: CurrentUser) -> StreamingResponse:
    """A zip of a `transformers` folder: `AutoModelForSequenceClassification.from_pretrained` opens
    it once it is unpacked. The card is its README.md."""
    name, pieces = model_zip(db, who, model_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


@router.post("/projects/{project_id}/reward-models/upload", status_code=202)
async def upload(
    project_id: str,
    request: Request,
    db: DatabaseDep,
    who: CurrentUser,
    name: Annotated[str, Query(max_length=120)] = "",
) -> RunPublic:
    """Take in a reward model: the body is a zip of a `transformers` folder with safetensors
    (`curl --data-binary @model.zip`). Answers the run that checks it; it then is a candidate."""
    run = await anyio.to_thread.run_sync(upload_model, db, who, project_id, in_thread(request), name)
    return RunPublic.model_validate(run, from_attributes=True)
