"""Several searches in one process whose questions to the proposing model are answered in one batch.

GEPA asks one question at a time and waits for the answer, so a search of its own spends nearly all of
its time reading the model's weights once for each token of one answer. Searches side by side can
share that: each is a thread, and when all of them wait for an answer, their questions make one
batch. An answer depends on its own question and seed (core/llm/sampling.py), not on what it shares
the batch with, but for rounding.

The seconds of a search are then those of all of them, and are not told.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.llm.protocol import Completion, Messages, Sampling


class Together:
    """The host of several searches. One thread at a time works with the model."""

    def __init__(self, host: Any, searches: int) -> None:
        self.host, self.searches = host, searches
        self.model = threading.RLock()
        self.turn = threading.Condition()
        self.waiting: list[Question] = []

    def ask(self, question: "Question") -> list[Completion]:
        with self.turn:
            self.waiting.append(question)
            self._answer_if_all_wait()
            self.turn.wait_for(lambda: question.answers is not None or question.problem is not None)
        if question.problem is not None:
            raise question.problem
        assert question.answers is not None
        return question.answers

    def leave(self) -> None:
        """A search has ended: nobody waits for it any more."""
        with self.turn:
            self.searches -= 1
            self._answer_if_all_wait()

    def _answer_if_all_wait(self) -> None:
        if not self.waiting or len(self.waiting) < self.searches:
            return
        asked, self.waiting = self.waiting, []
        for like in {question.like for question in asked}:
            self._answer([question for question in asked if question.like == like])
        self.turn.notify_all()

    def _answer(self, asked: list["Question"]) -> None:
        requests = [request for question in asked for request in question.requests]
        seeds = [seed for question in asked for seed in question.seeds]
        tokens, temperature, top_p = asked[0].like
        try:
            with self.model:
                answers = self.host.generate(requests, Sampling(tokens, temperature, top_p), seeds=seeds)
        except Exception as problem:  # each search says it in its own way
            for question in asked:
                question.problem = problem
            return
        for question in asked:
            count = len(question.requests)
            question.answers, answers = answers[:count], answers[count:]


class Question:
    def __init__(self, requests: Sequence[Messages], sampling: Sampling, seeds: Sequence[int]) -> None:
        self.requests, self.seeds = requests, seeds
        self.like = (sampling.max_new_tokens, sampling.temperature, sampling.top_p)
        self.answers: list[Completion] | None = None
        self.problem: Exception | None = None


class OneOf:
    """What one search takes for its host."""

    def __init__(self, together: Together, spec: Any) -> None:
        self.together, self.spec = together, spec
        self.stop: Callable[[], bool] = lambda: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.together.host, name)

    def generate(
        self, requests: Sequence[Messages], sampling: Sampling, seeds: Sequence[int] | None = None
    ) -> list[Completion]:
        own = seeds or [sampling.seed] * len(requests)
        return self.together.ask(Question(requests, sampling, own))

    def label_logprobs(self, requests: Sequence[Messages], labels: Sequence[str]) -> Any:
        with self.together.model:
            return self.together.host.label_logprobs(requests, labels)


def search_together(searches: Sequence[Callable[[], Any]], done: Callable[[Any], None]) -> None:
    """Run all of them, each in a thread; `done` with what one made, as it ends, one at a time."""
    from core.llm.hosts import open_host
    from core.optimize import work

    opened: list[Together] = []
    opening, telling = threading.Lock(), threading.Lock()

    def shared(spec: Any, models_dir: Any) -> OneOf:
        with opening:
            if not opened:
                opened.append(Together(open_host(spec, models_dir), len(searches)))
        return OneOf(opened[0], spec)

    def one(search: Callable[[], Any]) -> None:
        try:
            made = search()
        finally:
            if opened:
                opened[0].leave()
        with telling:
            done(made)

    before, work.open_host = work.open_host, shared
    try:
        with ThreadPoolExecutor(len(searches)) as threads:
            for ended in [threads.submit(one, search) for search in searches]:
                ended.result()
    finally:
        work.open_host = before
