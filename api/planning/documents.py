"""Plans of every kind as documents: list, make, read, change with history, put away.

What a body holds depends on its kind: scenario, decision, milestones, team, sourcing,
units. A field that is left out has its default; one that is unknown or wrong is refused
by name.
"""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.planning import documents
from core.planning.documents import Body, Saved
from core.planning.kinds import model_of

router = APIRouter(prefix="/projects/{project_id}/plan/documents", tags=["plan"])


class PlanCreate(BaseModel):
    """`name`: by default that of the kind."""

    kind: str
    name: str | None = None
    note: str = ""
    body: dict[str, Any] = {}


class PlanUpdate(BaseModel):
    """`based_on`: the number of the version that was changed; when a newer one is there,
    the answer is 409 and nothing is saved."""

    body: dict[str, Any]
    based_on: int
    name: str | None = None
    note: str = ""


class PlanListed(BaseModel):
    plan_id: str
    kind: str
    name: str
    number: int
    author: str
    at: datetime


class PlanPublic(PlanListed):
    """One version of a plan."""

    note: str
    body: dict[str, Any]


class Difference(BaseModel):
    """A value that differs; `field` is a path, such as `uplift.value`."""

    field: str
    before: Any
    after: Any


def _public(saved: Saved[Body]) -> PlanPublic:
    return PlanPublic(
        plan_id=saved.plan_id,
        kind=saved.body.KIND,
        name=saved.name,
        number=saved.number,
        author=saved.author,
        at=saved.at,
        note=saved.note,
        body=saved.body.model_dump(mode="json"),
    )


def _model(db: DatabaseDep, who: CurrentUser, project_id: str, plan_id: str) -> type[Body]:
    return model_of(documents.kind_of(db, who, project_id, plan_id))


@router.get("")
def list_(project_id: str, db: DatabaseDep, who: CurrentUser, kind: str | None = None) -> list[PlanListed]:
    """The newest version of each plan, oldest plan first; of one kind, or of all."""
    if kind is not None:
        model_of(kind)
    found = documents.list_plans(db, who, project_id, kind)
    return [PlanListed.model_validate(item, from_attributes=True) for item in found]


@router.post("", status_code=201)
def create(project_id: str, values: PlanCreate, db: DatabaseDep, who: CurrentUser) -> PlanPublic:
    body = documents.checked(model_of(values.kind), values.body)
    return _public(documents.save(db, who, project_id, body, name=values.name, note=values.note))


@router.get("/{plan_id}")
def get(
    project_id: str, plan_id: str, db: DatabaseDep, who: CurrentUser, number: int | None = None
) -> PlanPublic:
    """The newest version, or the one with this number."""
    model = _model(db, who, project_id, plan_id)
    return _public(documents.load(db, who, project_id, model, plan_id, number))


@router.put("/{plan_id}")
def change(
    project_id: str, plan_id: str, values: PlanUpdate, db: DatabaseDep, who: CurrentUser
) -> PlanPublic:
    """Save a new version. The same body under the same name again makes none."""
    body = documents.checked(_model(db, who, project_id, plan_id), values.body)
    saved = documents.save(
        db, who, project_id, body,
        plan_id=plan_id, name=values.name, based_on=values.based_on, note=values.note,
    )  # fmt: skip
    return _public(saved)


@router.get("/{plan_id}/history")
def history(project_id: str, plan_id: str, db: DatabaseDep, who: CurrentUser) -> list[PlanPublic]:
    """Every version, newest first."""
    model = _model(db, who, project_id, plan_id)
    return [_public(saved) for saved in documents.history(db, who, project_id, model, plan_id)]


@router.get("/{plan_id}/differences")
def differences(
    project_id: str, plan_id: str, a: int, b: int, db: DatabaseDep, who: CurrentUser
) -> list[Difference]:
    """What differs from version `a` to version `b`."""
    model = _model(db, who, project_id, plan_id)
    before, after = (documents.load(db, who, project_id, model, plan_id, n).body for n in (a, b))
    found = documents.differences(before, after)
    return [Difference(field=name, before=old, after=new) for name, old, new in found]


@router.delete("/{plan_id}", status_code=204)
def archive(project_id: str, plan_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    """Put the plan away: it is no longer listed, and its versions are kept."""
    documents.archive(db, who, project_id, plan_id)
