"""GEPA through its authors' package: what it asks of us, and that our books hold."""

from core.optimize.gepa_search import Gepa
from core.optimize.protocol import Iterated
from tests.optimize.rules import RuleEvaluator, run


def shorter(text):
    return -float(len(text))


def rules(answer=None, **options):
    def cut(key, request):
        """A reflection that drops the last letter of the current instruction."""
        current = request.split("```\n")[1].split("\n```")[0]
        return f"Here:\n```\n{current.strip()[:-1]}\n```"

    return RuleEvaluator(shorter, answer or cut, n=6, **options)


def test_it_climbs_by_reflection_and_every_candidate_has_its_parent():
    gepa = Gepa("abcdefghij", 1, iterations=6)
    events = run(gepa, rules())
    assert gepa.finished == "iterations"
    assert gepa.candidates[-1].text in ("abcd", "abcde")
    for candidate in gepa.candidates[1:]:
        assert candidate.text == gepa.candidates[candidate.parent].text[:-1]
        assert candidate.operation == "reflection"
    assert any(isinstance(event, Iterated) and event.accepted for event in events)
    assert gepa.figures()[0].value >= 1


def test_the_reflection_reads_three_examples_with_feedback():
    evaluator = rules()
    run(Gepa("abcdefghij", 1, iterations=2), evaluator)
    request = evaluator.requests[0]
    assert "```\nabcdefghij\n```" in request
    assert request.count("## Feedback") == 3 and request.count("worth -10") == 3
    assert request.count("## Generated Outputs\nabcdefghij on ") == 3


def test_what_is_worse_on_its_mini_batch_is_not_scored_further():
    evaluator = rules(lambda key, request: f"```\nmuch longer than the start was {key}\n```")
    gepa = Gepa("abcdefghij", 1, iterations=4)
    run(gepa, evaluator)
    assert [candidate.scores["train"]["n"] for candidate in gepa.candidates] == [6, 3, 3, 3, 3]
    assert not any(candidate.accepted for candidate in gepa.candidates[1:])
    assert evaluator.calls == 6 + 4 * (1 + 3)


def test_nothing_is_paid_twice_and_the_budget_holds():
    for budget in (6, 9, 20, 31, 47):
        evaluator = rules(budget=budget)
        gepa = Gepa("abcdefghij", 1)
        run(gepa, evaluator)
        assert gepa.finished == "budget" and evaluator.calls <= budget
        assert evaluator.calls == len(evaluator.known) + len(evaluator.said)


def test_a_text_that_cannot_be_tried_costs_nothing_and_is_counted():
    evaluator = rules(lambda key, request: "```\nUse {{field}} instead\n```")
    gepa = Gepa("abcdefghij", 1, iterations=4)
    run(gepa, evaluator)
    assert gepa.dropped == {"slot damaged": 4} and len(gepa.candidates) == 1
    assert evaluator.calls == 6 + 4


def test_a_text_that_was_there_before_is_counted_and_not_kept_twice():
    evaluator = rules(lambda key, request: "```\nabc\n```")
    gepa = Gepa("abcdefghij", 1, iterations=4)
    run(gepa, evaluator)
    assert [candidate.text for candidate in gepa.candidates] == ["abcdefghij", "abc"]
    assert gepa.dropped == {"duplicate": 3}
