"""MIPRO by itself: demonstrations, what the language model is asked, and the search, on scores
whose best combination is known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.optimize.demonstrations import draw_sets, good_pairs, listed, with_demonstrations
from core.optimize.mipro import Mipro, described, instruction_request
from core.optimize.protocol import Shown
from core.prompts.templates import SLOT, fill
from tests.optimize.fakes import chance
from tests.optimize.rules import RuleEvaluator, run


def answer(key, request):
    return "They are numbers." if "sentences only" in request else f"<INS>Text {key.rsplit('/', 1)[1]}</INS>"


def rules(rule=lambda text: 100 * chance(text), n=24, **options):
    evaluator = RuleEvaluator(rule, answer, n=n, **options)
    evaluator.shown = [Shown(f"in {j}", "yes" if j % 2 else "no") for j in range(n)]
    return evaluator


def new(seed=1, **options):
    small = {"instructions": 4, "sets": 4, "demonstrations": 2, "trials": 40, "batch": 4}
    return Mipro("Start.", seed, **{**small, **options})


# --- demonstrations ----------------------------------------------------------------------------


def test_where_demonstrations_stand():
    pairs = [Shown("big ", "small"), Shown("hot", "cold")]
    wanted = "Turn it around.\n\nExamples:\n\nInput: big\nOutput: small\n\nInput: hot\nOutput: cold"
    assert with_demonstrations("Turn it around.", pairs) == wanted
    assert with_demonstrations("Turn it around.", []) == "Turn it around."


@given(st.lists(st.text("{} ainput_\n"), min_size=1, max_size=4))
def test_what_an_example_says_is_never_a_slot(texts):
    """A template with demonstrations has the slots of its instruction and no more, and is
    filled with the examples' words as they are shown."""
    text = with_demonstrations("About {{input}}:", [Shown(one, one) for one in texts])
    assert SLOT.findall(text) == ["input"]
    tail = text.removeprefix("About {{input}}:")
    assert fill(text, {"input": "x"}) == "About x:" + tail


def test_a_long_example_is_cut():
    assert listed([Shown("word " * 400, "yes")]).startswith("Input: " + "word " * 99 + "word …\n")


@given(st.integers(4, 40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 9))
def test_sets_are_different_and_leave_examples_to_score_on(n, count, size, seed):
    pairs = [(j, Shown(f"in {j}", "yes" if j % 2 else "no")) for j in range(n)]
    sets = draw_sets(pairs, count, size, n, str(seed))
    assert len({frozenset(one) for one in sets}) == len(sets) <= count
    assert all(len(set(one)) == len(one) <= size for one in sets)
    shown = {i for one in sets for i in one}
    assert len(shown) <= min(n - 1, max(size, n // 3))
    for one in sets:  # the labels take turns, while there are any
        said = [pairs[i][1].answer for i in one]
        if size == 2 and count == 1 and n > 5:
            assert set(said) == {"yes", "no"}


def test_without_answers_the_start_s_best_responses_are_shown():
    evaluator = RuleEvaluator(lambda text: 0, answer, n=8, spread=lambda text, j: float(j % 5))
    evaluator.shown = [Shown(f"in {j}", "") for j in range(8)]
    found = good_pairs(evaluator, "Start.", 2)
    assert [place for place, _ in found] == [2, 3, 4, 7]  # worth 2, 3, 4 and 2, the first of equals
    assert found[0][1] == Shown("in 2", "Start. on 2")


# --- what the language model is asked ------------------------------------------------------------


def test_the_request_word_for_word():
    (message,) = instruction_request("Do it.", "Numbers.", [Shown("1", "one")], "Be short.", " Keep {{x}}.")
    assert message["content"] == (
        "Write an instruction that tells a language model how to do a task.\n\nWhat the data are like: Numbers."
        "\n\nExamples:\n\nInput: 1\nOutput: one\n\nThe instruction that is used now:\nDo it.\n\nBe short. "
        "Keep {{x}}. Write a better instruction between <INS> and </INS>."
    )


def test_one_summary_and_then_proposals_with_other_sets_and_tips():
    evaluator = rules()
    search = new(instructions=6)
    for _ in range(3):
        search.step(evaluator)
    assert search.summary == "They are numbers." and len(evaluator.requests) == 1 + 5
    assert len(set(evaluator.requests[1:])) == 5
    assert all("What the data are like: They are numbers." in one for one in evaluator.requests[1:])
    assert search.instructions == ["Start.", *[f"Text {i}" for i in range(5)]]


def test_a_model_in_process_gets_its_answer_begun():
    evaluator = rules()
    evaluator.begins = True
    evaluator.answer = lambda key, request: f"Text {key}\n\nand more talk"
    search = new()
    for _ in range(3):
        search.step(evaluator)
    assert search.instructions == ["Start.", *[f"Text mipro/2/{i}" for i in range(3)]]


# --- the search ------------------------------------------------------------------------------------


def worth(text):
    """Best: “Text 1” with the set that shows “in 5” … whatever set it is, one alone is right."""
    return 40 * text.startswith("Text 1") + 40 * ("Examples:" in text) + 10 * chance(text)


def test_it_finds_the_best_combination_and_scores_it_in_full():
    for seed in range(3):
        evaluator = rules(worth)
        search = new(seed)
        run(search, evaluator)
        combinations = [
            with_demonstrations(instruction, [Shown(**one) for one in shown])
            for instruction in search.instructions
            for shown in search.sets
        ]
        best = max(combinations, key=worth)
        full = [c for c in search.candidates if c.scores["train"]["n"] == 24]
        assert best in [c.text for c in full]
        assert max(full, key=lambda c: c.scores["train"]["score"]).text == best


def test_tpe_goes_where_it_is_good():
    """Of the trials after its random beginning, far more than one in sixteen are on the best
    four of sixteen combinations."""
    late = []
    for seed in range(4):
        search = new(seed, full_every=1_000)
        run(search, rules(worth))
        late += [
            worth(search.candidates[search.numbers[f"{i}/{d}"]].text) > 75 for i, d, _ in search.trials[14:]
        ]
    assert sum(late) / len(late) > 0.5  # three of sixteen by chance


def test_mini_batches_hold_no_demonstration_and_meet_the_examples_in_one_order():
    evaluator = rules()
    search = new()
    while search.tried < 3:
        search.step(evaluator)
    shown = {int(one["input"].removeprefix("in ")) for pairs in search.sets for one in pairs}
    assert set(search.order[-search.own :]) == shown and len(search.sets) == 4
    for candidate in search.candidates[1:]:
        seen = {j for text, j in evaluator.known if text == candidate.text}
        assert not seen & shown and seen == set(search.order[: len(seen)])
        assert candidate.scores["train"]["n"] == len(seen)
    run(search, evaluator)
    for key, seen in search.seen.items():
        text = search.candidates[search.numbers[key]].text
        assert {j for known, j in evaluator.known if known == text} == set(search.order[:seen])


def test_what_tpe_is_told_is_the_mean_of_what_is_new():
    evaluator = rules(lambda text: 0, spread=lambda text, j: float(j))
    search = new(instructions=1, sets=2, full_every=3, trials=6)
    run(search, evaluator)
    apart = search.order[: 24 - search.own]
    assert search.trials[0] == [0, 0, pytest.approx(sum(apart) / len(apart))]
    told = [value for i, d, value in search.trials if (i, d) == (0, 1)]
    assert told[0] == pytest.approx(sum(apart[:4]) / 4)
    if len(told) > 1 and search.full_at != 3:
        assert told[1] == pytest.approx(sum(apart[4:8]) / 4)


def test_every_few_trials_the_most_promising_is_scored_on_everything():
    evaluator = rules()
    search = new(full_every=4, trials=12)
    while search.tried < 4:
        search.step(evaluator)
    best = search.promising(24)[0]
    search.step(evaluator)
    assert search.seen[f"{best[0]}/{best[1]}"] == 24 and search.tried == 4


def test_a_suggestion_follows_from_the_trials_and_the_seed_alone():
    one, other = new(7), new(7)
    for search in (one, other):
        run(search, rules(), steps=12)
    state = json.loads(json.dumps(one.state_dict()))
    fresh = new(7)
    fresh.load_state_dict(state)
    assert fresh.suggest() == one.suggest() == other.suggest()


def test_all_combinations_scored_is_an_end_of_its_own():
    search = new(instructions=1, sets=3, full_every=1, trials=500)
    run(search, rules())
    assert search.finished == "exhausted" and len(search.candidates) == 3
    assert all(c.scores["train"]["n"] == 24 for c in search.candidates)


def test_a_model_that_proposes_nothing_leaves_the_start_with_demonstrations():
    evaluator = rules()
    evaluator.answer = lambda key, request: "I cannot do that."
    search = new()
    run(search, evaluator)
    assert search.instructions == ["Start."] and search.dropped["unparseable"] == 4
    assert {c.operation for c in search.candidates[1:]} == {
        "demonstrations 1",
        "demonstrations 2",
        "demonstrations 3",
    }
    alone = new(sets=1)
    evaluator = rules()
    evaluator.answer = lambda key, request: ""
    run(alone, evaluator)
    assert alone.finished == "unproductive"


def test_near_the_budget_s_end_one_is_still_scored_in_full():
    for budget in range(60, 160, 17):
        evaluator = rules(budget=budget)
        search = new()
        run(search, evaluator)
        assert evaluator.calls <= budget and search.finished == "budget"
        full = [c for c in search.candidates[1:] if c.scores["train"]["n"] == 24]
        assert full or len(search.candidates) == 1, budget


def test_how_a_combination_is_called():
    assert [described(one) for one in ((0, 0), (2, 0), (0, 1), (2, 1))] == [
        "instruction 0",
        "instruction 2",
        "demonstrations 1",
        "instruction 2 with demonstrations 1",
    ]
