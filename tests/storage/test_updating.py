"""A conditional update that answers what it changed, and does not disturb indexes."""

from sqlalchemy import text, update
from sqlmodel import col

from storage.database import Database
from storage.tables import Run
from storage.updating import update_one


def test_it_answers_the_row_as_it_is_afterwards_or_none(any_db: Database):
    run = Run(project_id="p", kind="k")
    any_db.write(lambda s: s.add(run))

    def move(out_of: str, to: str):
        statement = update(Run).where(col(Run.id) == run.id, col(Run.status) == out_of).values(status=to)
        return any_db.write(lambda s: update_one(s, statement, Run.id, Run.status))

    assert move("running", "failed") is None
    assert tuple(move("queued", "running")) == (run.id, "running")
    assert move("queued", "running") is None


def test_duckdb_changes_the_row_in_place(db: Database):
    """A delete and insert, as UPDATE … RETURNING does there, would give it a new rowid."""
    run = Run(project_id="p", kind="k")
    db.write(lambda s: s.add(run))
    place = text("SELECT rowid FROM run")
    with db.read() as session:
        before = session.execute(place).scalar()
    statement = update(Run).where(col(Run.id) == run.id).values(status="running", error="x", message="y")
    db.write(lambda s: update_one(s, statement, Run.id))
    with db.read() as session:
        assert session.execute(place).scalar() == before
