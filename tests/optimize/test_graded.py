"""What was paid for is kept at once, and a judge is asked once about a response in a run: whichever
candidates gave it, in one batch or in two, before a kill or after it."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.llm.ledger import Ledger
from core.llm.protocol import Completion, HostSpec, Sampling
from core.llm.registry import create_host
from core.optimize import transfer_work, work
from core.optimize.answers import Answers, Payer
from core.optimize.books import answers_in
from core.optimize.evaluate import HostEvaluator
from core.optimize.graded import Grades
from core.optimize.instruction import Instruction
from core.optimize.objectives import RewardScore
from core.optimize.proposals import what_fits
from core.optimize.protocol import OutOfBudget
from core.runs.context import RunContext, WorkError
from core.runs.service import run_folder, start_run
from tests.optimize.fakes import FakeHost, FakeScorer, Killed, rows
from tests.optimize.rewards.test_composed import SAMPLING, FakeJudge, opened
from tests.optimize.test_known_again import JUDGED, judged

DATA = rows(6, 2, 2)
JUDGE = {"kind": "judge", "host": "far"}
BRIEF = {"kind": "length", "limit": 3, "unit": "words"}


class Echo(FakeHost):
    """Says one of three things, by the text's first letter: most texts say what another said."""

    def _answer(self, request, sampling):
        system, said = request[0]["content"], request[-1]["content"]
        return Completion(f"{ord(system[0]) % 3} to {said}", 20, 8, cost=0.5)


class Judge(FakeJudge):
    """Keeps what it is asked about. `fails`: how many batches are without an answer."""

    def __init__(self, kill_at=None, fails=0):
        super().__init__(kill_at)
        self.batches, self.fails = [], fails

    def generate(self, requests, sampling, on_done=None, seeds=None):
        if self.fails:
            self.fails -= 1
            return [Completion("", error="no route")] * len(requests)
        found = super().generate(requests, sampling, on_done, seeds)
        self.batches.append([request[0]["content"] for request in requests])
        return found


def books(path, host=None, judge=None, *, budget=None, parts=(JUDGE, BRIEF), **more):
    """An evaluator on a file of answers, as a worker opens it."""
    answers = Answers(
        path / "answers.jsonl", Ledger(budget), Payer("fake", count_lost=False),
        others={"judge/far": Payer("far", count_lost=False)}, earlier=more.pop("earlier", None),
        responses=more.pop("responses", None),
    )  # fmt: skip
    objective = opened(*parts, judge=judge or Judge())
    start = Instruction("a", "{{input}}", "system")
    return HostEvaluator(host or Echo(), objective, start, DATA, answers, batch=more.pop("batch", 4), **more)


def lines(path):
    return [json.loads(line) for line in (path / "answers.jsonl").read_text().splitlines()]


# --- once in a run -------------------------------------------------------------------------------


def test_the_same_response_of_another_text_is_not_judged_again(tmp_path):
    """“a” and “d” say the same, “b” says something else."""
    host, judge = Echo(), Judge()
    evaluator = books(tmp_path, host, judge)
    first = evaluator.evaluate(["a"])
    assert judge.asked == 6 and evaluator.cost(["d"]) == 12
    second = evaluator.evaluate(["d", "b"])
    assert host.calls == 18 and judge.asked == 12 and evaluator.calls == 30
    assert second.outputs[0] == first.outputs[0] and (second.scores[0] == first.scores[0]).all()
    strip = lambda details: [{**one, "spent": None, "judged": None} for one in details]  # noqa: E731
    assert strip(second.details[0]) == strip(first.details[0])
    line = evaluator.ledger.lines["far", "judge"]
    assert (line.calls, line.tokens_in) == (12, 12 * 30) and line.cost == pytest.approx(0.12)
    assert evaluator.ledger.lines["fake", "target"].cached == 0  # the host was asked
    # An example takes as much as if nobody had been asked before: what is set aside stays enough.
    assert evaluator.answers.expected() == (pytest.approx(28 + 32), pytest.approx(0.51))


def test_in_one_batch_it_is_asked_about_once(tmp_path):
    judge = Judge()
    evaluator = books(tmp_path, judge=judge, batch=12)
    found = evaluator.evaluate(["a", "d"])  # one batch of twelve
    assert [len(set(batch)) for batch in judge.batches] == [6] == [len(batch) for batch in judge.batches]
    assert (found.scores[0] == found.scores[1]).all() and found.spent == [18, 18]
    assert evaluator.answers.saved == 6
    assert [line["calls"] for line in lines(tmp_path) if "scored" in line] == [[1] * 6, [0] * 6]


def test_an_answer_beyond_reading_counts_the_same_again_and_a_failed_call_is_made_again(tmp_path):
    class Odd(Judge):
        def generate(self, requests, sampling, on_done=None, seeds=None):
            found = super().generate(requests, sampling, on_done, seeds)
            if len(self.batches) == 1:
                return [Completion("hm", 30, 2), Completion("", error="busy"), *found[2:]]
            return found

    judge = Odd()
    evaluator = books(tmp_path, judge=judge, batch=6)
    first, second = evaluator.evaluate(["a"]).details[0], evaluator.evaluate(["d"]).details[0]
    assert judge.asked == 7 and evaluator.failed == 1
    assert "unparsed" in first[0] and second[0]["unparsed"] == ["judge"]
    assert "unparsed" in first[1] and second[1]["parts"]["judge"] > 0


def test_two_judges_are_known_apart(tmp_path):
    """One was asked by an earlier run; the other was not."""
    judge, far = Judge(), {**JUDGE, "name": "far"}
    parts = (far, {**JUDGE, "name": "near", "rubric": "Is it near?"})
    grades = Grades(frozenset({"far", "near"}))
    first = DATA["train"][0]  # to which “a” says just that
    grades.keep(first["id"], f"1 to {first['input']}", {"far": 0.25}, (30, 2, 0.01))
    evaluator = books(tmp_path, judge=judge, parts=parts, grades=grades)
    found = evaluator.evaluate(["a"]).details[0]
    assert evaluator.price == 3 and judge.asked == 11 == evaluator.calls - 6
    assert found[0]["parts"]["far"] == 0.25 and found[0]["judged"] == [30, 2, 0.01]
    assert sum("Is it near?" in one for batch in judge.batches for one in batch) == 6


@pytest.mark.parametrize("kills", [False, True])
def test_a_transfer_asks_once_about_what_several_prompts_say(
    db, admin, project, examples, champion, reward_model, search, monkeypatch, tmp_path, kills
):
    examples(train=30)
    create_host(db, admin, name="near", kind="local", model=str(tmp_path / "near"))
    create_host(db, admin, name="far", kind="local", model=str(tmp_path / "far"))
    judged(monkeypatch)
    done = search(reward=JUDGED, budget={"calls": 400}, real=True)
    asked = {"run": done.id, "hosts": ["near"], "candidates": [1, 2, 3], "split": "dev"}
    run = start_run(db, admin, project.id, "transfer", asked)
    near, judge, reach = Echo(HostSpec(name="near")), Judge(), 5
    monkeypatch.setattr(transfer_work, "open_host", lambda spec, models_dir: near)
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: judge)
    while True:
        near.kill_at, judge.kill_at = (reach, reach) if kills else (None, None)
        context = RunContext(run_folder(run.id))
        try:
            result = transfer_work.run(context)
            break
        except Killed:
            reach += 9
        finally:
            context.close()
    files = list(run_folder(run.id).state.glob("answers-*.jsonl"))
    said = [(example, outcome["output"]) for path in files for _, example, outcome in answers_in(path)]
    assert len(files) == 4 and len(said) == near.calls and judge.asked == len(set(said)) < len(said)
    assert result["calls"] == near.calls + judge.asked


# --- kept at once --------------------------------------------------------------------------------


def test_when_a_judge_s_host_fails_the_responses_are_kept(tmp_path):
    host, judge = Echo(), Judge(fails=1)
    evaluator = books(tmp_path, host, judge)
    with pytest.raises(WorkError, match="answered none of 4 requests: no route"):
        evaluator.evaluate(["a"])
    evaluator.answers.close()
    assert host.calls == 4
    again = books(tmp_path, host, judge)
    assert again.ledger.lines["fake", "target"].calls == 4 and again.answers.lost == 4  # the judge's
    assert again.cost(["a"]) == 4 + 2 * 2
    again.evaluate(["a"])
    assert host.calls == 6 and judge.asked == 6 and again.calls == 12
    line = again.ledger.lines["fake", "target"]
    assert (line.tokens_out, line.cached) == (6 * 8, 0) and line.cost == pytest.approx(3.0)


def test_a_reward_model_that_fails_loses_no_response(tmp_path):
    class Breaks(FakeScorer):
        def score(self, inputs, responses):
            raise WorkError("out of memory")

    host = Echo()
    evaluator = books(tmp_path, host)
    sampling = Sampling(**SAMPLING)
    evaluator.objective = RewardScore(Breaks(), sampling)
    with pytest.raises(WorkError):
        evaluator.evaluate(["a"])
    evaluator.objective = RewardScore(FakeScorer(), sampling)
    evaluator.evaluate(["a"])
    assert host.calls == 6


def test_stopped_between_the_two_it_goes_on_with_the_second(tmp_path):
    """A stop is looked for before a batch is asked for, and before it is judged."""
    host, judge, looked = Echo(), Judge(), []

    def stop():
        looked.append(1)
        if len(looked) == 2:
            raise Killed

    evaluator = books(tmp_path, host, judge, between=stop)
    with pytest.raises(Killed):
        evaluator.evaluate(["a"])
    assert (host.calls, judge.asked) == (4, 0)
    evaluator.answers.close()
    books(tmp_path, host, judge).evaluate(["a"])
    assert (host.calls, judge.asked) == (6, 6)


# --- what fits -----------------------------------------------------------------------------------


def steps(evaluator, plan, ends):
    """Steps of texts, as methods take them: one after the other where the budget carries them all
    and one more, else as many of the first as fit. `ends`: what steps left behind before a kill."""
    for texts in plan[len(ends) :]:
        spent = ends[-1]["calls"] if ends else 0
        evaluator.released = ends[-1]["released"] if ends else 0
        carried = evaluator.fits(12 * (len(texts) + 1) - evaluator.since(spent))
        found = []
        for some in [[text] for text in texts] if carried else [texts]:
            try:
                evaluation, fitting, _ = what_fits(evaluator, some)
            except OutOfBudget:
                continue
            found.append((some[:fitting], evaluation.scores.tolist(), evaluation.outputs))
        evaluator.release()
        ends.append({"released": evaluator.released, "calls": evaluator.calls, "found": found})


texts = st.text("abcdefghi", min_size=1, max_size=2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(texts, min_size=1, max_size=4, unique=True), min_size=1, max_size=5),
    st.integers(6, 90),
    st.integers(1, 40),
    st.sampled_from([1, 3, 4, 12]),
)
@example([["a"], ["d", "g", "b"]], 42, 17, 4)  # killed when “d” and a part of “g” have saved enough for “b”
def test_killed_anywhere_the_same_texts_fit(tmp_path_factory, plan, budget, every, batch):
    whole: list = []
    evaluator = books(tmp_path_factory.mktemp("whole"), budget=budget, batch=batch)
    steps(evaluator, plan, whole)
    assert evaluator.calls <= budget
    host, judge, folder = Echo(), Judge(), tmp_path_factory.mktemp("cut")
    ends: list = []
    reach = every
    while len(ends) < len(plan):
        host.kill_at, judge.kill_at = reach, max(1, reach - every // 2)
        cut = books(folder, host, judge, budget=budget, batch=batch)
        try:
            steps(cut, plan, ends)
        except Killed:
            reach += max(every, batch)
        cut.answers.close()
    assert ends == whole
    asked = Counter(one for kept in judge.batches for one in kept)
    assert not asked or max(asked.values()) == 1
    assert host.calls + judge.asked == whole[-1]["calls"]


def test_what_was_saved_is_spent_by_the_next_step(tmp_path):
    """A text is 12 calls at most. “d” and “g” say what “a” said."""
    evaluator = books(tmp_path, budget=30)
    evaluator.evaluate(["a"])
    evaluator.evaluate(["d"])
    assert evaluator.calls == 18 and evaluator.since(0) == 24
    with pytest.raises(OutOfBudget):
        evaluator.evaluate(["g"])
    evaluator.release()
    assert evaluator.since(18) == 0
    evaluator.evaluate(["g"])
    assert evaluator.calls == 24
