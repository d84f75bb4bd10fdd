"""Random search and best-of-n: independent draws, and what they say of themselves."""

import math

import numpy as np
import pytest

from core.optimize.protocol import Dropped
from core.optimize.random_search import BestOfN, RandomSearch, best_of_n_kl
from tests.optimize.fakes import START, chance
from tests.optimize.rules import RuleEvaluator, run


def test_kl_of_best_of_n_is_that_of_the_density_of_the_largest_of_n():
    """The best of n has density n F^(n-1) with respect to one draw: the integral of
    n u^(n-1) log(n u^(n-1)) over (0, 1), here by the midpoint rule."""
    u = (np.arange(400_000) + 0.5) / 400_000
    for n in (1, 2, 4, 16, 64):
        log_ratio = np.log(n) + (n - 1) * np.log(u)
        assert best_of_n_kl(n) == pytest.approx(float(np.mean(np.exp(log_ratio) * log_ratio)), abs=2e-3)


def test_best_of_n_draws_n_from_one_request_and_counts_what_repeats():
    script = {0: "first", 1: "second", 2: "first", 3: "", 4: "third", 5: "fourth"}
    evaluator = RuleEvaluator(
        len, lambda key, request: script[int(key.rsplit("/", 1)[1]) + 4 * (key[10] == "2")]
    )
    best = BestOfN("Say it.", 1, n=6, batch=4)
    events = run(best, evaluator)
    assert [candidate.text for candidate in best.candidates] == [
        "Say it.",
        "first",
        "second",
        "third",
        "fourth",
    ]
    assert {candidate.parent for candidate in best.candidates[1:]} == {0}
    assert best.dropped == {"duplicate": 1, "unparseable": 1}
    assert len([event for event in events if isinstance(event, Dropped)]) == 2
    assert (best.draws, best.finished, len(set(evaluator.requests))) == (6, "iterations", 1)
    (figure,) = best.figures()
    assert figure.value == pytest.approx(math.log(6) - 5 / 6)
    assert {sampling.temperature for sampling in evaluator.samplings} == {1.0}


def test_random_search_draws_until_its_number_is_there():
    evaluator = RuleEvaluator(chance, lambda key, request: f"Text {key}")
    search = RandomSearch(START, 2, candidates=11, batch=4)
    run(search, evaluator)
    assert (len(search.candidates), search.finished) == (12, "iterations")
    assert all("Say it" not in request and START in request for request in evaluator.requests)


def test_random_edits_ask_nobody_and_are_edits_of_the_start():
    evaluator = RuleEvaluator(chance)
    search = RandomSearch(START, 3, source="edits", candidates=30)
    run(search, evaluator)
    assert evaluator.asked == [] and len(search.candidates) == 31
    words = sorted(START.split())
    for candidate in search.candidates[1:]:
        assert candidate.parent == 0 and set(candidate.operation.split("+")) <= {"delete", "swap"}
        rest = list(words)
        for word in candidate.text.split():
            rest.remove(word)  # no word that was not in the start


def test_a_text_without_an_edit_left_is_said():
    search = RandomSearch("Answer.", 4, source="edits")
    run(search, RuleEvaluator(chance))
    assert search.finished == "exhausted" and len(search.candidates) == 1


def test_a_model_that_says_nothing_of_use_is_not_asked_for_ever():
    evaluator = RuleEvaluator(chance, lambda key, request: "I'm sorry, I cannot help.")
    search = RandomSearch(START, 5)
    run(search, evaluator)
    assert (search.finished, search.dropped) == ("unproductive", {"unparseable": 24})


def test_frameworks_are_drawn_at_random_and_keep_their_sections():
    said = "You are a cook.\n\nInstructions:\nTell how."

    def answer(key, request):
        return f"<prompt>{said}\n\nSteps:\n{key}</prompt>"

    rules = RuleEvaluator(chance, answer)
    search = RandomSearch("Tell how.", 6, source="frameworks", candidates=24)
    run(search, rules)
    made = search.candidates[1:]
    assert len(made) == 24 and len({c.operation for c in made}) == 4
    for candidate, request in zip(made, rules.requests, strict=True):
        title = candidate.operation.removeprefix("framework ")
        assert f"in the structure “{title}”" in request and request.endswith("Prompt: Tell how.")
        assert candidate.text.startswith(said) and "Steps:" in candidate.text


def test_a_small_model_s_framework_keeps_its_paragraphs():
    """Its answer is begun with the tag, which it seldom closes."""
    rules = RuleEvaluator(chance, lambda key, _: f"You are a cook.\n\nSteps:\n{key}")
    rules.begins = True
    search = RandomSearch("Tell how.", 6, source="frameworks", candidates=2)
    run(search, rules)
    assert all("\n\nSteps:\n" in candidate.text for candidate in search.candidates[1:])
