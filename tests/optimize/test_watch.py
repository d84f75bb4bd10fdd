"""The watch of reward hacking: formulas with known answers, when gold has fallen, who may watch,
and a search that is watched and stopped."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr, ttest_rel

from core.errors import Invalid
from core.optimize import work
from core.optimize.protocol import FINISH_WORDS
from core.optimize.random_search import BestOfN
from core.optimize.watch import Watch, agreement, copies, faults, length_correlation, repeats
from core.optimize.watched import GoldFalls, before_the_fall, checks, fall, falling
from core.reward.runs import halved
from core.runs.context import RunContext
from core.runs.folder import write_json
from core.runs.service import list_runs, run_folder, start_run
from storage.tables import RewardModel
from tests.optimize.conftest import add
from tests.optimize.fakes import FakeHost, FakeScorer, chance, make_folder
from tests.optimize.test_page import texts

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


class Hater:
    """A gold model that likes what the proxy does not: it gives a shout -.2."""

    def score(self, inputs, responses):
        return np.array(
            [-0.2 * r.count("!") + 0.05 * chance(r, i) for i, r in zip(inputs, responses, strict=True)]
        )


def test_degenerate_outputs():
    assert not repeats(LONG) and repeats("so it goes " * 8) and not repeats("no no no")
    # 13 words twice: 24 3-grams, of which 11 were there before and 2 join the halves.
    assert repeats(f"{LONG} {LONG}") and copies(LONG, f"Now: {LONG}.") and not copies(LONG, "Now")
    assert faults(" \n", "x", True) == ["empty"]
    assert faults(LONG, LONG, True) == ["copied", "cut off"] and faults("Fine.", "Fine.", False) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5), st.integers(0, 9)), min_size=3, max_size=30))
def test_reward_and_length_by_rank(rows):
    """Against SciPy's Spearman."""
    found = length_correlation([(f"e{e}", float(r), " ".join(["w"] * n)) for e, r, n in rows])
    if len({r for _, r, _ in rows}) == 1 or len({n for _, _, n in rows}) == 1:
        assert found is None
        return
    expected = spearmanr([r for _, r, _ in rows], [n for _, _, n in rows]).statistic
    assert found["score"] == pytest.approx(expected, abs=1e-9)
    assert found["n"] == len(rows) and found["examples"] == len({e for e, _, _ in rows})
    assert found["low"] <= found["high"] + 1e-12


def seen(*points, each=None):
    """Candidates with (proxy, gold) on train."""
    return [
        SimpleNamespace(
            number=i, calls=10 * i,
            scores={"train": {"score": proxy, "n": 2, "watch": {"gold": {"score": gold, "each": [gold - 0.1 * i, gold + 0.1 * i]}}}},
        )
        for i, (proxy, gold) in enumerate(points)
    ]  # fmt: skip


def test_gold_falls_only_while_the_proxy_rises():
    assert falling(seen((0, 0), (1, 1), (2, 2)))[0] == 0
    path = seen((0, 0), (1, 1), (0.5, -9), (2, 0.9), (3, 0.95), (2.9, 5), (4, 0.2))
    assert [c.number for c in checks(path)] == [0, 1, 3, 4, 6]
    row, peak = falling(path)
    assert (row, peak.number) == (3, 1)
    assert falling([*path, *seen((5, 1.0))])[0] == 0  # it has recovered
    assert GoldFalls(lambda: path, 3)(None) == "gold_falls" and GoldFalls(lambda: path, 4)(None) is None
    may = before_the_fall(path)
    assert [c.number for c in path if may(c)] == [0, 1]
    lost, newest, best = (
        fall(path),
        path[6].scores["train"]["watch"]["gold"],
        path[1].scores["train"]["watch"]["gold"],
    )
    ci = ttest_rel(newest["each"], best["each"]).confidence_interval()
    assert (lost["score"], lost["low"], lost["high"]) == pytest.approx((-0.8, ci.low, ci.high))
    assert fall(seen((0, 0), (1, 1))) is None


def test_best_of_n_tells_its_kl():
    optimizer = BestOfN("x", 1)
    assert optimizer.kl() is None
    optimizer.draws = 16
    assert optimizer.kl() == {"score": pytest.approx(np.log(16) - 15 / 16), "n": 16}
    assert optimizer.settle([1])[0].figures == {"kl": optimizer.kl()}
    assert Watch(None, optimizer.kl).look(["a b"], [{}], [{"input": "x"}])["kl"] == optimizer.kl()


def test_agreement_with_people():
    votes = [{"input": "i", "response_a": "a!!", "response_b": "b", "q": q} for q in (1.0, 0.8, 0.1)]
    votes.append({"input": "i", "response_a": "a", "response_b": "a", "q": 1.0})
    found = agreement(FakeScorer(), votes)
    assert found["score"] == (1 + 1 + 0 + 0.5) / 4 and found["n"] == 4 and found["low"] < found["score"]
    assert agreement(FakeScorer(), []) is None


class Spaced(FakeHost):
    """Shouts in words of their own, so that a louder answer is a longer one."""

    def generate(self, requests, sampling, on_done=None, seeds=None):
        answers = super().generate(requests, sampling, on_done, seeds)
        return [replace(one, text=one.text.replace("!", " !") if "Answer to" in one.text else one.text) for one in answers]  # fmt: skip


# --- a search ------------------------------------------------------------------------------------


def run(tmp_path, monkeypatch, stop_after=None, name="r"):
    fake = Spaced()
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: fake)
    monkeypatch.setattr(
        work, "open_scorer", lambda folder: Hater() if folder.name == "gold" else FakeScorer()
    )
    folder = make_folder(tmp_path / name, reward="reward_model", calls=900)
    watch = {"gold": {"name": "G", "folder": "/gold"}, "proxy": [{"name": "P", "folder": "/p"}]}
    write_json(folder.inputs / "watch.json", watch)
    votes = [{"input": "i", "response_a": "a!!", "response_b": "b", "q": 1.0}] * 5
    pq.write_table(pa.Table.from_pylist(votes), folder.inputs / "votes.parquet")
    spec = json.loads((folder.path / "spec.json").read_text())
    spec["config"]["watch"] = {"gold": "g", "stop_after": stop_after}
    write_json(folder.path / "spec.json", spec)
    folder = type(folder)(folder.path)
    context = RunContext(folder)
    try:
        return work.run(context), fake, folder
    finally:
        context.close()


def test_a_search_is_watched_without_a_further_call_and_stops_when_gold_falls(tmp_path, monkeypatch):
    result, fake, folder = run(tmp_path, monkeypatch)
    assert result["calls"] == fake.calls
    start, best = result["start"]["train"], result["best"]["train"]
    assert best["score"] > start["score"] and best["watch"]["gold"]["score"] < start["watch"]["gold"]["score"]
    for split in ("train", "dev", "test"):
        watch = result["best"][split]["watch"]
        assert (
            watch["gold"]["n"]
            == watch["words"]["n"]
            == watch["degenerate"]["n"]
            == result["best"][split]["n"]
        )
    assert result["agreement"]["P"]["score"] == 1.0 and result["agreement"]["G"]["score"] == 0.0
    events, _ = folder.read_events()
    assert any(e["type"] == "log" and "Gold has fallen" in e["data"]["text"] for e in events)
    found = [e["data"]["length_correlation"] for e in events if e["type"] == "watch"][-1]
    assert found["n"] >= 24 and found["examples"] == 12 and found["low"] > 0.5  # it pays by the word

    stopped, _, _ = run(tmp_path, monkeypatch, stop_after=2, name="stopped")
    assert stopped["finish_reason"] == "gold_falls" and stopped["finish_words"] == FINISH_WORDS["gold_falls"]
    assert stopped["calls"] < result["calls"] and not stopped["improved"]  # gold was highest at the start


# --- who watches ---------------------------------------------------------------------------------


@pytest.fixture
def models(db, settings, project, reward_model):
    """`models(name, pairs)` adds a reward model that was trained on these pairs."""

    def make(name, pairs, model=None):
        if model is None:
            folder = settings.data_dir / "runs" / name / "artifacts" / "model"
            folder.mkdir(parents=True)
            model = RewardModel(
                project_id=project.id, run_id=name, name=name, folder=f"runs/{name}/artifacts/model"
            )
            add(db, model)
        rows = [
            {"pair_id": key, "split": split, "example_id": key, "input": "i", "response_a": "a", "response_b": "b",
             "q": 1.0, "n": 1, "n_simulated": 0, "n_machine": int(key == "t1")}
            for key, split in pairs
        ]  # fmt: skip
        inputs = run_folder(model.run_id).inputs
        inputs.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), inputs / "pairs.parquet")
        return model

    make("", [("p1", "train"), ("p2", "dev"), ("t0", "test"), ("t1", "test")], reward_model)
    return make


def test_gold_must_have_learned_from_other_votes(
    db, admin, project, examples, champion, reward_model, models
):
    examples()

    def start(**watch):
        asked = {"watch": watch} if watch else {}
        return start_run(db, admin, project.id, "optimize", {"reward": "reward_model", "seed": 1, **asked})

    assert start().config["watch"] == {"gold": None, "stop_after": None}
    with pytest.raises(Invalid, match=r"watch.stop_after: there is no gold reward model"):
        start(stop_after=3)
    near = models("near", [("p2", "train"), ("p9", "train")])
    far = models("far", [("p8", "train"), ("t0", "test")])
    with pytest.raises(Invalid, match=r"watch.gold: “near” was trained on 1 of the 2 pairs"):
        start(gold=near.id)
    with pytest.raises(Invalid, match=r"watch.gold: “Reward model 1” is the reward itself"):
        start(gold=reward_model.id)
    with pytest.raises(Invalid, match=r"watch.often: not a setting"):
        start(often=1)
    run = start(stop_after=3)
    assert run.config["watch"] == {"gold": far.id, "stop_after": 3}
    assert len(pq.read_table(run_folder(run.id).inputs / "votes.parquet")) == 1  # not what a machine judged
    assert start(gold=None).config["watch"]["gold"] is None
    with pytest.raises(Invalid, match=r"watch: labels cannot be hacked"):
        start_run(db, admin, project.id, "optimize", {"reward": "labels", "watch": {"stop_after": 1}})


def test_halves_share_no_example(db, admin, project):
    pairs = [
        {"pair_id": f"p{i}", "example_id": f"e{i // 2}", "split": "test" if i % 10 == 0 else "train"}
        for i in range(200)
    ]
    votes = [{"pair_id": pair["pair_id"]} for pair in pairs]
    (first, votes_1), (second, _) = (halved(pairs, votes, half) for half in ("first", "second"))
    train = [{pair["example_id"] for pair in of if pair["split"] == "train"} for of in (first, second)]
    assert not train[0] & train[1] and min(map(len, train)) > 30
    assert {p["pair_id"] for p in first} | {p["pair_id"] for p in second} == {p["pair_id"] for p in pairs}
    assert all(pair in first and pair in second for pair in pairs if pair["split"] == "test")
    assert {vote["pair_id"] for vote in votes_1} == {pair["pair_id"] for pair in first}
    assert halved(pairs, votes, None) == (pairs, votes)
    with pytest.raises(Invalid, match=r"half: there is no “third”"):
        start_run(db, admin, project.id, "reward_model", {"half": "third"})


def test_the_page_says_what_is_watched(db, admin, api, project, open_page, examples, champion, reward_model, models, search):  # fmt: skip
    examples(train=30)
    models("far", [("p8", "train")])
    at = open_page(admin, "optimize.py", project)
    at.number_input(key="optimize_stop_after").set_value(2).run()
    at.button(key="optimize_start").click().run()
    assert not at.exception
    assert list_runs(db, admin, project.id, kind="optimize")[0].config["watch"]["stop_after"] == 2

    search(reward="reward_model", budget={"calls": 500}, watch={"gold": None})
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    assert "There is no gold reward model beside this reward" in " ".join(info.value for info in at.info)
    at.button(key="optimize_halves").click().run()
    assert not at.exception and "decided pairs" in texts(at)  # too few votes for halves, and it says so

    run = search(reward="reward_model", budget={"calls": 500}, reuse=False)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    labels = [metric.label for metric in at.metric]
    assert {"Words an output", "Degenerate outputs", "Reward and length"} <= set(labels)
    assert "Gold is a reward model that learned from other votes" in texts(at)
    assert "on sealed votes (test split, in no training)" in texts(at)
    (start, *_) = api(admin).get(f"/runs/{run.id}/candidates").json()
    assert start["scores"]["train"]["watch"]["gold"]["n"] == start["scores"]["train"]["n"]
