"""GrIPS: gradient-free, edit-based instruction search (Prasad, Hase, Zhou, Bansal 2023,
arXiv 2203.07281). Read beside section 3 and algorithm 1 of the paper.

    base = the start instruction, scored on S
    repeat at most `iterations` times:
        draw m candidates, each `base` with l edits on its phrases:
            delete      leave a phrase out
            swap        exchange two phrases
            substitute  replace a phrase by a paraphrase
            add         put back a phrase that an earlier accepted step deleted
        score them on S; if the best is strictly better than base, it is the new base
        else one of `patience` is used up; at none, stop

What differs from the paper, and why:
- Phrases come from a light chunker (core/optimize/phrases.py) at word, phrase or
  sentence granularity, not from a CRF constituency parser.
- Paraphrases come from the host's own language model, not from PEGASUS. What it answers
  is checked (`read_paraphrase`), and an answer that is no use is counted and shown.
- A swap is a true exchange by position, and an edit changes the one chosen occurrence.
  The released code replaces text within the edited text, which duplicates one phrase of
  a swap and loses the other, and edits every equal phrase at once.
- A text that was seen before is not scored again: another edit is drawn instead.
- Slots are never edited, and `add` forgets a phrase once it is back.

One step scores the candidates of an iteration, together where the budget carries them all,
and else one by one, to the same end. Every draw has a random generator of its own, seeded by
(seed, iteration, draw), so a search that goes on from its state draws what it would have
drawn.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.llm.protocol import Sampling
from core.optimize import phrases
from core.optimize.phrases import Phrases
from core.optimize.protocol import (
    Candidate,
    Dropped,
    Evaluator,
    Event,
    Figure,
    Iterated,
    OutOfBudget,
    Scored,
)
from core.optimize.reading import same_text
from core.prompts.templates import SLOT

OPERATIONS = ("delete", "swap", "substitute", "add")
DRAWS_PER_CANDIDATE = 6  # after so many useless draws an iteration makes do with fewer


@dataclass(frozen=True)
class Draw:
    """A text to score, with the phrases that were deleted and put back in it."""

    text: str
    operation: str
    taken: list[str]
    put_back: list[str]


class Grips:
    name = "grips"

    def __init__(
        self,
        start: str,
        seed: int,
        *,
        candidates: int = 5,  # m
        edits: int = 1,  # l
        patience: int = 2,
        iterations: int = 10,
        granularity: str = "phrase",
        operations: Sequence[str] = OPERATIONS,
        annealing: bool = False,
    ) -> None:
        self.start, self.seed = start, seed
        self.m, self.edits, self.patience, self.iterations = candidates, edits, patience, iterations
        self.granularity, self.operations, self.annealing = granularity, tuple(operations), annealing
        self.candidates: list[Candidate] = []
        self.finished: str | None = None
        self.dropped: dict[str, int] = {}
        self.base = 0  # number of the candidate that is edited
        self.iteration = 0
        self.draw = 0  # of this iteration
        self.pool: list[dict[str, Any]] = []  # this iteration's: number, phrases deleted and put back
        self.deleted: list[str] = []  # by accepted steps, and not put back since
        self.fruitless = 0  # iterations in a row without improvement
        self.spent = 0  # calls, after the last step

    # --- the search ----------------------------------------------------------------------

    def step(self, evaluator: Evaluator) -> list[Event]:
        if not self.candidates:
            events = self._score(evaluator, [Draw(self.start, "start", [], [])])
            self.candidates[0].accepted = True
            self.pool = []
        elif len(self.pool) == self.m:
            events = self._choose(evaluator)
        else:
            wanted = self.m - len(self.pool) if self._carries_all(evaluator) else 1
            events = self._draw_and_score(evaluator, wanted)
        self.spent = evaluator.calls
        return events

    def _draw_and_score(self, evaluator: Evaluator, wanted: int) -> list[Event]:
        before = self.draw, dict(self.dropped)
        drawn: list[Draw] = []
        events: list[Event] = []
        try:
            while self.draw < self.m * DRAWS_PER_CANDIDATE and len(drawn) < wanted:
                self.draw += 1
                proposal = self._propose(evaluator, events, [one.text for one in drawn])
                drawn += [proposal] if proposal else []
            if drawn:
                return [*events, *self._score(evaluator, drawn)]
        except OutOfBudget as end:
            if wanted > 1:  # calls were lost with a killed process, on a host that counts them
                self.draw, self.dropped = before
                return self._draw_and_score(evaluator, 1)
            # What this iteration paid for still counts: choose among what there is.
            events += self._choose(evaluator) if self.pool else []
            self.finished = end.reason
            return events
        except BaseException:  # cancelled, or the host failed: as if this step had not begun
            self.draw, self.dropped = before
            raise
        if self.pool:
            return [*events, *self._choose(evaluator)]
        self.finished = "exhausted"
        return events

    def _carries_all(self, evaluator: Evaluator) -> bool:
        """Whether the rest of the iteration fits, however many draws and paraphrases it
        takes. Then its candidates are scored in one go, which a host does faster; near the
        budget's end one by one, so that what is left is used up."""
        candidates, draws = self.m - len(self.pool), self.m * DRAWS_PER_CANDIDATE - self.draw
        paid = evaluator.since(self.spent)  # for this already, before a kill
        return evaluator.fits(candidates * len(evaluator.shown) * evaluator.price + draws * self.edits - paid)

    def _score(self, evaluator: Evaluator, drawn: list[Draw]) -> list[Event]:
        evaluation = evaluator.evaluate([one.text for one in drawn])
        parent = self.base if self.candidates else None
        events: list[Event] = []
        for row, one in enumerate(drawn):
            number = len(self.candidates)
            scores = {"train": evaluator.measure(evaluation, row)}
            self.candidates.append(
                Candidate(number, one.text, parent, one.operation, scores=scores, calls=evaluation.spent[row])
            )
            self.pool.append({"number": number, "deleted": one.taken, "added": one.put_back})
            events.append(Scored(self.candidates[-1]))
        return events

    def _choose(self, evaluator: Evaluator) -> list[Event]:
        """Algorithm 1, the end of an iteration: take the best of the pool, if better."""
        best = max(self.pool, key=lambda entry: (self._train(entry["number"]), -entry["number"]))
        gain = self._train(best["number"]) - self._train(self.base)
        accept, note = gain > 0, "better than its parent" if gain > 0 else "nothing better"
        if not accept and self.annealing:
            # The paper's T = 10 exp(-i / 5) is for scores up to 100 (plus entropy).
            temperature = 0.1 * evaluator.unit * math.exp(-self.iteration / 5)
            rng = random.Random(f"{self.seed}/{self.iteration}/annealing")
            if gain < 0 and rng.random() < math.exp(gain / temperature):
                accept, note = True, "not better, but taken by annealing"
        self.fruitless = 0 if gain > 0 else self.fruitless + 1
        events: list[Event] = []
        if accept:
            candidate = self.candidates[best["number"]]
            candidate.accepted = True
            self.base = candidate.number
            self.deleted += best["deleted"]
            for phrase in best["added"]:
                self.deleted.remove(phrase)
            events.append(Scored(candidate))
        events.append(Iterated(self.iteration, best["number"] if accept else None, note))
        self.iteration, self.draw, self.pool = self.iteration + 1, 0, []
        if self.fruitless >= self.patience:
            self.finished = "patience"
        elif self.iteration >= self.iterations:
            self.finished = "iterations"
        return events

    def _train(self, number: int) -> float:
        return float(self.candidates[number].scores["train"]["score"])

    # --- the edits -----------------------------------------------------------------------

    def _propose(self, evaluator: Evaluator, events: list[Event], waiting: list[str]) -> Draw | None:
        """One draw, or None when it was no use (counted in `dropped`). `waiting`: texts of
        this iteration that are not scored yet."""
        rng = random.Random(f"{self.seed}/{self.iteration}/{self.draw}")
        base = self.candidates[self.base].text
        row = phrases.split(base, self.granularity)
        done: list[str] = []
        taken: list[str] = []
        put_back: list[str] = []
        for edit in range(self.edits):
            deleted = without(self.deleted, put_back)
            possible = [name for name in self.operations if can(name, row, deleted)]
            if not possible:
                self._drop(events, "edit", "nothing to edit")
                return None
            operation = rng.choice(possible)
            if operation == "delete":
                i = rng.choice(row.editable)
                taken.append(row.pieces[i])
                row = row.delete(i)
            elif operation == "swap":
                i, j = rng.sample(row.editable, 2)
                row = row.swap(i, j)
            elif operation == "add":
                phrase = rng.choice(deleted)
                put_back.append(phrase)
                row = row.insert(rng.choice(row.places), phrase)
            else:
                i = rng.choice(row.editable)
                answer = evaluator.ask(
                    f"{self.iteration}/{self.draw}/{edit}",
                    paraphrase_request(row.pieces[i]),
                    Sampling(
                        max_new_tokens=16 + 3 * len(row.pieces[i].split()),
                        temperature=0.8,
                        seed=rng.getrandbits(31),
                    ),
                )
                phrase, problem = read_paraphrase(answer, row.pieces[i])
                if problem:
                    self._drop(events, operation, problem, f"{row.pieces[i]!r} → {answer[:200]!r}")
                    return None
                row = row.replace(i, phrase)
            done.append(operation)
        text = row.text
        if SLOT.findall(text) != SLOT.findall(base):
            self._drop(events, "+".join(done), "slot damaged", text)
            return None
        known = [*(candidate.text for candidate in self.candidates), *waiting]
        if any(same_text(text, other) for other in known):
            self._drop(events, "+".join(done), "duplicate")
            return None
        return Draw(text, "+".join(done), taken, put_back)

    def _drop(self, events: list[Event], operation: str, reason: str, detail: str = "") -> None:
        self.dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + 1}
        events.append(Dropped(operation, reason, detail))

    # --- the state -----------------------------------------------------------------------

    _STATE = ("finished", "dropped", "base", "iteration", "draw", "pool", "deleted", "fruitless", "spent")

    def fraction(self) -> float:
        done = self.iteration + len(self.pool) / self.m
        return min(1.0, max(done / self.iterations, self.fruitless / self.patience * 0.5))

    def figures(self) -> list[Figure]:
        return []

    def state_dict(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._STATE}
        return {**state, "candidates": [candidate.as_dict() for candidate in self.candidates]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._STATE:
            setattr(self, name, state.get(name, 0) if name == "spent" else state[name])  # older states
        self.candidates = [Candidate(**values) for values in state["candidates"]]


def can(operation: str, row: Phrases, deleted: list[str]) -> bool:
    """Whether an edit is possible. An instruction keeps at least one phrase."""
    if operation in ("delete", "swap"):
        return len(row.editable) >= 2
    if operation == "add":
        return bool(deleted)
    return bool(row.editable)


def without(items: list[str], taken: list[str]) -> list[str]:
    """`items` less one occurrence of each of `taken`."""
    rest = list(items)
    for item in taken:
        rest.remove(item)
    return rest


# --- paraphrases ---------------------------------------------------------------------------


def paraphrase_request(phrase: str) -> list[dict[str, str]]:
    return [
        {
            "role": "user",
            "content": "Say this in other words, with the same meaning and about the same length. "
            f"Answer with the new words only.\n\n{phrase}",
        }
    ]


_LABEL = re.compile(
    r"^(?:paraphrase[d]?|rephrased?|answer|new words|in other words|rewritten)\b[^:]{0,30}:\s*", re.I
)
_TALK = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is| are)|i(?:'m| am| can| cannot| can't)\b)", re.I
)
_QUOTES = "\"'“”‘’`*"
_STOPS = ".,;:!?"


def read_paraphrase(answer: str, phrase: str) -> tuple[str, str]:
    """(paraphrase, "") or ("", why it is no use). The paraphrase ends and begins as the
    phrase did: its closing punctuation, its capital letter."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if lines and _TALK.match(lines[0]) and lines[0].endswith(":"):
        lines = lines[1:]  # “Sure, here it is:”
    if not lines:
        return "", "unparseable"
    new = _LABEL.sub("", lines[0]).strip(_QUOTES + " ")
    if not any(letter.isalnum() for letter in new) or "{{" in new or "}}" in new or _TALK.match(new):
        return "", "unparseable"
    if "same meaning" in new.lower() or "other words" in new.lower():  # it talks about the request
        return "", "unparseable"
    if new.endswith("…") or len(new.split()) > 2 * len(phrase.split()) + 3:
        return "", "too long"
    tail = phrase[len(phrase.rstrip(_STOPS)) :]
    new = new.rstrip(_STOPS) + tail
    if phrase[:1].isupper():
        new = new[:1].upper() + new[1:]
    elif phrase[:1].islower() and not new[:2].isupper():
        new = new[:1].lower() + new[1:]
    if bare(new) == bare(phrase):
        return "", "identical"
    return new, ""


def bare(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
