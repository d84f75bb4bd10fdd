"""An optimiser that trains: its steps are paid for once, and its tensors survive a kill."""

import json

import pytest
import torch

from core.llm.ledger import Ledger
from core.optimize.answers import Answers, Payer
from core.optimize.evaluate import HostEvaluator
from core.optimize.instruction import Instruction
from core.optimize.objectives import LabelScore
from core.optimize.protocol import AnyOf, Candidate, OutOfBudget, Scored
from core.optimize.search import Search
from tests.optimize.fakes import START, WORDS, FakeHost, Killed, rows


class Trained:
    """Each step adds to a weight, and proposes a text that says how heavy it is."""

    name = "trained"

    def __init__(self):
        self.candidates, self.finished, self.steps, self.dropped = [], None, 0, {}
        self.weight = torch.zeros(3, dtype=torch.bfloat16)

    def step(self, evaluator):
        def train():
            if self.kill_in == self.steps:
                raise Killed
            return self.weight + self.steps + 1

        weight = evaluator.work(f"step {self.steps}", 6, train, then=12)
        text = START if not self.steps else f"{START} {weight[0].item():g}"
        found = evaluator.evaluate([text])
        scores = {"train": evaluator.measure(found)}
        made = Candidate(self.steps, text, None, "trained", scores=scores, calls=found.spent[0])
        self.candidates.append(made)
        self.weight, self.steps = weight, self.steps + 1
        if self.steps == 4:
            self.finished = "iterations"
        return [Scored(made)]

    kill_in = None

    def fraction(self):
        return self.steps / 4

    def figures(self):
        return []

    def state_dict(self):
        return {"steps": self.steps, "candidates": [c.as_dict() for c in self.candidates]}

    def load_state_dict(self, state):
        self.steps, self.candidates = state["steps"], [Candidate(**c) for c in state["candidates"]]

    def tensors(self):
        return {"weight": self.weight}

    def load_tensors(self, tensors):
        self.weight = tensors["weight"]


def search(folder, host, *, kill_in=None, budget=400):
    ledger = Ledger(budget)
    answers = Answers(folder / "answers.jsonl", ledger, Payer("fake", count_lost=False))
    start = Instruction(START, "{{input}}", "system")
    evaluator = HostEvaluator(host, LabelScore(WORDS), start, rows(), answers)
    optimizer = Trained()
    optimizer.kill_in = kill_in
    found = Search(optimizer, evaluator, AnyOf(()), folder / "search.json", lambda event: None)
    if found.state_file.exists():
        found.load(json.loads(found.state_file.read_text()))
    return found, evaluator


def test_killed_in_a_step_it_goes_on_to_the_same_weights_and_books(tmp_path):
    whole, _ = search(tmp_path / "whole", FakeHost())
    assert whole.run() == "iterations"
    for name, kill_in, kill_at in (("training", 2, None), ("scoring", None, 30)):
        killed, _ = search(tmp_path / name, FakeHost(kill_at=kill_at), kill_in=kill_in)
        with pytest.raises(Killed):
            killed.run()
        again, evaluator = search(tmp_path / name, FakeHost())
        assert again.optimizer.steps == 2
        assert again.run() == "iterations"
        assert torch.equal(again.optimizer.weight, whole.optimizer.weight)
        assert again.optimizer.weight.dtype == torch.bfloat16
        assert again.optimizer.candidates == whole.optimizer.candidates
        assert evaluator.calls == whole.evaluator.calls == 4 * (6 + 12)
        assert [file.name for file in (tmp_path / name).glob("*.safetensors*")] == ["search-4.safetensors"]


def test_a_step_that_does_not_fit_is_not_taken(tmp_path):
    _, evaluator = search(tmp_path, FakeHost(), budget=17)
    with pytest.raises(OutOfBudget):
        evaluator.work("a step", 6, lambda: pytest.fail("it was taken"), then=12)
    assert evaluator.calls == 0
    assert evaluator.work("a smaller one", 5, lambda: 7, then=12) == 7
    assert evaluator.work("a smaller one", 5, lambda: 8, then=12) == 8
    assert evaluator.calls == 5


def test_what_was_saved_before_stays_until_the_next_state_is_whole(tmp_path, monkeypatch):
    killed, _ = search(tmp_path, FakeHost())
    killed.optimizer.step(killed.evaluator)
    killed.save()

    def kill(path, value):
        raise Killed

    killed.optimizer.step(killed.evaluator)
    monkeypatch.setattr("core.optimize.search.write_json", kill)
    with pytest.raises(Killed):
        killed.save()
    again, _ = search(tmp_path, FakeHost())
    assert (again.optimizer.steps, again.optimizer.weight.tolist()) == (1, [1.0] * 3)
