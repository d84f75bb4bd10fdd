"""From votes to what a training is frozen with."""

import uuid

import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from core.errors import Forbidden, Invalid, NotFound
from core.reward import data, registry, runs
from core.reward.text import input_text
from core.runs.folder import RunFolder
from core.settings import get_settings
from storage.pairs import NewPair, add_pairs, annotators_named, pair_id_of
from storage.tables import AuditEntry, Example, Project, Prompt, Response, RewardModel, Run, Vote


class Made:
    """Examples with pairs and votes, made directly."""

    def __init__(self, db, project):
        self.db, self.project = db, project
        self.prompts = [Prompt(project_id=project.id, name=name) for name in ("one", "two")]
        db.write(lambda session: session.add_all([p.model_copy() for p in self.prompts]))

    def pairs(self, count, split, votes, *, simulated=False, texts=("yes, of course", "no"), messages=None):
        """Each pair gets `votes`: a list of (outcome, which, strength), `which` 0 for the
        first text. The voter sees the first text left, in every second pair right. Each input is
        about something else, and which response is a is drawn."""

        def work(session):
            project = session.get(Project, self.project.id)
            judges = annotators_named(
                session,
                project.id,
                {f"{'sim' if simulated else 'person'} {i}" for i in range(len(votes))},
                simulated=simulated,
            )
            examples, found = [], []
            for _ in range(count):
                key = str(uuid.uuid4())
                examples.append(
                    Example(
                        project_id=project.id,
                        content_hash=key,
                        input=f"Is it so, {key[:8]}?",
                        split=split,
                        messages=messages,
                    )
                )
                both = [
                    Response(
                        id=str(uuid.uuid4()),
                        project_id=project.id,
                        example_id=examples[-1].id,
                        prompt_id=prompt.id,
                        text=text,
                        cache_key=f"{key} {prompt.id}",
                    )
                    for prompt, text in zip(self.prompts, texts, strict=True)
                ]
                session.add_all(both)
                found.append([response.id for response in both])
            session.add_all(examples)
            session.flush()
            pairs = [NewPair(example.id, *ids) for example, ids in zip(examples, found, strict=True)]
            add_pairs(session, project, pairs)
            for place, ids in enumerate(found):
                self.vote(session, pair_id_of(*ids), ids, votes, judges, simulated, ids[place % 2])
            return [(pair_id_of(*ids), ids) for ids in found]

        return self.db.write(work)

    def vote(self, session, pair_id, responses, votes, judges, simulated, left):
        for judge, (outcome, which, strength) in zip(judges.values(), votes, strict=True):
            session.add(
                Vote(
                    project_id=self.project.id,
                    pair_id=pair_id,
                    annotator_id=judge.id,
                    outcome=outcome,
                    winner=responses[which] if outcome == "win" else None,
                    left=left,
                    strength=strength,
                    simulated=simulated,
                    source="simulated" if simulated else "page",
                )
            )


FIRST = [("win", 0, None)]


@pytest.fixture
def made(db, project):
    return Made(db, project)


def prepared(db, project, **config):
    with db.read() as session:
        return runs.prepare(session, session.get(Project, project.id), config, 0)


def test_a_pairs_votes_add_up_to_its_row(db, project, made):
    split_vote = [("win", 0, "significantly"), ("win", 1, "slightly"), ("win", 0, None), ("tie", 0, None)]
    [(pair_id, responses)] = made.pairs(1, "train", [*split_vote, ("both_bad", 0, None)])
    made.pairs(30, "train", FIRST)
    made.pairs(8, "test", FIRST)
    rows = {row["pair_id"]: row for row in prepared(db, project).tables["pairs"]}
    row = rows[pair_id]
    first_is_a = responses[0] < responses[1]
    q = (2 + 0.5) / 4  # for the first text; both bad is left out
    margin = (1 - 1 / 3) / 4
    assert row["q"] == pytest.approx(q if first_is_a else 1 - q)
    assert row["margin"] == pytest.approx(margin if first_is_a else -margin)
    assert (row["n"], row["n_simulated"]) == (4, 0)
    assert (row["left_known"], row["left_won"]) == (3, 2)
    assert row["response_a"] == ("yes, of course" if first_is_a else "no")
    assert row["prompt_a"] == ("one v1" if first_is_a else "two v1")
    assert row["input"].startswith("Is it so, ") and row["split"] == "train"
    # The view that everybody else reads says the same.
    from sqlalchemy import text

    with db.read() as session:
        seen = session.connection().execute(
            text("SELECT q, n FROM preference WHERE pair_id = :id"), {"id": pair_id}
        )
        assert tuple(seen.one()) == (pytest.approx(row["q"]), row["n"])


def test_what_is_of_no_use_is_left_out_and_counted(db, project, made, admin):
    made.pairs(30, "train", FIRST)
    made.pairs(8, "test", FIRST)
    made.pairs(2, "train", [("both_bad", 0, None)])
    made.pairs(3, "train", FIRST, texts=("the same", " the same "))
    made.pairs(4, "train", [("tie", 0, None)])
    found = data.summary(db, admin, project.id)["exclude"]
    train = found.splits["train"]
    assert (train.pairs, train.decided, train.ties, train.both_bad, train.identical) == (34, 30, 4, 2, 3)
    assert found.decided == 38 and found.simulated_share == 0
    assert len(prepared(db, project).tables["pairs"]) == 34 + 8


def test_too_few_pairs_say_how_many_are_missing(db, project, made):
    with pytest.raises(Invalid, match="0 decided pairs in the train split"):
        prepared(db, project)
    made.pairs(25, "train", FIRST)
    made.pairs(2, "test", FIRST)
    with pytest.raises(Invalid, match="2 decided pairs in the test split") as problem:
        prepared(db, project)
    assert "Label about" in problem.value.hint and "simulated" not in problem.value.hint


def test_simulated_votes_are_taken_only_when_people_are_too_few(db, project, made):
    made.pairs(30, "train", FIRST)
    made.pairs(10, "test", FIRST)
    made.pairs(60, "train", FIRST, simulated=True)
    took = prepared(db, project)
    assert took.config["simulated"] == "include" and took.config["simulated_by_default"] is True
    assert sum(row["n_simulated"] for row in took.tables["pairs"]) == 60
    without = prepared(db, project, simulated="exclude")
    assert len(without.tables["pairs"]) == 40 and without.config["simulated_by_default"] is False
    # With enough of people's own they are not wanted any more.
    made.pairs(80, "train", FIRST)
    made.pairs(20, "test", FIRST)
    assert prepared(db, project).config["simulated"] == "exclude"


def test_where_people_voted_simulated_votes_do_not_count(db, project, made):
    made.pairs(30, "train", FIRST, simulated=True)
    [(pair_id, responses)] = made.pairs(1, "train", FIRST, simulated=True)
    made.pairs(8, "test", FIRST, simulated=True)

    def disagree(session):
        judges = annotators_named(session, project.id, {"somebody"})
        made.vote(session, pair_id, responses, [("win", 1, None)], judges, False, responses[0])

    db.write(disagree)
    rows = {row["pair_id"]: row for row in prepared(db, project).tables["pairs"]}
    assert rows[pair_id]["n_simulated"] == 0
    assert rows[pair_id]["q"] == (0.0 if responses[0] < responses[1] else 1.0)
    with pytest.raises(Invalid) as problem:
        prepared(db, project, simulated="exclude")
    assert "include the simulated votes" in problem.value.hint


def test_a_wrong_config_names_the_field(db, project, made):
    for config, word in (
        ({"preset": "turbo"}, "preset"),
        ({"simulated": "some"}, "simulated"),
        ({"backbone": 3}, "backbone"),
        ({"presets": "quick"}, "presets"),
    ):
        with pytest.raises(Invalid, match=word):
            prepared(db, project, **config)


def test_earlier_turns_are_part_of_the_input(db, project, made):
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello, how can I help?"}]
    made.pairs(25, "train", FIRST, messages=turns)
    made.pairs(8, "test", FIRST)
    earlier = "User: Hello\n\nAssistant: Hello, how can I help?\n\nUser: "
    assert input_text("Is it so?", turns) == earlier + "Is it so?"
    inputs = [row["input"] for row in prepared(db, project).tables["pairs"]]
    assert sum(text.startswith(f"{earlier}Is it so, ") for text in inputs) == 25
    assert sum(text.startswith("Is it so, ") for text in inputs) == 8


def test_a_run_is_frozen_with_its_pairs(db, admin, project, made):
    from core.runs.service import run_folder, start_run

    made.pairs(25, "train", FIRST)
    made.pairs(8, "test", FIRST)
    run = start_run(db, admin, project.id, "reward_model", {})
    assert run.config["preset"] == "standard" and run.config["backbone"] == "embedded"
    table = pq.read_table(run_folder(run.id).inputs / "pairs.parquet")
    assert table.num_rows == 33
    with pytest.raises(Invalid):
        start_run(db, admin, project.id, "reward_model", {"preset": "no"})


# --- the registry ------------------------------------------------------------------------


def ended(db, project, **result):
    """A finished training, as the supervisor would end it."""
    run = Run(project_id=project.id, kind="reward_model", status="running")
    folder = RunFolder(get_settings().runs_dir / run.id)
    (folder.artifacts / "model").mkdir(parents=True)
    (folder.artifacts / "model" / "reward.json").write_text("{}")
    told = {"accuracy": 0.7, "simulated_share": 0.25, "backbone": "embedded", "partial": False, **result}
    told.setdefault("model", "artifacts/model")

    def work(session):
        session.add(run)
        runs.finish(session, run, folder, told)

    db.write(work)
    return run, told


def test_the_first_model_becomes_active_and_the_next_waits(db, admin, project):
    first, told = ended(db, project)
    second, told_second = ended(db, project)
    assert (told["active"], told_second["active"]) == (True, False)
    models = registry.list_models(db, admin, project.id)
    assert [model.name for model in models] == ["Reward model 2", "Reward model 1"]
    assert models[1].folder == f"runs/{first.id}/artifacts/model"
    assert models[1].simulated_share == 0.25 and models[1].metrics["accuracy"] == 0.7
    with db.read() as session:
        assert registry.active_model(session, session.get(Project, project.id)).run_id == first.id
    registry.activate(db, admin, models[0].id, "newer votes")
    registry.activate(db, admin, models[0].id)  # again: nothing more happens
    with db.read() as session:
        assert registry.active_model(session, session.get(Project, project.id)).run_id == second.id
        query = select(AuditEntry).where(AuditEntry.action == "reward.activate")
        assert len(list(session.exec(query))) == 1


def test_a_partial_model_is_kept_and_not_made_active_until_it_is_whole(db, admin, project):
    run, told = ended(db, project, partial=True)
    assert told["active"] is False

    def again(session):
        whole = {**told, "partial": False, "accuracy": 0.8}
        runs.finish(session, session.get(Run, run.id), RunFolder(get_settings().runs_dir / run.id), whole)

    db.write(again)
    [model] = registry.list_models(db, admin, project.id)
    assert model.metrics["accuracy"] == 0.8
    with db.read() as session:
        assert session.get(Project, project.id).reward_model_id == model.id


def test_a_run_without_a_model_leaves_no_row(db, admin, project):
    ended(db, project, model=None)
    assert registry.list_models(db, admin, project.id) == []


def test_who_may_activate_and_what_can_be_activated(db, admin, person, project):
    _, told = ended(db, project)
    with pytest.raises(Forbidden):
        registry.activate(db, person("lead"), told["reward_model_id"])
    with pytest.raises(Forbidden):
        registry.list_models(db, person("annotator", "other"), project.id)
    with pytest.raises(NotFound):
        registry.activate(db, admin, "unknown")
    with db.read() as session:
        model = session.get(RewardModel, told["reward_model_id"])
    (get_settings().data_dir / model.folder / "reward.json").unlink()
    from core.errors import Conflict

    with pytest.raises(Conflict, match="gone"):
        registry.activate(db, admin, model.id)
