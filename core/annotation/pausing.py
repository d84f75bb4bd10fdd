"""No new pairs for now: for a whole project, or for a group of annotators.

Who asks for a pair is told the reason. What they hold may still be voted on, so that no work
is lost. One person is paused in `core.annotation.annotators`.
"""

import time
from datetime import datetime

from pydantic import BaseModel, Field
from sqlmodel import Session

from core import audit
from core.access import Principal, require
from core.errors import Forbidden, Invalid, NotFound
from core.projects import find_project
from storage.database import Database
from storage.groups import KIND as ASSIGNMENT
from storage.groups import group_of
from storage.ids import now
from storage.project_documents import document_body, save_document
from storage.tables import Annotator

KIND = "pause"
MAX_REASON = 500
_FRESH_S = 2.0  # so soon a pause made by another web process is seen here


class Pause(BaseModel):
    reason: str = Field("", max_length=MAX_REASON)
    at: datetime
    by: str = ""


class Pauses(BaseModel):
    """`groups` by the group's id."""

    project: Pause | None = None
    groups: dict[str, Pause] = Field(default_factory=dict)


class Paused(Forbidden):
    """No pairs for now, by a lead's decision."""


def pauses_in(session: Session, project_id: str) -> Pauses:
    return Pauses.model_validate(document_body(session, project_id, KIND))


def pauses_of(db: Database, who: Principal, project_id: str) -> Pauses:
    require(who, "quality.view")
    with db.read() as session:
        return pauses_in(session, find_project(session, project_id).id)


def pause(
    db: Database, who: Principal, project_id: str, reason: str = "", group: str | None = None
) -> Pauses:
    """No new pairs for anybody, or for the members of a group (its id), until `resume`."""
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON} characters.")
    return _change(db, who, project_id, group, Pause(reason=reason, at=now(), by=who.name))


def resume(db: Database, who: Principal, project_id: str, group: str | None = None) -> Pauses:
    return _change(db, who, project_id, group, None)


def check_open(session: Session, annotator: Annotator) -> None:
    """Raises Paused, with the reason, while this annotator gets no pairs. It stands in the way
    of every claim, so what was read is good for two seconds."""
    known = _known.get(annotator.project_id)
    if known is None or known[0] < time.monotonic():
        known = _remember(annotator.project_id, pauses_in(session, annotator.project_id))
    found = known[1]
    if found.project is not None:
        raise _said("This project is paused: nobody gets new pairs for now.", found.project)
    for audience in annotator.audiences or ():
        mine = found.groups.get(group_of(audience) or "")
        if mine is not None:
            raise _said("Your group is paused and gets no new pairs for now.", mine)


_known: dict[str, tuple[float, Pauses]] = {}  # by project: until when it is good, and what it is


def _remember(project_id: str, found: Pauses) -> tuple[float, Pauses]:
    if len(_known) > 10_000:
        _known.clear()
    _known[project_id] = (time.monotonic() + _FRESH_S, found)
    return _known[project_id]


def _said(text: str, found: Pause) -> Paused:
    reason = f" The reason given: “{found.reason}”." if found.reason else ""
    return Paused(text + reason, "Your votes are kept. Come back later, or ask the project's lead.")


def _change(db: Database, who: Principal, project_id: str, group: str | None, wanted: Pause | None) -> Pauses:
    require(who, "annotator.manage")

    def work(session: Session) -> Pauses:
        project = find_project(session, project_id)
        found = pauses_in(session, project.id)
        name = ""
        if group is None:
            before, found.project = found.project, wanted
        else:
            named = {
                item["id"]: item["name"]
                for item in document_body(session, project.id, ASSIGNMENT).get("groups", [])
            }
            if group not in named:
                raise NotFound(f"There is no group {group} in this project.")
            name, before = named[group], found.groups.pop(group, None)
            if wanted is not None:
                found.groups[group] = wanted
        if wanted is not None or before is not None:
            save_document(
                session, project.id, KIND, "Pauses", found.model_dump(mode="json"), who.user_id, who.name
            )
            audit.record(
                session, who, "project.pause" if wanted else "project.resume", "project", project.id, project.id,
                group=name, reason=wanted.reason if wanted else "",
            )  # fmt: skip
        return found

    done = db.write(work)
    _remember(project_id, done)
    return done
