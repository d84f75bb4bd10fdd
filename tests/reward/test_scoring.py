"""Scores of open pairs, and the strategies that read them: the run from end to end, when it is
started, and what is asked first."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from core.annotation.front import FrontRow
from core.annotation.selection import STRATEGIES, choose_by_value
from core.errors import Invalid
from core.projects import update_project
from core.reward import score_work, scoring
from core.runs.context import RunContext
from core.runs.folder import write_json
from core.runs.ingest import finish, ingest
from core.runs.service import cancel_run, get_run, run_folder, start_run
from core.runs.worker import perform
from storage import selection as store
from storage.ids import now
from storage.tables import Pair, Project, Response, RewardModel, Run, Slot, Vote
from tests.annotation.conftest import make_person, make_world
from tests.reward.tiny import BAD, GOOD, PLAIN, tiny_backbone


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three tiny reward models that differ by the seed of their heads."""
    import torch

    from core.reward.encode import load

    torch.set_num_threads(1)
    base = tmp_path_factory.mktemp("reward")
    backbone = tiny_backbone(base / "backbone")
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        model, tokenizer = load(str(backbone), head=True)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.data *= 15  # a fresh encoder says nearly the same of every text
        folder = base / f"model{seed}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "reward.json", {"max_length": 64, "mean": 0.1, "std": 0.02, "temperature": 0.5})
        made.append(folder)
    return made


class Shop:
    def __init__(self, db, pairs: int = 12) -> None:
        self.db, self.who = db, make_person(db, "admin", "admin")
        self.project = make_world(db, pairs=pairs, prompts=3).project
        draw = random.Random(0)

        def say(session) -> None:
            for response in session.exec(select(Response)):
                response.text = " ".join(draw.choice([*GOOD, *BAD, *PLAIN]) for _ in range(12))

        db.write(say)

    def model(self, folder, name: str, active: bool = False) -> str:
        def work(session) -> str:
            model = RewardModel(project_id=self.project.id, run_id=name, name=name, folder=str(folder))
            session.add(model)
            if active:
                session.get(Project, self.project.id).reward_model_id = model.id
            return model.id

        return self.db.write(work)

    def rows(self, table) -> list:
        with self.db.read() as session:
            return list(session.exec(select(table)))

    def score(self, **config) -> Run:
        return self.carry_on(start_run(self.db, self.who, self.project.id, "score", config).id)

    def carry_on(self, run_id: str) -> Run:
        folder = run_folder(run_id)

        def begin(session) -> None:
            session.get(Run, run_id).status = "running"

        self.db.write(begin)
        context = RunContext(folder)
        outcome = perform(context, [])
        context.close()
        write_json(folder.path / "result.json", outcome)
        while ingest(self.db, run_id, folder):
            pass
        finish(self.db, run_id, folder, outcome)
        return get_run(self.db, self.who, run_id)

    def newest(self) -> scoring.Scores:
        with self.db.read() as session:
            return scoring.read_scores(scoring.newest(session, self.project.id))

    def chances(self) -> dict[str, np.ndarray]:
        scores = self.newest()
        return {p.id: scores.chances([p.response_a], [p.response_b])[0] for p in self.rows(Pair)}

    def front(self) -> list[str]:
        slots = [slot for slot in self.rows(Slot) if slot.front is not None]
        return [slot.pair_id for slot in sorted(slots, key=lambda slot: slot.front)]


@pytest.fixture
def shop(db) -> Shop:
    return Shop(db)


def test_scores_are_those_of_the_model(shop, folders):
    from core.reward.score import RewardScorer

    key = shop.model(folders[0], "one", active=True)
    run = shop.score()
    assert run.status == "succeeded", run.error
    assert (run.result["pairs"], run.result["responses"], run.result["scored"]) == (12, 24, 24)
    assert (run.config["models"], run.config["known"]) == ([key], 0)
    scorer = RewardScorer(folders[0])
    texts = {response.id: response.text for response in shop.rows(Response)}
    from storage.tables import Example

    inputs = {example.id: example.input for example in shop.rows(Example)}
    for pair in shop.rows(Pair):
        asked = [inputs[pair.example_id]], [texts[pair.response_a]], [texts[pair.response_b]]
        found = shop.chances()[pair.id]
        assert found == pytest.approx(scorer.preference(*asked), abs=1e-5)
    assert max(abs(chance[0] - 0.5) for chance in shop.chances().values()) > 0.05  # they do differ


def test_known_scores_are_not_made_again(shop, folders):
    one = shop.model(folders[0], "one", active=True)
    shop.score()
    two = shop.model(folders[1], "two")
    run = shop.score(models=[one, two])
    assert (run.config["known"], run.result["scored"]) == (24, 24)
    again = shop.score(models=[one, two])
    assert (again.config["known"], again.result["scored"]) == (48, 0)
    assert shop.newest().models == (one, two) and not np.isnan(shop.newest().logits).any()


def test_a_killed_worker_scores_nothing_twice(shop, folders, monkeypatch):
    shop.model(folders[0], "one", active=True)
    monkeypatch.setattr(score_work, "PART", 5)
    run = start_run(shop.db, shop.who, shop.project.id, "score", {})
    asked: list[int] = []
    real = score_work.RewardScorer.score_members

    class Killed(BaseException):
        pass

    def score(self, inputs, responses):
        if len(asked) == 3:
            raise Killed
        asked.append(len(responses))
        return real(self, inputs, responses)

    context = RunContext(run_folder(run.id))
    with monkeypatch.context() as patch:
        patch.setattr(score_work.RewardScorer, "score_members", score)
        with pytest.raises(Killed):
            score_work.run(context)
    context.close()
    monkeypatch.setattr(
        score_work.RewardScorer,
        "score_members",
        lambda *args: asked.append(len(args[2])) or real(*args),
    )
    ended = shop.carry_on(run.id)
    assert ended.status == "succeeded" and asked == [5, 5, 5, 5, 4]
    rows = pq.read_table(run_folder(run.id).artifacts / "scores.parquet").to_pylist()
    assert len({row["response_id"] for row in rows}) == len(rows) == 24


def test_wrong_configs_are_named(shop, folders):
    for config, said in (
        ({}, "no active reward model"),
        ({"models": ["x"]}, "models: there is no reward model x"),
        ({"models": "x"}, "models: a list"),
        ({"pairs": 0}, "pairs|models"),
        ({"limit": 1}, "limit: a score run has no such field"),
    ):
        with pytest.raises(Invalid, match=said):
            start_run(shop.db, shop.who, shop.project.id, "score", config)


# --- choosing -------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=60),
    st.integers(1, 20),
    st.integers(0, 9),
)
def test_what_is_drawn_is_of_the_largest(values, count, seed):
    value = np.array(values, dtype=float)
    picked = choose_by_value(value, count, np.random.default_rng(seed))
    known = value[~np.isnan(value)]
    assert len(picked) == len(set(picked)) == min(count, len(known))
    top = max(min(count, len(known)), int(np.ceil(0.1 * len(known))))
    if len(picked):
        assert not np.isnan(value[picked]).any()
        assert value[picked].min() >= np.sort(known)[::-1][:top].min()


def test_values_are_highest_where_it_is_open():
    chances = np.array([[0.5, 0.5], [0.9, 0.1], [0.02, 0.03], [np.nan, 0.5]])
    unsure = STRATEGIES["reward_uncertainty"].value(chances)
    assert unsure[:3] == pytest.approx([0.5, 0.1, 0.02]) and np.isnan(unsure[3])
    apart = STRATEGIES["reward_disagreement"].value(chances)
    assert apart[:3] == pytest.approx([0.0, 0.4, 0.005])


def test_the_least_certain_pairs_come_first(db, folders):
    shop = Shop(db, pairs=40)
    shop.model(folders[0], "one", active=True)
    update_project(db, shop.who, shop.project.id, selection="reward_uncertainty")
    shop.score()
    row = FrontRow(db, seed=1)
    import core.annotation.front as front

    old, front.ROW = front.ROW, 4
    try:
        row.refresh()
    finally:
        front.ROW = old
    away = {pair_id: abs(chance[0] - 0.5) for pair_id, chance in shop.chances().items()}
    assert len(shop.front()) == 4
    assert sorted(away[pair_id] for pair_id in shop.front()) == sorted(away.values())[:4]


def test_a_disagreement_needs_two_models_and_takes_the_largest(db, folders):
    shop = Shop(db, pairs=40)
    one = shop.model(folders[0], "one", active=True)
    update_project(db, shop.who, shop.project.id, selection="reward_disagreement")
    started: list[list[str]] = []
    row = FrontRow(db, seed=1, score=lambda db, project_id, models: started.append(models))
    row.refresh()
    assert started == [] and shop.front() == []  # one model cannot disagree
    said = scoring.strategy_state(db, shop.who, shop.project.id, "reward_disagreement")
    assert "one more" in said and "fewest votes first" in said
    two, three = shop.model(folders[1], "two"), shop.model(folders[2], "three")
    row.refresh()
    assert started == [[one, three, two]]  # the active one, then the newest
    shop.score(models=started[0])
    import core.annotation.front as front

    old, front.ROW = front.ROW, 4
    try:
        row.refresh()
    finally:
        front.ROW = old
    apart = {pair_id: -chances.std() for pair_id, chances in shop.chances().items()}
    assert sorted(apart[pair_id] for pair_id in shop.front()) == sorted(apart.values())[:4]


# --- when it is started -----------------------------------------------------------------------


def test_scoring_starts_by_itself_once_and_again_for_another_model(shop, folders):
    db, project = shop.db, shop.project.id
    update_project(db, shop.who, project, selection="reward_uncertainty")
    row = FrontRow(db, seed=1)
    row.refresh()
    assert shop.rows(Run) == []  # no reward model yet
    assert "needs an active reward model" in scoring.strategy_state(
        db, shop.who, project, "reward_uncertainty"
    )
    shop.model(folders[0], "one", active=True)
    for _ in range(3):
        row.refresh()
    (run,) = shop.rows(Run)
    assert (run.kind, run.status, run.created_by) == ("score", "queued", "system") and shop.front() == []
    assert "being scored" in scoring.strategy_state(db, shop.who, project, "reward_uncertainty")
    shop.carry_on(run.id)
    row.refresh()
    assert len(shop.rows(Run)) == 1 and len(shop.front()) == 12
    said = scoring.strategy_state(db, shop.who, project, "reward_uncertainty")
    assert said.startswith("12 open pairs are scored by one")
    shop.model(folders[1], "two", active=True)
    row.refresh()
    assert [item.status for item in shop.rows(Run)].count("queued") == 1
    assert "The models have changed since" in scoring.strategy_state(
        db, shop.who, project, "reward_uncertainty"
    )


def test_a_scoring_that_was_cancelled_is_not_started_again_at_once(shop, folders, monkeypatch):
    update_project(shop.db, shop.who, shop.project.id, selection="reward_uncertainty")
    shop.model(folders[0], "one", active=True)
    row = FrontRow(shop.db, seed=1)
    row.refresh()
    (run,) = shop.rows(Run)
    cancel_run(shop.db, shop.who, run.id)
    row.refresh()
    assert len(shop.rows(Run)) == 1
    later = now() + scoring.PAUSE
    monkeypatch.setattr(scoring, "now", lambda: later)
    row.refresh()
    assert len(shop.rows(Run)) == 2


def test_many_new_pairs_are_scored(shop, folders):
    update_project(shop.db, shop.who, shop.project.id, selection="reward_uncertainty")
    shop.model(folders[0], "one", active=True)
    shop.score()
    with shop.db.read() as session:
        slots = store.open_slots(session, shop.project.id, 100)
    scores = shop.newest()
    assert not scoring.too_many_unscored(scores, slots)
    from dataclasses import replace

    new = [replace(slot, response_a=f"new {i}") for i, slot in enumerate(slots * 2)]
    assert scoring.too_many_unscored(scores, slots + new)
    assert not scoring.too_many_unscored(scores, slots + new[: scoring.FEW - 1])  # a few can wait
    assert scoring.too_many_unscored(None, slots)


def test_nothing_is_started_where_no_pair_waits(shop, folders):
    update_project(shop.db, shop.who, shop.project.id, selection="reward_uncertainty")
    shop.model(folders[0], "one", active=True)

    def close(session) -> None:
        for slot in session.exec(select(Slot)):
            slot.status = "voted"

    shop.db.write(close)
    row = FrontRow(shop.db, seed=1)
    row.refresh()
    row.refresh()
    assert shop.rows(Run) == [] and shop.rows(Vote) == []


def test_the_settings_page_says_where_it_stands(shop, open_page):
    at = open_page(shop.who, "project.py", shop.project)
    at.selectbox(key=f"selection_{shop.project.id}").set_value("reward_uncertainty").run()
    assert not at.exception
    said = " ".join(item.value for item in at.caption)
    assert "least sure of" in said and "needs an active reward model" in said
