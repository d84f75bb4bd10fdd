from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core import projects

router = APIRouter(prefix="/projects", tags=["projects"])


class ProjectCreate(BaseModel):
    name: str
    guidelines: str = ""
    criteria: list[str] = []
    votes_per_pair: int = 1
    selection: str | None = None


class ProjectUpdate(BaseModel):
    name: str | None = None
    guidelines: str | None = None
    criteria: list[str] | None = None
    votes_per_pair: int | None = None
    selection: str | None = None


class ProjectPublic(ProjectCreate):
    id: str
    demo: bool
    champion_prompt_id: str | None
    reward_model_id: str | None
    created_at: datetime


@router.post("", status_code=201)
def create(values: ProjectCreate, db: DatabaseDep, who: CurrentUser) -> ProjectPublic:
    project = projects.create_project(db, who, **values.model_dump())
    return ProjectPublic.model_validate(project, from_attributes=True)


@router.get("")
def list_(db: DatabaseDep, who: CurrentUser, limit: int = 100, offset: int = 0) -> list[ProjectPublic]:
    found = projects.list_projects(db, who)[offset : offset + limit]
    return [ProjectPublic.model_validate(item, from_attributes=True) for item in found]


@router.get("/{project_id}")
def get(project_id: str, db: DatabaseDep, who: CurrentUser) -> ProjectPublic:
    return ProjectPublic.model_validate(projects.get_project(db, who, project_id), from_attributes=True)


@router.patch("/{project_id}")
def update(project_id: str, values: ProjectUpdate, db: DatabaseDep, who: CurrentUser) -> ProjectPublic:
    """Change what is named. Another `votes_per_pair` opens or closes slots of the pairs
    that are there."""
    project = projects.update_project(db, who, project_id, **values.model_dump(exclude_unset=True))
    return ProjectPublic.model_validate(project, from_attributes=True)


@router.delete("/{project_id}", status_code=204)
def delete(project_id: str, db: DatabaseDep, who: CurrentUser, purge: bool = False) -> None:
    """Put a project away: it is no longer listed, and nothing is lost. With `purge=true`,
    delete everything of it for good."""
    if purge:
        projects.purge_project(db, who, project_id)
    else:
        projects.archive_project(db, who, project_id)
