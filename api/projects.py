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
