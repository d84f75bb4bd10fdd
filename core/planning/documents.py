"""Plans, in versions: saved, loaded, compared, never overwritten.

A plan belongs to a project and is of one kind; what it says is a pydantic model that has
the kind's name. Saving adds a version. Who saves says which version they started from, so
that two leads do not undo each other's work unseen.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlmodel import Session, col, func, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.projects import find_project
from storage.database import Database
from storage.ids import now
from storage.tables import Plan, PlanVersion

MAX_NAME = 120
MAX_NOTE = 2000


class Body(BaseModel):
    """What a plan says. A subclass names its kind and has sensible defaults throughout."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    KIND: ClassVar[str]
    TITLE: ClassVar[str]  # a new plan's name


T = TypeVar("T", bound=Body)


@dataclass(frozen=True)
class Saved(Generic[T]):
    """A version of a plan, as it was saved."""

    plan_id: str
    name: str
    number: int
    body: T
    note: str
    author: str
    at: datetime


@dataclass(frozen=True)
class Listed:
    """A plan in a list: its name, its newest version and who saved that when."""

    plan_id: str
    name: str
    number: int
    author: str
    at: datetime
    kind: str


def checked(model: type[T], values: Any) -> T:
    """The body, or Invalid naming the first field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        said = str(first["msg"]).removeprefix("Value error, ")
        more = len(problem.errors()) - 1
        hint = f"{more} more field{'s' if more > 1 else ''} to correct after that." if more else ""
        raise Invalid(f"{field}: {said}.", hint) from problem


def save(
    db: Database,
    who: Principal,
    project_id: str,
    body: T,
    *,
    plan_id: str | None = None,
    name: str | None = None,
    based_on: int | None = None,
    note: str = "",
) -> Saved[T]:
    """A new version; without `plan_id`, of a new plan. The same body again is the version
    that is there. Raises Conflict when `based_on` is given and is not the newest any more,
    NotFound, and Invalid for the name, the note, and text that no database keeps."""
    require(who, "plan.edit")
    wanted = None if name is None else _name(name)
    values = body.model_dump(mode="json")
    _keepable({"note": note, **values})
    if len(note) > MAX_NOTE:
        raise Invalid(f"note: at most {MAX_NOTE:,} characters.")

    def work(session: Session) -> Saved[T]:
        find_project(session, project_id)
        if plan_id is None:
            plan = Plan(
                project_id=project_id, kind=body.KIND, name=wanted or body.TITLE, created_by=who.user_id
            )
            newest = None
        else:
            plan = _find(session, project_id, plan_id, body.KIND)
            newest = _version(session, plan.id, None)
            if based_on is not None and newest.number != based_on:
                raise Conflict(
                    f"{newest.author} saved version {newest.number} meanwhile.",
                    "Open it, and make your change there.",
                )
            if newest.body == values and (wanted is None or wanted == plan.name):
                return _saved(type(body), plan, newest)
        if wanted is not None:
            plan.name = wanted
        session.add(plan)
        version = PlanVersion(
            project_id=project_id,
            plan_id=plan.id,
            number=newest.number + 1 if newest else 1,
            body=values,
            note=note.strip(),
            author_id=who.user_id,
            author=who.name,
        )
        session.add(version)
        detail = {"kind": body.KIND, "name": plan.name, "version": version.number}
        audit.record(session, who, "plan.save", "plan", plan.id, project_id, **detail)
        return _saved(type(body), plan, version)

    return db.write(work)


def list_plans(db: Database, who: Principal, project_id: str, kind: str | None = None) -> list[Listed]:
    """Oldest first, with the newest version of each; archived ones left out. Of every kind
    unless one is asked for."""
    require(who, "plan.view")
    with db.read() as session:
        find_project(session, project_id)
        newest = (
            select(PlanVersion.plan_id, func.max(PlanVersion.number).label("number"))
            .where(PlanVersion.project_id == project_id)
            .group_by(col(PlanVersion.plan_id))
            .subquery()
        )
        rows = session.exec(
            select(Plan, PlanVersion.number, PlanVersion.author, PlanVersion.created_at)
            .join(newest, newest.c.plan_id == col(Plan.id))
            .join(
                PlanVersion,
                (col(PlanVersion.plan_id) == newest.c.plan_id) & (col(PlanVersion.number) == newest.c.number),
            )
            .where(Plan.project_id == project_id, col(Plan.archived_at).is_(None))
            .where(*([] if kind is None else [Plan.kind == kind]))
            .order_by(col(Plan.created_at), col(Plan.id))
        ).all()
        return [
            Listed(plan.id, plan.name, number, author, at, plan.kind) for plan, number, author, at in rows
        ]


def kind_of(db: Database, who: Principal, project_id: str, plan_id: str) -> str:
    """What kind a plan is of. Raises NotFound."""
    require(who, "plan.view")
    with db.read() as session:
        return _find(session, project_id, plan_id, None).kind


def load(
    db: Database, who: Principal, project_id: str, model: type[T], plan_id: str, number: int | None = None
) -> Saved[T]:
    """A version of a plan, the newest unless another is asked for. Raises NotFound."""
    require(who, "plan.view")
    with db.read() as session:
        plan = _find(session, project_id, plan_id, model.KIND)
        return _saved(model, plan, _version(session, plan.id, number))


def current(db: Database, who: Principal, project_id: str, model: type[T]) -> Saved[T] | None:
    """The newest version of the project's first plan of this kind: for kinds of which a
    project needs one. None when there is none yet."""
    found = list_plans(db, who, project_id, model.KIND)
    return load(db, who, project_id, model, found[0].plan_id) if found else None


def history(db: Database, who: Principal, project_id: str, model: type[T], plan_id: str) -> list[Saved[T]]:
    """Every version of a plan, newest first."""
    require(who, "plan.view")
    with db.read() as session:
        plan = _find(session, project_id, plan_id, model.KIND)
        query = select(PlanVersion).where(PlanVersion.plan_id == plan.id)
        versions = session.exec(query.order_by(col(PlanVersion.number).desc())).all()
        return [_saved(model, plan, version) for version in versions]


def archive(db: Database, who: Principal, project_id: str, plan_id: str) -> None:
    """Put a plan away; its versions are kept."""
    require(who, "plan.edit")

    def work(session: Session) -> None:
        plan = _find(session, project_id, plan_id, None)
        plan.archived_at = now()
        session.add(plan)
        audit.record(
            session, who, "plan.archive", "plan", plan.id, project_id, kind=plan.kind, name=plan.name
        )

    db.write(work)


def differences(before: Body, after: Body) -> list[tuple[str, Any, Any]]:
    """(field, before, after) for every value that differs, fields as paths: `uplift.value`."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    items: list[tuple[Any, Any]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in items:
        found |= _flat(inner, f"{path}.{key}" if path else str(key))
    return found


def _name(name: str) -> str:
    clean = " ".join(name.split())
    if not 1 <= len(clean) <= MAX_NAME:
        raise Invalid(f"name: 1 to {MAX_NAME} characters.")
    _keepable({"name": clean})
    return clean


def _keepable(values: dict[str, Any]) -> None:
    """Raise Invalid for text that databases refuse: a null character, half a character."""
    for field, value in _flat(values).items():
        text = field + value if isinstance(value, str) else field
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise Invalid(f"{field.encode('ascii', 'replace').decode()}: a character that is none.")


def _find(session: Session, project_id: str, plan_id: str, kind: str | None) -> Plan:
    find_project(session, project_id)
    plan = session.get(Plan, plan_id)
    wrong = plan is None or plan.project_id != project_id or plan.archived_at is not None
    if wrong or plan is None or (kind is not None and plan.kind != kind):
        raise NotFound(f"This project has no {kind or 'plan'} {plan_id}.")
    return plan


def _version(session: Session, plan_id: str, number: int | None) -> PlanVersion:
    query = select(PlanVersion).where(PlanVersion.plan_id == plan_id)
    if number is not None:
        query = query.where(PlanVersion.number == number)
    found = session.exec(query.order_by(col(PlanVersion.number).desc())).first()
    if found is None:
        raise NotFound(f"This plan has no version {number}.")
    return found


def _saved(model: type[T], plan: Plan, version: PlanVersion) -> Saved[T]:
    body = model.model_validate(version.body)
    return Saved(plan.id, plan.name, version.number, body, version.note, version.author, version.created_at)
