"""EvoPrompt by itself: the population, who lives, and what the operators are asked."""

import random

import pytest

from core.optimize.evoprompt import EvoPromptDE, EvoPromptGA, roulette
from tests.optimize.fakes import chance
from tests.optimize.rules import RuleEvaluator, run


def answer(key, request):
    if "Answer with the new instruction only" in request:
        return f"Rewrite {key}"
    return f"1. so\n2. <prompt>Child {key}</prompt>"


def rules(rule=chance, **options):
    return RuleEvaluator(lambda text: 100 * rule(text), answer, **options)


@pytest.mark.parametrize("kind", [EvoPromptGA, EvoPromptDE])
def test_a_share_of_the_children_puts_one_parent_into_a_framework(kind):
    evaluator = rules()
    search = kind("Say {{topic}}.", 1, generations=4, frameworks=0.5)
    evaluator.answer = lambda key, request: answer(key, request).replace("key", "").replace(
        "Child", "Child {{topic}}").replace("Rewrite", "Rewrite {{topic}}")  # fmt: skip
    run(search, evaluator)
    children = search.candidates[10:]
    asked = evaluator.requests[9:]
    assert len(children) == len(asked) == 40
    recast = [c.operation.startswith("framework ") for c in children]
    assert recast == [request.startswith("Rewrite the prompt below in the structure") for request in asked]
    assert 10 <= sum(recast) <= 30 and len({c.operation for c in children if "framework" in c.operation}) == 4
    for child, request, framed in zip(children, asked, recast, strict=True):
        if framed:
            assert not child.others and request.endswith(f"Prompt: {search.candidates[child.parent].text}")
            assert "Keep {{topic}} exactly" in request
    if kind is EvoPromptDE:  # it takes the place of the parent that it was made of
        assert all(c.parent in range(len(search.candidates)) for c in children)
    plain = kind("Start.", 1, generations=4)
    run(plain, rules())
    assert not [c for c in plain.candidates if "framework" in c.operation]


@pytest.mark.parametrize("kind", [EvoPromptGA, EvoPromptDE])
def test_ten_texts_ten_generations(kind):
    evaluator = rules()
    search = kind("Start.", 1)
    run(search, evaluator)
    assert (search.finished, search.iteration, len(search.alive)) == ("iterations", 10, 10)
    assert len(evaluator.asked) == 9 + 10 * 10 and len(search.candidates) == 1 + 9 + 100
    assert all(c.operation == "rewrite" and c.parent == 0 for c in search.candidates[1:10])
    assert all(c.parent is not None and c.parent < c.number for c in search.candidates[1:])


def test_ga_keeps_the_best_of_parents_and_children():
    search = EvoPromptGA("Start.", 1, population=4, generations=1)
    run(search, rules())
    by_score = sorted(range(8), key=lambda n: -search.train(n))
    assert search.alive == by_score[:4]


def test_ga_s_request_holds_two_parents_that_live():
    evaluator = rules()
    search = EvoPromptGA("Start.", 2, population=4, generations=3)
    run(search, evaluator)
    children = [c for c in search.candidates if c.operation.startswith("crossover")]
    for child, request in zip(children, evaluator.requests[3:], strict=True):
        other = int(child.operation.rsplit(" ", 1)[1])
        assert other != child.parent
        assert f"Prompt 1: {search.candidates[child.parent].text}\n" in request
        assert request.endswith(f"Prompt 2: {search.candidates[other].text}")


def test_de_takes_two_others_and_the_best_and_a_child_takes_only_its_own_place():
    evaluator = rules()
    search = EvoPromptDE("Start.", 3, population=5, generations=1)
    run(search, evaluator)
    best = max(range(5), key=search.train)
    for place in range(5):
        child = search.candidates[5 + place]
        others = [
            int(number)
            for number in child.operation.removeprefix("differential evolution with ").split(" and ")
        ]
        assert child.parent == place and len({place, *others[:2]}) == 3 and others[2] == best
        request = evaluator.requests[4 + place]
        for label, number in (
            ("Prompt 1", others[0]),
            ("Prompt 2", others[1]),
            ("Prompt 3", best),
            ("Basic prompt", place),
        ):
            assert f"{label}: {search.candidates[number].text}" in request  # fmt: skip
        wanted = child.number if search.train(child.number) > search.train(place) else place
        assert search.alive[place] == wanted


def test_roulette_draws_in_proportion():
    rng = random.Random(0)
    draws = [roulette([7, 8, 9], [1.0, 3.0, 0.0], rng) for _ in range(4_000)]
    assert all(9 not in draw[:1] for draw in draws) and all(a != b for a, b in draws)
    share = sum(a == 8 for a, _ in draws) / len(draws)
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / 4_000) ** 0.5
    even = [roulette([7, 8, 9], [0.0, 0.0, 0.0], rng)[0] for _ in range(3_000)]
    assert all(abs(even.count(item) / 3_000 - 1 / 3) < 0.04 for item in (7, 8, 9))


def test_a_smaller_budget_still_fills_what_it_can():
    evaluator = rules(n=10, budget=10 + 6 * 11)
    search = EvoPromptGA("Start.", 1)
    run(search, evaluator)
    assert search.finished == "budget" and len(search.candidates) == 7 and evaluator.calls == 76


def test_a_model_that_repeats_itself_leaves_a_smaller_population():
    evaluator = RuleEvaluator(
        chance,
        lambda key, request: (
            f"Rewrite {int(key[-1]) % 4}" if "only" in request else f"<prompt>Child {key}</prompt>"
        ),
    )
    search = EvoPromptGA("Start.", 1, generations=2)
    run(search, evaluator)
    assert len(search.candidates) > 5 and search.dropped["duplicate"] >= 4
    assert search.finished == "iterations"
