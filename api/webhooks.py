"""Webhooks of a project: `core.webhooks.manage`. What is sent is in docs/webhooks.md."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.webhooks import manage
from storage.tables import Delivery

router = APIRouter(prefix="/projects/{project_id}/webhooks", tags=["webhooks"])


class WebhookNew(BaseModel):
    url: str = Field(max_length=2_000)
    events: list[str]


class WebhookChange(BaseModel):
    url: str | None = Field(None, max_length=2_000)
    events: list[str] | None = None
    active: bool | None = None


class TallyPublic(BaseModel):
    """Deliveries of the last days, by what became of them."""

    waiting: int
    delivered: int
    given_up: int
    delivered_at: datetime | None


class WebhookPublic(BaseModel):
    id: str
    url: str
    events: list[str]
    active: bool
    created_at: datetime
    tally: TallyPublic


class WebhookMade(WebhookPublic):
    secret: str = Field(description="shown this once")


class DeliveryPublic(BaseModel):
    """`id` is the `webhook-id` that the receiver sees. `next_at`: when it is tried next."""

    id: str
    event: str
    entity_id: str
    body: dict[str, Any]
    status: str
    attempts: int
    next_at: datetime | None
    http_status: int | None
    error: str | None
    created_at: datetime
    delivered_at: datetime | None


class DeliveriesPublic(BaseModel):
    total: int
    rows: list[DeliveryPublic]


class Redelivered(BaseModel):
    deliveries: int


@router.get("")
def list_(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[WebhookPublic]:
    return [_public(hook) for hook in manage.list_hooks(db, who, project_id)]


@router.post("", status_code=201)
def create(project_id: str, values: WebhookNew, db: DatabaseDep, who: CurrentUser) -> WebhookMade:
    return _made(manage.create(db, who, project_id, values.url, values.events))


@router.patch("/{webhook_id}")
def change(
    project_id: str, webhook_id: str, values: WebhookChange, db: DatabaseDep, who: CurrentUser
) -> WebhookPublic:
    """Change what is named; `active: false` pauses."""
    given = values.model_dump(exclude_none=True)
    return _public(manage.change(db, who, project_id, webhook_id, **given))


@router.delete("/{webhook_id}", status_code=204)
def delete(project_id: str, webhook_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    manage.delete(db, who, project_id, webhook_id)


@router.post("/{webhook_id}/rotate")
def rotate(project_id: str, webhook_id: str, db: DatabaseDep, who: CurrentUser) -> WebhookMade:
    """Another secret; the one before signs too for 24 hours."""
    return _made(manage.rotate(db, who, project_id, webhook_id))


@router.post("/{webhook_id}/test")
def test(project_id: str, webhook_id: str, db: DatabaseDep, who: CurrentUser) -> DeliveryPublic:
    """Send a test event now, once; answers what became of it."""
    return _delivery(manage.send_test(db, who, project_id, webhook_id))


@router.get("/{webhook_id}/deliveries")
def deliveries(
    project_id: str,
    webhook_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    status: Literal["waiting", "delivered", "given_up"] | None = None,
    limit: int = Query(50, ge=1, le=500),
    offset: int = Query(0, ge=0),
) -> DeliveriesPublic:
    """The newest first. What is settled is kept for a week."""
    rows, total = manage.deliveries(db, who, project_id, webhook_id, status, limit, offset)
    return DeliveriesPublic(total=total, rows=[_delivery(row) for row in rows])


@router.post("/{webhook_id}/redeliver")
def redeliver_all(project_id: str, webhook_id: str, db: DatabaseDep, who: CurrentUser) -> Redelivered:
    """Send everything again that was given up."""
    return Redelivered(deliveries=manage.redeliver(db, who, project_id, webhook_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver")
def redeliver(
    project_id: str, webhook_id: str, delivery_id: str, db: DatabaseDep, who: CurrentUser
) -> Redelivered:
    """Send one delivery again, with the same `webhook-id`."""
    return Redelivered(deliveries=manage.redeliver(db, who, project_id, webhook_id, delivery_id))


def _public(hook: manage.Hook) -> WebhookPublic:
    return WebhookPublic.model_validate(hook, from_attributes=True)


def _made(made: manage.Made) -> WebhookMade:
    return WebhookMade(**_public(made.hook).model_dump(), secret=made.secret)


def _delivery(row: Delivery) -> DeliveryPublic:
    return DeliveryPublic.model_validate(row, from_attributes=True)
