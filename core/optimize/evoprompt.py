"""EvoPrompt: evolution with a language model as its operators (Guo, Wang, Guo, Li, Song,
Tan, Liu, Bian, Yang 2023, arXiv 2309.08532). Read beside section 3, algorithms 1 to 3.

    population: the start and rewrites of it, `population` texts (10), all scored
    for `generations` (10):
        GA   N children: two parents by roulette wheel (in proportion to their score) are
             crossed over, and the result is mutated; the best N of parents and children live
        DE   for each p_i: two others, a and b; their different parts are mutated and
             combined with the best prompt, and that is crossed over with p_i; the child
             takes p_i's place if it scores better

What differs from the paper, and why:
- The wording of the operators' requests is ours; their steps are the paper's.
- The paper starts from prompts written by people, or proposed by APE; here one prompt is
  there, so the others are the language model's rewrites of it.
- A generation's children are asked for and scored together, so in DE a child that took a
  place becomes a parent in the next generation, not within this one.
- Roulette needs scores that are not negative: a reward is mapped to 0 .. 100 first.
- A model in process has its answer begun with the tag (`request_form`), and so without
  the steps before it: small ones never come to the tag by themselves.
- A child that was there before is dropped and counted, and not scored again.
- With `frameworks` above 0 that share of the children is one parent put into the sections of a
  framework (core/optimize/recast.py) instead.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

from core.llm.protocol import Messages
from core.optimize.proposals import Proposals
from core.optimize.protocol import Evaluator, Event, Iterated
from core.optimize.random_search import rewrite_request
from core.optimize.reading import slots_note, whole
from core.optimize.recast import drawn_framework, operation_of, recast_request

# A child: what to ask, the numbers of its parents, and whose place it wants (-1: nobody's).
Plan = tuple[Messages, list[int], int]
LEAST = 4  # DE takes p_i, two others, and the best


class EvoPrompt(Proposals):
    """What both have in common. `alive`: numbers of the population, in its order."""

    STATE: ClassVar = ("alive", "places", "filling")
    operation = ""

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        population: int = 10,
        generations: int = 10,
        temperature: float = 0.5,
        request_form: str = "automatic",
        frameworks: float = 0.0,
    ) -> None:
        super().__init__(start, seed)
        self.form, self.frameworks = request_form, frameworks
        self.size, self.generations, self.temperature = population, generations, temperature
        self.alive: list[int] = []
        self.places: list[int] = []  # whose place each text in the queue wants (DE)
        self.filling = True  # the first population is not complete

    def propose(self, evaluator: Evaluator) -> list[Event]:
        events: list[Event] = []
        if self.filling:
            answers = self.ask(
                evaluator,
                [rewrite_request(self.start)] * (self.size - len(self.alive)),
                temperature=1.0,  # from one request the texts must differ
                max_new_tokens=64 + 3 * len(self.start.split()),
            )
            for answer in answers:
                text = self.read(answer, whole, "rewrite", events)
                if text is not None and self.offer(text, 0, "rewrite", events):
                    self.places.append(-1)
            if not self.queue and len(self.alive) >= LEAST:
                self.filling = False  # nothing new comes: go on with what there is
            return events
        plans = [self._mutated(*plan, child) for child, plan in enumerate(self.children(evaluator))]
        texts = self.ask_tagged(
            evaluator,
            [request for request, *_ in plans],
            "prompt",
            self.operation,
            events,
            temperature=self.temperature,
            max_new_tokens=256 + 4 * max(len(self.candidates[n].text.split()) for n in self.alive),
            paragraphs=self.frameworks > 0,
        )
        for text, (_, parents, place, how) in zip(texts, plans, strict=False):
            if text is not None and self.offer(text, parents[0], how, events, others=parents[1:]):
                self.places.append(place)
        return events

    def children(self, evaluator: Evaluator) -> list[Plan]:
        """One generation."""
        raise NotImplementedError

    def _mutated(
        self, request: Messages, parents: list[int], place: int, child: int
    ) -> tuple[Messages, list[int], int, str]:
        """A plan and how its child is made, where the draw says so by a framework."""
        rng = self.rng(f"framework {child}") if self.frameworks else None
        if rng is None or rng.random() >= self.frameworks:
            return request, parents, place, f"{self.operation} with {' and '.join(map(str, parents[1:]))}"
        framework, text = drawn_framework(rng), self.candidates[parents[0]].text
        return (
            recast_request(text, framework, slots_note(self.start)),
            parents[:1],
            place,
            operation_of(framework),
        )

    def settle(self, numbers: Sequence[int]) -> list[Event]:
        places, self.places = self.places, []
        if self.filling:
            self.alive += numbers
            for number in numbers:
                self.candidates[number].accepted = True
            self.filling = len(self.alive) < self.size
            return []
        before = list(self.alive)
        self.survive(numbers, places[: len(numbers)])
        new = [number for number in self.alive if number not in before]
        for number in new:
            self.candidates[number].accepted = True
        self.iteration += 1
        if self.iteration >= self.generations:
            self.finished = "iterations"
        best = max(self.alive, key=self.train)
        note = f"{len(new)} of {len(numbers)} children live; the population's best is candidate {best}"
        return [Iterated(self.iteration - 1, best if best in new else None, note)]

    def survive(self, children: Sequence[int], places: Sequence[int]) -> None:
        raise NotImplementedError

    def fraction(self) -> float:
        return min(1.0, (self.iteration + len(self.alive) / self.size) / (self.generations + 1))


class EvoPromptGA(EvoPrompt):
    name = "evoprompt_ga"
    operation = "crossover and mutation"

    def children(self, evaluator: Evaluator) -> list[Plan]:
        weights = [evaluator.percent(self.candidates[n].scores["train"]) for n in self.alive]
        plans = []
        for child in range(self.size):
            a, b = roulette(self.alive, weights, self.rng(f"parents {child}"))
            request = crossover_request(
                self.candidates[a].text, self.candidates[b].text, slots_note(self.start)
            )
            plans.append((request, [a, b], -1))
        return plans

    def survive(self, children: Sequence[int], places: Sequence[int]) -> None:
        """The best N of parents and children; of equals the older."""
        both = sorted([*self.alive, *children], key=lambda number: (-self.train(number), number))
        self.alive = both[: self.size]


class EvoPromptDE(EvoPrompt):
    name = "evoprompt_de"
    operation = "differential evolution"

    def children(self, evaluator: Evaluator) -> list[Plan]:
        best = max(self.alive, key=lambda number: (self.train(number), -number))
        plans = []
        for place, number in enumerate(self.alive):
            others = [other for other in self.alive if other != number]
            a, b = self.rng(f"others {place}").sample(others, 2)
            first, second, third, own = (self.candidates[n].text for n in (a, b, best, number))
            request = difference_request(first, second, third, own, slots_note(self.start))
            plans.append((request, [number, a, b, best], place))
        return plans

    def survive(self, children: Sequence[int], places: Sequence[int]) -> None:
        """A child takes the place it was made for, if it is better."""
        for child, place in zip(children, places, strict=True):
            if self.train(child) > self.train(self.alive[place]):
                self.alive[place] = child


def roulette(items: Sequence[int], weights: Sequence[float], rng: random.Random) -> tuple[int, int]:
    """Two different items, each drawn in proportion to its weight (the second among the
    rest); evenly where all weights are 0."""
    drawn: list[int] = []
    for _ in range(2):
        rest = [(item, weight) for item, weight in zip(items, weights, strict=True) if item not in drawn]
        even = not any(weight for _, weight in rest)
        drawn += rng.choices([item for item, _ in rest], [1 if even else weight for _, weight in rest])
    return drawn[0], drawn[1]


def crossover_request(first: str, second: str, note: str = "") -> Messages:
    return [
        {
            "role": "user",
            "content": "Make a better prompt out of two, step by step.\n"
            "1. Cross over the two prompts: write one that combines parts of both.\n"
            "2. Mutate the prompt of step 1: change some of its words, and keep its meaning. Write this final "
            f"prompt between <prompt> and </prompt>.{note}\n\n"
            f"Prompt 1: {first}\n\nPrompt 2: {second}",
        }
    ]


def difference_request(first: str, second: str, best: str, basic: str, note: str = "") -> Messages:
    return [
        {
            "role": "user",
            "content": "Make a better prompt out of four, step by step.\n"
            "1. Find the parts in which prompt 1 and prompt 2 differ.\n"
            "2. Mutate these parts: say them in other words.\n"
            "3. Combine the mutated parts with prompt 3: put each in the place of a part of prompt 3.\n"
            "4. Cross over the prompt of step 3 with the basic prompt: write one that combines parts of both. "
            f"Write this final prompt between <prompt> and </prompt>.{note}\n\n"
            f"Prompt 1: {first}\n\nPrompt 2: {second}\n\nPrompt 3: {best}\n\nBasic prompt: {basic}",
        }
    ]
