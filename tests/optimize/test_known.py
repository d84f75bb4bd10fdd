"""What was answered once is free for a later search, and only what would be the same."""

import json

import pyarrow.parquet as pq
import pytest

from core.errors import Invalid
from core.optimize import work
from core.runs.context import RunContext
from core.runs.service import run_folder, start_run
from storage.tables import Prompt
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeHost, FakeScorer, Killed


def known(run):
    path = run_folder(run.id).inputs / "known.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


@pytest.mark.parametrize("reward", ["labels", "reward_model"])
def test_the_same_search_again_pays_only_for_what_is_new(examples, champion, reward_model, search, reward):
    examples(train=30)
    first = search(reward=reward, budget={"calls": 400})
    assert known(first) == [] and first.result["free_answers"] == 0
    again = search(reward=reward, budget={"calls": 400}, reuse=True)
    result = again.result
    # The same seed proposes the same: but what it saves it may spend on more candidates.
    assert result["free_answers"] >= first.result["calls_by_purpose"]["target"] - 60
    assert result["calls"] <= 400 and result["candidates"] >= first.result["candidates"]
    start = [one.result["start"] for one in (first, again)]
    assert start[0]["train"] == start[1]["train"] and start[0]["test"] == start[1]["test"]
    alone = search(reward=reward, budget={"calls": 400}, reuse=False)
    assert known(alone) == [] and alone.result["calls"] == first.result["calls"]


def test_what_would_not_be_the_same_is_not_taken(db, admin, project, examples, champion, search):
    examples(train=30)
    search()

    def taken(**config):
        return len(
            known(start_run(db, admin, project.id, "optimize", {"reward": "labels", "seed": 5, **config}))
        )

    assert taken() > 100
    assert taken(verbalizer={"negative": "bad", "positive": "good"}) == 0
    other = Prompt(project_id=project.id, name="Other", system="Say it.", user="Text: {{input}}")
    add(db, other)
    assert taken(prompt=other.id) == 0
    assert taken(prompt="Some other instruction altogether.") > 100  # the frame is the same


def test_killed_and_resumed_it_knows_just_what_it_knew(
    db, admin, project, examples, champion, search, monkeypatch
):
    examples(train=30)
    search(budget={"calls": 300})

    def go(kills):
        config = {"reward": "labels", "budget": {"calls": 400}, "seed": 6, "examples": {"train": 20}}
        run = start_run(db, admin, project.id, "optimize", config)
        assert known(run)
        # Both runs are frozen before either has worked, so both know the same.
        return run_folder(run.id), kills

    whole, cut = go(False), go(True)
    ends = []
    for folder, kills in (whole, cut):
        reach = 15
        while True:
            fake = FakeHost(kill_at=reach if kills else None)
            monkeypatch.setattr(work, "open_host", lambda spec, models_dir, fake=fake: fake)
            monkeypatch.setattr(work, "open_scorer", lambda path: FakeScorer())
            context = RunContext(folder)
            try:
                result = work.run(context)
                break
            except Killed:
                reach += 40
            finally:
                context.close()
        ends.append({name: value for name, value in result.items() if name not in ("seconds", "lost_calls")})
    assert ends[0] == ends[1] and ends[0]["free_answers"] > 0
    events, _ = cut[0].read_events()
    lines = [event["data"] for event in events if event["type"] == "ledger"]
    assert max(line["cached"] for line in lines) == ends[0]["free_answers"]
    json.dumps(ends[0], allow_nan=False)


def test_reuse_is_yes_or_no(db, admin, project, examples):
    examples()
    with pytest.raises(Invalid, match="reuse: true or false"):
        start_run(db, admin, project.id, "optimize", {"reward": "labels", "reuse": "perhaps"})
