"""An evaluator whose scores are a rule and whose language model is a script: what a method
does with them is known beforehand."""

import numpy as np

from core.optimize.protocol import Evaluation, OutOfBudget, Shown


class RuleEvaluator:
    """Scores text i on example j by `rule(text)` plus `spread(text, j)` (default 0);
    answers with `answer(key, request)`; knows `budget` calls, and pays once for each
    (text, example) and key. `shown` are `n` examples “in j” -> “out j”."""

    unit = 100.0
    begins = False
    context = ""
    price = 1

    def __init__(self, rule, answer=lambda key, request: f"other {key}", budget=100_000, n=1, spread=None):
        self.rule, self.answer, self.budget = rule, answer, budget
        self.spread = spread or (lambda text, j: 0.0)
        self.shown = [Shown(f"in {j}", f"out {j}") for j in range(n)]
        self.calls = 0
        self.asked: list[str] = []
        self.requests: list[str] = []
        self.samplings: list = []
        self.texts: list[str] = []  # in the order in which they were first scored
        self.known: dict[tuple[str, int], float] = {}
        self.paid: dict[tuple[str, int], int] = {}
        self.worked: list[str] = []
        self.said: dict[str, str] = {}
        self.refuse_after = None  # stands for a cancel: the call after so many raises

    def fits(self, calls):
        return self.calls + calls <= self.budget

    def since(self, spent):
        return self.calls - spent

    def evaluate(self, texts, split="train", examples=None):
        places = list(range(len(self.shown))) if examples is None else list(examples)
        unique = list(dict.fromkeys(texts))
        new = [(text, j) for text in unique for j in places if (text, j) not in self.known]
        if not self.fits(len(new)):
            raise OutOfBudget
        for text in unique:
            fresh = [j for j in places if (text, j) not in self.known]
            if fresh and text not in self.texts:
                self.texts.append(text)
            for j in fresh:
                self._pay(1)
                self.known[text, j] = float(self.rule(text)) + self.spread(text, j)
                self.paid[text, j] = self.calls
        scores = np.array([[self.known[text, j] for j in places] for text in texts])
        outputs = [[f"{text} on {j}" for j in places] for text in texts]
        paid = [max(self.paid[text, j] for j in places) for text in texts]
        return Evaluation(list(texts), split, scores, outputs, places, paid)

    def _pay(self, calls):
        if self.refuse_after is not None and self.calls + calls > self.refuse_after:
            raise Refused
        self.calls += calls

    def work(self, key, calls, make, *, then=0, purpose="target"):
        if key not in self.worked:
            if not self.fits(calls + then):
                raise OutOfBudget
            self._pay(calls)
            self.worked.append(key)
        return make()

    def measure(self, evaluation, row=0):
        score = float(np.mean(evaluation.scores[row]))
        return {"score": score, "low": score, "high": score, "n": len(evaluation.examples)}

    def percent(self, scores):
        return float(scores["score"])

    def told(self, evaluation, row, place):
        return evaluation.outputs[row][place], f"worth {evaluation.scores[row, place]:g}"

    def ask(self, key, messages, sampling):
        return self._ask([key], [messages], sampling)[0]

    def ask_many(self, key, requests, sampling):
        return self._ask([f"{key}/{i}" for i in range(len(requests))], requests, sampling)

    def _ask(self, keys, requests, sampling):
        new = [key for key in keys if key not in self.said]
        if not self.fits(len(new) * (1 + len(self.shown))):
            raise OutOfBudget
        for key, request in zip(keys, requests, strict=True):
            if key not in self.said:
                self._pay(1)
                self.asked.append(key)
                self.requests.append(request[0]["content"])
                self.samplings.append(sampling)
                self.said[key] = self.answer(key, request[0]["content"])
        return [self.said[key] for key in keys]


class Refused(BaseException):
    """Stands for a kill."""


def phrase_answer(answer):
    """A script for GrIPS: it sees the phrase alone."""
    return lambda key, request: answer(key, request.rsplit("\n\n", 1)[1])


def run(optimizer, evaluator, steps=1_000):
    events = []
    for _ in range(steps):
        if optimizer.finished:
            break
        events += optimizer.step(evaluator)
    return events
