"""What a lead sets for a project as one document: checked as a model of its own, kept in versions,
and written into the audit log with the names of what changed."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlmodel import Session

from core import audit
from core.access import Principal
from core.errors import Invalid
from storage.project_documents import save_document

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], values: Mapping[str, Any]) -> M:
    """The values as this model. Raises Invalid with the first field that is wrong, and why."""
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{field}: {said}." if field else f"{said}.") from None


def changed(before: M, after: M) -> dict[str, Any]:
    """name -> new value of each field that differs."""
    fields = type(after).model_fields
    return {name: getattr(after, name) for name in fields if getattr(after, name) != getattr(before, name)}


def keep(session: Session, who: Principal, project_id: str, kind: str, title: str, after: BaseModel) -> None:
    """A new version of the document."""
    body = after.model_dump(mode="json")
    save_document(session, project_id, kind, title, body, who.user_id, who.name)
    session.flush()


def note(session: Session, who: Principal, action: str, project_id: str, what: Any, **detail: Any) -> None:
    """In the audit log: what of the project's settings changed."""
    audit.record(session, who, action, "project", project_id, project_id, changed=what, **detail)
