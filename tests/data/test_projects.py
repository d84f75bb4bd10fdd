"""A project's settings, and the end of it."""

import pytest
from sqlmodel import SQLModel, func, select

from core import data, projects
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.prompts.soft import soft_folder
from core.settings import get_settings
from storage.bulk import insert_many
from storage.ids import new_id
from storage.tables import AuditEntry, LedgerEntry, Pair, RewardModel, Run, RunEvent, Slot
from tests.data.test_importing import PAIR, WHO, vote


def statuses(db, project):
    with db.read() as session:
        return sorted(session.exec(select(Slot.status).where(Slot.project_id == project.id)))


def test_settings_are_changed_checked_and_recorded(db, admin, project):
    changed = projects.update_project(
        db, admin, project.id, name=" New ", criteria=["a", " "], guidelines="# G"
    )
    assert (changed.name, changed.criteria, changed.guidelines, changed.votes_per_pair) == (
        "New",
        ["a"],
        "# G",
        2,
    )
    assert projects.get_project(db, admin, project.id).name == "New"
    for bad, said in (
        ({"name": ""}, "name"),
        ({"votes_per_pair": "many"}, "votes_per_pair"),
        ({"demo": True}, "demo"),
    ):
        with pytest.raises(Invalid, match=said):
            projects.update_project(db, admin, project.id, **bad)
    projects.update_project(db, admin, project.id, name="New")
    with db.read() as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == "project.edit")).all()
    assert [entry.detail["changed"] for entry in entries] == [["criteria", "guidelines", "name"]]


def test_more_votes_per_pair_open_slots_and_fewer_close_open_ones(any_db):
    project = projects.create_project(any_db, WHO, name="p", votes_per_pair=2)
    rows = [PAIR, vote("x", "a", input="judged"), *(vote(name, "a", input="full") for name in "xyz")]
    data.import_comparisons(any_db, WHO, project.id, rows)
    assert statuses(any_db, project) == ["open"] * 3  # 2 for the first, 1 for the second

    def change(votes):
        projects.update_project(any_db, WHO, project.id, votes_per_pair=votes)
        return statuses(any_db, project)

    assert change(4) == ["open"] * 8  # 4, 3, 1
    assert change(1) == ["closed"] * 7 + ["open"]
    assert change(2) == ["closed"] * 5 + ["open"] * 3

    def lease(session):
        for slot in session.exec(select(Slot).where(Slot.status == "open")):
            slot.status = "leased"

    any_db.write(lease)
    assert change(1) == ["closed"] * 5 + ["leased"] * 3


def fill(db, project):
    """A row in every table that names a project or a run."""
    data.import_comparisons(db, WHO, project.id, [vote("x", "a"), PAIR])
    data.import_examples(db, WHO, project.id, ["another"])
    run = Run(project_id=project.id, kind="generate", status="succeeded")
    folder = get_settings().runs_dir / run.id
    (folder / "artifacts").mkdir(parents=True)
    model = RewardModel(project_id=project.id, run_id=run.id, name="m", folder=f"models/{run.id}")
    (get_settings().data_dir / model.folder).mkdir(parents=True)
    (get_settings().snapshots_dir / run.id).mkdir(parents=True)
    with db.read() as session:
        pair = session.exec(select(Pair.id).where(Pair.project_id == project.id)).first()
    filled = {
        "vote_history": {"vote_id": "v", "what": "undone"},
        "skip": {"pair_id": pair, "annotator_id": "x"},
        "candidate": {"run_id": run.id, "number": 1},
        "interaction": {},
        "signal": {"interaction_id": "i", "kind": "copy"},
        "demonstration": {"example_id": "e", "text": "better"},
        "gold": {"pair_id": new_id(), "use": "check", "outcome": "tie"},
        "probe": {
            "annotator_id": "x",
            "pair_id": "p",
            "kind": "gold",
            "lease": new_id(),
            "a_left": True,
            "expected_outcome": "tie",
        },
        "message": {"annotator_id": "x", "text": "hello"},
        "webhook": {"url": "https://example.org", "secret": "s"},
        "delivery": {"webhook_id": new_id(), "event": "vote.cast", "entity_id": "v"},
        "snapshot": {"name": "s", "folder": f"snapshots/{run.id}", "content_hash": "h"},
        "plan": {"kind": "scenario"},
        "plan_version": {"plan_id": new_id(), "number": 1},
    }
    tables = {mapper.local_table.name: mapper.class_ for mapper in SQLModel._sa_registry.mappers}

    def work(session):
        session.add_all([run, model, RunEvent(run_id=run.id, number=1, type="log")])
        session.add(LedgerEntry(run_id=run.id, project_id=project.id, host="h", purpose="target"))
        session.flush()
        for name, values in filled.items():
            insert_many(session, tables[name], [{"project_id": project.id, **values}])

    db.write(work)
    return run, model


def rows_of(db):
    with db.read() as session:
        return {
            table.name: session.exec(select(func.count()).select_from(table)).one()
            for table in SQLModel.metadata.sorted_tables
            if {"project_id", "run_id"} & set(table.c.keys()) and table.name != "audit_entry"
        }


def test_purging_leaves_no_row_and_no_folder_but_the_audit_log(db, admin):
    kept = projects.create_project(db, admin, name="kept", votes_per_pair=2)
    fill(db, kept)
    before = rows_of(db)
    assert all(before.values()), f"fill() must cover every table of a project: {before}"
    gone = projects.create_project(db, admin, name="gone", votes_per_pair=2)
    run, model = fill(db, gone)
    assert rows_of(db) == {name: 2 * n for name, n in before.items()}
    vectors = soft_folder(gone.id)
    vectors.mkdir(parents=True)
    deleted = projects.purge_project(db, admin, gone.id)
    assert rows_of(db) == before and deleted["vote"] == 1
    assert not (get_settings().runs_dir / run.id).exists() and not vectors.exists()
    assert not (get_settings().data_dir / model.folder).exists()
    assert not (get_settings().snapshots_dir / run.id).exists()
    assert len(list(get_settings().runs_dir.iterdir())) == 1
    assert len(list(get_settings().snapshots_dir.iterdir())) == 1
    assert [project.name for project in projects.list_projects(db, admin)] == ["kept"]
    with db.read() as session:
        actions = session.exec(select(AuditEntry.action).where(AuditEntry.project_id == gone.id)).all()
    assert {"project.create", "project.purge"} <= set(actions)
    with pytest.raises(NotFound):
        projects.purge_project(db, admin, gone.id)


def test_a_project_whose_run_is_at_work_is_not_purged(db, admin, project, person):
    with pytest.raises(Forbidden):
        projects.purge_project(db, person("engineer"), project.id)
    db.write(lambda s: s.add(Run(project_id=project.id, kind="generate", status="running")))
    with pytest.raises(Conflict, match="Cancel it"):
        projects.purge_project(db, admin, project.id)
    assert projects.get_project(db, admin, project.id)


def test_a_folder_outside_the_data_folder_is_never_deleted(db, admin, project, tmp_path):
    other = tmp_path / "precious"
    other.mkdir()
    model = RewardModel(project_id=project.id, run_id="r", name="m", folder="../precious")
    own = RewardModel(project_id=project.id, run_id="s", name="m", folder=".")
    db.write(lambda s: s.add_all([model, own]))
    projects.purge_project(db, admin, project.id)
    assert other.exists() and get_settings().data_dir.exists()
