"""What holds for the three methods alike: rounds, books, kills, what cannot be tried."""

import json

import numpy as np
import pytest
import torch

from core.optimize.method import why_not
from core.optimize.methods import METHODS
from core.optimize.policy_figures import FIGURES
from core.optimize.protocol import FINISH_WORDS, Iterated, Learned
from core.optimize.writer.writing import Grader
from tests.optimize.rules import Refused, run

WRITERS = ["ppo", "grpo", "rloo"]
every_writer = pytest.mark.parametrize("name", WRITERS)
END = 2  # the end token of the tiny model


def told(optimizer):
    candidates = [candidate.as_dict() for candidate in optimizer.candidates]
    return candidates, optimizer.finished, optimizer.dropped, optimizer.pool, optimizer.last


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@every_writer
def test_a_search_from_start_to_end(name, made, evaluator):
    optimizer, books = made(name), evaluator()
    base = {key: weight.clone() for key, weight in books.host.model.state_dict().items()}
    assert optimizer.kl() is None and optimizer.figures() == []
    events = run(optimizer, books)
    assert optimizer.finished == "iterations" and optimizer.trained == 5
    assert optimizer.candidates[0].operation == "start"
    assert {c.operation.split()[0] for c in optimizer.candidates[1:]} == {name}
    assert all(c.operation.split()[2].isdigit() and c.parent == 0 for c in optimizer.candidates[1:])
    assert 1 < len(optimizer.candidates) <= 1 + 3 * 2
    assert sum(isinstance(event, Iterated) for event in events) == 5
    learned = [event for event in events if isinstance(event, Learned)]
    assert [event.step for event in learned] == [1, 2, 3, 4, 5]
    # Every figure of a step is kept by itself: the next step does not change it.
    assert len({event.figures["kl"]["score"] for event in learned}) == 5
    assert learned[-1].figures == optimizer.last and set(optimizer.last) <= set(FIGURES)
    # Six examples for each candidate, three for each further text, and the policy's own passes.
    assert books.calls == len(books.known) + 5 * 4 * optimizer.passes
    assert len(books.worked) == 5
    assert optimizer.kl()["score"] != 0 and {"kl", "reward", "entropy", "clip_fraction"} <= set(
        optimizer.last
    )
    assert all(torch.equal(weight, base[key]) for key, weight in books.host.model.state_dict().items())


@every_writer
def test_every_figure_has_its_n(name, made, evaluator):
    """Prompts, or their tokens: of the clip fraction what has a ratio, once for each pass."""
    optimizer, books = made(name, epochs=2), evaluator()
    run(optimizer, books, steps=2)
    last = optimizer.last
    prompts, tokens = 4, last["entropy"]["n"]
    assert prompts < tokens <= prompts * 12
    ns = {"reward": prompts, "kl": prompts, "degenerate": prompts, "entropy": tokens,
          "clip_fraction": 2 * (prompts if name == "rloo" else tokens)}  # fmt: skip
    if name == "ppo":
        ns["explained_variance"] = tokens
    assert {key: of["n"] for key, of in last.items()} == ns
    for key in ("reward", "degenerate", *(["kl"] if name == "ppo" else [])):
        assert last[key]["low"] <= last[key]["score"] <= last[key]["high"]


def test_a_search_that_an_older_version_saved_goes_on(made, evaluator):
    """Its figures were bare numbers."""
    optimizer, books = made("ppo"), evaluator()
    run(optimizer, books, steps=2)
    state = optimizer.state_dict() | {"last": {"kl": 0.5, "entropy": 2.0}}
    again = made("ppo")
    again.load_state_dict(state)
    assert again.kl() is None and again.figures() == [] and again.learned() is None


@every_writer
def test_calls_of_a_step(name, made):
    """Write 1, the reference 1; 3 for a pass. PPO and RLOO read it themselves besides; GRPO
    only when it needs what was likely before the first of several passes."""
    want = {"ppo": (6, 9), "grpo": (5, 9), "rloo": (6, 9)}
    assert (made(name, epochs=1).passes, made(name, epochs=2).passes) == want[name]


@every_writer
def test_the_trainer_takes_as_many_passes_as_are_paid_for(name, made, evaluator):
    """Forward passes over the batch, counted at the model; writing takes one a token, which are
    paid as one."""
    optimizer, books = made(name, epochs=2, steps=3), evaluator()
    run(optimizer, books, steps=2)
    model = optimizer.policy.model if name == "ppo" else optimizer.trainer.model
    read = []
    layer = model.get_base_model().model.layers[0]
    hook = layer.register_forward_hook(lambda module, inputs, out: read.append(tuple(inputs[0].shape[:2])))
    optimizer.step(books)
    hook.remove()
    prompt = len(books.host.tokens(books.host.rendered(optimizer.request)))
    whole = [shape for shape in read if shape[0] == 4 and shape[1] > prompt]
    assert len(whole) == optimizer.passes - 1 - 2 * 2  # reads, and forwards of two passes


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_state_and_tensors_after_every_step_lead_to_the_same_end(name, made, evaluator):
    whole, books = made(name, steps=3), evaluator()
    run(whole, books)
    one, again = made(name, steps=3), evaluator()
    while not one.finished:
        one.step(again)
        state = json.loads(json.dumps(one.state_dict(), allow_nan=False))
        tensors = {key: tensor.clone() for key, tensor in one.tensors().items()}
        one = made(name, steps=3)
        one.load_state_dict(state)
        one.load_tensors(tensors)
    assert told(one) == told(whole)
    assert same(one.tensors(), whole.tensors()) and one.tensors()


@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_a_step_that_is_cut_short_changes_nothing(name, made, evaluator):
    whole, books = made(name, steps=3), evaluator()
    run(whole, books)
    optimizer, cut = made(name, steps=3), evaluator()
    for refuse_after in [*range(0, books.calls, 25), None]:
        cut.refuse_after = refuse_after
        try:
            run(optimizer, cut)
        except Refused:
            continue
    assert told(optimizer)[1:] == told(whole)[1:]
    assert [c.text for c in optimizer.candidates] == [c.text for c in whole.candidates]
    assert cut.calls == books.calls and same(optimizer.tensors(), whole.tensors())


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_step_that_fails_between_two_passes_leaves_weights_and_adam_as_they_were(name, made, evaluator):
    whole = made(name, steps=2, epochs=2)
    run(whole, evaluator())
    optimizer, books = made(name, steps=2, epochs=2), evaluator()
    run(optimizer, books, steps=2)
    before = optimizer.tensors()
    place, method, passes = (
        (optimizer.policy, "read", 4) if name == "ppo" else (optimizer.trainer, "training_step", 2)
    )
    take, taken = getattr(place, method), []

    def failing(*given, **named):
        taken.append(1)
        if len(taken) == passes:  # the first pass has changed the weights
            raise Refused
        return take(*given, **named)

    setattr(place, method, failing)
    with pytest.raises(Refused):
        optimizer.step(books)
    assert len(taken) == passes and same(optimizer.tensors(), before)
    run(optimizer, books)
    assert told(optimizer) == told(whole) and same(optimizer.tensors(), whole.tensors())


@pytest.mark.parametrize(("name", "budget"), [("ppo", 7), ("ppo", 110), ("grpo", 110)])
def test_the_budget_holds_and_what_is_left_scores_what_was_written(name, budget, made, evaluator):
    books = evaluator(budget=budget)
    optimizer = made(name, steps=100)
    run(optimizer, books)
    assert optimizer.finished == "budget" and books.calls <= budget
    step = 4 * (optimizer.passes + 3) + 2 * 6
    assert optimizer.trained == 0 if budget < 6 + step else optimizer.trained > 0
    if optimizer.trained:
        assert len(optimizer.candidates) > 1
        assert not optimizer.pool or budget - books.calls < 6


def test_one_seed_one_search_and_another_seed_another(made, evaluator):
    ends = []
    for seed in (4, 4, 5):
        optimizer = made("ppo", seed)
        run(optimizer, evaluator())
        ends.append(told(optimizer))
    assert ends[0] == ends[1] != ends[2]


# --- the reward --------------------------------------------------------------------------------


def grade(optimizer, books, *texts, ended=True):
    run(optimizer, books, steps=1)
    grader = Grader(optimizer, books, [END], [0, 2])
    ids = [[7, 7, END] if ended else [7, 7]] * len(texts)
    return grader.reward([None] * len(texts), list(texts), completion_ids=ids, trainer_state=None), grader


def test_the_reward_is_the_score_on_the_mini_batch_less_the_start_s(made, evaluator):
    optimizer, books = made("ppo"), evaluator()
    text = "good good film"
    got, _ = grade(optimizer, books, text, [{"role": "assistant", "content": f"Prompt: “{text}”"}])
    rule, spread = books.rule, books.spread
    want = np.mean([rule(text) + spread(text, j) - rule(optimizer.start) - spread(optimizer.start, j)
                    for j in (0, 2)]) / 100  # fmt: skip
    assert got == pytest.approx([want, want])
    assert books.calls == 6 + 2  # the start is known, and the second text is the first


def test_what_cannot_be_tried_is_counted_and_costs_no_call(made, evaluator):
    optimizer, books = made("ppo", penalty=0.7), evaluator()
    got, grader = grade(optimizer, books, "", "I cannot do that.", "use {{field}}", "word " * 1_000)
    assert got == [-0.7] * 4 and books.calls == 6
    assert [one.problem for one in grader.graded] == ["empty", "unparseable", "slot damaged", "too long"]
    got, grader = grade(made("ppo"), evaluator(), "good film", ended=False)
    assert got == [-0.5] and grader.graded[0].problem == "no end"


@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_a_policy_of_which_nothing_can_be_tried_is_given_up(name, made, evaluator):
    books = evaluator()
    optimizer = made(name, tokens=2, steps=50, batch=3)
    books.optimizer_host.eos, ends = [59], books.optimizer_host.eos  # never comes
    try:
        run(optimizer, books)
    finally:
        books.optimizer_host.eos = ends
    assert optimizer.finished == "unproductive" in FINISH_WORDS and optimizer.trained == 3
    assert sum(optimizer.dropped.values()) == 9 and optimizer.last["degenerate"]["score"] == 1


# --- where it runs -------------------------------------------------------------------------------


@every_writer
def test_the_writer_needs_a_model_in_process_and_the_target_need_not_be_one(name):
    from core.llm.protocol import HostSpec

    assert METHODS[name].trains == {"gradients"} and not METHODS[name].needs
    far = HostSpec(name="far", kind="openai")
    assert why_not(METHODS[name], far, HostSpec()) is None
    assert "needs gradients, and “far” gives only" in why_not(METHODS[name], far)


def test_a_writer_behind_a_url_is_refused_with_the_reason(db, admin, project, examples):
    from core.errors import Invalid
    from core.llm.registry import create_host
    from core.runs.service import start_run

    examples()
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    config = {"method": "grpo", "reward": "labels"}
    assert start_run(db, admin, project.id, "optimize", config).config["options"]["beta"] == 0.04
    with pytest.raises(Invalid, match=r"optimizer_host: GRPO.* needs gradients, and “far” gives only"):
        start_run(db, admin, project.id, "optimize", {**config, "optimizer_host": "far"})


def test_ppo_puts_its_formulas_together(made, evaluator, monkeypatch):
    """What each formula is given, in the second step, when values are no longer 0."""
    from core.optimize.writer import ppo

    optimizer, books = made("ppo", epochs=2), evaluator()
    run(optimizer, books, steps=2)
    seen = {}

    def spy(name):
        formula = getattr(ppo, name)

        def called(*given):
            seen.setdefault(name, []).append((given, formula(*given)))
            return seen[name][-1][1]

        monkeypatch.setattr(ppo, name, called)

    for name in ("shaped", "gae", "whitened", "policy_loss", "value_loss"):
        spy(name)
    optimizer.step(books)
    ((grades, old, reference, mask, beta), rewards) = seen["shaped"][0]
    ((into, values, _), advantages) = seen["gae"][0]
    assert beta == optimizer.beta and into is rewards and values.abs().max() > 0
    assert not torch.equal(old, reference)
    assert len(grades) == 4 and float(grades.mean()) == pytest.approx(optimizer.last["reward"]["score"])
    assert seen["whitened"][0][0][0] is advantages
    for i, (given, _) in enumerate(seen["policy_loss"]):
        assert given[1] is old and given[2] is seen["whitened"][0][1]
        assert torch.equal(given[0], old) is (i == 0)  # after the first pass the policy has moved
    for given, _ in seen["value_loss"]:
        assert given[1] is values and torch.allclose(given[2], advantages + values)
    assert len(seen["policy_loss"]) == len(seen["value_loss"]) == 2
    assert torch.equal(mask, seen["gae"][0][0][2])
