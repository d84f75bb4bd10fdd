"""The leaderboard by reward: estimates against independent computations, disagreement that was
planted, what is held out, and the page."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sqlmodel import select

from core.reward import board as module
from core.reward.board import board, clustered, rank_range, win_shares
from core.runs.folder import RunFolder
from core.runs.service import run_folder
from storage.tables import Example, Pair, Response, RewardModel, Run, Vote
from tests.reward.test_pages import texts
from tests.reward.test_scoring import Shop, folders  # noqa: F401


def test_one_value_a_cluster_is_a_plain_t_interval():
    values = np.random.default_rng(0).normal(size=30)
    found = clustered(values, np.arange(30))
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (found.value, found.low, found.high, found.n) == (
        pytest.approx(values.mean()), pytest.approx(low), pytest.approx(high), 30,
    )  # fmt: skip
    assert clustered(values, np.arange(30), tests=10).high > found.high
    assert clustered(values[:1], np.zeros(1)).n == 1 and np.isnan(clustered(values[:1], np.zeros(1)).low)


def test_copies_of_a_response_do_not_narrow_the_interval():
    rng = np.random.default_rng(1)
    values = rng.normal(size=20)
    once = clustered(values, np.arange(20))
    often = clustered(np.repeat(values, 8), np.repeat(np.arange(20), 8))
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_the_interval_covers_at_its_nominal_rate():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        sizes = rng.integers(1, 6, size=25)
        level = np.repeat(rng.normal(size=25), sizes)
        values = level + rng.normal(size=len(level)) * 0.5
        found = clustered(values, np.repeat(np.arange(25), sizes))
        hits += found.low <= 0 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_win_shares_are_counted_within_examples():
    rng = np.random.default_rng(3)
    prompt = np.array(rng.choice(["a", "b", "c"], size=60), dtype=object)
    example = np.array([f"e{i}" for i in rng.integers(0, 15, size=60)], dtype=object)
    reward = rng.integers(0, 4, size=60).astype(float)
    found = win_shares(prompt, example, reward)
    for key in ("a", "b", "c"):
        means = []
        for one in sorted(set(example)):
            mine = [r for p, e, r in zip(prompt, example, reward, strict=True) if e == one and p == key]
            others = [r for p, e, r in zip(prompt, example, reward, strict=True) if e == one and p != key]
            couples = [(x > y) + 0.5 * (x == y) for x in mine for y in others]
            if couples:
                means.append(np.mean(couples))
        assert (found[key].value, found[key].n) == (pytest.approx(np.mean(means)), len(means))


def test_rank_ranges():
    low, high = np.array([2.0, 0.0, -1.0, np.nan]), np.array([3.0, 1.0, 0.5, np.nan])
    assert rank_range(low, high) == [(1, 2), (2, 4), (2, 4), (1, 4)]


class Split(Shop):
    """Three prompts; the model's rewards follow from planted scores, people vote as told."""

    def plant(self, monkeypatch, strength: dict[int, float]) -> None:
        """Scores of responses: their prompt's strength and a little of their own."""
        with self.db.read() as session:
            order = sorted(session.exec(select(Response.prompt_id).distinct()))
            self.order = order
            of = {r.id: order.index(r.prompt_id) for r in session.exec(select(Response))}
        rng = np.random.default_rng(5)
        noise = {key: float(rng.normal()) * 0.1 for key in sorted(of)}
        planted = {key: strength[place] + noise[key] for key, place in of.items()}
        real = module.current_scores

        def current(session, project, model_id=None):
            found = real(session, project, model_id)
            scores, column, scale = found
            values = np.array([[planted[key]] for key in scores.place])
            from dataclasses import replace

            scores = replace(scores, scores=values, logits=values * 3)
            return scores, column, replace(scale, mean=0.0, std=1.0)

        monkeypatch.setattr(module, "current_scores", current)

    def vote(self, prefers: list[int], votes: int = 2) -> None:
        """On every pair people prefer the prompt that comes first in `prefers`."""

        def work(session):
            responses = {r.id: r for r in session.exec(select(Response))}
            for pair in session.exec(select(Pair)):
                places = {
                    side: prefers.index(self.order.index(responses[side].prompt_id))
                    for side in (pair.response_a, pair.response_b)
                }
                for judge in range(votes):
                    session.add(
                        Vote(
                            project_id=pair.project_id, pair_id=pair.id, annotator_id=f"j{judge}", outcome="win",
                            winner=min(places, key=places.get),
                        )
                    )  # fmt: skip

        self.db.write(work)


@pytest.fixture
def shop(db, folders, monkeypatch) -> Split:  # noqa: F811
    shop = Split(db, pairs=36)
    shop.model(folders[0], "one", active=True)
    shop.score(scope="all")
    shop.plant(monkeypatch, {0: 1.0, 1: 0.0, 2: -1.0})
    return shop


def test_where_both_agree_nothing_is_flagged(shop):
    shop.vote([0, 1, 2])
    found = board(shop.db, shop.who, shop.project.id)
    assert [item["prompt_id"] for item in found["items"]] == shop.order
    first = found["items"][0]
    assert first["reward"]["value"] == pytest.approx(1.0, abs=0.25) and first["responses"] == 24
    assert first["reward"]["n"] == 24 and first["win_share"]["value"] > 0.9
    assert not any(item["human"]["differs"] for item in found["items"])
    assert not any(row["opposite"] for row in found["versus"]) and found["worst"] == []
    assert found["agreement"]["value"] > 0.95 and found["agreement"]["pairs"] == 36


def test_planted_disagreement_is_found(shop):
    shop.vote([2, 1, 0])  # the other way round
    found = board(shop.db, shop.who, shop.project.id)
    human = {item["prompt_id"]: item["human"] for item in found["items"]}
    assert human[shop.order[0]]["differs"] and human[shop.order[2]]["differs"]
    assert not human[shop.order[1]]["differs"]
    assert [row["opposite"] for row in found["versus"]] == [True] * 3
    assert all(row["differs"] and row["pairs"] == 12 for row in found["versus"])
    worst = found["worst"]
    assert len(worst) == module.WORST
    gaps = [abs(row["q"] - row["p"]) for row in worst]
    assert gaps == sorted(gaps, reverse=True) and min(gaps) > 0.5
    assert found["agreement"]["value"] < 0.05


def trained_on(shop, examples: list[str]) -> None:
    """As if the active model's run had these examples in its train split, and one in dev."""
    run = Run(project_id=shop.project.id, kind="reward_model", status="succeeded")
    folder = RunFolder(run_folder(run.id).path)
    folder.create({"kind": "reward_model"})
    rows = [{"example_id": key, "split": "train" if i else "dev"} for i, key in enumerate(examples)]
    rows.append({"example_id": "another", "split": "test"})
    pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "pairs.parquet")

    def work(session):
        session.add(run)
        session.exec(select(RewardModel)).one().run_id = run.id

    shop.db.write(work)


def test_held_out_leaves_what_was_learnt_from_out(shop):
    shop.vote([0, 1, 2])
    assert board(shop.db, shop.who, shop.project.id)["seen"] is None
    examples = sorted(example.id for example in shop.rows(Example))
    trained_on(shop, examples[:9])
    found = board(shop.db, shop.who, shop.project.id)
    assert found["seen"] == pytest.approx(0.25) and found["responses"] == 72
    held = board(shop.db, shop.who, shop.project.id, held_out=True)
    assert (held["responses"], held["examples"], held["voted_pairs"]) == (54, 27, 27)
    assert json.dumps(held)  # plain numbers, for the API


def test_the_page(shop, open_page, person):
    shop.vote([2, 1, 0])
    at = open_page(person("lead"), "leaderboard.py", shop.project)
    at.segmented_control(key=f"opinion_{shop.project.id}").set_value("reward").run()
    assert not at.exception
    said = " ".join([texts(at), *(item.value for item in at.info), *(item.value for item in at.warning)])
    assert "the opinion of the model “one”, not of people" in said
    assert "people rank it 3 of 3, the model 1" in said and "It is not known which responses" in said
    tables = [item.value for item in at.dataframe]
    assert list(tables[0]["Differs"]) == ["differs", "", "differs"]
    assert list(tables[1][""]) == ["opposite"] * 3 and len(tables[2]) == 20


def test_without_scores_the_page_says_where_to_make_them(db, folders, open_page):  # noqa: F811
    shop = Shop(db)
    shop.model(folders[0], "one", active=True)
    at = open_page(shop.who, "leaderboard.py", shop.project)
    at.segmented_control(key=f"opinion_{shop.project.id}").set_value("reward").run()
    assert not at.exception and "has not scored this project" in at.info[0].value


def test_on_both_databases(any_db, folders):  # noqa: F811
    from core.reward import keeping, stages
    from core.reward.look import look

    shop = Split(any_db, pairs=12)
    shop.model(folders[0], "one", active=True)
    keeping.keep_current(any_db, shop.who, shop.project.id, True)
    keeping.ScoreKeeper(any_db).refresh()
    (run,) = shop.rows(Run)
    shop.carry_on(run.id)
    keeping.ScoreKeeper(any_db).refresh()
    shop.order = sorted({response.prompt_id for response in shop.rows(Response)})
    shop.vote([0, 1, 2])
    found = board(any_db, shop.who, shop.project.id)
    assert len(found["items"]) == 3 and found["voted_pairs"] == 12
    assert look(any_db, shop.who, shop.project.id, search="INPUT 3").total == 2
    assert [one.stage for one in stages.versions(any_db, shop.who, shop.project.id)] == ["active"]
