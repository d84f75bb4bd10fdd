"""What was paid for is kept at once, and a judge is asked once about a response in a run: whichever
candidates gave it, in one batch or in two, before a kill or after it."""

import contextlib
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
from core.optimize.books import answers_in, gave_up, grades_in
from core.optimize.evaluate import HostEvaluator
from core.optimize.graded import Grades, graded_with
from core.optimize.instruction import Instruction
from core.optimize.objectives import Graded, RewardScore
from core.optimize.proposals import what_fits
from core.optimize.protocol import OutOfBudget
from core.runs.context import RunContext, WorkError
from core.runs.service import run_folder, start_run
from storage.ids import content_hash
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
    lost = more.pop("count_lost", False)
    answers = Answers(
        path / "answers.jsonl", Ledger(budget), Payer("fake", count_lost=False),
        others={f"judge/{name}": Payer(name, count_lost=lost) for name in ("far", "near")}, earlier=more.pop("earlier", None),
        responses=more.pop("responses", None),
    )  # fmt: skip
    objective = more.pop("objective", None) or opened(*parts, judge=judge or Judge())
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
    assert second.details[0] == first.details[0]
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
    assert [len(line["graded"]) for line in lines(tmp_path) if "graded" in line] == [6]
    assert evaluator.evaluate(["b"], examples=[0, 0, 1]).scores.shape == (1, 3)
    assert evaluator.calls == 18 + 2 * 2


def test_what_could_not_be_read_and_what_failed_stays_so(tmp_path):
    """A call that failed for good is not made again in the run, and says nothing beyond it."""

    class Odd(Judge):
        def generate(self, requests, sampling, on_done=None, seeds=None):
            found = super().generate(requests, sampling, on_done, seeds)
            return [Completion("hm", 30, 2), Completion("", error="too long"), *found[2:]]

    judge = Odd()
    evaluator = books(tmp_path, judge=judge, batch=6)
    first = evaluator.evaluate(["a"]).details[0]
    evaluator.answers.close()
    again = books(tmp_path, judge=judge, batch=6)
    second = again.evaluate(["d"]).details[0]
    assert judge.asked == 6 and again.failed == 1 and first == second
    assert [one.get("unparsed") for one in first] == [["judge"], ["judge"], *[None] * 4]
    assert [one.get("failed") for one in first] == [None, ["judge"], *[None] * 4]
    path = tmp_path / "answers.jsonl"
    assert [gave_up(outcome) for _, _, outcome in answers_in(path)] == [False, True, *[False] * 4] * 2
    assert [bool(of["error"]) for _, _, of, _ in grades_in(path)] == [False, True, *[False] * 4]


@pytest.mark.parametrize(("asked", "kept"), [(1, True), (3, True), (4, False), (6, False)])
def test_a_judge_may_fail_beside_others_it_answered_but_not_be_silent(tmp_path, asked, kept):
    """All of `asked` new responses fail; the other ones of the six have their grades."""
    grades = Grades()
    for row in DATA["train"][asked:]:
        grades.keep(row["id"], f"1 to {row['input']}", {"judge": Graded(0.5)})
    evaluator = books(tmp_path, judge=Judge(fails=9), grades=grades, batch=6)
    if kept:
        found = evaluator.evaluate(["a"]).details[0]
        assert [one["parts"]["judge"] for one in found] == [0.0] * asked + [0.5] * (6 - asked)
    else:
        with pytest.raises(WorkError, match=f"answered none of {asked} requests: no route"):
            evaluator.evaluate(["a"])


def test_one_after_the_other_may_not_fail_for_long(tmp_path):
    evaluator = books(tmp_path, judge=Judge(fails=9), batch=1)
    with pytest.raises(WorkError, match="answered none of 1 requests"):
        evaluator.evaluate(["a"])
    assert evaluator.ledger.lines["far", "judge"].calls == 4


def test_two_judges_are_known_apart(tmp_path):
    """One was asked by an earlier run; the other was not."""
    judge, far = Judge(), {**JUDGE, "name": "far"}
    parts = (far, {**JUDGE, "name": "near", "rubric": "Is it near?"})
    grades = Grades()
    first = DATA["train"][0]  # to which “a” says just that
    grades.keep(first["id"], f"1 to {first['input']}", {"far": Graded(0.25, 30, 2, 0.01)})
    evaluator = books(tmp_path, judge=judge, parts=parts, grades=grades)
    found = evaluator.evaluate(["a"]).details[0]
    assert evaluator.price == 3 and judge.asked == 11 == evaluator.calls - 6
    assert found[0]["parts"]["far"] == 0.25 and [one["judged"] for one in found] == [[60, 4, 0.02]] * 6
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


def test_when_one_of_two_judges_fails_the_other_s_grades_are_kept(tmp_path):
    """The second batch of the first judge is asked once, though the second judge fails at it."""
    far, near = {**JUDGE, "name": "far"}, {**JUDGE, "host": "near", "name": "near"}
    judges = {"far": Judge(), "near": Judge()}

    def opened_books():
        evaluator = books(tmp_path, parts=(far, near))
        for part in evaluator.objective.judges:
            part.host = judges[part.name]
        return evaluator

    judges["near"].kill_at = 4
    evaluator = opened_books()
    with pytest.raises(Killed):
        evaluator.evaluate(["a"])
    evaluator.answers.close()
    assert (judges["far"].asked, judges["near"].asked) == (6, 4)
    judges["near"].kill_at = None
    again = opened_books()
    again.evaluate(["a"])
    assert (judges["far"].asked, judges["near"].asked) == (6, 6) and again.calls == 18


@pytest.mark.parametrize("reserve", [4, 10])
@pytest.mark.parametrize("budget", range(36, 60))
def test_calls_lost_between_two_judges_eat_nothing_that_is_set_aside(tmp_path, budget, reserve):
    """The first judge has graded both texts; the second, behind a URL, fails: what it was asked is lost,
    and counts. One text fits then, or none, and what the other was graded does not help it."""
    parts = ({**JUDGE, "name": "far"}, {**JUDGE, "host": "near", "name": "near"})

    def opened_books(near):
        evaluator = books(tmp_path, parts=parts, budget=budget, batch=12, reserve=reserve, count_lost=True)
        evaluator.objective.judges[1].host = near
        return evaluator

    evaluator = opened_books(Judge(fails=1))
    with contextlib.suppress(OutOfBudget), pytest.raises(WorkError, match="answered none"):
        what_fits(evaluator, ["a", "b"])
    evaluator.answers.close()
    evaluator = opened_books(Judge())
    before = evaluator.calls
    with contextlib.suppress(OutOfBudget):
        what_fits(evaluator, ["a", "b"])
    assert evaluator.calls <= max(before, budget - reserve)


def test_a_reward_model_that_fails_loses_no_response(tmp_path):
    class Breaks(FakeScorer):
        def score(self, inputs, responses):
            raise WorkError("out of memory")

    host, sampling = Echo(), Sampling(**SAMPLING)
    evaluator = books(tmp_path, host, objective=RewardScore(Breaks(), sampling))
    with pytest.raises(WorkError):
        evaluator.evaluate(["a"])
    evaluator.answers.close()
    books(tmp_path, host, objective=RewardScore(FakeScorer(), sampling)).evaluate(["a"])
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


def test_a_file_of_an_older_version_is_read(tmp_path):
    """Judges were paid with the outcome then, and what was scored anew stood in lines of its own."""
    ids = [row["id"] for row in DATA["train"]]
    text = content_hash("a")

    def outcome(score, **detail):
        told = {"score": score, "output": "x", "tokens_in": 20, "tokens_out": 8, "cost": 0.5, "error": ""}
        return {**told, "detail": {"parts": {"judge": score, "length": 0.0}, **detail}}

    paid = {"spent": {"judge/far": [30, 2, 0.01]}}
    written = [
        {"purpose": "target", "charged": 2, "others": {"judge/far": 2}},
        {"purpose": "target", "answers": [[text, ids[0], outcome(0.5, **paid)], [text, ids[1], outcome(0.0, **paid, unparsed=["judge"])]]},
        {"purpose": "judge/far", "charged": 9},  # lost
        {"purpose": "target", "free": [[text, ids[2], outcome(0.25)]]},
        {"purpose": "judge/far", "charged": 1},
        {"purpose": "target", "again": [[text, ids[3], outcome(0.75, **paid)], [text, ids[4], outcome(0.75, judged=[30, 2, 0.01])]], "calls": [1, 0]},
        {"purpose": "judge/far", "charged": 1},
        {"purpose": "target", "again": [[text, ids[5], outcome(1.0, **paid)]]},
    ]  # fmt: skip
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    evaluator = books(tmp_path)
    assert evaluator.cost(["a"]) == 0
    found = evaluator.evaluate(["a"])
    assert [one["parts"]["judge"] for one in found.details[0]] == [0.5, 0.0, 0.25, 0.75, 0.75, 1.0]
    target, judge = (evaluator.ledger.lines[key] for key in (("fake", "target"), ("far", "judge")))
    assert (target.calls, target.cached, target.tokens_out) == (2, 4, 16)
    assert (judge.calls, judge.tokens_in, evaluator.answers.lost) == (4, 4 * 30, 9)
    assert [evaluator.answers.paid("a", [one]) for one in ids] == [2, 4, 4, 5, 5, 6]
    names = {"judge": "now"}
    told = [(example, graded_with(detail, names)["now"].grade) for example, _, detail, judge in grades_in(tmp_path / "answers.jsonl") if not judge]  # fmt: skip
    assert told == [(ids[0], 0.5), (ids[1], None), (ids[3], 0.75), (ids[5], 1.0)]


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
