"""Snapshots as people and programs make them: on both databases, through the API, and as the
data of a training."""

import io
import json
import zipfile

import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from core import data as rows_in
from core.access import Principal, Role
from core.annotation.annotators import take_back
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.projects import create_project, purge_project
from core.reward import runs
from core.reward.data import summary, training_row, voted_pairs
from core.reward.snapshots import service
from core.reward.snapshots.filters import filters_of
from core.runs.service import run_folder, start_run
from core.settings import get_settings
from storage.inputs import as_input, split_of
from storage.tables import Annotator, AuditEntry, Project, RewardModel, Run, Snapshot
from tests.reward.test_data import FIRST, Made, ended

WHO = Principal("u", "somebody", Role.ADMIN)


def comparison(number, annotator="Ann", choice=None, **more):
    """Every second one for a; the side is drawn apart from that."""
    return {
        "input": f"Question number{number} about thing{number}",
        "response_a": f"One answer to {number}",
        "response_b": f"Quite another answer to {number}",
        "prompt_a": "first",
        "prompt_b": "second",
        "annotator": annotator,
        "choice": choice or "ab"[number % 2],
        "left": "ab"[number // 2 % 2],
        **more,
    }


@pytest.fixture
def place(any_db):
    project = create_project(any_db, WHO, name="A project", criteria=["helpful"], votes_per_pair=3)

    class Place:
        db, id = any_db, project.id

        def put(self, *rows):
            report = rows_in.import_comparisons(any_db, WHO, project.id, list(rows))
            assert not report.skipped, report.skipped
            return report

        def make(self, name="Votes", **filters):
            return service.make(any_db, WHO, project.id, name, filters)

    return Place()


def test_a_snapshot_is_frozen_as_the_votes_were(place):
    place.put(
        *(comparison(i, criteria={"helpful": "ab"[i % 2]}) for i in range(40)), comparison(0, "Bo", "b")
    )
    place.put(comparison(0, "Sim", "b", simulated=True), comparison(99, "far · m", machine=True))
    first = place.make()
    folder = get_settings().data_dir / first.folder
    pairs, votes = (pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("pairs", "votes"))
    assert (len(pairs), len(votes)) == (40, 41) == (first.counts["pairs"], first.counts["cast"])
    assert not any(row["simulated"] or row["machine"] for row in votes)
    # What the votes add up to, counted apart by the database.
    with place.db.read() as session:
        counted = {
            pair.pair_id: training_row(pair, votes)
            for pair in voted_pairs(session, place.id, with_text=True)
            if (votes := pair.votes(False)) and not votes.machine
        }
        project = session.get(Project, place.id)
    assert set(counted) == {row["pair_id"] for row in pairs}
    for row in pairs:
        expected = counted[row["pair_id"]]
        for name, value in expected.items():
            assert row[name] == (pytest.approx(value) if isinstance(value, float) else value), name
        criteria = json.loads(row["criteria"])
        assert criteria["helpful"]["n"] == 1 and criteria["helpful"]["q"] in (0.0, 1.0)
    document = json.loads((folder / "snapshot.json").read_text())
    assert document["content_hash"] == first.content_hash and document["counts"] == first.counts
    card = service.card_of(place.db, WHO, first.id)
    assert "# Votes" in card and "41 votes by 2 annotators" in card and project.name in card
    # The same votes and filters: the same content, under another name.
    again = place.make("Votes again")
    assert again.id != first.id and again.content_hash == first.content_hash
    # New votes change nothing that is frozen.
    place.put(comparison(1, "Bo", "a"))
    assert len(pq.read_table(folder / "votes.parquet")) == 41
    assert place.make("Later").content_hash != first.content_hash
    assert [item.name for item in service.list_snapshots(place.db, WHO, place.id)] == [
        "Later",
        "Votes again",
        "Votes",
    ]


def test_simulated_and_machine_votes_come_only_when_asked_for(place):
    place.put(*(comparison(i) for i in range(10)))
    place.put(*(comparison(i + 20, "Sim", simulated=True) for i in range(5)))
    place.put(*(comparison(i + 40, "far · m", machine=True) for i in range(3)))
    assert place.make("people").counts["pairs"] == 10
    counts = place.make("simulated too", simulated="include").counts
    assert (counts["pairs"], counts["simulated_votes"]) == (15, 5)
    # Votes of a judge count where a lead took them in, and are asked for.
    with place.db.read() as session:
        judge = session.exec(select(Annotator).where(Annotator.machine)).one()
    assert judge.excluded_at is not None
    assert place.make("not taken in", machine="include").counts["machine_votes"] == 0
    take_back(place.db, WHO, place.id, judge.id)
    assert place.make("machines too", machine="include").counts["machine_votes"] == 3
    assert place.make("people again").counts["machine_votes"] == 0


def test_what_is_wrong_names_the_field_and_leaves_nothing(place):
    place.put(*(comparison(i) for i in range(4)))
    place.make()
    folders = set(get_settings().snapshots_dir.iterdir())
    for name, filters, problem, said in (
        ("Votes", {}, Conflict, "name"), ("", {}, Invalid, "name"), ("x" * 121, {}, Invalid, "name"),
        ("x", {"colour": 1}, Invalid, "colour"), ("x", {"annotators": ["nobody"]}, Invalid, "annotators"),
        ("x", {"least_votes": 9}, Invalid, "no pair"),
    ):  # fmt: skip
        with pytest.raises(problem, match=said):
            place.make(name, **filters)
    assert set(get_settings().snapshots_dir.iterdir()) == folders
    annotator = Principal("a", "a", Role.ANNOTATOR)
    with pytest.raises(Forbidden):
        service.make(place.db, annotator, place.id, "y")
    with pytest.raises(NotFound):
        service.get_snapshot(place.db, WHO, "none")


def test_two_are_compared(place):
    place.put(*(comparison(i) for i in range(12)))
    before = place.make("before")
    place.put(comparison(0, "Bo", "b"), comparison(2, "Bo", "a"), comparison(50))
    after = place.make("after", ties="drop")
    found = service.compare(place.db, WHO, before.id, after.id)
    assert not found["same_content"]
    assert [item["what"] for item in found["filters"]] == ["Ties"]
    # Pair 0 became even and is left out; pair 50 came.
    assert found["pairs"] == {
        "added": 1, "removed": 1, "kept": 11, "moved": 0, "relabelled": 0, "softened": 0,
    }  # fmt: skip
    assert found["votes"] == {"added": 2, "removed": 1, "changed": 0, "kept": 11}
    tied = service.compare(place.db, WHO, before.id, place.make("with ties").id)
    assert tied["pairs"]["relabelled"] == 1 and tied["shown"][0]["what"] == "relabelled"
    assert tied["shown"][0]["after"]["q"] == 0.5
    counts = {item["what"]: (item["before"], item["after"]) for item in tied["counts"]}
    assert counts["Votes"] == (12, 15) and counts["Ties"] == (0, 1)
    assert service.compare(place.db, WHO, before.id, before.id)["same_content"]


def test_purging_a_project_takes_its_snapshots(place):
    place.put(*(comparison(i) for i in range(4)))
    folder = get_settings().data_dir / place.make().folder
    assert folder.exists()
    purge_project(place.db, WHO, place.id)
    assert not folder.exists()
    with place.db.read() as session:
        assert session.exec(select(Snapshot)).all() == []


# --- planted leaks ---------------------------------------------------------------------------


def in_two_splits():
    """Two inputs that differ by signs only, and whose hashes put them into different splits."""
    for i in range(1_000):
        first, second = f"What is thing{i} good for", f"What is Thing{i} good for?"
        splits = {split_of(as_input(text).hash) for text in (first, second)}
        if splits == {"train", "test"}:
            return first, second
    raise AssertionError


def test_a_leak_in_imported_comparisons_is_named_and_not_trained_on(place):
    place.put(*(comparison(i) for i in range(120)))
    for number, text in enumerate(in_two_splits()):
        place.put(comparison(200 + number, input=text))
    mended = place.make("mended")
    assert mended.counts["moved"]["pairs"] == 1 and all(c["verdict"] != "fail" for c in mended.checks)
    leaky = place.make("leaky", split="stored")
    failed = {check["check"]: check for check in leaky.checks if check["verdict"] == "fail"}
    assert set(failed) == {"same_text", "near_duplicates"}
    assert "good for" in failed["same_text"]["examples"][0]["text"]
    assert "**FAILED**" in service.card_of(place.db, WHO, leaky.id)

    def train(**config):
        with place.db.read() as session:
            return runs.prepare(session, session.get(Project, place.id), config, 0)

    with pytest.raises(Invalid, match=r"leak check.*Same text in two splits") as problem:
        train(snapshot=leaky.id)
    assert "allow_leaks" in problem.value.hint
    assert train(snapshot=leaky.id, allow_leaks=True).config["allowed_leaks"] == [
        "same_text",
        "near_duplicates",
    ]
    assert train(snapshot=mended.id).config["allowed_leaks"] == []


def test_sorted_comparisons_are_named(place):
    """As they come in when the chosen one was always written first."""
    place.put(*(comparison(i, left="ab"[i % 2]) for i in range(120)))
    failed = [check["check"] for check in place.make().checks if check["verdict"] == "fail"]
    assert failed == ["left"]
    with place.db.read() as session, pytest.raises(Invalid, match="Label from the side"):
        runs.prepare(session, session.get(Project, place.id), {}, 0)


# --- trainings -------------------------------------------------------------------------------


def test_a_training_that_names_no_data_set_makes_one_and_the_next_takes_the_same(place):
    place.put(*(comparison(i) for i in range(120)))
    first = start_run(place.db, WHO, place.id, "reward_model", {"seed": 1})
    second = start_run(place.db, WHO, place.id, "reward_model", {"seed": 2})
    (snapshot,) = service.list_snapshots(place.db, WHO, place.id)
    assert snapshot.automatic and first.config["snapshot"] == second.config["snapshot"] == snapshot.id
    inputs = run_folder(first.id).inputs
    for name in ("pairs", "votes"):
        frozen = pq.read_table(get_settings().data_dir / snapshot.folder / f"{name}.parquet").to_pylist()
        there = pq.read_table(inputs / f"{name}.parquet").to_pylist()
        assert there == frozen and len(there) == 120
    place.put(comparison(0, "Bo", "b"))
    third = start_run(place.db, WHO, place.id, "reward_model", {})
    assert third.config["snapshot"] != snapshot.id
    named = place.make("By name", annotators=["Ann"])
    fourth = start_run(place.db, WHO, place.id, "reward_model", {"snapshot": named.id})
    assert fourth.config["snapshot"] == named.id
    service.archive(place.db, WHO, named.id)
    for config, problem, said in (
        ({"snapshot": named.id}, Conflict, "put away"), ({"snapshot": "none"}, NotFound, "no preference data"),
        ({"snapshot": snapshot.id, "simulated": "include"}, Invalid, "simulated"),
        ({"allow_leaks": "yes"}, Invalid, "allow_leaks"),
    ):  # fmt: skip
        with pytest.raises(problem, match=said):
            start_run(place.db, WHO, place.id, "reward_model", config)
    assert len(service.list_snapshots(place.db, WHO, place.id)) == 2
    assert len(service.list_snapshots(place.db, WHO, place.id, archived=True)) == 3
    with place.db.read() as session:
        actions = [entry.action for entry in session.exec(select(AuditEntry))]
    assert actions.count("snapshot.make") == 3 and actions.count("snapshot.archive") == 1


def test_what_the_page_counts_is_what_a_training_gets(db, admin, project):
    made = Made(db, project)
    made.pairs(30, "train", FIRST)
    made.pairs(10, "test", FIRST)
    made.pairs(60, "train", FIRST, simulated=True)
    found = summary(db, admin, project.id)
    assert (found["exclude"].decided, found["include"].decided) == (40, 100)
    run = start_run(db, admin, project.id, "reward_model", {})
    snapshot = service.get_snapshot(db, admin, run.config["snapshot"])
    assert snapshot.counts["decided"] == 100 and filters_of(snapshot.filters).simulated == "include"


def test_a_model_knows_its_data_set_and_keeps_a_leak_that_was_overridden(db, admin, project):
    run, told = ended(db, project)
    with db.read() as session:
        assert session.get(RewardModel, told["reward_model_id"]).snapshot_id is None

    def again(session):
        found = session.get(Run, run.id)
        found.config = {"snapshot": "s1", "allowed_leaks": ["left"]}
        session.add(found)
        runs.finish(session, found, run_folder(run.id), told)

    db.write(again)
    with db.read() as session:
        model = session.get(RewardModel, told["reward_model_id"])
    assert model.snapshot_id == "s1" and model.metrics["allowed_leaks"] == ["left"]


# --- over HTTP -------------------------------------------------------------------------------


def test_programs_make_look_compare_and_download(api, db, admin, person, project):
    rows_in.import_comparisons(db, admin, project.id, [comparison(i) for i in range(30)])
    client, lead = api(admin), api(person("lead"))
    url = f"/projects/{project.id}/snapshots"
    look = lead.post(f"{url}/preview", json={"annotators": ["Ann"]}).json()
    assert look["counts"]["pairs"] == 30 and look["trainable"] is True
    made = lead.post(url, json={"name": "First", "filters": {"annotators": ["Ann"]}})
    assert made.status_code == 201, made.text
    first = made.json()
    assert first["content_hash"] == look["content_hash"] and first["filters"] == {"annotators": ["Ann"]}
    assert client.post(url, json={"name": "First"}).status_code == 409
    wrong = client.post(url, json={"name": "x", "filters": {"ties": "toss"}})
    assert wrong.status_code == 422 and "ties" in wrong.json()["detail"]
    assert [item["id"] for item in client.get(url).json()] == [first["id"]]
    assert client.get(f"/snapshots/{first['id']}").json() == first
    second = client.post(url, json={"name": "Second"}).json()
    difference = client.get(f"/snapshots/{first['id']}/compare?with={second['id']}").json()
    assert difference["pairs"]["kept"] == 30 and difference["filters"][0]["what"] == "Annotators"
    card = client.get(f"/snapshots/{first['id']}/card")
    assert card.headers["content-type"].startswith("text/markdown") and "# First" in card.text
    whole = client.get(f"/snapshots/{first['id']}/download")
    assert 'filename="first.zip"' in whole.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert set(archive.namelist()) == {"pairs.parquet", "votes.parquet", "snapshot.json", "README.md"}
    pairs = client.get(f"/snapshots/{first['id']}/download?as=pairs")
    assert pq.read_table(io.BytesIO(pairs.content)).num_rows == 30
    put_away = client.post(f"/snapshots/{first['id']}/archive").json()
    assert put_away["archived_at"] and len(client.get(url).json()) == 1
    assert len(client.get(f"{url}?archived=true").json()) == 2
    assert api(person("annotator")).get(url).status_code == 403
    assert client.get("/snapshots/none").status_code == 404
    with db.read() as session:
        assert "snapshot.download" in [entry.action for entry in session.exec(select(AuditEntry))]
