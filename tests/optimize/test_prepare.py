"""What a search is frozen with, and what is refused before it starts, with the reason."""

import json
import re

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Forbidden, Invalid
from core.llm.registry import create_host
from core.optimize.instruction import instruction_of
from core.optimize.plan import plan
from core.optimize.view import preview
from core.runs.service import list_runs, run_folder, start_run
from storage.tables import Prompt
from tests.optimize.conftest import add
from tests.optimize.fakes import START


@pytest.fixture
def start(db, admin, project):
    return lambda **config: start_run(db, admin, project.id, "optimize", config)


def frozen(run):
    return pq.read_table(run_folder(run.id).inputs / "examples.parquet").to_pylist()


def document(run, name):
    return json.loads((run_folder(run.id).inputs / f"{name}.json").read_text())


def test_reward_alone_is_enough(start, examples, champion, reward_model, settings):
    examples()
    run = start(reward="reward_model")
    assert run.config["budget"] == {"calls": 600}
    assert run.config["start"]["prompt_id"] == champion.id
    assert run.config["host"] == "embedded" and document(run, "host")["kind"] == "local"
    reward = document(run, "reward")
    assert reward["folder"] == str((settings.data_dir / reward_model.folder).resolve())
    assert reward["sampling"]["temperature"] == 0
    counts = {split: sum(row["split"] == split for row in frozen(run)) for split in ("train", "dev", "test")}
    assert counts == {"train": 16, "dev": 8, "test": 10} == run.config["examples"]
    assert run.name == "GrIPS on Careful v1, reward model"


def test_names_of_rewards(start, examples, reward_model):
    examples()
    for name in ("labels", "accuracy", "sst2"):
        run = start(reward=name)
        assert run.config["reward"] == "labels"
        assert document(run, "reward")["words"] == {"negative": "negative", "positive": "positive"}
        assert "negative or positive" in run.config["start"]["system"]  # no prompt: a general instruction
        assert run.config["start"]["prompt_id"] is None
    for name in ("active", "Reward-Model"):
        assert start(reward=name, prompt="Say it in a word.").config["reward"] == "reward_model"


def test_sst2_s_numbers_get_words_and_a_verbalizer_others(start, examples):
    examples(labels=("0", "1"))
    assert document(start(reward="sst2"), "reward")["words"] == {"0": "negative", "1": "positive"}
    assert document(start(reward="labels"), "reward")["words"] == {"0": "0", "1": "1"}
    run = start(reward="labels", verbalizer={"0": "terrible", "1": "great"})
    assert document(run, "reward")["words"] == {"0": "terrible", "1": "great"}


def test_the_same_seed_draws_the_same_balanced_examples(start, examples):
    examples(train=60)
    config = {"reward": "labels", "examples": {"train": 10, "dev": 4, "test": 4}, "budget": {"calls": 400}}
    runs = [start(**config, seed=seed) for seed in (1, 1, 2)]
    ids = [[row["id"] for row in frozen(run)] for run in runs]
    assert ids[0] == ids[1] != ids[2]
    train = [row["reference"] for row in frozen(runs[0]) if row["split"] == "train"]
    assert sorted(train) == ["negative"] * 5 + ["positive"] * 5


def test_a_prompt_by_id_name_version_or_text(db, start, examples, champion, project):
    examples()
    other = Prompt(project_id=project.id, name="Other", system="Say one word.", user="{{input}}")
    newer = Prompt(project_id=project.id, name="Other", version=2, system="Say two words.", user="{{input}}")
    add(db, other, newer)

    def chosen(prompt):
        return start(reward="labels", prompt=prompt).config["start"]

    assert chosen(other.id)["prompt_id"] == other.id
    assert chosen("Other")["prompt_id"] == newer.id
    assert chosen("Other v1")["prompt_id"] == other.id
    assert chosen("Say what you think.")["system"] == "Say what you think."
    assert chosen("Classify: {{input}}")["place"] == "before"
    with pytest.raises(Invalid, match="there is no prompt “Unknown”"):
        chosen("Unknown")


WRONG = [
    ({}, "reward: say what to optimise for.*reward_model.*labels"),
    ({"reward": "happiness"}, "reward: there is no “happiness”.*reward_model.*labels"),
    ({"reward": "labels", "method": "magic"}, "method: there is no “magic”.*grips"),
    ({"reward": "reward_model"}, "no active reward model.*Train one"),
    ({"reward": "labels", "budget": {"calls": 0}}, "budget.calls: a whole number"),
    ({"reward": "labels", "budget": {"calls": 5}}, "5 calls are too few; the least is 16"),
    ({"reward": "labels", "examples": {"train": 2_000}}, "train must be from 2 to 20"),
    ({"reward": "labels", "examples": 7}, "examples: how many of each split"),
    ({"reward": "labels", "host": "elsewhere"}, "host: there is no host “elsewhere”"),
    ({"reward": "labels", "labels": ["negative", "neutral"]}, "no example has the reference “neutral”"),
    ({"reward": "labels", "labels": ["negative"]}, "at least two different"),
    ({"reward": "labels", "granularity": "letter"}, "granularity: there is no “letter”"),
    ({"reward": "labels", "candidates": 0}, "candidates: a whole number from 1"),
    ({"reward": "labels", "time_limit_s": -1}, "time_limit_s"),
    ({"reward": "labels", "max_tokens": 0}, "max_tokens"),
    ({"reward": "labels", "max_tokens": 1.5}, "max_tokens"),
    ({"reward": "labels", "max_cost": 0}, "max_cost"),
    ({"reward": "labels", "max_cost": "1"}, "max_cost"),
    ({"reward": "labels", "patiense": 3}, "patiense: not a setting"),
    ({"reward": "labels", "prompt": {"system": "", "user": "{{input}}"}}, "no instruction to edit"),
    ({"reward": "labels", "prompt": "About {{topic}}: say it"}, "slot {{topic}} has no field"),
]


def test_what_is_wrong_is_named_and_nothing_is_left_of_it(db, admin, project, start, examples, settings):
    examples()
    for config, message in WRONG:
        with pytest.raises(Invalid) as problem:
            start(**config)
        assert re.search(message, str(problem.value)), str(problem.value)
    assert list_runs(db, admin, project.id) == []
    assert not settings.runs_dir.exists() or not list(settings.runs_dir.iterdir())


def test_no_examples_no_references_no_split(db, start, examples, champion, reward_model):
    with pytest.raises(Invalid, match="has no examples"):
        start(reward="reward_model")
    examples(labels=None, test=0)
    with pytest.raises(Invalid, match="none of this project's examples has a reference"):
        start(reward="labels")
    with pytest.raises(Invalid, match="the test split has no usable example"):
        start(reward="reward_model")


def test_a_text_only_host_cannot_give_labels(db, admin, start, examples, champion, reward_model):
    examples()
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(
        Invalid, match="needs log-probabilities of labels, and “far” gives only generated text"
    ):
        start(reward="labels", host="far")
    assert start(reward="reward_model", host="far").config["host"] == "far"


def test_only_those_who_may_start_runs(db, person, project, examples):
    examples()
    with pytest.raises(Forbidden):
        start_run(db, person("lead"), project.id, "optimize", {"reward": "labels"})


def test_a_preview_lays_out_the_budget_without_starting(db, admin, project, examples, champion):
    examples()
    laid = preview(db, admin, project.id, {"reward": "labels", "budget": {"calls": 500}})
    assert (laid.instruction, laid.start_name) == (START, "Careful v1")
    assert laid.seconds > 0 and not laid.measured
    assert list_runs(db, admin, project.id) == []


# --- the plan --------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(1, 3_000), st.integers(2, 150), st.integers(2, 60), st.integers(2, 200),
    st.sampled_from(["labels", "reward_model"]),
)  # fmt: skip
def test_a_plan_always_fits_its_budget(budget, train, dev, test, reward):
    available = {"train": train, "dev": dev, "test": test}
    try:
        laid = plan(budget, available, reward)
    except Invalid as problem:
        assert budget < 16 and "the least is" in str(problem)
        return
    assert laid.reserve + laid.train * (1 + laid.candidates) <= budget
    assert laid.candidates >= 1
    assert laid.train <= train and laid.dev <= dev and laid.test <= test


def test_the_least_budget_works_and_one_less_does_not():
    available = {"train": 50, "dev": 50, "test": 50}
    wanted = {"train": 10, "dev": 5, "test": 7}
    least = 2 * 10 + 5 * (2 + 1) + 2 * 7
    assert plan(least, available, "labels", wanted, finalists=2).candidates == 1
    with pytest.raises(Invalid, match=f"the least is {least}"):
        plan(least - 1, available, "labels", wanted, finalists=2)


# --- the instruction -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "user", "place", "text"),
    [
        ("Be brief.", "Say {{x}}", "system", "Be brief."),
        ("", "Say it:\n\n{{x}}\nThanks", "before", "Say it:"),
        ("", "{{x}} {{y}}\nNow say it.", "after", "Now say it."),
        ("  ", "No slots at all", "before", "No slots at all"),
    ],
)
def test_the_instruction_and_back(system, user, place, text):
    found = instruction_of(system, user)
    assert (found.place, found.text) == (place, text)
    assert found.with_text(found.text) == (system, user)
    new_system, new_user = found.with_text("Other words")
    assert (new_system if place == "system" else new_user) == (system if place == "system" else user).replace(
        text, "Other words"
    )
