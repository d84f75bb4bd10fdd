"""Answers of earlier runs, where what is asked for is not quite the same: what decides an answer, and
nothing else, has to be; and where the reward is another, the response is scored anew."""

import pytest
from sqlmodel import select

from core.llm.protocol import HostSpec
from core.llm.registry import create_host
from core.optimize import books, transfer_work, work
from core.optimize.books import frame_of, host_key
from core.optimize.instruction import Instruction
from core.projects import create_project
from core.runs.context import RunContext
from core.runs.service import run_folder, start_run
from storage.tables import Example, Host, Run
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeHost
from tests.optimize.rewards.test_composed import FakeJudge, Three

JUDGED = {"components": [{"kind": "reward_model"}, {"kind": "judge", "host": "far"}], "constraints": []}
URL = "http://127.0.0.1:9/v1"


def change(db, name, /, **values):
    def work(session):
        row = session.exec(select(Host).where(Host.name == name)).one()
        for field, value in values.items():
            setattr(row, field, value)
        session.add(row)

    db.write(work)


def judged(monkeypatch, **kills):
    host, judge = FakeHost(kill_at=kills.get("kill_at")), FakeJudge(kills.get("judge_kill"))
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: judge if spec.name == "far" else host)
    monkeypatch.setattr(work, "open_scorer", lambda folder: Three())
    return host, judge


# --- what decides an answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"price_in": 3.0, "price_out": 9.0}, True),
        ({"timeout_s": 7.0, "concurrency": 2}, True),
        ({"name": "renamed"}, True),
        ({"params": {"max_retries": 9}}, True),
        ({"params": {"extra_body": {"top_k": 1}}}, False),
        ({"model": "other"}, False),
        ({"base_url": "http://127.0.0.1:8/v1"}, False),
    ],
)
def test_a_host_is_what_answers_not_its_name_price_or_patience(
    db, admin, examples, champion, reward_model, search, frozen, changed, same
):
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL, price_in=1.0)
    search(reward="reward_model", budget={"calls": 300}, host="far")
    change(db, "far", **changed)
    assert (len(frozen(host=changed.get("name", "far"))) > 50) is same
    assert frozen(scored=False, host=changed.get("name", "far")) == []


def test_a_reward_model_s_name_does_not_matter(db, examples, champion, reward_model, search, frozen):
    examples(train=30)
    search(reward="reward_model", budget={"calls": 300})
    reward_model.name = "The old one"
    db.write(lambda session: session.merge(reward_model))
    assert len(frozen()) > 50 and frozen(scored=False) == []


def test_a_judge_s_host_is_what_answers(
    db, admin, examples, champion, reward_model, search, frozen, monkeypatch
):
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL, price_in=1.0)
    judged(monkeypatch)
    search(reward=JUDGED, budget={"calls": 300}, real=True)
    change(db, "far", price_in=5.0, timeout_s=3.0)
    assert len(frozen(reward=JUDGED)) > 50
    change(db, "far", model="stronger")
    assert frozen(reward=JUDGED) == [] and len(frozen(scored=False, reward=JUDGED)) > 50


def test_a_price_decides_where_the_reward_is_in_money(db, admin, examples, champion, search, frozen):
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL, price_in=1.0)
    money = {"components": [{"kind": "cost", "of": "money", "per": 1.0}], "constraints": []}
    search(reward=money, budget={"calls": 300}, host="far")
    assert len(frozen(reward=money, host="far")) > 50
    change(db, "far", price_in=2.0)
    assert frozen(reward=money, host="far") == [] and len(frozen(False, reward=money, host="far")) > 50


def test_what_changes_a_response_is_not_taken(db, examples, champion, reward_model, search, frozen):
    made = examples(train=30)
    search(reward="reward_model", budget={"calls": 300})
    sizes = {"train": 16, "dev": 8, "test": 10}
    assert frozen(None, max_new_tokens=9) == []
    before = frozen(None, examples=sizes)

    def edit(session):
        for row in made:
            one = session.get(Example, row.id)
            if row.split == "dev":  # what the host is shown
                one.fields = {"input": f"{one.input}, edited"}
            elif row.split == "test":  # what only a reward may look at
                one.reference = "another"
            session.add(one)

    db.write(edit)
    of = {split: {row.id for row in made if row.split == split} for split in sizes}

    def count(found, split, scored=True):
        return sum(row["example"] in of[split] and row["scored"] is scored for row in found)

    after = frozen(None, examples=sizes)
    assert count(before, "dev") > 0 and count(after, "dev") == 0
    assert count(after, "train") == count(before, "train") > 0
    assert count(before, "dev", False) == count(after, "dev", False) == count(before, "test", False) == 0
    assert count(after, "test") == 0 < count(before, "test") == count(after, "test", False)  # scored anew


def test_the_place_of_the_instruction_is_part_of_the_template():
    whole = Instruction("ab", "{{input}}", "system")
    assert frame_of(whole) == frame_of(Instruction("cd", "{{input}}", "system"))
    before, after = Instruction("", "x {{input}}", "before"), Instruction("", "{{input}} x", "after")
    assert len({frame_of(whole), frame_of(before), frame_of(after)}) == 3
    assert host_key(HostSpec(params={"batch_size": 4})) == host_key(HostSpec(name="other"))
    assert host_key(HostSpec(params={"dtype": "float16"})) != host_key(HostSpec())


# --- where it is looked for ----------------------------------------------------------------------


def test_it_is_found_behind_many_later_searches(
    db, admin, project, examples, champion, reward_model, search, frozen
):
    examples(train=30)
    search(reward="reward_model", budget={"calls": 300})
    add(
        db,
        *[
            Run(project_id=project.id, kind="optimize", config={"start": {}}, status="failed")
            for _ in range(120)
        ],
    )
    assert len(frozen()) > 50


def test_another_project_s_answers_are_never_taken(
    db, admin, project, examples, champion, reward_model, search, frozen
):
    made = examples(train=30)
    search(budget={"calls": 300})
    other = create_project(db, admin, name="Elsewhere")
    add(db, *[Example(**{**row.model_dump(exclude={"id"}), "project_id": other.id}) for row in made])
    config = {"reward": "labels", "prompt": champion.system}
    assert len(frozen(**config)) > 50 and frozen(None, into=other, **config) == []


def test_no_more_is_read_than_is_quick(examples, champion, reward_model, search, frozen, monkeypatch):
    examples(train=30)
    search(reward="reward_model", budget={"calls": 300})
    everything = len(frozen())
    monkeypatch.setattr(books, "BYTES", 20_000)
    assert 0 < len(frozen()) < everything
    monkeypatch.setattr(books, "ANSWERS", 7)
    assert len(frozen()) == 7


def test_what_a_transfer_was_answered_is_free_for_a_search(
    db, admin, project, examples, champion, reward_model, search, frozen, monkeypatch, tmp_path
):
    examples(train=30)
    create_host(db, admin, name="near", kind="local", model=str(tmp_path / "near"))
    done = search(reward="reward_model", budget={"calls": 300})
    assert frozen(None, host="near") == []
    run = start_run(
        db,
        admin,
        project.id,
        "transfer",
        {"run": done.id, "hosts": ["near"], "candidates": [1], "split": "dev"},
    )
    asked = FakeHost(HostSpec(name="near"))
    monkeypatch.setattr(transfer_work, "open_host", lambda spec, models_dir: asked)
    context = RunContext(run_folder(run.id))
    result = transfer_work.run(context)
    context.close()
    assert result["calls"] == asked.calls > 0
    assert len(frozen(host="near")) == asked.calls
    assert len(frozen()) > len(frozen(host="near"))  # and what the search was answered on its own host
