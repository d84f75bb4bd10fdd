"""Who did what: one line per action that changes something."""

from typing import Any

from sqlmodel import Session

from core.access import Principal
from storage.tables import AuditEntry


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
    session.add(
        AuditEntry(
            user_id=who.user_id if who else None,
            user_name=who.name if who else "system",
            action=action,
            entity=entity,
            entity_id=entity_id,
            project_id=project_id,
            detail=detail,
        )
    )
