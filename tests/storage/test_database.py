"""The schema and the write helper, on both databases."""

import subprocess
import sys
import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, SQLModel, select

from core.projects import create_project
from storage.database import Database, DatabaseTooNew, alembic_config
from storage.pairs import NewPair, add_pairs, annotator_of_user, annotators_named, pair_id_of
from storage.tables import AuditEntry, Pair, Project, RewardModel, Slot, Vote


def test_migrations_make_the_schema_that_the_tables_describe(any_db: Database):
    with any_db.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
        only_there = [what[1].name for what in found if what[0] == "remove_index"]
        # An index that is of use on PostgreSQL alone is in the migrations alone.
        assert only_there == ([] if any_db.is_duckdb else ["ix_vote_annotator_id_created_at"])
        assert len(found) == len(only_there), found
        assert connection.execute(text("SELECT count(*) FROM preference")).scalar() == 0


def test_migrating_again_changes_nothing(any_db: Database):
    any_db.migrate()
    assert any_db.ping()


def test_a_registry_of_before_snapshots_keeps_its_models(any_db: Database):
    """0008 adds columns to a table with rows and an index; and it can be taken back."""
    model = RewardModel(project_id="p", run_id="r", name="m", folder="models/r")
    any_db.write(lambda s: s.add(model))

    def to(revision: str) -> None:
        config = alembic_config(any_db.url)
        with any_db.engine.begin() as connection:
            config.attributes["connection"] = connection
            (command.downgrade if revision == "0007" else command.upgrade)(config, revision)

    to("0007")
    to("0008")
    with any_db.read() as session:
        kept = session.get(RewardModel, model.id)
    assert kept is not None and (kept.name, kept.snapshot_id, kept.card) == ("m", None, None)


def test_a_database_of_a_newer_version_is_refused(any_db: Database):
    any_db.write(lambda s: s.execute(text("UPDATE alembic_version SET version_num = 'from_2031'")))
    with pytest.raises(DatabaseTooNew, match="from_2031"):
        any_db.migrate()


def test_times_come_back_as_utc_and_json_as_it_was(any_db: Database):
    project = Project(name="ü", criteria=["hilfreich", "東"])
    any_db.write(lambda s: s.add(project))
    with any_db.read() as session:
        found = session.get(Project, project.id)
    assert found is not None
    assert found.created_at == project.created_at and found.created_at.utcoffset().total_seconds() == 0
    assert found.criteria == ["hilfreich", "東"]


def test_a_failed_unit_of_work_leaves_nothing(any_db: Database):
    def work(session: Session) -> None:
        session.add(Project(name="half"))
        session.flush()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        any_db.write(work)
    with any_db.read() as session:
        assert session.exec(select(Project)).all() == []


def test_many_writers_of_one_row_lose_nothing(any_db: Database):
    project = Project(name="0", votes_per_pair=0)
    any_db.write(lambda s: s.add(project))

    def add_one(session: Session) -> None:
        session.execute(
            text("UPDATE project SET votes_per_pair = votes_per_pair + 1 WHERE id = :id"), {"id": project.id}
        )

    def many() -> None:
        for _ in range(10):
            any_db.write(add_one)

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_db.read() as session:
        assert session.get(Project, project.id).votes_per_pair == 80


def test_pairs_are_made_once_with_room_for_their_votes(any_db: Database):
    project = Project(name="p", votes_per_pair=3)
    any_db.write(lambda s: s.add(project))
    wanted = [NewPair("e1", "r2", "r1"), NewPair("e1", "r1", "r2"), NewPair("e1", "r1", "r3", votes=1)]
    ids, there = any_db.write(lambda s: add_pairs(s, project, wanted))
    assert len(ids) == 2 and there == 1
    assert any_db.write(lambda s: add_pairs(s, project, wanted)) == ([], 3)
    with any_db.read() as session:
        pair = session.get(Pair, pair_id_of("r1", "r2"))
        assert (pair.response_a, pair.response_b) == ("r1", "r2")
        assert len(session.exec(select(Slot).where(Slot.pair_id == pair.id)).all()) == 3
        assert len(session.exec(select(Slot)).all()) == 4


def test_priority_comes_first_then_every_pairs_first_vote(any_db: Database):
    project = Project(name="p", votes_per_pair=2)
    any_db.write(lambda s: s.add(project))
    wanted = [NewPair("e", f"a{i}", f"b{i}", priority=1.0 if i == 7 else 0.0) for i in range(10)]
    any_db.write(lambda s: add_pairs(s, project, wanted))
    with any_db.read() as session:
        order = [slot.pair_id for slot in session.exec(select(Slot).order_by(Slot.position))]
    assert order[:2] == [pair_id_of("a7", "b7")] * 2
    assert len(set(order[2:11])) == 9


def test_annotators_are_made_once(any_db: Database):
    first = any_db.write(lambda s: annotator_of_user(s, "p", "u1", "Ada"))
    assert any_db.write(lambda s: annotator_of_user(s, "p", "u1", "Ada")).id == first.id
    other = any_db.write(lambda s: annotator_of_user(s, "p", "u2", "Ada"))
    assert other.id != first.id and other.name.startswith("Ada (")
    named = any_db.write(lambda s: annotators_named(s, "p", {"Ada", "Bob"}))
    assert named["Ada"].id == first.id and named["Bob"].user_id is None


def test_the_preference_view_adds_up_votes(any_db: Database):
    project = Project(name="p")
    votes = [("win", "r1"), ("win", "r1"), ("tie", None), ("win", "r2"), ("both_bad", None)]

    def work(session: Session) -> None:
        session.add(project)
        add_pairs(session, project, [NewPair("e", "r1", "r2")])
        for number, (outcome, winner) in enumerate(votes):
            session.add(
                Vote(
                    project_id=project.id,
                    pair_id=pair_id_of("r1", "r2"),
                    annotator_id=str(number),
                    outcome=outcome,
                    winner=winner,
                    simulated=number == 0,
                )
            )

    any_db.write(work)
    with any_db.read() as session:
        row = session.execute(text("SELECT n, q, n_simulated FROM preference")).one()
    assert (row[0], float(row[1]), row[2]) == (4, 2.5 / 4, 1)


def test_what_is_done_is_written_down_with_it(any_db: Database, settings):
    from core.access import Principal, Role

    who = Principal("u", "Ada", Role.ADMIN)
    project = create_project(any_db, who, name="New")
    with any_db.read() as session:
        entry = session.exec(select(AuditEntry)).one()
    assert (entry.action, entry.entity_id, entry.user_name) == ("project.create", project.id, "Ada")


FATAL = "FATAL Error: Failed: database has been invalidated because of a previous fatal error."


def fails_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the next unit of work meet an invalidated database; answers what was then done."""
    done: list[str] = []
    once, dispose = db._once, db.engine.dispose

    def first(work, quiet):
        monkeypatch.setattr(db, "_once", once)
        raise DBAPIError("COMMIT", None, Exception(FATAL))

    def reopen():
        done.append("opened anew")
        dispose()

    monkeypatch.setattr(db, "_once", first)
    monkeypatch.setattr(db.engine, "dispose", reopen)
    return done


def test_a_write_opens_an_invalidated_database_anew(db: Database, monkeypatch):
    done = fails_once(db, monkeypatch)
    db.write(lambda s: s.add(Project(name="kept")))
    assert done == ["opened anew"]
    with db.read() as session:
        assert [project.name for project in session.exec(select(Project))] == ["kept"]


def test_a_read_opens_it_anew_for_the_next(db: Database, monkeypatch):
    done = fails_once(db, monkeypatch)
    with pytest.raises(DBAPIError), db.read():
        raise DBAPIError("SELECT", None, Exception(FATAL))
    assert done == ["opened anew"]
    with pytest.raises(DBAPIError), db.read():
        raise DBAPIError("SELECT", None, Exception("a syntax error"))
    assert done == ["opened anew"]
    assert db.ping()


def test_closing_every_connection_lets_go_of_the_file(db: Database):
    """What opening anew rests on: DuckDB keeps one view of a file as long as anybody of this
    process is connected to it."""
    path = db.engine.url.database
    open_it = [sys.executable, "-c", f"import duckdb; duckdb.connect({path!r}).close()"]
    with db.read() as session:
        session.exec(select(Project)).all()
        assert subprocess.run(open_it, capture_output=True).returncode != 0
    db.engine.dispose()
    assert subprocess.run(open_it, capture_output=True).returncode == 0
