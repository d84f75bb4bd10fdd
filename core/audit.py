"""Who did what: one line per action that changes something."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from core import spreadsheet
from core.access import Principal, require
from storage.database import Database
from storage.tables import AuditEntry

MOST_CSV = 50_000


def record(
    session: Session,
    who: Principal | None,
    action: str,
    entity: str = "",
    entity_id: str = "",
    project_id: str | None = None,
    **detail: Any,
) -> None:
    """Add an entry to the session of the action itself, so that both or none are kept.
    `detail` must be JSON; never put a secret in it."""
    session.add(entry(who, action, entity, entity_id, project_id, **detail))


def entry(
    who: Principal | None,
    action: str,
    entity: str = "",
    entity_id: str = "",
    project_id: str | None = None,
    **detail: Any,
) -> AuditEntry:
    """What `record` adds, for those who add many at once."""
    return AuditEntry(
        user_id=who.user_id if who else None,
        user_name=who.name if who else "system",
        action=action,
        entity=entity,
        entity_id=entity_id,
        project_id=project_id,
        detail=detail,
    )


@dataclass(frozen=True)
class Filter:
    """Which entries: by person (id), action (`user.role`, or a group such as `user`),
    project, and time (from `since`, before `until`)."""

    user_id: str | None = None
    action: str | None = None
    project_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[Any]:
        wanted: list[Any] = []
        if self.user_id:
            wanted.append(col(AuditEntry.user_id) == self.user_id)
        if self.action:
            group = col(AuditEntry.action).startswith(self.action + ".", autoescape=True)
            wanted.append((col(AuditEntry.action) == self.action) | group)
        if self.project_id:
            wanted.append(col(AuditEntry.project_id) == self.project_id)
        if self.since:
            wanted.append(col(AuditEntry.at) >= self.since)
        if self.until:
            wanted.append(col(AuditEntry.at) < self.until)
        return wanted


def list_entries(
    db: Database, who: Principal, wanted: Filter | None = None, limit: int = 100, offset: int = 0
) -> tuple[list[AuditEntry], int]:
    """Entries, newest first, and how many there are in all."""
    require(who, "audit.view")
    conditions = (wanted or Filter()).conditions()
    with db.read() as session:
        total = session.exec(select(func.count()).select_from(AuditEntry).where(*conditions)).one()
        query = (
            select(AuditEntry)
            .where(*conditions)
            .order_by(col(AuditEntry.at).desc(), col(AuditEntry.id).desc())
            .limit(limit)
            .offset(offset)
        )
        return list(session.exec(query)), total


def list_actions(db: Database, who: Principal) -> list[str]:
    """The actions that occur, for a filter to offer."""
    require(who, "audit.view")
    with db.read() as session:
        return list(session.exec(select(AuditEntry.action).distinct().order_by(AuditEntry.action)))


def as_csv(db: Database, who: Principal, wanted: Filter | None = None) -> str:
    """What the filter finds, newest first, with whole ids, up to MOST_CSV rows. A cell
    that a spreadsheet would take for a formula gets an apostrophe before it."""
    header = ["at", "user_id", "user", "action", "entity", "entity_id", "project_id", "detail"]
    rows = (
        [
            entry.at.isoformat(),
            entry.user_id or "",
            entry.user_name,
            entry.action,
            entry.entity,
            entry.entity_id,
            entry.project_id or "",
            json.dumps(entry.detail, ensure_ascii=False),
        ]
        for entry in list_entries(db, who, wanted, MOST_CSV)[0]
    )
    return spreadsheet.as_csv(header, rows)
