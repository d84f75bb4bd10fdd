"""APE by itself: the request, the bandit's arithmetic, and who is scored in full."""

import math

import pytest

from core.optimize.ape import Ape, ape_request
from core.optimize.protocol import Shown
from tests.optimize.fakes import chance
from tests.optimize.rules import RuleEvaluator, run


def rules(n=20, budget=100_000, quality=lambda text: 100 * chance(text)):
    return RuleEvaluator(quality, lambda key, request: f"Instruction: Text {key}", n=n, budget=budget)


def new(**options):
    settings = {"subsets": 2, "per_subset": 4, "batch": 5, "arms": 3, "rounds": 6, "finalists": 2, **options}
    return Ape("Start.", 1, **settings)


def test_the_request_word_for_word():
    assert ape_request([Shown("big", "small"), Shown("hot", "cold")])[0]["content"] == (
        "I gave a friend an instruction and 2 inputs. The friend read the instruction and wrote an output for "
        "each of the inputs. Here are the inputs and the outputs:\n\nInput: big\nOutput: small\n\n"
        "Input: hot\nOutput: cold\n\nWhat was the instruction? Answer with the instruction only."
    )


def test_each_draw_shows_other_pairs_with_their_answers():
    evaluator = rules(n=30)
    run(new(subsets=3), evaluator)
    first = evaluator.requests[::4]
    assert len(set(first)) == 3 and evaluator.requests[0] == evaluator.requests[3]
    for request in first:
        pairs = [block.split("\n") for block in request.split("\n\n")[1:-1]]
        assert len(pairs) == 5
        assert all(a[len("Input: in ") :] == b[len("Output: out ") :] for a, b in pairs)


def test_the_untried_come_first_then_the_highest_bound():
    evaluator = rules()
    ape = new()
    while not ape.selecting:
        ape.step(evaluator)
    assert len(ape.waiting) == 8 and len(ape.candidates) == 1
    for expected in ([1, 2, 3], [4, 5, 6]):
        ape.step(evaluator)
        assert [c.number for c in ape.candidates][-3:] == expected
    assert ape.chosen_arms(20)[:2] == [-1, -2]
    ape.step(evaluator)  # the last two untried, and one more
    total = sum(ape.seen.values())

    def bound(number):
        return ape.mean(number) + 1.0 * math.sqrt(math.log(total) / ape.seen[str(number)])

    partly = [c.number for c in ape.candidates[1:] if ape.seen[str(c.number)] < 20]
    assert ape.chosen_arms(20) == sorted(partly, key=lambda n: (-bound(n), n))[:3]
    assert ape.bound(1, total) == pytest.approx(bound(1))


def test_all_meet_the_examples_in_one_order_and_nothing_is_paid_twice():
    evaluator = rules()
    ape = new()
    run(ape, evaluator)
    order = ape._order(20)
    for candidate in ape.candidates[1:]:
        seen = {j for text, j in evaluator.known if text == candidate.text}
        assert seen == set(order[: len(seen)]) and candidate.scores["train"]["n"] == len(seen)
    assert evaluator.calls == len(evaluator.known) + len(evaluator.said)


def test_the_best_are_scored_in_full_and_only_they_count():
    evaluator = rules()
    ape = new()
    run(ape, evaluator)
    full = [c for c in ape.candidates[1:] if c.accepted]
    assert ape.finished == "iterations" and len(full) == 2
    assert all(c.scores["train"]["n"] == 20 for c in full)
    best = max(ape.candidates[1:], key=lambda c: chance(c.text))
    assert best in full


def test_enough_is_kept_for_the_finalists():
    for budget in range(20 + 8 + 60, 200, 7):
        evaluator = rules(budget=budget)
        ape = new()
        run(ape, evaluator)
        assert evaluator.calls <= budget
        full = [c for c in ape.candidates[1:] if c.scores["train"]["n"] == 20]
        assert full or len(ape.candidates) == 1, budget


def test_without_answers_the_start_s_best_responses_are_the_demonstrations():
    evaluator = RuleEvaluator(
        lambda text: 0, lambda key, request: f"Text {key}", n=12, spread=lambda text, j: float(j)
    )
    evaluator.shown = [Shown(f"in {j}", "") for j in range(12)]
    ape = new(demonstrations=4)
    ape.step(evaluator)
    assert [pair.input for pair in ape.pairs(evaluator)] == [f"in {j}" for j in range(6, 12)]
    assert ape.pairs(evaluator)[0].answer == "Start. on 6"
