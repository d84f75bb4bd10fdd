"""What a lead set for a whole project, one document a kind (how annotators work, who gets
what, …): kept in versions, so that it needs no column of its own and what held before stays."""

from typing import Any

from sqlmodel import Session, col, select

from storage.ids import id_of
from storage.tables import Plan, PlanVersion, Project


def document_body(session: Session, project_id: str, kind: str) -> dict[str, Any]:
    """The newest version's body; empty when nothing was ever set."""
    query = select(PlanVersion.body).where(PlanVersion.plan_id == _plan_id(project_id, kind))
    return dict(session.exec(query.order_by(col(PlanVersion.number).desc()).limit(1)).first() or {})


def projects_with(session: Session, kind: str) -> list[str]:
    """Projects, none of them archived, for which such a document was ever saved."""
    query = (
        select(Plan.project_id)
        .join(Project, col(Project.id) == col(Plan.project_id))
        .where(Plan.kind == kind, col(Project.archived_at).is_(None))
    )
    return list(session.exec(query.order_by(col(Plan.project_id))))


def document_versions(session: Session, project_id: str, kind: str) -> list[PlanVersion]:
    """Every version that was saved, newest first."""
    query = select(PlanVersion).where(PlanVersion.plan_id == _plan_id(project_id, kind))
    return list(session.exec(query.order_by(col(PlanVersion.number).desc())))


def save_document(
    session: Session,
    project_id: str,
    kind: str,
    name: str,
    body: dict[str, Any],
    author_id: str | None,
    author: str,
) -> None:
    plan_id = _plan_id(project_id, kind)
    if session.get(Plan, plan_id) is None:
        session.add(Plan(id=plan_id, project_id=project_id, kind=kind, name=name))
    versions = select(PlanVersion.number).where(PlanVersion.plan_id == plan_id)
    newest = session.exec(versions.order_by(col(PlanVersion.number).desc()).limit(1)).first() or 0
    session.add(
        PlanVersion(
            project_id=project_id,
            plan_id=plan_id,
            number=newest + 1,
            body=body,
            author_id=author_id,
            author=author,
        )
    )


def _plan_id(project_id: str, kind: str) -> str:
    return id_of("plan", project_id, kind)
