"""From candidates to prompt versions and blind pairs."""

import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from core.errors import Conflict, Forbidden, Invalid
from core.optimize.promote import best_candidates, queue_candidates
from core.optimize.view import candidates_of
from core.runs.service import list_runs, run_folder, start_run
from storage.tables import AuditEntry, Candidate, Example, Prompt, Run


@pytest.fixture
def started(db, admin, project):
    """The generate runs there are."""
    return lambda: list_runs(db, admin, project.id, kind="generate")


@pytest.fixture
def done(examples, champion, search):
    examples(train=30)
    run = search()
    assert run.status == "succeeded" and run.result["improved"]
    return run


def test_the_best_two_become_versions_against_the_champion(db, admin, project, champion, done, started):
    made = queue_candidates(db, admin, done.id)
    best = best_candidates(candidates_of(db, admin, done.id), 2)
    assert [candidate.prompt_id for candidate in best] == [prompt.id for prompt in made["prompts"]]
    for candidate, prompt, version in zip(best, made["prompts"], (2, 3), strict=True):
        assert (prompt.name, prompt.version, prompt.parent_id) == ("Careful", version, champion.id)
        assert (prompt.system, prompt.user) == (candidate.text, "{{input}}")
        assert prompt.operation == f"grips:{candidate.operation}" and prompt.run_id == done.id
    (run,) = started()
    assert set(run.config["prompts"]) == {champion.id, *(prompt.id for prompt in made["prompts"])}
    assert (run.config["pairs"], run.config["champion"]) == ("champion", champion.id)
    assert (run.config["source"], run.config["host"], run.status) == ("optimize", "embedded", "queued")
    assert (run.config["examples"], run.config["n_examples"]) == ({"split": "test", "limit": 200}, 10)
    with db.read() as session:
        said = [entry.action for entry in session.exec(select(AuditEntry))]
    assert said.count("prompt.create") == 2


def test_sending_again_adds_nothing_and_a_failed_generation_is_started_anew(db, admin, done, started):
    first = queue_candidates(db, admin, done.id)
    again = queue_candidates(db, admin, done.id)
    assert [p.id for p in again["prompts"]] == [p.id for p in first["prompts"]]
    assert again["run"].id == first["run"].id and len(started()) == 1

    def fail(session):
        run = session.get(Run, first["run"].id)
        run.status = "failed"
        session.add(run)

    db.write(fail)
    third = queue_candidates(db, admin, done.id)
    assert third["run"].id != first["run"].id
    assert [p.id for p in third["prompts"]] == [p.id for p in first["prompts"]]


def test_only_examples_that_no_search_has_seen_are_compared_on(db, admin, project, done, started):
    with pytest.raises(Invalid, match="examples: a whole number from 1 to 200"):
        queue_candidates(db, admin, done.id, examples=201)
    by_hand = {"prompts": ["Careful"], "examples": {"split": "train"}, "pairs": "none"}
    start_run(db, admin, project.id, "generate", by_hand)  # of the champion, on what the search saw
    made = queue_candidates(db, admin, done.id, examples=7)
    assert made["run"].config["n_examples"] == 7 and len(started()) == 2
    frozen = pq.read_table(run_folder(made["run"].id).inputs / "requests.parquet").to_pylist()
    asked = {row["example_id"] for row in frozen}
    with db.read() as session:
        splits = [session.get(Example, key).split for key in asked]
    assert splits == ["test"] * 7


def test_without_held_out_examples_nothing_is_sent(db, admin, done, started):
    def all_seen(session):
        for example in session.exec(select(Example).where(Example.split == "test")):
            example.split = "dev"
            session.add(example)

    db.write(all_seen)
    with pytest.raises(Conflict, match="no held-out example") as problem:
        queue_candidates(db, admin, done.id)
    assert "Import more examples" in problem.value.hint and not started()


def test_named_candidates(db, admin, done, started):
    made = queue_candidates(db, admin, done.id, [1, 1])
    assert len(made["prompts"]) == 1
    for numbers, message in (
        ([0], "the start prompt itself"),
        ([999], "no candidate 999"),
        ([], "a list of"),
        (["1"], "a list of"),
    ):
        with pytest.raises(Invalid, match=message):
            queue_candidates(db, admin, done.id, numbers)


def test_without_a_champion_the_start_is_compared_too(db, admin, project, examples, search, started):
    prompt = Prompt(
        project_id=project.id,
        name="Only",
        system="Say it, with great care, without doubt, in a word.",
        user="{{input}}",
    )
    db.write(lambda session: session.add(prompt))
    examples(train=30)
    run = search()
    queue_candidates(db, admin, run.id, [1])
    config = started()[0].config
    assert config["pairs"] == "all" and prompt.id in config["prompts"] and len(config["prompts"]) == 2


def test_refusals(db, admin, person, examples, champion, search, started):
    examples(train=30)
    running = search(end=False, kill_at=100)
    with pytest.raises(Conflict, match="not at its end"):
        queue_candidates(db, admin, running.id)
    with pytest.raises(Forbidden):
        queue_candidates(db, person("lead"), running.id)


def test_nothing_better_is_nothing_to_send():
    def scored(number, train, dev):
        scores = {"train": {"score": train}} | ({"dev": {"score": dev}} if dev is not None else {})
        return Candidate(project_id="p", run_id="r", number=number, scores=scores)

    start = scored(0, 1.0, 1.0)
    assert best_candidates([start, scored(1, 1.0, None), scored(2, 3.0, 0.5)], 2) == []
    better, best = scored(3, 2.0, 1.5), scored(4, 1.5, 2.0)
    assert best_candidates([start, better, best, scored(5, 9.0, None)], 2) == [best, better]


def test_over_the_api(db, admin, api, person, done, started):
    client = api(admin)
    found = client.get(f"/runs/{done.id}/candidates").json()
    assert [item["number"] for item in found] == list(range(done.result["candidates"]))
    assert found[0]["operation"] == "start" and found[1]["scores"]["train"]["n"] == 30
    assert client.get(f"/runs/{done.id}/candidates", params={"limit": 2, "offset": 1}).json() == found[1:3]
    answer = client.post(f"/runs/{done.id}/promote-candidates", json={"candidates": [2]})
    assert answer.status_code == 202 and len(answer.json()["prompts"]) == 1
    assert (
        client.post(f"/runs/{done.id}/promote-candidates", json={"candidates": [2]}).json() == answer.json()
    )
    assert client.post(f"/runs/{done.id}/promote-candidates", json={"candidates": [0]}).status_code == 422
    assert client.get("/runs/unknown/candidates").status_code == 404
    assert api(person("annotator")).get(f"/runs/{done.id}/candidates").status_code == 403
