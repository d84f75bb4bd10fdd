"""MIPRO: instructions and demonstrations, searched together (Opsahl-Ong, Ryan, Purtell,
Broman, Potts, Zaharia, Khattab 2024, arXiv 2406.11695). Read beside sections 3 and 4 and
algorithm 1 of the paper; defaults are those of its release MIPROv2, for smaller budgets.

    bootstrap  sets of `demonstrations` train examples with a good output; set 0 is empty
    ground     the language model says in a few sentences what the data are like
    propose    `instructions` of them: each request shows that summary, one of the sets, the
               start and a tip on style; instruction 0 is the start
    search     `trials` times: TPE, a Bayesian search by Optuna, suggests an instruction and a
               set; the two together are scored on a mini-batch of `batch` train examples
               every `full_every` trials: the best that was not yet scored on all of train is
    finish     the best two that were not are, as far as the budget goes

What differs from the paper, and why:
- A prompt here is one module, so a trial has two parameters, and there is no program to
  summarise for the proposer.
- A bootstrapped output is one that the reward holds to be good: the right label or the
  reference where there is one, else the start's responses with the highest rewards.
- Mini-batches never contain an example of any set: a text would know its answer. A score on
  all of train does contain them, and flatters a text with demonstrations by as much; what is
  chosen is chosen on dev.
- Proposals are drawn from the likeliest words (nucleus .9): the tail of a small model's
  distribution makes no sense.
- All combinations meet the other train examples in one order, drawn once, and one that is
  suggested again meets its next ones: they are compared on the same examples.
- The sampler is made anew for each trial from the trials so far, seeded by (seed, trial), so
  the list of trials is all the state there is.
"""

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from core.llm.protocol import Messages
from core.optimize.demonstrations import draw_sets, good_pairs, listed, with_demonstrations
from core.optimize.proposals import Proposals
from core.optimize.protocol import (
    Candidate,
    Evaluator,
    Event,
    Figure,
    Iterated,
    OutOfBudget,
    Scored,
    Shown,
)
from core.optimize.reading import slots_note, whole

SUMMARY = 600  # characters of the summary that the proposer reads
NUCLEUS = 0.9
SEEN_BY_SUMMARY = 8  # examples it is written from
TIPS = (
    "",
    "Be creative: say it in a way that nobody would expect.",
    "Keep it short and clear.",
    "Describe the task in detail.",
    "Tell the model that much depends on its answer.",
    "Tell the model who it is: somebody who is very good at this.",
)
Combination = tuple[int, int]  # instruction, set of demonstrations


class Mipro(Proposals):
    """`trials`: instruction, set, the mean score that TPE was told. `numbers`: the candidate
    of each combination; `seen`: how many examples of `order` it was scored on (those of the
    sets come last, and only with all the others); `means`: its mean on what it has seen
    outside the sets. Keys are “instruction/set”."""

    name = "mipro"
    STATE: ClassVar = (
        "summary", "instructions", "sets", "order", "own", "searching",
        "trials", "tried", "full_at", "numbers", "seen", "means",
    )  # fmt: skip

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        instructions: int = 6,
        sets: int = 5,
        demonstrations: int = 3,
        trials: int = 30,
        batch: int = 8,
        full_every: int = 5,
        temperature: float = 1.0,
        request_form: str = "automatic",
    ) -> None:
        super().__init__(start, seed)
        self.wanted, self.sets_wanted, self.size = instructions, sets, demonstrations
        self.limit, self.batch, self.full_every = trials, batch, full_every
        self.temperature, self.form = temperature, request_form
        self.summary: str | None = None
        self.instructions = [start]
        self.sets: list[list[dict[str, str]]] = []  # of {input, answer}; the first is empty
        self.order: list[int] = []  # places in train: those for mini-batches, then the sets'
        self.own = 0  # how many of `order` are the sets'
        self.searching = False
        self.trials: list[list[Any]] = []
        self.tried = 0  # mini-batch trials
        self.full_at = 0  # `tried` when a combination was last scored in full
        self.numbers: dict[str, int] = {}
        self.seen: dict[str, int] = {}
        self.means: dict[str, float] = {}

    def step(self, evaluator: Evaluator) -> list[Event]:
        if not self.searching:
            return super().step(evaluator)
        before = self.state_dict()
        try:
            events = self._search(evaluator)
        except BaseException:  # cancelled, or the host failed: as if this step had not begun
            self.load_state_dict(before)
            raise
        self.spent = evaluator.calls
        return events

    # --- bootstrap, ground, propose ------------------------------------------------------------

    def propose(self, evaluator: Evaluator) -> list[Event]:
        events: list[Event] = []
        if not self.sets:
            self._bootstrap(evaluator)
        if self.wanted > 1 and self.summary is None:
            self.summary = self._ground(evaluator, events)
            return events
        if self.wanted > 1:
            self._write(evaluator, events)
        if len(self.instructions) * len(self.sets) == 1:
            self.finished = "unproductive"
        self.searching = True
        self._begin(evaluator)
        return events

    def _bootstrap(self, evaluator: Evaluator) -> None:
        n = len(evaluator.shown)
        pairs = good_pairs(evaluator, self.start, self.size)
        drawn = draw_sets(pairs, self.sets_wanted - 1, self.size, n, f"{self.seed}/sets")
        self.sets = [[], *([_as_dict(pairs[i][1]) for i in one] for one in drawn)]
        shown = {pairs[i][0] for one in drawn for i in one}
        shuffled = random.Random(f"{self.seed}/order").sample(range(n), n)
        self.order = sorted(shuffled, key=lambda place: place in shown)  # stable
        self.own = len(shown)

    def _ground(self, evaluator: Evaluator, events: list[Event]) -> str:
        rng = self.rng("summary")
        seen = rng.sample(list(evaluator.shown), min(SEEN_BY_SUMMARY, len(evaluator.shown)))
        try:
            (answer,) = self.ask(evaluator, [summary_request(seen)], temperature=0.7, max_new_tokens=120)
        except OutOfBudget as end:
            if end.reason != "budget":
                raise
            return ""
        said = self.read(answer.rstrip("…"), whole, "summary", events) or ""
        return said[:SUMMARY]

    def _write(self, evaluator: Evaluator, events: list[Event]) -> None:
        shown = self.sets[1:] or [[]]
        requests = [
            instruction_request(
                self.start,
                self.summary or "",
                _pairs(shown[i % len(shown)]),
                TIPS[i % len(TIPS)],
                slots_note(self.start),
            )
            for i in range(self.wanted - 1)
        ]
        try:
            texts = self.ask_tagged(
                evaluator, requests, "INS", "instruction", events,
                temperature=self.temperature, top_p=NUCLEUS, max_new_tokens=96 + 3 * len(self.start.split()),
            )  # fmt: skip
        except OutOfBudget as end:
            if end.reason != "budget":
                raise
            return  # the start, then, with the sets
        for text in texts:
            if text is not None and self.offer(text, 0, "instruction", events):
                self.instructions.append(text)
        self.queue.clear()  # scored by the search, not in full

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        return []  # the start; nothing else goes through the queue

    def _begin(self, evaluator: Evaluator) -> None:
        """The start is the first trial: it was scored on all of train."""
        n = len(evaluator.shown)
        self.numbers, self.seen = {"0/0": 0}, {"0/0": n}
        evaluation = evaluator.evaluate([self.start])
        self.means = {"0/0": float(evaluation.scores[0, self.order[: n - self.own]].mean())}
        self.trials = [[0, 0, self.means["0/0"]]]

    # --- search --------------------------------------------------------------------------------

    def _search(self, evaluator: Evaluator) -> list[Event]:
        n = len(evaluator.shown)
        if self.tried and self.tried % self.full_every == 0 and self.full_at < self.tried:
            self.full_at = self.tried
            best = self.promising(n)
            if best and self.carries(evaluator, evaluator.price * (n - self.seen[_key(best[0])])):
                return self._score(evaluator, best[0], n)
        if self.tried >= self.limit:
            return self._finish(evaluator, "iterations")
        if len(self.promising(n)) == 0 and len(self.numbers) == len(self.instructions) * len(self.sets):
            return self._finish(evaluator, "exhausted")
        if not self.carries(
            evaluator, evaluator.price * (self.batch + n)
        ):  # one must still be scored in full
            return self._finish(evaluator, "budget")
        combination = self.suggest()
        self.tried += 1
        self.iteration = self.tried
        seen = self.seen.get(_key(combination), 0)
        return self._score(evaluator, combination, min(seen + self.batch, max(seen, n - self.own)))

    def suggest(self) -> Combination:
        """What TPE would try next, after these trials."""
        import optuna  # half a second, in the worker alone
        from optuna.distributions import BaseDistribution, CategoricalDistribution

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = random.Random(f"{self.seed}/trial/{len(self.trials)}").getrandbits(31)
        space: dict[str, BaseDistribution] = {
            "instruction": CategoricalDistribution(list(range(len(self.instructions)))),
            "set": CategoricalDistribution(list(range(len(self.sets)))),
        }
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=min(10, 1 + self.limit // 3)
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for instruction, shown, value in self.trials:
            params = {"instruction": instruction, "set": shown}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
        asked = study.ask(space).params
        return asked["instruction"], asked["set"]

    def promising(self, n: int) -> list[Combination]:
        """Those tried and not scored on all of train, the highest mean first."""
        partly = [key for key, seen in self.seen.items() if seen < n]
        partly.sort(key=lambda key: (-self.means[key], -self.seen[key], self.numbers[key]))
        return [_combination(key) for key in partly]

    def _score(self, evaluator: Evaluator, combination: Combination, upto: int) -> list[Event]:
        """Score on the first `upto` examples of the order, and tell TPE the mean of those
        that are new to the combination and in no set."""
        key, n = _key(combination), len(evaluator.shown)
        seen, apart = self.seen.get(key, 0), n - self.own
        candidate = self._candidate(combination)
        places = sorted(self.order[:upto])
        evaluation = evaluator.evaluate([candidate.text], examples=places)
        scores = dict(zip(places, evaluation.scores[0], strict=True))
        known = [scores[place] for place in self.order[: min(upto, apart)]]
        fresh = known[seen:] if seen < len(known) else known
        candidate.scores["train"] = evaluator.measure(evaluation)
        candidate.calls = evaluation.spent[0]
        self.numbers[key], self.seen[key] = candidate.number, upto
        self.means[key] = float(np.mean(known))
        self.trials.append([*combination, float(np.mean(fresh if upto < n else known))])
        if candidate.number == len(self.candidates):
            self.candidates.append(candidate)
        accepted = None
        if upto == n and not candidate.accepted and self._beats_all(candidate, n):
            candidate.accepted, accepted = True, candidate.number
        said = f"{candidate.operation}: mean {self.means[key]:.3g} on {len(known)} examples"
        return [Scored(candidate), Iterated(max(0, self.tried - 1), accepted, said)]

    def _candidate(self, combination: Combination) -> Candidate:
        key = _key(combination)
        if key in self.numbers:
            return self.candidates[self.numbers[key]]
        instruction, shown = combination
        text = with_demonstrations(self.instructions[instruction], _pairs(self.sets[shown]))
        return Candidate(len(self.candidates), text, 0, described(combination))

    def _beats_all(self, candidate: Candidate, n: int) -> bool:
        mine = candidate.scores["train"]
        others = [one.scores["train"] for one in self.candidates if one.number != candidate.number]
        return all(mine["score"] > one["score"] for one in others if one["n"] == n)

    def _finish(self, evaluator: Evaluator, reason: str, *, stopped: bool = False) -> list[Event]:
        events: list[Event] = []
        n = len(evaluator.shown)
        for combination in self.promising(n)[:2]:
            try:
                events += self._score(evaluator, combination, n)
            except OutOfBudget as end:
                if end.reason != "budget" and not stopped:
                    raise  # the search goes on with `close`, for which calls are set aside
                break
        self.finished = reason
        return events

    def to_close(self, evaluator: Evaluator) -> int:
        n = len(evaluator.shown)
        return evaluator.price * n if self.promising(n) else 0

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        return self._finish(evaluator, reason, stopped=True)

    # --- for the page ----------------------------------------------------------------------------

    def fraction(self) -> float:
        return min(1.0, self.tried / self.limit)

    def figures(self) -> list[Figure]:
        if not self.trials:
            return []
        n = len(self.order)
        full = [key for key, seen in self.seen.items() if seen == n]
        best = max(full, key=lambda key: (self.train(self.numbers[key]), -self.numbers[key]))
        instructions, sets = len(self.instructions), len(self.sets)
        return [
            Figure(
                "Combinations tried",
                float(len(self.numbers)),
                f"Of {instructions * sets}: {instructions} instructions times {sets} sets of demonstrations, "
                "one of which is empty.",
            ),
            Figure(
                "Demonstrations in the best on train",
                float(len(self.sets[_combination(best)[1]])),
                "How many examples the best text on all of train shows; 0: it is an instruction alone.",
            ),
        ]


def described(combination: Combination) -> str:
    instruction, shown = combination
    parts = [f"instruction {instruction}"] if instruction or not shown else []
    return " with ".join([*parts, *([f"demonstrations {shown}"] if shown else [])])


def _key(combination: Combination) -> str:
    return "/".join(map(str, combination))


def _combination(key: str) -> Combination:
    instruction, shown = key.split("/")
    return int(instruction), int(shown)


def _as_dict(one: Shown) -> dict[str, str]:
    return {"input": one.input, "answer": one.answer}


def _pairs(shown: Sequence[dict[str, str]]) -> list[Shown]:
    return [Shown(**one) for one in shown]


# --- the requests ------------------------------------------------------------------------------


def summary_request(seen: Sequence[Shown]) -> Messages:
    examples = "\n\n".join(
        f"Input: {one.input}" + (f"\nOutput: {one.answer}" if one.answer else "") for one in seen
    )
    return [
        {
            "role": "user",
            "content": f"Here are {len(seen)} examples of a task.\n\n{examples}\n\nIn two or three sentences: what "
            "are the inputs like, and what is to be done with them? Answer with these sentences only.",
        }
    ]


def instruction_request(
    start: str, summary: str, shown: Sequence[Shown], tip: str = "", note: str = ""
) -> Messages:
    parts = ["Write an instruction that tells a language model how to do a task."]
    if summary:
        parts.append(f"What the data are like: {summary}")
    if shown:
        parts.append(f"Examples:\n\n{listed(shown)}")
    parts.append(f"The instruction that is used now:\n{start}")
    parts.append(f"{tip}{note} Write a better instruction between <INS> and </INS>.".strip())
    return [{"role": "user", "content": "\n\n".join(parts)}]
