"""Answers of earlier runs, where the reward is another: the response is scored anew, and a judge that
graded it is not asked again."""

import pyarrow.parquet as pq
import pytest

from core.llm.ledger import Ledger
from core.llm.protocol import Sampling
from core.llm.registry import create_host
from core.optimize import transfer_work, work
from core.optimize.answers import Answers, Payer
from core.optimize.books import answers_in
from core.optimize.evaluate import HostEvaluator
from core.optimize.instruction import Instruction
from core.optimize.objectives import Graded, Heard, RewardScore
from core.runs.context import RunContext
from core.runs.service import run_folder, start_run
from storage.ids import content_hash
from storage.tables import Example
from tests.optimize.fakes import FakeHost, FakeScorer, Killed, rows
from tests.optimize.rewards.test_composed import FakeJudge, opened
from tests.optimize.test_known_again import JUDGED, URL, judged


def test_after_retraining_no_response_is_generated_twice(
    db, admin, project, examples, champion, reward_model, search, frozen, retrained, monkeypatch
):
    examples(train=30)
    first = search(reward="reward_model", budget={"calls": 300})
    retrained()
    assert frozen() == [] and len(frozen(scored=False)) > 100
    old = FakeScorer.score  # the new model likes what the old one does not
    monkeypatch.setattr(FakeScorer, "score", lambda self, *texts: 0.5 - 0.1 * old(self, *texts))
    fake, asked = FakeHost(), []
    answer = fake._answer
    monkeypatch.setattr(
        fake, "_answer", lambda request, sampling: (asked.append(request), answer(request, sampling))[1]
    )
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: fake)
    again = search(reward="reward_model", budget={"calls": 300}, real=True)
    start, before = again.result["start"], first.result["start"]
    for split in ("train", "dev", "test"):  # the same responses, by the other model
        assert start[split]["words"] == before[split]["words"]
        assert start[split]["score"] == pytest.approx(0.5 - 0.1 * before[split]["score"])
    n = sum(start[split]["n"] for split in ("train", "dev", "test"))
    assert again.result["free_answers"] >= n and again.result["calls"] == fake.calls == len(asked)
    assert not any(request[0]["content"] == champion.system for request in asked)


def responses(run):
    """(example, response) that a run's reward has seen: a judge is asked once about each."""
    answers = answers_in(run_folder(run.id).state / "answers.jsonl")
    return {(example, outcome["output"]) for _, example, outcome in answers}


def test_a_judge_is_paid_for_known_responses_and_the_host_is_not(
    db, admin, project, examples, champion, reward_model, search, monkeypatch
):
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL, price_in=1.0)
    search(reward="reward_model", budget={"calls": 300})
    run = start_run(
        db, admin, project.id, "optimize", {"reward": JUDGED, "budget": {"calls": 400}, "seed": 5}
    )
    host, judge = judged(monkeypatch)
    context = RunContext(run_folder(run.id))
    result = work.run(context)
    context.close()
    events, _ = run_folder(run.id).read_events()
    lines = {(e["data"]["host"], e["data"]["purpose"]): e["data"] for e in events if e["type"] == "ledger"}
    target, paid = lines["embedded", "target"], lines["far", "judge"]
    free = result["free_answers"]
    assert free == target["cached"] > 20 and result["calls"] == host.calls + judge.asked <= 400
    assert paid["calls"] == judge.asked == len(responses(run)) < target["calls"] + free
    assert paid["cost"] == pytest.approx(0.01 * judge.asked) and paid["tokens_in"] == 30 * judge.asked
    assert target["tokens_out"] == 8 * target["calls"]  # what was known is no expense
    assert result["best"]["test"]["n"] and result["gain"] is not None
    # All that is written down adds up when it is read again, and the next search knows it all.
    again = RunContext(run_folder(run.id))
    judged(monkeypatch)
    assert {k: v for k, v in work.run(again).items() if k != "seconds"} == {
        k: v for k, v in result.items() if k != "seconds"
    }
    again.close()
    third = start_run(
        db, admin, project.id, "optimize", {"reward": JUDGED, "budget": {"calls": 400}, "seed": 5}
    )
    rows = pq.read_table(run_folder(third.id).inputs / "known.parquet").to_pylist()
    assert sum(row["scored"] for row in rows) == target["calls"] + free
    assert not any("spent" in row["detail"] for row in rows)


@pytest.mark.parametrize(("judge", "price"), [(False, 0), (True, 1)])
def test_a_known_response_takes_the_judge_s_call_out_of_the_budget_and_no_other(tmp_path, judge, price):
    """With 2 x 6 calls for what is not known, what is known still fits, and is scored."""
    sampling = Sampling(8, 0.0)
    objective = opened({"kind": "reward_model"}, {"kind": "judge", "host": "far"}, judge=FakeJudge())
    if not judge:
        objective = RewardScore(FakeScorer(), sampling)
    data = rows(6, 2, 2)
    responses = {
        (content_hash(text), row["id"]): Heard(f"{text}!", 20, 8, cost=0.5)
        for text in ("a", "b")
        for row in data["train"]
    }
    ledger, far = Ledger(2 * 6 * objective.price["target"] + 2 * 6 * price), Payer("far", count_lost=True)
    answers = Answers(tmp_path / "answers.jsonl", ledger, Payer("fake", count_lost=False),
                      others={"judge/far": far}, responses=responses)  # fmt: skip
    host = FakeHost()
    books = HostEvaluator(host, objective, Instruction("a", "{{input}}", "system"), data, answers)
    assert books.cost(["a", "b", "c"]) == 12 * price + 6 * (1 + price)
    found = books.evaluate(["a", "b"])
    assert host.calls == 0 and ledger.calls == 12 * price and ledger.total.cached == 12
    assert ledger.lines["fake", "target"].cost == 0 == ledger.lines["fake", "target"].tokens_out
    assert found.outputs[1] == ["b!"] * 6 and books.cost(["a", "b"]) == 0
    assert answers.expected() == (pytest.approx(28 + 32 * price), pytest.approx(0.5 + 0.01 * price))
    books.evaluate(["c"])
    assert host.calls == 6


def test_a_grade_that_is_known_is_no_call_and_counts_as_it_was(tmp_path):
    """Of six known responses three were graded, one of them beyond reading."""
    judge = FakeJudge()
    objective = opened(
        {"kind": "judge", "host": "far", "name": "far"}, {**BRIEF, "name": "brief"}, judge=judge
    )
    data = rows(6, 2, 2)
    grades = [{"far": 0.5}, {"far": None}, {"far": 1.0}, {}, {"other": 0.5}, {}]
    responses = {
        (content_hash("a"), row["id"]): Heard("a!", 20, 8, cost=0.5, grades={name: Graded(one, 30, 2, 0.01) for name, one in of.items()})
        for row, of in zip(data["train"], grades, strict=True)
    }  # fmt: skip
    payers = {"others": {"judge/far": Payer("far", count_lost=True)}}

    def books(**more):
        answers = Answers(
            tmp_path / "answers.jsonl", Ledger(3), Payer("fake", count_lost=False), **payers, **more
        )
        return HostEvaluator(FakeHost(), objective, Instruction("a", "{{input}}", "system"), data, answers)

    first = books(responses=responses)
    assert first.cost(["a"]) == 3
    found = first.evaluate(["a"])
    assert judge.asked == first.ledger.calls == first.ledger.lines["far", "judge"].calls == 3
    assert [one["parts"]["far"] for one in found.details[0]][:3] == [0.5, 0.0, 1.0]
    assert ["far" in one.get("unparsed", ()) for one in found.details[0]][:3] == [False, True, False]
    assert first.answers.expected() == (pytest.approx(28 + 32), pytest.approx(0.51))
    ids = [row["id"] for row in data["train"]]
    assert [first.answers.paid("a", [each]) for each in ids] == [3] * 6
    first.answers.close()
    again = books()  # read from the books, without the responses
    assert again.cost(["a"]) == 0 and again.ledger.lines == first.ledger.lines
    assert [again.answers.paid("a", [each]) for each in ids] == [3] * 6
    assert again.evaluate(["a"]).details == found.details


BRIEF = {"kind": "length", "limit": 3, "unit": "words"}


def with_brevity(**judge):
    """The judge under another name, and a penalty beside it: a judged response is scored anew."""
    return {
        "components": [{"kind": "judge", "host": "far", "name": "strict", **judge}, BRIEF],
        "constraints": [],
    }


@pytest.mark.parametrize(
    ("changed", "between", "asked_again"),
    [
        ({}, False, False),
        ({}, True, False),
        ({"rubric": "Is it short?"}, False, True),
        ({"answer": "yes_no"}, True, True),
    ],
)
def test_a_judge_is_not_asked_twice_about_a_response_by_the_same_rubric(
    db, admin, project, examples, champion, reward_model, search, retrained, monkeypatch, changed, between,
    asked_again,
):  # fmt: skip
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL, price_in=1.0)
    judged(monkeypatch)
    first = search(reward=JUDGED, budget={"calls": 400}, real=True)
    if between:  # a newer search with the same responses, which no judge has seen
        retrained()
        assert search(reward="reward_model", budget={"calls": 300}, real=True).result["free_answers"] > 20
    config = {"reward": with_brevity(**changed), "budget": {"calls": 400}, "seed": 5}
    run = start_run(db, admin, project.id, "optimize", config)
    host, judge = judged(monkeypatch)
    context = RunContext(run_folder(run.id))
    result = work.run(context)
    context.close()
    events, _ = run_folder(run.id).read_events()
    target, paid = ({e["data"]["purpose"]: e["data"] for e in events if e["type"] == "ledger"}[purpose]
                    for purpose in ("target", "judge"))  # fmt: skip
    assert target["cached"] > 20 and result["calls"] == host.calls + judge.asked <= 400
    told = set() if asked_again else responses(first)
    assert paid["calls"] == judge.asked == len(responses(run) - told)
    assert asked_again or responses(run) & told
    assert paid["cost"] == pytest.approx(0.01 * judge.asked)
    if not asked_again:  # what it said then, under its new name, unreadable answers too
        for split in ("train", "dev", "test"):
            (then,) = (of for of in first.result["start"][split]["parts"].values() if "unparsed" in of)
            now = result["start"][split]["parts"]["strict"]
            assert {**now, "weight": 0} == {**then, "weight": 0}


def test_what_another_host_said_was_graded_all_the_same(
    db, admin, project, examples, champion, reward_model, search, monkeypatch, tmp_path
):
    """Nothing is known of what the other host says; when it says the same, the judge is not asked.
    And a transfer asks about what neither search has heard."""
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL)
    create_host(db, admin, name="near", kind="local", model=str(tmp_path / "near"))
    judged(monkeypatch)
    first = search(reward=JUDGED, budget={"calls": 400}, real=True)
    config = {"reward": JUDGED, "budget": {"calls": 300}, "seed": 5, "host": "near"}
    run = start_run(db, admin, project.id, "optimize", config)
    assert not (run_folder(run.id).inputs / "known.parquet").exists()
    host, judge = judged(monkeypatch)
    context = RunContext(run_folder(run.id))
    result = work.run(context)
    context.close()
    assert result["free_answers"] == 0 and result["calls"] == host.calls + judge.asked
    assert judge.asked == len(responses(run) - responses(first)) < len(responses(run))

    asked = {"run": first.id, "hosts": ["near"], "candidates": [1, 2], "split": "dev"}
    moved = start_run(db, admin, project.id, "transfer", asked)
    near, judge = FakeHost(), FakeJudge()
    monkeypatch.setattr(transfer_work, "open_host", lambda spec, models_dir: near)
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: judge)
    context = RunContext(run_folder(moved.id))
    transfer_work.run(context)
    context.close()
    files = run_folder(moved.id).state.glob("answers-*.jsonl")
    said = {(example, outcome["output"]) for path in files for _, example, outcome in answers_in(path)}
    assert near.calls > 0 and judge.asked == len(said - responses(first) - responses(run)) < len(said)


def test_grades_are_not_taken_where_the_judge_was_shown_something_else(
    db, admin, project, examples, champion, reward_model, search, monkeypatch
):
    made = examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url=URL)
    judged(monkeypatch)
    search(reward=JUDGED, budget={"calls": 400}, real=True)

    def known(**changed):
        reward = {**JUDGED, "components": [{**item, **changed} if item["kind"] == "judge" else item for item in JUDGED["components"]]}  # fmt: skip
        config = {"reward": reward, "budget": {"calls": 400}, "seed": 5}
        run = start_run(db, admin, project.id, "optimize", config)
        path = run_folder(run.id).inputs / "grades.parquet"
        return {row["example"] for row in pq.read_table(path).to_pylist()} if path.exists() else set()

    def edit(session):
        for row in made[:30]:
            one = session.get(Example, row.id)
            one.reference = "another"
            session.add(one)

    before = known(name="renamed", weight=3.0)
    assert before & {row.id for row in made[:30]} and not known(rubric="Is it short?")
    db.write(edit)
    assert known() == before - {row.id for row in made[:30]} != set()


@pytest.mark.parametrize("reward", ["reward_model", JUDGED])
def test_killed_while_it_scores_anew_it_ends_the_same(
    db, admin, project, examples, champion, reward_model, search, retrained, monkeypatch, reward, tmp_path
):
    examples(train=30)
    create_host(db, admin, name="far", kind="local", model=str(tmp_path / "far"))  # lost calls cost nothing
    search(reward="reward_model", budget={"calls": 300})
    retrained()
    config = {"reward": reward, "budget": {"calls": 400}, "seed": 6, "examples": {"train": 12}}
    runs = [start_run(db, admin, project.id, "optimize", config) for _ in range(2)]
    ends = []
    for run, kills in zip(runs, (False, True), strict=True):
        reach = 9
        while True:
            judged(monkeypatch, **({"kill_at": reach, "judge_kill": reach + 4} if kills else {}))
            context = RunContext(run_folder(run.id))
            try:
                result = work.run(context)
                break
            except Killed:
                reach += 23
            finally:
                context.close()
        gone = ("seconds", "lost_calls")
        ends.append({name: value for name, value in result.items() if name not in gone})
    assert ends[0] == ends[1] and ends[0]["free_answers"] > 0


def test_labels_beside_a_known_response_are_a_call(
    db, admin, project, examples, champion, reward_model, search, monkeypatch
):
    examples(train=30)
    search(reward="reward_model", budget={"calls": 300})
    both = {"components": [{"kind": "reward_model"}, {"kind": "labels"}], "constraints": []}
    run = start_run(db, admin, project.id, "optimize", {"reward": both, "budget": {"calls": 300}, "seed": 5})
    host, _ = judged(monkeypatch)
    context = RunContext(run_folder(run.id))
    result = work.run(context)
    context.close()
    assert result["free_answers"] > 20 and result["calls"] == host.calls <= 300
    assert result["start"]["train"]["parts"]["labels"]["n"] == result["start"]["train"]["n"]
