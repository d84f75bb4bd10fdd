"""How the annotators of a project work: what a lead sets beside the guidelines.

Which criteria are rated from 1 to 5 (each response of its own) instead of left, same or
right; the goal for a day; and whether an annotator sees how far they agree with others.
"""

from typing import Literal

from pydantic import BaseModel, Field
from sqlmodel import Session

from core.access import Principal, require
from core.errors import Invalid
from core.projects import find_project
from core.set_by_leads import changed, checked, keep, note
from storage.database import Database
from storage.project_documents import document_body

Scale = Literal["side", "1-5"]
KIND = "desk"
POINTS = (1, 2, 3, 4, 5)


class Desk(BaseModel):
    scales: dict[str, Scale] = Field(default_factory=dict)  # of criteria; "side" when not named
    daily_goal: int = Field(0, ge=0, le=10_000)  # votes a day for one annotator; 0: none
    show_agreement: bool = False

    def scale(self, criterion: str) -> Scale:
        return self.scales.get(criterion, "side")


def desk_in(session: Session, project_id: str) -> Desk:
    """As it is set, within a unit of work."""
    return Desk.model_validate(document_body(session, project_id, KIND))


def desk_of(db: Database, who: Principal, project_id: str) -> Desk:
    require(who, "project.list")
    with db.read() as session:
        return desk_in(session, find_project(session, project_id).id)


def set_desk(db: Database, who: Principal, project_id: str, **values: object) -> Desk:
    """Change what is named. Ratings that were given stay as they are."""
    require(who, "project.edit")

    def work(session: Session) -> Desk:
        project = find_project(session, project_id)
        before = desk_in(session, project.id)
        after = checked(Desk, {**before.model_dump(), **values})
        unknown = sorted(set(after.scales) - set(project.criteria))
        if unknown and set(after.scales) != set(before.scales):
            raise Invalid(f"scales: “{unknown[0]}” is no criterion of this project.")
        if after != before:
            keep(session, who, project.id, KIND, "Labelling", after)
            note(session, who, "project.edit", project.id, list(changed(before, after)))
        return after

    return db.write(work)
