"""A reward model whose score grows with length, and what is left of it without."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from core.errors import Invalid
from core.llm.protocol import Completion, Sampling
from core.optimize.rewards.freezing import freeze, reference_responses
from core.optimize.rewards.kinds import read_reward
from core.optimize.rewards.lengths import fit, log_words
from core.optimize.rewards.opening import open_composed
from core.optimize.rewards.parts import Batch
from core.runs.service import list_runs, run_folder
from storage.tables import Candidate, Example, Project, Response
from tests.optimize.fakes import FakeHost, chance

CHEAT = np.array([1.5, 0.4, 2.5])  # deviations a factor e in length, by member


class Cheated:
    """Three members: how good a response is (its share of “good”), and how long."""

    def score_members(self, inputs, responses):
        good = np.array([r.split().count("good") / max(1, len(r.split())) for r in responses])
        return good[:, None] + np.outer(np.log1p([len(r.split()) for r in responses]), CHEAT)


def texts(n=60, seed=2):
    """Responses of 3 to 40 words, of which more or fewer are good, whatever their length."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 41, n)
    return [" ".join(rng.choice(["good", "bad"], size, p=[p, 1 - p])) for size, p in zip(sizes, rng.random(n), strict=True)]  # fmt: skip


def test_the_line_is_that_of_least_squares_for_each_member():
    responses = texts()
    found = fit([Cheated()], [f"q{i % 20}" for i in range(60)], responses)
    members = Cheated().score_members([], responses)
    length = np.array([np.log(1 + len(text.split())) for text in responses])
    for member, slope in zip(members.T, found.slopes, strict=True):
        assert slope == pytest.approx(np.polyfit(length, member, 1)[0])
    mean = members.mean(axis=1)
    left = found.without(members, responses)
    assert left.mean() == pytest.approx(mean.mean()) and left.shape == (60, 3)
    for member in left.T:
        assert abs(pearsonr(member, length).statistic) < 1e-9
    figures = found.figures
    assert figures["score"] == pytest.approx(np.polyfit(length, mean, 1)[0])
    assert figures["share"] == pytest.approx(pearsonr(mean, length).statistic ** 2)
    assert (figures["n"], figures["examples"]) == (60, 20)
    two = fit([Cheated(), Cheated()], ["q"] * 60, responses)
    assert two.slopes == pytest.approx([*found.slopes, *found.slopes])
    assert two.figures["high"] == np.inf  # one example says nothing of others


def test_the_interval_holds_the_true_slope_nineteen_times_in_twenty():
    """Responses to one example share an error, which an interval for independent ones forgets."""
    rng, held = np.random.default_rng(4), []
    for _ in range(300):
        of = np.repeat(np.arange(40), 4)
        sizes = np.exp(rng.normal(2.5, 0.6, 40))[of] * np.exp(rng.normal(0, 0.1, 160))
        responses = ["w " * max(1, int(size)) for size in sizes]
        noise = rng.normal(0, 1, 40)[of] + rng.normal(0, 0.3, 160)
        members = (0.8 * log_words(responses) + noise)[:, None]
        scorer = SimpleNamespace(score_members=lambda inputs, responses, members=members: members)
        found = fit([scorer], [f"q{i}" for i in of], responses).figures
        held.append(found["low"] < 0.8 < found["high"])
    assert 0.90 < np.mean(held) < 0.985


@pytest.fixture
def answered(db, project, examples):
    """Examples with responses that the search did not make, to all splits."""

    def make(count=60):
        rows = examples(train=30, dev=8, test=10)
        by_split = {split: [row for row in rows if row.split == split] for split in ("train", "dev", "test")}
        made = [
            Response(project_id=project.id, example_id=of[i % len(of)].id, prompt_id="p", text=text, cache_key=f"{split} {i}")
            for split, of in by_split.items()
            for i, text in enumerate(texts(count, seed=len(split)))
        ]  # fmt: skip
        db.write(lambda session: session.add_all(made))
        return rows

    return make


class Talker(FakeHost):
    """Says more the fewer words its instruction has, and the less of it is good."""

    def generate(self, requests, sampling, on_done=None, seeds=None):
        self._count(len(requests))
        answers = super().generate(requests, sampling, on_done, seeds)
        self.calls -= len(requests)
        for one, request in zip(answers, requests, strict=True):
            if one.text.startswith("Answer to"):
                words = max(1, len(request[0]["content"].split()))
                size = 4 + 3 * max(0, 26 - words)
                good = [chance(request[-1]["content"], str(i)) < words / 30 for i in range(size)]
                one.__dict__["text"] = " ".join("good" if of else "bad" for of in good)
        return answers


def test_the_planted_cheat_is_not_preferred(db, admin, project, answered, reward_model):
    """The longer of two responses is worse: the score prefers it, and what is left does not."""
    answered()
    reward = read_reward({"components": [
        {"kind": "reward_model", "weight": 0}, {"kind": "reward_model", "length": "removed"},
    ]})  # fmt: skip
    with db.read() as session:
        fresh = session.get(Project, project.id)
        document = json.loads(json.dumps(freeze(session, fresh, reward, Sampling(max_new_tokens=8))))
    with db.read() as session:
        train = {row.input for row in session.query(Example) if row.split == "train"}
    assert {row["input"] for row in document["reference"]} <= train and len(document["reference"]) >= 50
    objective = open_composed(document, lambda folder: Cheated(), lambda spec: FakeHost())
    assert [part.name for part in objective.parts] == ["reward model", "reward model less length"]
    told = objective.lengths["reward model less length"]
    assert told["low"] < CHEAT.mean() < told["high"] and told["share"] > 0.7
    good, long = "good good good bad", "good bad " * 40
    as_it_is, less = (part.values(batch_of(good, long)).values for part in objective.parts)
    assert as_it_is[0] < as_it_is[1] and less[0] > less[1]
    assert less[0] - less[1] == pytest.approx(0.25, abs=0.35)  # three of four good, against half
    again = open_composed(document, lambda folder: Cheated(), lambda spec: FakeHost())
    assert again.lengths == objective.lengths  # what is frozen decides


def batch_of(*said):
    return Batch([{"input": "q"}] * len(said), [Completion(text) for text in said])


@pytest.mark.parametrize(
    ("length", "word"), [("kept", "reward model"), ("removed", "reward model less length")]
)
def test_a_search_follows_what_is_left(
    db, admin, project, answered, champion, reward_model, monkeypatch, search, length, word
):
    """On a host whose shorter instructions give longer, worse answers, the score as it is makes the
    search go for length; without what length explains it does not."""
    answered()
    monkeypatch.setattr("tests.optimize.conftest.FakeHost", Talker)
    monkeypatch.setattr("tests.optimize.conftest.FakeScorer", Cheated)
    reward = {"components": [{"kind": "reward_model", "length": length}]}
    run = search(
        reward=reward, method="random", source="edits", budget={"calls": 1_200}, watch={"gold": None}
    )
    train = run.result["best"]["train"]
    assert list(train["parts"]) == [word]
    with db.read() as session:
        scores = [c.scores["train"] for c in session.query(Candidate) if c.run_id == run.id]
    goes_with = spearmanr([s["score"] for s in scores], [s["words"] for s in scores]).statistic
    start = run.result["start"]["train"]["words"]
    if length == "kept":
        assert goes_with > 0.9 and train["words"] > 1.5 * start and run.result["lengths"] == {}
        return
    assert goes_with < 0 and train["words"] <= start
    assert run.result["lengths"][word]["n"] >= 50
    log = (run_folder(run.id).path / "events.jsonl").read_text()
    assert "go with each factor e in length" in log


def test_too_few_responses_are_said(db, project, answered):
    answered(count=10)
    with (
        db.read() as session,
        pytest.raises(Invalid, match=r"at least 30 .* to train examples.* there are 10"),
    ):
        reference_responses(session, project)


def test_from_the_form(db, admin, project, open_page, answered, champion, reward_model):
    answered()
    at = open_page(admin, "optimize.py", project)
    at.segmented_control(key="optimize_reward").set_value("composed").run()
    chosen = at.multiselect(key="compose_components")
    assert "less_length" in chosen.options or "Reward model, less what length explains" in chosen.options
    chosen.set_value(["reward_model", "less_length"]).run()
    at.number_input(key="compose_reward_model_weight").set_value(0.0).run()
    assert not at.exception
    at.button(key="optimize_start").click().run()
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    parts = [(c["name"], c["weight"], c["length"]) for c in run.config["reward"]["components"]]
    assert parts == [("reward model", 0.0, "kept"), ("reward model less length", 1.0, "removed")]
    assert len(json.loads((run_folder(run.id).inputs / "reward.json").read_text())["reference"]) >= 50
