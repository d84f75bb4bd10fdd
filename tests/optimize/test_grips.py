"""GrIPS by itself, against an evaluator whose best instruction is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.optimize.grips import Grips, read_paraphrase
from core.optimize.phrases import split
from core.optimize.protocol import Dropped, Iterated, Scored
from core.optimize.reading import same_text
from core.prompts.templates import SLOT
from tests.optimize.fakes import START, chance
from tests.optimize.rules import RuleEvaluator, phrase_answer, run


def shorter(text):
    return -len(text.split())


def test_it_deletes_what_only_costs():
    grips = Grips(START, 1, operations=("delete",), iterations=30)
    run(grips, RuleEvaluator(shorter))
    assert len(split(grips.candidates[grips.base].text).editable) == 1
    assert grips.finished in ("exhausted", "patience", "iterations")


def test_every_candidate_says_where_it_came_from():
    grips = Grips(START, 2)
    run(grips, RuleEvaluator(lambda text: chance(text)))
    assert [candidate.number for candidate in grips.candidates] == list(range(len(grips.candidates)))
    accepted = {candidate.number for candidate in grips.candidates if candidate.accepted}
    for candidate in grips.candidates[1:]:
        assert candidate.parent in accepted and candidate.parent < candidate.number
        assert candidate.operation in ("delete", "swap", "substitute", "add")


def test_only_a_strictly_better_candidate_is_taken_and_patience_runs_out():
    grips = Grips(START, 3, patience=2)
    events = run(grips, RuleEvaluator(lambda text: 50.0))
    assert (grips.base, grips.finished, grips.iteration) == (0, "patience", 2)
    assert [event.accepted for event in events if isinstance(event, Iterated)] == [None, None]
    assert len(grips.candidates) == 1 + 2 * 5


def test_it_stops_after_its_iterations():
    evaluator = RuleEvaluator(lambda text: 0)
    evaluator.rule = lambda text: len(evaluator.texts)  # always better than before
    grips = Grips(START, 4, iterations=3)
    run(grips, evaluator)
    assert (grips.finished, grips.iteration) == ("iterations", 3)
    assert sum(candidate.accepted for candidate in grips.candidates) == 4


def test_add_waits_until_an_accepted_step_deleted_something():
    evaluator = RuleEvaluator(lambda text: "without" not in text)
    grips = Grips(START, 5, operations=("delete", "add"), iterations=40, patience=40)
    seen_delete = False
    for event in run(grips, evaluator):
        if isinstance(event, Scored) and event.candidate.operation == "add":
            assert seen_delete
        if isinstance(event, Scored) and event.candidate.accepted and event.candidate.operation == "delete":
            seen_delete = True
    assert seen_delete and any(candidate.operation == "add" for candidate in grips.candidates)


def test_a_phrase_that_was_put_back_is_not_put_back_twice():
    """Deleting is better at first, then adding is: what comes back was deleted, once."""
    grips = Grips("one, two, three, four,", 6, operations=("delete", "add"), iterations=60, patience=60)
    evaluator = RuleEvaluator(lambda text: 0)
    evaluator.rule = lambda text: (
        10 - len(text.split()) if len(evaluator.texts) < 12 else 100 + len(text.split())
    )
    run(grips, evaluator)
    for candidate in grips.candidates:
        assert len(set(candidate.text.split())) == len(candidate.text.split())
    assert set(grips.candidates[grips.base].text.split()) <= {"one,", "two,", "three,", "four,"}


def test_a_text_is_scored_once():
    evaluator = RuleEvaluator(lambda text: chance(text))
    run(Grips("one, two, three,", 7, operations=("swap", "delete"), iterations=20, patience=20), evaluator)
    for i, text in enumerate(evaluator.texts):
        assert not any(same_text(text, other) for other in evaluator.texts[:i])


def test_it_says_when_no_edit_is_left():
    grips = Grips("one, two,", 8, operations=("delete", "swap"), iterations=50, patience=50)
    run(grips, RuleEvaluator(lambda text: 0))
    assert grips.finished == "exhausted"
    assert grips.dropped["duplicate"] > 0


def test_an_instruction_of_one_phrase_cannot_be_deleted():
    grips = Grips("Answer.", 9, operations=("delete", "swap"))
    events = run(grips, RuleEvaluator(lambda text: 0))
    assert grips.finished == "exhausted" and len(grips.candidates) == 1
    assert {event.reason for event in events if isinstance(event, Dropped)} == {"nothing to edit"}


def test_useless_paraphrases_are_counted_and_said():
    grips = Grips(START, 10, operations=("substitute",), iterations=1)
    events = run(grips, RuleEvaluator(lambda text: 0, answer=phrase_answer(lambda key, phrase: "")))
    drops = [event for event in events if isinstance(event, Dropped)]
    assert grips.dropped == {"unparseable": len(drops)} and len(drops) == 5 * 6
    assert grips.finished == "exhausted"


@pytest.mark.parametrize("edits", [1, 2])
def test_together_or_one_by_one_it_is_the_same_search(edits):
    """All m of an iteration in one go; an evaluator that never has room for them makes it
    score one at a time. Only when they were paid for differs: paraphrases come first."""

    class Watched(RuleEvaluator):
        def fits(self, calls):
            return super().fits(calls) and calls <= self.room

        def evaluate(self, texts, split="train", examples=None):
            sizes[-1].append(len(texts))
            return super().evaluate(texts, split, examples)

    ends, sizes = [], []
    for room in (10_000, 8):
        sizes.append([])
        evaluator = Watched(chance, phrase_answer(lambda key, phrase: f"{key} {phrase}"), n=7)
        evaluator.room = room
        grips = Grips(START, 13, edits=edits, iterations=5, patience=5)
        run(grips, evaluator)
        made = [(c.text, c.parent, c.scores, c.accepted) for c in grips.candidates]
        ends.append((made, grips.dropped, evaluator.calls))
    assert ends[0] == ends[1]
    assert sizes[0] == [1, 5, 5, 5, 5, 5] and set(sizes[1]) == {1}


def test_two_edits_at_once():
    grips = Grips(START, 11, edits=2, operations=("delete", "swap"))
    run(grips, RuleEvaluator(lambda text: chance(text)))
    assert {len(candidate.operation.split("+")) for candidate in grips.candidates[1:]} == {2}


def test_annealing_takes_a_worse_one_now_and_then_and_keeps_the_count():
    taken = 0
    for seed in range(12):
        grips = Grips(START, seed, annealing=True, operations=("delete", "swap"), patience=3)
        run(grips, RuleEvaluator(lambda text: 50 if same_text(text, START) else 49))
        taken += sum(candidate.accepted for candidate in grips.candidates[1:])
        assert grips.finished == "patience"  # taking a worse one is no improvement
    assert taken > 6  # exp(-1 / 10) is .9 in the first iteration


def test_out_of_budget_keeps_what_was_paid_for():
    grips = Grips(START, 12, operations=("delete",))
    run(grips, RuleEvaluator(shorter, budget=4))  # the start and three of five candidates
    assert grips.finished == "budget"
    assert len(grips.candidates) == 4
    assert sum(candidate.accepted for candidate in grips.candidates) == 2  # the best of the three


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.booleans())
def test_from_its_state_it_goes_on_as_if_nothing_had_happened(seed, cut, annealing):
    def new():
        return Grips(START, seed, annealing=annealing)

    whole = new()
    run(whole, RuleEvaluator(lambda text: chance(text), phrase_answer(lambda key, phrase: f"{key} {phrase}")))
    first = new()
    run(
        first,
        RuleEvaluator(lambda text: chance(text), phrase_answer(lambda key, phrase: f"{key} {phrase}")),
        steps=cut,
    )
    second = new()
    second.load_state_dict(first.state_dict())
    run(
        second, RuleEvaluator(lambda text: chance(text), phrase_answer(lambda key, phrase: f"{key} {phrase}"))
    )
    assert [c.text for c in second.candidates] == [c.text for c in whole.candidates]
    assert (second.finished, second.dropped, second.base) == (whole.finished, whole.dropped, whole.base)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["Read", "the {{input}}", "with care,", "{{ b }}.", "be\n", "- kind"]), min_size=1, max_size=9),
    st.integers(0, 99),
    st.sampled_from(["word", "phrase", "sentence"]),
)  # fmt: skip
def test_slots_are_never_damaged(parts, seed, granularity):
    text = " ".join(parts)
    grips = Grips(text, seed, granularity=granularity, edits=2, iterations=4)
    evaluator = RuleEvaluator(
        lambda text: chance(text),
        phrase_answer(lambda key, phrase: "{{input}}" if "1" in key else "new words"),
    )
    run(grips, evaluator)
    for candidate in grips.candidates:
        assert SLOT.findall(candidate.text) == SLOT.findall(text)


@pytest.mark.parametrize(
    ("answer", "phrase", "wanted"),
    [
        ("from film critiques.", "from movie reviews.", ("from film critiques.", "")),
        ('"From film critiques"', "from movie reviews.", ("from film critiques.", "")),
        ("Paraphrase: a film\nAnd more talk", "the movie", ("a film", "")),
        ("Here is another way to say it:\n\nThe film", "The movie", ("The film", "")),
        ("tell us now", "Answer,", ("Tell us now,", "")),
        ("the Movie.", "The movie", ("", "identical")),
        ("", "the movie", ("", "unparseable")),
        ("...", "the movie", ("", "unparseable")),
        ("I'm sorry, I cannot help.", "the movie", ("", "unparseable")),
        ("With the same meaning, but shorter", "the long movie", ("", "unparseable")),
        ("one that was cut…", "the long movie", ("", "too long")),
        ("{{input}} now", "the movie", ("", "unparseable")),
        ("a very long way of saying what was short before", "the movie", ("", "too long")),
    ],
)
def test_what_the_language_model_says_is_checked(answer, phrase, wanted):
    assert read_paraphrase(answer, phrase) == wanted
