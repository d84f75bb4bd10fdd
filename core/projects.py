"""Projects: one job whose prompts are improved."""

from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Invalid, NotFound
from storage.database import Database
from storage.ids import now
from storage.tables import Project

MAX_VOTES_PER_PAIR = 100


def checked_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a project a person may set, checked. Raises Invalid naming the field."""
    clean: dict[str, Any] = {}
    if "name" in values:
        name = str(values["name"] or "").strip()
        if not 1 <= len(name) <= 120:
            raise Invalid("name: a project's name has 1 to 120 characters.")
        clean["name"] = name
    if values.get("guidelines") is not None:
        clean["guidelines"] = str(values["guidelines"])
    if values.get("criteria") is not None:
        criteria = [str(item).strip() for item in values["criteria"] if str(item).strip()]
        if len(set(criteria)) != len(criteria):
            raise Invalid("criteria: each criterion must have a name of its own.")
        clean["criteria"] = criteria
    if values.get("votes_per_pair") is not None:
        votes = int(values["votes_per_pair"])
        if not 1 <= votes <= MAX_VOTES_PER_PAIR:
            raise Invalid(f"votes_per_pair: a number from 1 to {MAX_VOTES_PER_PAIR}.")
        clean["votes_per_pair"] = votes
    return clean


def create_project(db: Database, who: Principal, **values: Any) -> Project:
    require(who, "project.create")
    project = Project(**checked_fields({"name": "", **values}), created_by=who.user_id)

    def work(session: Session) -> Project:
        session.add(project)
        audit.record(session, who, "project.create", "project", project.id, project.id, name=project.name)
        return project

    return db.write(work)


def list_projects(db: Database, who: Principal) -> list[Project]:
    require(who, "project.list")
    with db.read() as session:
        query = select(Project).where(col(Project.archived_at).is_(None)).order_by(col(Project.created_at))
        return list(session.exec(query))


def find_project(session: Session, project_id: str) -> Project:
    """The project, or NotFound: for use inside a unit of work."""
    project = session.get(Project, project_id)
    if project is None or project.archived_at is not None:
        raise NotFound(f"There is no project {project_id}.")
    return project


def get_project(db: Database, who: Principal, project_id: str) -> Project:
    require(who, "project.list")
    with db.read() as session:
        return find_project(session, project_id)


def archive_project(db: Database, who: Principal, project_id: str) -> None:
    """Put a project away: it is no longer listed, and nothing of it is deleted."""
    require(who, "project.delete")

    def work(session: Session) -> None:
        project = find_project(session, project_id)
        project.archived_at = now()
        session.add(project)
        audit.record(session, who, "project.archive", "project", project_id, project_id, name=project.name)

    db.write(work)
