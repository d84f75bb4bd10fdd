"""AutoPrompt on a tiny model in process."""

import json

import numpy as np
import pytest

from core.errors import Invalid
from core.llm.protocol import Completion
from core.optimize import work
from core.optimize.methods import METHODS
from core.optimize.objectives import LabelScore
from core.optimize.protocol import Evaluation
from core.runs.context import WorkError
from core.runs.service import start_run
from tests.optimize.fakes import START, WORDS, Killed, make_folder
from tests.optimize.fakes import rows as made_rows
from tests.optimize.rules import Refused, RuleEvaluator, run
from tests.optimize.test_run import candidates, stable
from tests.optimize.test_run import run as work_on

SMALL = {"tokens": 3, "candidates": 4, "batch": 4, "accumulate": 2, "iterations": 4}


def made(seed=4, start=START, **options):
    return METHODS["autoprompt"].make(
        start, seed, METHODS["autoprompt"].checked_options({**SMALL, **options})
    )


@pytest.fixture
def evaluator(tiny_host):
    """Texts with more “good” in them are better."""

    def make(**options):
        found = RuleEvaluator(lambda text: text.split().count("good"), n=12, **options)
        found.host = found.optimizer_host = tiny_host
        found.objective = LabelScore(WORDS)
        found.rows = {"train": made_rows()["train"]}
        found.request = lambda text, row: [
            {"role": "system", "content": text}, {"role": "user", "content": row["input"]}
        ]  # fmt: skip
        return found

    return make


def test_one_iteration_flips_one_trigger_to_what_the_gradient_suggests(evaluator):
    books, optimizer = evaluator(), made()
    run(optimizer, books, steps=2)
    start, *tried = optimizer.candidates
    assert start.text == START and start.scores["train"]["n"] == 12
    assert len(tried) == 4 and all(one.scores["train"]["n"] == 4 for one in tried)
    place = optimizer.draw("place")  # of the next iteration: only its own draws matter
    assert place.random() != optimizer.draw("fresh").random()
    words = [one.text[len(START) :].split() for one in tried]
    assert all(len(added) == 3 and sum(word != "the" for word in added) == 1 for added in words)
    assert len({next(i for i, word in enumerate(added) if word != "the") for added in words}) == 1
    # the start on 12, the gradient 3 x 8, the triggers as they are and 4 others on 4
    assert books.calls == 12 + 24 + 20 and optimizer.slopes == 24


def test_it_keeps_a_flip_that_is_better_and_only_then(evaluator):
    books, optimizer = evaluator(), made(iterations=8, candidates=40)  # all words there are
    run(optimizer, books)
    assert optimizer.finished == "iterations"
    scores = [START, *(optimizer.candidates[number].text for number in optimizer.accepted)]
    assert [text.split().count("good") for text in scores] == list(range(len(scores))) and len(scores) > 2
    last = optimizer.candidates[optimizer.accepted[-1]]
    assert last.accepted and last.scores["train"]["n"] == 12  # scored in full at the end
    for number in optimizer.accepted[1:]:
        one = optimizer.candidates[number]
        before = optimizer.candidates[one.parent]
        differ = [a != b for a, b in zip(one.text.split(), before.text.split(), strict=True)]
        assert sum(differ) == 1
    flat = RuleEvaluator(lambda text: 1.0, n=12)
    flat.__dict__ |= {
        name: getattr(books, name) for name in ("host", "optimizer_host", "objective", "rows", "request")
    }
    optimizer = made()
    run(optimizer, flat)
    assert optimizer.accepted == [] and optimizer.current == [optimizer.current[0]] * 3


def test_label_words_are_never_offered(evaluator):
    books, optimizer = evaluator(), made(candidates=60)
    run(optimizer, books)
    added = " ".join(one.text[len(START) :] for one in optimizer.candidates)
    assert "positive" not in added and "negative" not in added and "<" not in added
    assert len({word for one in optimizer.candidates for word in one.text[len(START) :].split()}) > 30


def test_the_instruction_s_own_tokens_may_be_flipped(evaluator):
    start = "please tell me how good the film was"
    books, optimizer = evaluator(), made(start=start, place="instruction")
    run(optimizer, books)
    assert {one.text.split()[0] for one in optimizer.candidates} == {"please"}
    assert {len(one.text.split()) for one in optimizer.candidates} == {8}
    with pytest.raises(WorkError, match="slots"):
        made(start="tell me about {{input}}", place="instruction")


def test_state_goes_through_json_after_every_step(evaluator):
    whole = made()
    run(whole, evaluator())
    one, books = made(), evaluator()
    while not one.finished:
        one.step(books)
        state = json.loads(json.dumps(one.state_dict(), allow_nan=False))
        one = made()
        one.load_state_dict(state)
    assert one.state_dict() == whole.state_dict() and one.figures() == whole.figures()
    other = made(seed=5)
    run(other, evaluator())
    assert [c.text for c in other.candidates] != [c.text for c in whole.candidates]


def test_a_step_that_is_cut_short_changes_nothing(evaluator):
    whole, books = made(), evaluator()
    run(whole, books)
    optimizer, cut = made(), evaluator()
    for refuse_after in [*range(0, books.calls, 9), None]:
        cut.refuse_after = refuse_after
        try:
            run(optimizer, cut)
        except Refused:
            continue
    assert [c.scores for c in optimizer.candidates] == [c.scores for c in whole.candidates]
    assert optimizer.current == whole.current and cut.calls == books.calls


def test_the_last_is_always_scored_in_full(evaluator):
    for budget in range(60, 260, 17):
        books, optimizer = evaluator(budget=budget), made(iterations=50, candidates=20)
        run(optimizer, books)
        assert books.calls <= budget and optimizer.finished == "budget"
        assert (
            not optimizer.accepted or optimizer.candidates[optimizer.accepted[-1]].scores["train"]["n"] == 12
        )


def test_cut_short_in_a_full_score_near_the_budget_s_end_it_takes_the_same_steps(evaluator, monkeypatch):
    """The triggers as they are are scored where twice their calls are left. Those that were paid for
    them before the cut must not count against that."""
    monkeypatch.setattr("core.optimize.autoprompt.FULL_EVERY", 1)
    options = {"tokens": 2, "candidates": 2, "batch": 1, "accumulate": 1, "iterations": 30}
    for budget in range(50, 80, 3):
        whole, books = made(**options), evaluator(budget=budget, spread=uneven)
        run(whole, books)
        optimizer, cut = made(**options), evaluator(budget=budget, spread=uneven)
        for refuse_after in [*range(14, books.calls, 2), None]:
            cut.refuse_after = refuse_after
            try:
                run(optimizer, cut)
            except Refused:
                continue
        assert [c.scores for c in optimizer.candidates] == [c.scores for c in whole.candidates], budget
        assert cut.calls == books.calls


def uneven(text, j):
    return (len(text) * (j + 3)) % 5


def test_killed_anywhere_it_resumes_to_the_same_end(tmp_path, tiny_host, monkeypatch):
    """A whole run on the tiny model: worker, gradients, books, dev and test."""
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: tiny_host)
    whole = make_folder(tmp_path / "whole", method="autoprompt", calls=420, **SMALL)
    end = work_on(whole)
    folder = make_folder(tmp_path / "killed", method="autoprompt", calls=420, **SMALL)
    real, left = tiny_host.label_logprobs, [0]

    def answer(requests, labels):
        left[0] -= len(requests)
        if left[0] < 0:
            raise Killed
        return real(requests, labels)

    monkeypatch.setattr(tiny_host, "label_logprobs", answer)
    result, kills = None, 0
    while result is None:
        left[0] = 25 + kills * 9
        try:
            result = work_on(folder)
        except Killed:
            kills += 1
    assert kills > 2 and stable(result) == stable(end)
    assert candidates(folder) == candidates(whole)
    assert end["calls"] <= 420 and end["best"]["test"]["n"] == 8
    assert end["calls_by_purpose"]["target"] == end["calls"]


def test_it_needs_labels(db, admin, project, examples, champion, reward_model, evaluator):
    examples()
    with pytest.raises(Invalid, match=r"reward: AutoPrompt.* follows the gradient of a loss on labels"):
        start_run(db, admin, project.id, "optimize", {"method": "autoprompt", "reward": "active"})
    books = evaluator()
    books.objective = object()
    with pytest.raises(WorkError, match="loss on labels"):
        run(made(), books)


def test_a_gap_is_what_an_answer_is_worth(tiny_host):
    """p(right) less the largest other p, of the softmax over three labels."""
    words = {"a": "good", "b": "bad", "c": "yes"}
    requests = [[{"role": "user", "content": text}] for text in ("the film", "a dog")]
    nothing = [Completion("")] * 2
    outcomes = LabelScore(words).outcomes(
        tiny_host, requests, [{"reference": "b"}, {"reference": "a"}], nothing
    )
    logp = tiny_host.label_logprobs(requests, list(words.values()))
    p = np.exp(logp) / np.exp(logp).sum(1, keepdims=True)
    expected = [p[0, 1] - max(p[0, 0], p[0, 2]), p[1, 0] - max(p[1, 1], p[1, 2])]
    assert [outcome.detail["gap"] for outcome in outcomes] == pytest.approx(expected)
    assert [outcome.score for outcome in outcomes] == [float(gap > 0) for gap in expected]
    evaluation = Evaluation(
        ["t"], "train", np.array([[1.0, 0.0]]), [["x", "y"]], [0, 1], [2], [[{"gap": 0.25}, {}]]
    )
    from core.optimize.objectives import worth

    assert worth(evaluation).tolist() == [[0.25, -1.0]]  # the second: from before gaps were kept
