"""Limits on tokens and cost where more than the prompt's own model is paid: what choosing on dev
and reporting on test will take is set aside at what an example takes of everybody."""

import json
from dataclasses import replace

import pytest

from core.llm.ledger import Ledger
from core.llm.protocol import HostSpec
from core.optimize import work
from core.optimize.answers import Answers, Payer
from core.optimize.rewards.kinds import price_of
from core.runs.context import RunContext
from core.runs.folder import RunFolder, write_json
from storage.tables import Run
from tests.optimize.fakes import WORDS, FakeHost, Killed, make_folder
from tests.optimize.rewards.test_composed import FakeJudge, Three, candidates, document
from tests.optimize.test_page import texts

JUDGED = [{"kind": "judge", "host": "far"}]
BOTH = [{"kind": "reward_model"}, {"kind": "labels"}]
JUDGE_COST, JUDGE_TOKENS, HOST_TOKENS = 0.01, 32, 28


@pytest.fixture
def limited(monkeypatch):
    """`limited(path, components, tokens=…, cost=…)` works a search by a composed reward, and goes on
    with one that was killed."""

    def go(path, components, kill_at=None, calls=4_000, finalists=3, words=None, **stop):
        judge = FakeJudge()
        host = FakeHost(kill_at=kill_at)
        monkeypatch.setattr(work, "open_host", lambda spec, models_dir: judge if spec.name == "far" else host)
        monkeypatch.setattr(work, "open_scorer", lambda folder: Three())
        if not path.exists():
            folder = make_folder(
                path, method="random", reward="reward_model", calls=calls, finalists=finalists,
                host=HostSpec(name="fake"),
            )  # fmt: skip
            written, spec = document(components, words=words), folder.spec
            price = sum(price_of(written["reward"]).values())
            spec["config"] |= {"reward": written["reward"], "stop": stop}
            spec["config"]["plan"] |= {"reserve": spec["config"]["plan"]["reserve"] * price, "price": price}
            write_json(folder.path / "spec.json", spec)
            write_json(folder.inputs / "reward.json", written)
        folder = RunFolder(path)
        context = RunContext(folder)
        try:
            return work.run(context), folder
        finally:
            context.close()

    return go


@pytest.mark.parametrize("limit", [1.3, 1.6, 2.0])
def test_a_judge_s_cost_is_set_aside_for_the_end(tmp_path, limited, limit):
    """The target is free: all that is paid is paid to the judge."""
    result, _ = limited(tmp_path / "r", JUDGED, cost=limit)
    assert result["finish_reason"] == "cost" and result["improved"]
    assert result["cost"] < limit + 32 * JUDGE_COST
    assert result["best"]["dev"]["n"] == 6 and result["best"]["test"]["n"] == result["gain"]["n"] == 8


def test_an_example_is_expected_to_take_what_everybody_is_paid_for_it(tmp_path, limited):
    _, folder = limited(tmp_path / "r", JUDGED, cost=1.3)
    books = Answers(
        folder.state / "answers.jsonl",
        Ledger(),
        Payer("fake", False),
        others={"judge/far": Payer("far", True)},
    )
    assert books.expected() == (pytest.approx(HOST_TOKENS + JUDGE_TOKENS), pytest.approx(JUDGE_COST))
    books.close()


def test_what_is_set_aside_is_counted_in_examples_not_in_calls(tmp_path, limited):
    """Labels and a text take two calls an example. 40 examples are set aside, whatever they take."""
    limit = 9_000
    result, folder = limited(tmp_path / "r", BOTH, words=WORDS, tokens=limit)
    found = candidates(folder)
    assert result["finish_reason"] == "tokens" and result["gain"]["n"] == 8
    searched = HOST_TOKENS * sum(c["scores"]["train"]["n"] for c in found.values())
    aside = HOST_TOKENS * (4 * 6 + 2 * 8)
    proposals = 70 * result["calls_by_purpose"]["optimizer"]
    # It went on until what was left over was less than one step: a batch, five candidates, 32 proposals.
    assert limit - 36 * 70 - 5 * 12 * HOST_TOKENS - 32 * 70 < searched + proposals + aside < limit


def test_killed_it_stops_at_the_same_place(tmp_path, limited):
    whole, one = limited(tmp_path / "whole", JUDGED, cost=1.3)
    result, reach = None, 60
    while result is None:
        try:
            result, two = limited(tmp_path / "cut", JUDGED, kill_at=reach, cost=1.3)
        except Killed:
            reach += 60
    gone = ("seconds", "lost_calls")
    assert {k: v for k, v in result.items() if k not in gone} == {
        k: v for k, v in whole.items() if k not in gone
    }
    assert candidates(one) == candidates(two)
    json.dumps(result, allow_nan=False)


def test_where_dev_could_be_paid_for_nobody_the_best_on_train_is_reported(tmp_path, limited, monkeypatch):
    """Its last answers are dearer than any before: nothing is left for the end."""
    plain = FakeJudge.generate

    def dear(self, requests, sampling, on_done=None, seeds=None):
        found = plain(self, requests, sampling, on_done, seeds)
        return [replace(one, cost=10.0) for one in found] if self.asked > 40 else found

    monkeypatch.setattr(FakeJudge, "generate", dear)
    result, folder = limited(tmp_path / "r", JUDGED, cost=1.6)
    found = candidates(folder)
    best = max(found.values(), key=lambda c: (c["scores"]["train"]["score"], -c["number"]))
    assert result["finish_reason"] == "cost" and not any("dev" in c["scores"] for c in found.values())
    assert result["improved"] and result["best"]["number"] == best["number"] != 0
    assert result["best"]["dev"] is None and result["gain"] is None


@pytest.mark.parametrize("on_dev", [False, True])
def test_the_page_says_where_it_was_chosen(db, admin, project, open_page, examples, champion, search, on_dev):
    examples(train=30)
    run = search()
    assert run.result["improved"]

    def unpaid(session):
        row = session.get(Run, run.id)
        best = {**row.result["best"], "test": None, **({} if on_dev else {"dev": None})}
        row.result = {**row.result, "gain": None, "best": best}
        session.add(row)

    db.write(unpaid)
    at = open_page(admin, "optimize.py", project)
    shown, number = texts(at), run.result["best"]["number"]
    assert not at.exception
    assert (f"Candidate {number} is the best on train only" in shown) is not on_dev
    assert (f"Candidate {number} is the best on dev, and was not read on test" in shown) is on_dev
    assert ("It was chosen on train" in shown) is not on_dev
