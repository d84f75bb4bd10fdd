"""Projects: one job whose prompts are improved."""

import logging
import shutil
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.selection import STRATEGIES
from core.errors import Conflict, Invalid, NotFound
from core.prompts.soft import soft_folder
from core.settings import get_settings
from storage.database import Database
from storage.ids import now
from storage.purge import delete_project
from storage.slots import change_votes_per_pair
from storage.tables import Project, RewardModel, Run, Snapshot

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
        try:
            votes = int(values["votes_per_pair"])
        except (TypeError, ValueError):
            votes = 0
        if not 1 <= votes <= MAX_VOTES_PER_PAIR:
            raise Invalid(f"votes_per_pair: a number from 1 to {MAX_VOTES_PER_PAIR}.")
        clean["votes_per_pair"] = votes
    if values.get("selection") is not None:
        if values["selection"] not in STRATEGIES:
            raise Invalid(f"selection: one of {', '.join(STRATEGIES)}.")
        clean["selection"] = values["selection"]
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


def update_project(db: Database, who: Principal, project_id: str, **values: Any) -> Project:
    """Change a project's name, guidelines, criteria, selection strategy or votes per pair. Another number of
    votes opens more slots for the pairs that are there, or closes open ones; votes that
    were cast, and pairs that somebody has open right now, stay."""
    require(who, "project.edit")
    unknown = set(values) - {"name", "guidelines", "criteria", "votes_per_pair", "selection"}
    if unknown:
        raise Invalid(f"{min(unknown)}: this is nothing a project's settings have.")
    wanted = checked_fields({name: value for name, value in values.items() if value is not None})

    def work(session: Session) -> Project:
        project = find_project(session, project_id)
        before = {name: getattr(project, name) for name in wanted}
        changed = {name: value for name, value in wanted.items() if value != before[name]}
        if not changed:
            return project
        detail: dict[str, Any] = {"changed": sorted(changed)}
        for name, value in changed.items():
            setattr(project, name, value)
        session.add(project)
        session.flush()
        if "votes_per_pair" in changed:
            votes = (before["votes_per_pair"], changed["votes_per_pair"])
            opened, closed = change_votes_per_pair(session, project_id, *votes)
            detail |= {"votes_per_pair": votes, "slots_opened": opened, "slots_closed": closed}
        audit.record(session, who, "project.edit", "project", project_id, project_id, **detail)
        return project

    return db.write(work)


def purge_project(db: Database, who: Principal, project_id: str) -> dict[str, int]:
    """Delete every row of a project, its run folders, its models and its snapshots; answers
    how many rows of each table went. Only the audit log keeps what was done. Raises Conflict
    while a run of it is at work. For archived projects too."""
    require(who, "project.delete")
    folders: list[Path] = []

    def work(session: Session) -> dict[str, int]:
        project = session.get(Project, project_id)
        if project is None:
            raise NotFound(f"There is no project {project_id}.")
        runs = session.exec(select(Run.id, Run.status).where(Run.project_id == project_id)).all()
        if any(status in ("queued", "running") for _, status in runs):
            raise Conflict("A run of this project is still at work.", "Cancel it, and try again.")
        settings = get_settings()
        models = session.exec(select(RewardModel.folder).where(RewardModel.project_id == project_id)).all()
        folders[:] = [settings.runs_dir / run_id for run_id, _ in runs]
        snapshots = session.exec(select(Snapshot.folder).where(Snapshot.project_id == project_id)).all()
        soft = soft_folder(project_id)
        folders.extend([*(settings.data_dir / folder for folder in [*models, *snapshots]), soft])
        deleted = delete_project(session, project_id)
        audit.record(
            session, who, "project.purge", "project", project_id, project_id, name=project.name, rows=deleted
        )
        return deleted

    deleted = db.write(work)
    root = get_settings().data_dir.resolve()
    for folder in folders:
        # Nothing outside the data folder, nor the folder itself, whatever a row says.
        if root in folder.resolve().parents and folder.exists():
            shutil.rmtree(folder, onerror=_left_behind)
    return deleted


def _left_behind(_function: Any, path: str, _error: Any) -> None:
    logging.getLogger(__name__).warning("could not delete %s, which is no longer needed", path)
