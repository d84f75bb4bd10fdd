"""Making and watching webhooks: for leads and admins, who alone see their addresses (they
often hold keys)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqlmodel import Session

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.projects import find_project
from core.settings import get_settings
from core.webhooks import signing
from core.webhooks.addresses import checked_url, why_not
from core.webhooks.attempt import Answer, attempt, new_client, settled
from core.webhooks.events import EVENTS, TEST, payload
from storage import webhooks
from storage.database import Database
from storage.ids import new_id, now
from storage.tables import Delivery, Webhook
from storage.webhooks import Tally, Waiting

MOST = 20  # of a project
STATUSES = ("waiting", "delivered", "given_up")
ACTION = "webhook.manage"
_TEST_S = 60.0


@dataclass(frozen=True)
class Hook:
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    active: bool
    created_at: datetime
    tally: Tally


@dataclass(frozen=True)
class Made:
    """`secret` is shown this once."""

    hook: Hook
    secret: str


def list_hooks(db: Database, who: Principal, project_id: str) -> list[Hook]:
    require(who, ACTION)
    with db.read() as session:
        find_project(session, project_id)
        tallies = webhooks.tallies(session, project_id)
        return [
            _public(hook, tallies.get(hook.id, Tally())) for hook in webhooks.of_project(session, project_id)
        ]


def create(db: Database, who: Principal, project_id: str, url: str, events: Sequence[str]) -> Made:
    """Tell an address of these events from now on."""
    require(who, ACTION)
    secret = signing.new_secret()
    hook = Webhook(
        project_id=project_id,
        url=_url(url),
        secret=secret,
        events=_events(events),
        created_by=who.user_id,
    )

    def work(session: Session) -> Made:
        find_project(session, project_id)
        if len(webhooks.of_project(session, project_id)) >= MOST:
            raise Conflict(f"A project has at most {MOST} webhooks.", "Delete one first.")
        session.add(hook)
        audit.record(
            session, who, "webhook.create", "webhook", hook.id, project_id,
            host=urlsplit(hook.url).hostname, events=hook.events,
        )  # fmt: skip
        return Made(_public(hook, Tally()), secret)

    return db.write(work)


def change(
    db: Database,
    who: Principal,
    project_id: str,
    webhook_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    active: bool | None = None,
) -> Hook:
    """What is not named stays. While a webhook is paused nothing new is written for it; what
    waits goes out when it is resumed."""
    require(who, ACTION)
    values: dict[str, object] = {}
    if url is not None:
        values["url"] = _url(url)
    if events is not None:
        values["events"] = _events(events)
    if active is not None:
        values["active"] = active

    def work(session: Session) -> Hook:
        hook = _find(session, project_id, webhook_id)
        changed = [name for name, value in values.items() if getattr(hook, name) != value]
        for name in changed:
            setattr(hook, name, values[name])
        if changed:
            session.add(hook)
            audit.record(
                session,
                who,
                "webhook.edit",
                "webhook",
                hook.id,
                project_id,
                changed=changed,
                active=hook.active,
            )
        return _public(hook, webhooks.tallies(session, project_id).get(hook.id, Tally()))

    return db.write(work)


def rotate(db: Database, who: Principal, project_id: str, webhook_id: str) -> Made:
    """Another secret. The one before signs too for a day (signing.OVERLAP)."""
    require(who, ACTION)

    def work(session: Session) -> Made:
        hook = _find(session, project_id, webhook_id)
        hook.secret, new = signing.rotated(hook.secret, now())
        session.add(hook)
        audit.record(session, who, "webhook.rotate", "webhook", hook.id, project_id)
        return Made(_public(hook, webhooks.tallies(session, project_id).get(hook.id, Tally())), new)

    return db.write(work)


def delete(db: Database, who: Principal, project_id: str, webhook_id: str) -> None:
    require(who, ACTION)

    def work(session: Session) -> None:
        hook = _find(session, project_id, webhook_id)
        hook.deleted_at, hook.active, hook.secret = now(), False, ""
        session.add(hook)
        webhooks.give_up_all(session, hook.id, "the webhook was deleted")
        audit.record(session, who, "webhook.delete", "webhook", hook.id, project_id)

    db.write(work)


def deliveries(
    db: Database,
    who: Principal,
    project_id: str,
    webhook_id: str,
    status: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Delivery], int]:
    """The newest first, and how many there are in all."""
    require(who, ACTION)
    if status is not None and status not in STATUSES:
        raise Invalid(f"status: one of {', '.join(STATUSES)}.")
    with db.read() as session:
        _find(session, project_id, webhook_id)
        return webhooks.deliveries(session, webhook_id, status, limit, offset)


def redeliver(
    db: Database, who: Principal, project_id: str, webhook_id: str, delivery_id: str | None = None
) -> int:
    """Send a delivery again, whatever became of it; without one, all that were given up.
    Answers how many will be sent."""
    require(who, ACTION)

    def work(session: Session) -> int:
        hook = _find(session, project_id, webhook_id)
        number = webhooks.redo(session, hook.id, delivery_id)
        if delivery_id and not number:
            raise NotFound(f"There is no delivery {delivery_id} of this webhook.")
        audit.record(
            session, who, "webhook.redeliver", "webhook", hook.id, project_id,
            delivery=delivery_id, deliveries=number,
        )  # fmt: skip
        return number

    return db.write(work)


def send_test(db: Database, who: Principal, project_id: str, webhook_id: str) -> Delivery:
    """Send a test event now, once, and answer what became of it. A paused webhook can be
    tested too."""
    require(who, ACTION)
    at = now()
    until = at + timedelta(seconds=_TEST_S)

    def write(session: Session) -> tuple[Webhook, Delivery]:
        hook = _find(session, project_id, webhook_id)
        body = payload(TEST, project_id, {"webhook_id": hook.id, "sent_by": who.user_id})
        made = Delivery(
            webhook_id=hook.id,
            project_id=project_id,
            event=TEST,
            entity_id=new_id(),
            body=body,
            next_at=until,
        )  # claimed by this call: the sender leaves it alone
        session.add(made)
        audit.record(session, who, "webhook.test", "webhook", hook.id, project_id)
        return hook, made

    hook, made = db.write(write)
    answer = asyncio.run(_try(hook, made))

    def settle(session: Session) -> Delivery:
        claimed = Waiting(made.id, made.event, made.body, 0, until)
        webhooks.settle(session, claimed, **settled(answer, 1, 1, now()))
        return session.get_one(Delivery, made.id)

    return db.write(settle)


async def _try(hook: Webhook, made: Delivery) -> Answer:
    async with new_client() as client:
        return await attempt(
            client, hook.url, hook.secret, made.id, made.body, get_settings().webhook_private
        )


def _find(session: Session, project_id: str, webhook_id: str) -> Webhook:
    find_project(session, project_id)
    hook = session.get(Webhook, webhook_id)
    if hook is None or hook.project_id != project_id or hook.deleted_at is not None:
        raise NotFound(f"There is no webhook {webhook_id} in this project.")
    return hook


def _url(url: str) -> str:
    """Checked again, with what the name means then, whenever something is sent."""
    url = checked_url(url)
    try:
        address = ip_address(str(urlsplit(url).hostname))
    except ValueError:
        return url  # a name
    if reason := why_not(address, get_settings().webhook_private):
        raise Invalid(f"url: {reason}.")
    return url


def _events(events: Sequence[str]) -> list[str]:
    unknown = sorted(set(events) - set(EVENTS))
    if unknown:
        raise Invalid(f"events: “{unknown[0]}” is none of {', '.join(EVENTS)}.")
    if not events:
        raise Invalid(f"events: at least one of {', '.join(EVENTS)}.")
    return [name for name in EVENTS if name in events]


def _public(hook: Webhook, tally: Tally) -> Hook:
    return Hook(hook.id, hook.url, list(hook.events), hook.active, hook.created_at, tally)
