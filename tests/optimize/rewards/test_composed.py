"""A composed reward as an objective, and a whole search with one, on a fake host."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, ttest_1samp

from core.llm.protocol import Completion, HostSpec
from core.optimize import work
from core.optimize.books import answers_in
from core.optimize.objectives import respond
from core.optimize.promote import best_candidates, choose
from core.optimize.rewards.composed import Composed
from core.optimize.rewards.kinds import price_of, read_reward
from core.optimize.rewards.opening import open_composed
from core.optimize.rewards.scores import ensemble, mean_of, violations
from core.runs.context import RunContext
from core.runs.folder import write_json
from storage.tables import Candidate
from tests.optimize.fakes import WORDS, FakeHost, Killed, chance, make_folder, rows

ROWS = rows(6, 2, 2)["train"]
REQUESTS = [[{"role": "system", "content": "Read"}, {"role": "user", "content": r["input"]}] for r in ROWS]
SAMPLING = {"max_new_tokens": 8, "temperature": 0.0}


class Three:
    """A reward model of three members that likes shouting."""

    def score_members(self, inputs, responses):
        rewards = np.array(
            [0.2 * r.count("!") + 0.1 * chance(i, r) - 1 for i, r in zip(inputs, responses, strict=True)]
        )
        return np.stack([rewards, rewards + 0.3, rewards - 0.6], axis=1)


class FakeJudge:
    """Grades by the length of what it reads; every seventh answer is no grade."""

    def __init__(self, kill_at=None):
        self.spec, self.access, self.asked, self.kill_at = (
            HostSpec(name="judge"),
            frozenset({"text"}),
            0,
            kill_at,
        )

    def generate(self, requests, sampling, on_done=None, seeds=None):
        if self.kill_at is not None and self.asked + len(requests) > self.kill_at:
            raise Killed
        self.asked += len(requests)
        said = [f"{1 + int(10 * chance(one[0]['content']))}" for one in requests]
        return [Completion("none" if chance(s, o[0]["content"]) < 0.14 else s, 30, 2, cost=0.01)
                for s, o in zip(said, requests, strict=True)]  # fmt: skip


def document(components, constraints=(), words=None):
    reward = read_reward({"components": list(components), "constraints": list(constraints)})
    for item in reward["components"]:
        if item["kind"] == "reward_model":
            item["models"] = ["m"]
    hosts = {
        i["host"]: HostSpec(name=i["host"]).as_dict() for i in reward["components"] if i["kind"] == "judge"
    }
    found = {"kind": "composed", "reward": reward, "models": {"m": {"folder": "m"}}, "hosts": hosts}
    return {**found, "sampling": SAMPLING, **({"words": words} if words else {})}


def opened(*components, constraints=(), words=None, judge=None) -> Composed:
    return open_composed(document(components, constraints, words), lambda path: Three(), lambda spec: judge)


def answered(objective, host, times=1):
    requests, rows = REQUESTS * times, ROWS * times
    said = respond(objective, host, requests)
    for judge in objective.judges:
        grades = judge.ask(rows, [one.text for one in said])
        said = [
            replace(one, grades={**one.grades, judge.name: of}) for one, of in zip(said, grades, strict=True)
        ]
    return objective.outcomes(host, requests, rows, said)


# --- formulas ------------------------------------------------------------------------------------


@given(
    arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(-9, 9)), st.floats(0, 5)
)
def test_ensembles(members, lam):
    """Coste et al., equations 2 and 3, member by member."""
    for row, mean, worst, varied in zip(
        members, ensemble(members, "mean", lam), ensemble(members, "worst", lam),
        ensemble(members, "variance", lam), strict=True,
    ):  # fmt: skip
        average = sum(row) / len(row)
        assert mean == pytest.approx(average, abs=1e-9) and worst == min(row)
        assert varied == pytest.approx(
            average - lam * sum((x - average) ** 2 for x in row) / len(row), abs=1e-6
        )


def test_intervals():
    values = np.array([0.1, 0.4, -0.2, 0.9, 0.3])
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_of(values) == pytest.approx({"score": 0.3, "low": low, "high": high, "n": 5})
    found, exact = (
        mean_of(np.array([1.0, 1, 0, 1]), binary=True),
        binomtest(3, 4).proportion_ci(method="wilson"),
    )
    assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high), abs=1e-6)


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, False), (0.24, False), (0.25, True), (1.0, True)])
def test_a_constraint_is_kept_at_its_threshold(threshold, kept):
    found = violations(np.array([True, False, False, False]), threshold)
    assert (found["score"], found["broken"], found["n"], found["feasible"]) == (0.25, 1, 4, kept)


# --- the objective -------------------------------------------------------------------------------


def test_the_reward_is_the_weighted_sum_and_every_part_is_kept_apart():
    objective = opened(
        {"kind": "reward_model", "weight": 2.0, "ensemble": "worst"},
        {"kind": "length", "weight": 0.5, "limit": 5, "margin": 4},
        {"kind": "cost", "per": 100},
        {"kind": "metric", "metric": "regex", "pattern": "!$", "weight": 0},
        {"kind": "labels"},
        constraints=[{"kind": "rules", "forbidden": ["bad"], "threshold": 0.5}],
        words=WORDS,
    )
    assert objective.price == {"target": 2} and objective.unit == 4.5 and objective.needs == "label_logprobs"
    host = FakeHost()
    outcomes = answered(objective, host)
    assert host.calls == 2 * len(ROWS)
    for outcome, row in zip(outcomes, ROWS, strict=True):
        words = outcome.output.split()
        worst = 0.2 * outcome.output.count("!") + 0.1 * chance(row["input"], outcome.output) - 1 - 0.6
        parts = outcome.detail["parts"]
        assert parts["reward model"] == pytest.approx(worst)
        assert parts["length"] == pytest.approx(-min(1, max(0, (len(words) - 5) / 4)))
        assert parts["cost"] == pytest.approx(-0.28)
        assert parts["pattern"] == float(outcome.output.endswith("!"))
        expected = 2 * worst + 0.5 * parts["length"] + parts["cost"] + parts["labels"]
        assert outcome.score == pytest.approx(expected)
        assert outcome.detail["broken"] == {"rules": int("bad" in row["input"])}
        assert outcome.detail["spread"] == pytest.approx(np.std([0, 0.3, -0.6]))
    scores = objective.measure(np.array([o.score for o in outcomes]), [o.output for o in outcomes], ROWS)
    scores |= objective.detailed([o.detail for o in outcomes])
    total = sum(part["weight"] * part["score"] for part in scores["parts"].values())
    assert scores["score"] == pytest.approx(total)
    assert scores["constraints"]["rules"]["score"] == 0.5 and scores["feasible"]
    assert all(
        part["low"] <= part["score"] <= part["high"] and part["n"] == 6 for part in scores["parts"].values()
    )
    assert 0 <= objective.percent(scores) <= 100
    assert "length" in objective.told(1.0, "x", ROWS[0], outcomes[0].detail)[1]


def test_a_judge_is_paid_for_read_strictly_and_counted():
    judge = FakeJudge()
    objective = opened({"kind": "judge", "host": "far"}, judge=judge)
    outcomes = answered(objective, FakeHost(), 10)
    assert objective.price == {"target": 1, "judge/far": 1} and judge.asked == 60
    unparsed = [o for o in outcomes if o.detail.get("unparsed") == ["judge"]]
    assert unparsed and all(o.detail["parts"]["judge"] == 0 for o in unparsed)
    assert all(o.detail["judged"] == [30, 2, 0.01] for o in outcomes)
    assert objective.detailed([o.detail for o in outcomes])["parts"]["judge"]["unparsed"] == len(unparsed)


# --- a search ------------------------------------------------------------------------------------

REWARD = (
    {"kind": "reward_model", "weight": 1.0}, {"kind": "length", "limit": 6, "margin": 6},
    {"kind": "judge", "host": "far", "weight": 0.5},
)  # fmt: skip


@pytest.fixture
def search(monkeypatch):
    """`search(path, …)` runs a folder with a composed reward."""

    def go(path, components=REWARD, constraints=(), calls=1_500, kill_at=None, judge_kill=None):
        host, judge = FakeHost(kill_at=kill_at), FakeJudge(judge_kill)
        monkeypatch.setattr(work, "open_host", lambda spec, models_dir: judge if spec.name == "far" else host)
        monkeypatch.setattr(work, "open_scorer", lambda folder: Three())
        if not path.exists():
            folder = make_folder(path, reward="reward_model", calls=calls)
            written = document(components, constraints)
            spec = json.loads((folder.path / "spec.json").read_text())
            price = sum(price_of(written["reward"]).values())
            spec["config"] |= {"reward": written["reward"]}
            spec["config"]["plan"]["reserve"] *= price
            write_json(folder.path / "spec.json", spec)
            write_json(folder.inputs / "reward.json", written)
        from core.runs.folder import RunFolder

        folder = RunFolder(path)
        context = RunContext(folder)
        try:
            return work.run(context), host, judge, folder
        finally:
            context.close()

    return go


def candidates(folder):
    events, _ = folder.read_events()
    return {e["data"]["number"]: e["data"] for e in events if e["type"] == "candidate"}


def test_a_search_pays_its_judge_from_the_same_budget(tmp_path, search):
    result, host, judge, folder = search(tmp_path / "r")
    assert result["calls"] == host.calls + judge.asked <= 1_500
    said = list(answers_in(folder.state / "answers.jsonl"))
    assert result["calls_by_purpose"]["target"] == len(said)
    different = {(example, outcome["output"]) for _, example, outcome in said}
    assert result["calls_by_purpose"]["judge"] == judge.asked == len(different) < len(said)
    best = result["best"]
    for split, n in (("train", 12), ("dev", 6), ("test", 8)):
        assert set(best[split]["parts"]) == {"reward model", "length", "judge"}
        assert best[split]["parts"]["judge"]["n"] == n
        total = sum(part["weight"] * part["score"] for part in best[split]["parts"].values())
        assert best[split]["score"] == pytest.approx(total)
    events, _ = folder.read_events()
    lines = {(e["data"]["host"], e["data"]["purpose"]): e["data"] for e in events if e["type"] == "ledger"}
    assert lines["far", "judge"]["cost"] == pytest.approx(0.01 * judge.asked)
    json.dumps(result, allow_nan=False)


def test_killed_while_it_asks_or_judges_it_ends_the_same(tmp_path, search):
    whole = search(tmp_path / "whole", calls=700)
    result, reach = None, 20
    while result is None:
        try:
            result = search(tmp_path / "cut", calls=700, kill_at=reach, judge_kill=reach - 9)
        except Killed:
            reach += 40
    assert result[0]["lost_calls"] > 0
    gone = ("seconds", "lost_calls")
    assert {k: v for k, v in result[0].items() if k not in gone} == {
        k: v for k, v in whole[0].items() if k not in gone
    }
    assert candidates(result[3]) == candidates(whole[3])


def test_what_breaks_a_constraint_is_neither_chosen_nor_sent(tmp_path, search):
    """Shouting is what the reward model likes, and what the rules forbid."""
    rules = {"kind": "rules", "forbidden": ["/!{6,}/"], "threshold": 0.0}
    result, _, _, folder = search(tmp_path / "kept", constraints=[rules], calls=900)
    found = candidates(folder)
    broken = {n for n, c in found.items() if not c["scores"]["train"]["feasible"]}
    assert broken and result["infeasible"] == len(broken)
    assert result["best"]["number"] not in broken and not broken & set(result["finalists"])
    kept = [Candidate(run_id="r", project_id="p", **data) for data in found.values()]
    assert all(one.number not in broken for one in best_candidates(kept, 20))
    with pytest.raises(Exception, match="is infeasible: “rules” is broken on"):
        choose(kept, [min(broken)])


def test_where_the_start_breaks_a_constraint_the_best_that_keeps_it_is_chosen(tmp_path, search):
    likes_length = ({"kind": "metric", "metric": "regex", "pattern": "!{3,}", "weight": 1},)
    rules = {"kind": "rules", "required": ["/!{5,}/"], "threshold": 0.0}
    result, _, _, folder = search(tmp_path / "r", components=likes_length, constraints=[rules], calls=900)
    found = candidates(folder)
    assert not found[0]["scores"]["train"]["feasible"]
    assert result["improved"] and found[result["best"]["number"]]["scores"]["dev"]["feasible"]
