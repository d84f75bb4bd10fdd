"""Messages to annotators: `core.annotation.messages`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.annotation import messages

router = APIRouter(tags=["annotators"])


class MessagePublic(BaseModel):
    """`author` is empty where a rule of the project wrote it."""

    id: str
    annotator_id: str
    author: str
    text: str
    created_at: datetime
    read_at: datetime | None


class MessageSent(BaseModel):
    text: str = Field(min_length=1, max_length=messages.MAX_TEXT)


@router.get("/projects/{project_id}/annotators/{annotator_id}/messages")
def sent(project_id: str, annotator_id: str, db: DatabaseDep, who: CurrentUser) -> list[MessagePublic]:
    """What an annotator was told, the newest first."""
    return [_public(item) for item in messages.sent(db, who, project_id, annotator_id)]


@router.post("/projects/{project_id}/annotators/{annotator_id}/messages", status_code=201)
def send(
    project_id: str, annotator_id: str, values: MessageSent, db: DatabaseDep, who: CurrentUser
) -> MessagePublic:
    """Write to an annotator, who sees it on the annotate page until they have read it."""
    return _public(messages.send(db, who, project_id, annotator_id, values.text))


@router.get("/projects/{project_id}/messages")
def mine(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    unread: Annotated[bool, Query(description="only those not read yet")] = False,
) -> list[MessagePublic]:
    """What you were told in this project."""
    return [_public(item) for item in messages.mine(db, who, project_id, unread=unread)]


@router.post("/messages/{message_id}/read")
def read(message_id: str, db: DatabaseDep, who: CurrentUser) -> MessagePublic:
    """Mark a message to you as read."""
    return _public(messages.mark_read(db, who, message_id))


def _public(item: messages.Said) -> MessagePublic:
    return MessagePublic.model_validate(item, from_attributes=True)
