"""Scores of all responses: the run from end to end, the project's scale, what starts by itself,
what is tidied up, and the page."""

import numpy as np
import pytest
from sqlmodel import select

from core.errors import Forbidden, Invalid
from core.reward import keeping, reference, scoring
from core.reward.look import look
from core.reward.normalise import normalisation
from core.reward.scores import ALL, newest, read_scores
from core.runs.service import cancel_run, run_folder, start_run
from storage.ids import now
from storage.tables import AuditEntry, Example, Project, Response, RewardModel, Run
from tests.reward.test_pages import texts
from tests.reward.test_scoring import Shop, folders  # noqa: F401


@pytest.fixture
def shop(db) -> Shop:
    return Shop(db)


def all_scores(shop):
    with shop.db.read() as session:
        return read_scores(newest(session, shop.project.id, ALL))


def more_responses(shop, count: int) -> None:
    with shop.db.read() as session:
        example = session.exec(select(Example)).first()
        prompt_id = session.exec(select(Response.prompt_id)).first()

    def work(session):
        for i in range(count):
            session.add(
                Response(
                    project_id=shop.project.id, example_id=example.id, prompt_id=prompt_id,
                    text=f"kind word{i % 30} clear", cache_key=f"more {now().timestamp()} {i}",
                )
            )  # fmt: skip

    shop.db.write(work)


def test_every_response_is_scored_once(shop, folders):  # noqa: F811
    from core.reward.score import RewardScorer

    key = shop.model(folders[0], "one", active=True)
    run = shop.score(scope="all")
    assert run.status == "succeeded", run.error
    assert (run.result["scope"], run.result["scored"], run.result["left"]) == ("all", 24, 0)
    scores = all_scores(shop)
    scorer = RewardScorer(folders[0])
    examples = {example.id: example for example in shop.rows(Example)}
    for response in shop.rows(Response):
        row = scores.place[response.id]
        alone = scorer.score([examples[response.example_id].input], [response.text])[0]
        assert scores.scores[row, 0] == pytest.approx(alone, abs=1e-3)
        assert (scores.prompt[row], scores.example[row]) == (response.prompt_id, response.example_id)
        assert scores.split[row] == examples[response.example_id].split
    assert scores.members == (1,) and np.isnan(scores.spreads).all()
    # The scale: mean 0 and deviation 1 over the reference, which here is every response.
    with shop.db.read() as session:
        project = session.get(Project, shop.project.id)
        _, column, scale = keeping.current_scores(session, project)
    reward = scale(scores.scores[:, column])
    assert (reward.mean(), reward.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    kept = run.result["normalisation"][key]
    assert kept == {"mean": scale.mean, "std": scale.std, "n": 24, "reference": scale.version}
    more_responses(shop, 3)
    again = shop.score(scope="all")
    assert (again.config["known"], again.result["scored"], again.config["n_responses"]) == (24, 3, 27)
    with shop.db.read() as session:  # the reference stays: rewards of before stay what they were
        _, _, after = keeping.current_scores(session, session.get(Project, shop.project.id))
    assert after == scale


def test_a_run_takes_the_reference_first_and_leaves_the_rest(shop, folders, monkeypatch):  # noqa: F811
    monkeypatch.setattr(reference, "MOST", 4)
    monkeypatch.setattr(reference.smallest, "__defaults__", (4,))
    shop.model(folders[0], "one", active=True)
    run = shop.score(scope="all", most=6)
    assert (run.result["scored"], run.result["left"], run.result["responses"]) == (6, 18, 6)
    with shop.db.read() as session:
        chosen = reference.kept(session, shop.project.id)
    assert len(chosen.ids) == 4 and set(chosen.ids) <= set(all_scores(shop).place)
    found = keeping.standing(shop.db, shop.who, shop.project.id)
    assert (found.scored, found.missing, found.current) == (6, 18, True)
    assert shop.score(scope="all").result["scored"] == 18


def test_two_versions_are_put_on_one_scale(shop, folders):  # noqa: F811
    """Two models that differ by an affine map of their scores give the same rewards."""
    import json
    import shutil

    stretched = folders[0].parent / "stretched"
    if not stretched.exists():
        shutil.copytree(folders[0], stretched)
        card = json.loads((stretched / "reward.json").read_text())
        (stretched / "reward.json").write_text(json.dumps({**card, "mean": -3.0, "std": 7.0}))
    one = shop.model(folders[0], "one", active=True)
    two = shop.model(stretched, "two")
    shop.score(scope="all")
    shop.score(scope="all", models=[two])
    seen = {}
    for key in (one, two):
        found = look(shop.db, shop.who, shop.project.id, model_id=key, limit=100)
        seen[key] = {row.response_id: row.reward for row in found.rows}
    assert seen[one] == pytest.approx(seen[two], abs=1e-6)


def test_the_reference_depends_on_ids_alone():
    ids = [f"response {i}" for i in range(1000)]
    chosen = reference.choose(None, ids)
    assert len(chosen.ids) == 400 and chosen == reference.choose(None, ids[::-1])
    assert reference.choose(chosen, [*ids, "another"]) is chosen
    small = reference.choose(None, ids[:10])
    assert reference.choose(small, ids[:19]) is small and len(reference.choose(small, ids[:20]).ids) == 20
    assert normalisation(np.array([1.0, np.nan]), "v") is None
    same = normalisation(np.array([2.0, 2.0]), "v")
    assert (same.std, same(np.array([2.0]))[0]) == (1.0, 0.0)


def test_it_is_kept_current_only_where_that_is_switched_on(shop, folders, monkeypatch):  # noqa: F811
    shop.model(folders[0], "one", active=True)
    keeper = keeping.ScoreKeeper(shop.db)
    keeper.refresh()
    assert shop.rows(Run) == []
    keeping.keep_current(shop.db, shop.who, shop.project.id, True)
    assert [entry.detail for entry in shop.rows(AuditEntry) if entry.action == "reward.keep_scores"] == [
        {"on": True}
    ]
    for _ in range(3):
        keeper.refresh()
    (run,) = shop.rows(Run)
    assert (run.status, run.created_by, run.config["scope"]) == ("queued", "system", "all")
    shop.carry_on(run.id)
    keeper.refresh()
    assert len(shop.rows(Run)) == 1
    more_responses(shop, keeping.FEW - 1)
    keeper.refresh()
    assert len(shop.rows(Run)) == 1  # a few can wait
    later = now() + keeping.SOON * 2
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "now", lambda: later)
        with shop.db.read() as session:
            assert keeping.is_due(session, session.get(Project, shop.project.id))
    more_responses(shop, 1)
    keeper.refresh()
    second = max(shop.rows(Run), key=lambda run: run.id)
    assert second.config["known"] == 24
    cancel_run(shop.db, shop.who, second.id)
    keeper.refresh()
    assert len(shop.rows(Run)) == 2  # not at once after a cancelled one
    two = shop.model(folders[1], "two", active=True)
    keeper.refresh()
    assert max(shop.rows(Run), key=lambda run: run.id).config["models"] == [two]


def test_superseded_folders_go_and_what_is_read_stays(shop, folders):  # noqa: F811
    one = shop.model(folders[0], "one", active=True)
    first_open, first_all = shop.score(), shop.score(scope="all")
    second_open, second_all = shop.score(), shop.score(scope="all")
    two = shop.model(folders[1], "two", active=True)
    other = shop.score(scope="all")
    keeping.ScoreKeeper(shop.db).refresh()
    there = {run.id for run in shop.rows(Run) if run_folder(run.id).path.exists()}
    assert there == {second_open.id, second_all.id, other.id}
    assert not run_folder(first_open.id).path.exists() and not run_folder(first_all.id).path.exists()
    with shop.db.read() as session:
        assert newest(session, shop.project.id, ALL, one).id == second_all.id
        assert newest(session, shop.project.id, ALL, two).id == other.id
    assert scoring.read_scores(first_all) is None

    def archive(session):
        session.get(RewardModel, one).archived_at = now()

    shop.db.write(archive)
    assert keeping.clean(shop.db, shop.project.id) == [second_all.id]


def test_looking_filters_orders_and_pages(shop, folders):  # noqa: F811
    shop.model(folders[0], "one", active=True)
    assert look(shop.db, shop.who, shop.project.id) is None
    shop.score(scope="all")
    everything = look(shop.db, shop.who, shop.project.id, limit=100)
    rewards = [row.reward for row in everything.rows]
    assert everything.total == 24 and rewards == sorted(rewards, reverse=True)
    second = look(shop.db, shop.who, shop.project.id, limit=10, offset=10, order="lowest")
    assert [row.reward for row in second.rows] == sorted(rewards)[10:20]
    prompt = everything.rows[0].prompt_id
    of_prompt = look(shop.db, shop.who, shop.project.id, prompt_id=prompt, limit=100)
    assert 0 < of_prompt.total < 24 and {row.prompt_id for row in of_prompt.rows} == {prompt}
    found = look(shop.db, shop.who, shop.project.id, search="input 3")
    assert {row.input for row in found.rows} == {"Input 3"} and found.total == 2
    assert look(shop.db, shop.who, shop.project.id, split="dev").total == 0
    with pytest.raises(Invalid, match="order: one of"):
        look(shop.db, shop.who, shop.project.id, order="best")


def test_wrong_configs_are_named(shop, folders):  # noqa: F811
    shop.model(folders[0], "one", active=True)
    for config, said in (
        ({"scope": "some"}, "scope: there is no “some”"),
        ({"scope": "all", "most": 0}, "most: a whole number"),
    ):
        with pytest.raises(Invalid, match=said):
            start_run(shop.db, shop.who, shop.project.id, "score", config)


def test_the_page_from_nothing_to_scores(shop, folders, open_page, person):  # noqa: F811
    at = open_page(shop.who, "reward_scores.py", shop.project)
    assert not at.exception and "No reward model is active yet." in texts(at)
    shop.model(folders[0], "one", active=True)
    at = open_page(shop.who, "reward_scores.py", shop.project)
    assert "has scored none of the 24 responses yet" in texts(at)
    at.button(key="score_all").click().run()
    (run,) = shop.rows(Run)
    assert run.config["scope"] == "all" and at.button(key=f"cancel_{run.id}")
    shop.carry_on(run.id)
    at = open_page(shop.who, "reward_scores.py", shop.project)
    assert not at.exception and "has scored 24 of 24 responses" in texts(at)
    assert list(at.dataframe[0].value["Reward"]) == sorted(at.dataframe[0].value["Reward"], reverse=True)
    at.text_input(key=f"score_search_{shop.project.id}").set_value("input 3").run()
    assert len(at.dataframe[0].value) == 2 and "2 of 24 responses" in texts(at)
    at.toggle[0].set_value(True).run()
    with shop.db.read() as session:
        assert keeping.is_kept(session, shop.project.id)
    lead = open_page(person("lead"), "reward_scores.py", shop.project)
    assert not lead.exception and lead.toggle[0].disabled
    with pytest.raises(Forbidden):
        keeping.keep_current(shop.db, person("lead"), shop.project.id, False)
    at.segmented_control(key="scores_view").set_value("program").run()
    assert not at.exception and "/score" in at.code[0].value


def test_members_give_a_mean_and_a_spread():
    from core.reward.scored import scored

    class Ensemble:
        std, temperature = 2.0, 0.5

        def score_members(self, inputs, responses):
            return np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])

    found = scored(Ensemble(), ["a", "b"], ["c", "d"])
    assert found.score == pytest.approx([3.0, 0.0]) and found.members == 3
    assert found.spread == pytest.approx([np.std([1, 2, 6]), 0.0])
    assert found.logit == pytest.approx([12.0, 0.0])
