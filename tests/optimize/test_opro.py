"""OPRO by itself: the meta-prompt word for word, what is dropped, and the draws."""

import re

import pytest

from core.optimize.opro import Opro, meta_prompt
from core.optimize.protocol import Dropped, Shown
from core.optimize.reading import Unusable, begun
from tests.optimize.rules import RuleEvaluator, run

SCORES = {"Start.": 40.0, "A": 75.4, "B": 10.0, "C": 75.4, "D": 99.6}


def evaluator(texts, n=5):
    script = iter(texts)
    return RuleEvaluator(lambda text: SCORES.get(text, 0.0), lambda key, request: next(script), n=n)


def test_the_meta_prompt_word_for_word():
    request = meta_prompt([("Do it badly.", 12), ("Do it.", 80)], [Shown("2 + 2", "4"), Shown("open", "")])
    assert request == [
        {
            "role": "user",
            "content": (
                "Here are some instructions with their scores. They stand in ascending order of score; a "
                "higher score is better, and 100 is the best there can be.\n\n"
                "instruction:\nDo it badly.\nscore:\n12\n\n"
                "instruction:\nDo it.\nscore:\n80\n\n"
                "The following shows how an instruction is used: it takes the place of <INS>, then the input "
                "is read and the output is given.\n\n"
                "input:\n<INS>\n2 + 2\noutput:\n4\n\n"
                "input:\n<INS>\nopen\n\n"
                "Write a new instruction that is different from all of the old ones and has a score as high "
                "as possible. Write it between <INS> and </INS>."
            ),
        }
    ]


def shown_in(request):
    return re.findall(r"instruction:\n(.*)\nscore:\n(\d+)", request)


def test_ascending_order_whole_scores_and_ties_by_age():
    texts = [f"<INS>{text}</INS>" for text in ("A", "B", "C", "D")]
    opro = Opro("Start.", 1, proposals=4, iterations=2, exemplars=2)
    rules = evaluator([*texts, *["nothing"] * 40])
    run(opro, rules)
    assert shown_in(rules.requests[0]) == [("Start.", "40")]
    assert shown_in(rules.requests[4]) == [
        ("B", "10"),
        ("Start.", "40"),
        ("A", "75"),
        ("C", "75"),
        ("D", "100"),
    ]


def test_only_the_best_twenty_are_shown():
    rules = RuleEvaluator(
        lambda text: float(text.split()[-1]), lambda key, request: f"<INS>Number {key.split('/')[-1]}</INS>"
    )
    opro = Opro("Number 50", 1, proposals=40, iterations=1)
    run(opro, rules)
    wanted = sorted([*range(40), 50])[-20:]
    assert opro.trajectory(rules) == [(f"Number {i}", i) for i in wanted]


def test_buckets_and_threshold():
    opro = Opro("Start.", 1, buckets=20, threshold=30)
    assert [opro.bucket(percent) for percent in (0, 2.4, 2.6, 47.6, 75.4, 100)] == [0, 0, 5, 50, 75, 100]
    rules = evaluator(["<INS>A</INS>", "<INS>B</INS>", *["-"] * 30])
    opro = Opro("Start.", 1, proposals=2, iterations=1, threshold=30)
    run(opro, rules)
    assert opro.trajectory(rules) == [("Start.", 40), ("A", 75)]


def test_the_examples_are_drawn_anew_each_step_and_by_the_seed():
    def drawn(seed):
        rules = RuleEvaluator(len, lambda key, request: f"<INS>New {key}</INS>", n=30)
        run(Opro("Start.", seed, proposals=2, iterations=6, exemplars=3), rules)
        return [tuple(re.findall(r"<INS>\n(in \d+)", request)) for request in rules.requests[::2]]

    first = drawn(1)
    assert all(len(set(names)) == 3 for names in first) and len(set(first)) > 3
    assert first == drawn(1) != drawn(2)


def test_what_is_dropped_is_counted_and_said():
    answers = [
        "<INS>A</INS>",
        "A, without a tag",
        "<INS>A</INS>",  # again
        f"<INS>{'long ' * 101}</INS>",
        "<INS>Say <INS> twice</INS>",
        "<INS></INS>",
        "<INS>Use {{field}}</INS>",
        "<ins>first thought</ins> or rather <INS> “D” </INS>",
    ]
    opro = Opro("Start.", 1, iterations=1)
    events = run(opro, evaluator(answers))
    assert [candidate.text for candidate in opro.candidates] == ["Start.", "A", "D"]
    assert opro.dropped == {
        "unparseable": 1, "duplicate": 1, "too long": 1, "repeats the placeholder": 1, "empty": 1, "slot damaged": 1,
    }  # fmt: skip
    assert sum(isinstance(event, Dropped) for event in events) == 6


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Say it.</INS> And more.", "Say it."),
        ("Say it.\nIn one word.\n\nThis instruction is better.", "Say it.\nIn one word."),
        ("\n\nSay it.</ins>", "Say it."),
        ("<INS>Say it.</INS>", "Say it."),  # a server that began anew
        ("Say\n\nit.</INS>\n\nmore", "Say\n\nit."),
        ("Say it.</s>", "Say it."),
        ("New instruction: “Say it.”", "Say it."),
        ("Sure, here it is:\nSay it.", "Say it."),
        ("I cannot do that.", None),
        ("</INS>", None),
        ("one that was cut…", None),
    ],
)
def test_the_rest_of_a_begun_answer(answer, wanted):
    if wanted is None:
        with pytest.raises(Unusable):
            begun("INS", answer)
    else:
        assert begun("INS", answer) == wanted


@pytest.mark.parametrize(
    ("form", "host_begins", "wanted"),
    [("automatic", True, True), ("automatic", False, False), ("tags", True, False), ("begun", False, True)],
)
def test_the_form_of_a_request(form, host_begins, wanted):
    seen = []

    class Rules(RuleEvaluator):
        begins = host_begins

        def ask_many(self, key, requests, sampling):
            seen.extend(requests)
            return super().ask_many(key, requests, sampling)

    text = "New {}\n\nand talk" if wanted else "<INS>New {}</INS>"
    opro = Opro("Start.", 1, iterations=1, request_form=form)
    run(opro, Rules(len, lambda key, request: text.format(key)))
    assert [c.text for c in opro.candidates[1:]] == [f"New opro/1/{i}" for i in range(8)]
    begun_with = {"role": "assistant", "content": "<INS>"}
    assert all((request[-1] == begun_with) == wanted and len(request) == 1 + wanted for request in seen)


def test_eight_proposals_at_temperature_one_and_the_budget_s_rest_is_used():
    rules = RuleEvaluator(len, lambda key, request: f"<INS>New {key}</INS>", n=10, budget=10 + 3 * 11 + 5)
    opro = Opro("Start.", 1)
    run(opro, rules)
    assert len(rules.asked) == 3 and len(opro.candidates) == 4 and opro.finished == "budget"
    assert rules.calls == 43 and {sampling.temperature for sampling in rules.samplings} == {1.0}
    rules = RuleEvaluator(len, lambda key, request: f"<INS>New {key}</INS>", n=10)
    opro = Opro("Start.", 1, iterations=1)
    run(opro, rules)
    assert len(rules.asked) == 8 and opro.finished == "iterations"


def test_its_slots_are_asked_to_be_kept():
    rules = RuleEvaluator(len, lambda key, request: "<INS>Look at {{input}} now</INS>")
    opro = Opro("Read {{input}}.", 1, iterations=1)
    run(opro, rules)
    assert "Keep {{input}} exactly as written." in rules.requests[0]
    assert opro.candidates[1].text == "Look at {{input}} now"


def test_the_order_is_that_of_what_is_shown_where_the_search_goes_by_another_score():
    """By labels: 100 x balanced accuracy + 10 x entropy decides, and the accuracy is shown."""
    shown = {"Start.": 60.0, "A": 71.0, "B": 70.0, "C": 70.0}
    scores = {"Start.": 60.0, "A": 76.1, "B": 76.9, "C": 75.0}
    rules = RuleEvaluator(lambda text: scores[text], lambda key, _: f"<INS>{'ABC'[int(key[-1])]}</INS>")
    rules.percent = lambda measured: shown[next(text for text in scores if scores[text] == measured["score"])]
    opro = Opro("Start.", 1, proposals=3, iterations=1)
    run(opro, rules)
    assert opro.trajectory(rules) == [("Start.", 60), ("C", 70), ("B", 70), ("A", 71)]
