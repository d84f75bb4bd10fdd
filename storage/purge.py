"""Deleting a project with everything that belongs to it."""

from sqlalchemy import delete, select
from sqlmodel import Session, SQLModel

from storage.tables import AuditEntry

KEPT = {AuditEntry.__tablename__}  # who did what outlives what it was done to


def delete_project(session: Session, project_id: str) -> dict[str, int]:
    """Delete the rows of every table that names the project, or one of its runs, and the
    project itself; answers how many of each table went (tables without any left out)."""
    tables = {table.name: table for table in SQLModel.metadata.sorted_tables if table.name not in KEPT}
    run = tables["run"]
    runs = select(run.c.id).where(run.c.project_id == project_id)
    of_runs = [
        (table, table.c.run_id.in_(runs))
        for table in tables.values()
        if "run_id" in table.c and "project_id" not in table.c
    ]
    of_project = [
        (table, table.c.project_id == project_id) for table in tables.values() if "project_id" in table.c
    ]
    project = tables["project"]
    deleted = {}
    for table, condition in [*of_runs, *of_project, (project, project.c.id == project_id)]:
        number = session.connection().execute(delete(table).where(condition)).rowcount
        if number:
            deleted[table.name] = number
    return deleted
