"""What a lead tells an annotator, and the annotator reads on the annotate page. A rule that
the lead set writes such messages too; they have no author."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.asked import annotator_id_of
from core.errors import Invalid, NotFound
from core.projects import find_project
from storage.database import Database
from storage.ids import now
from storage.tables import Annotator, Message

MAX_TEXT = 2_000
MOST = 200


@dataclass(frozen=True)
class Said:
    """`author` is empty where a rule wrote it."""

    id: str
    annotator_id: str
    author: str
    text: str
    created_at: datetime
    read_at: datetime | None


def send(db: Database, who: Principal, project_id: str, annotator_id: str, text: str) -> Said:
    require(who, "annotator.manage")
    text = text.strip()
    if not 1 <= len(text) <= MAX_TEXT:
        raise Invalid(f"text: 1 to {MAX_TEXT:,} characters.")

    def work(session: Session) -> Said:
        find_project(session, project_id)
        annotator = _annotator(session, project_id, annotator_id)
        if annotator.user_id is None:
            raise Invalid(
                f"“{annotator.name}” has no account here and could not read it.",
                "Only annotators who sign in can be written to.",
            )
        message = Message(
            project_id=project_id,
            annotator_id=annotator_id,
            author_id=who.user_id,
            author=who.name,
            text=text,
        )
        session.add(message)
        audit.record(
            session, who, "annotator.message", "annotator", annotator_id, project_id, name=annotator.name
        )
        return _said(message)

    return db.write(work)


def sent(db: Database, who: Principal, project_id: str, annotator_id: str) -> list[Said]:
    """What an annotator was told in a project, newest first."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        _annotator(session, project_id, annotator_id)
        return _list(session, project_id, annotator_id, unread=False)


def mine(db: Database, who: Principal, project_id: str, *, unread: bool = False) -> list[Said]:
    """What one was told oneself, newest first."""
    require(who, "annotate")
    with db.read() as session:
        find_project(session, project_id)
        return _list(session, project_id, annotator_id_of(project_id, who), unread=unread)


def mark_read(db: Database, who: Principal, message_id: str) -> Said:
    """Again is the same as once."""
    require(who, "annotate")

    def work(session: Session) -> Said:
        message = session.get(Message, message_id)
        if message is None or message.annotator_id != annotator_id_of(message.project_id, who):
            raise NotFound(f"There is no message {message_id} to you.")
        if message.read_at is None:
            message.read_at = now()
            session.add(message)
        return _said(message)

    return db.write(work)


def _annotator(session: Session, project_id: str, annotator_id: str) -> Annotator:
    found = session.get(Annotator, annotator_id)
    if found is None or found.project_id != project_id:
        raise NotFound(f"There is no annotator {annotator_id} in this project.")
    return found


def _list(session: Session, project_id: str, annotator_id: str, *, unread: bool) -> list[Said]:
    query: Any = select(Message).where(Message.annotator_id == annotator_id, Message.project_id == project_id)
    if unread:
        query = query.where(col(Message.read_at).is_(None))
    query = query.order_by(col(Message.created_at).desc(), col(Message.id).desc()).limit(MOST)
    return [_said(message) for message in session.exec(query)]


def _said(message: Message) -> Said:
    return Said(
        message.id, message.annotator_id, message.author, message.text, message.created_at, message.read_at
    )
