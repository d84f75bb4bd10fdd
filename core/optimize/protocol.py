"""What an optimiser is, and what it may ask for: one protocol, so that a method is one
file that can be read beside its paper.

An optimiser proposes texts; an evaluator scores them and keeps the books. The optimiser
never sees a file: it calls `evaluate`, `ask` and `work`, and each may raise `OutOfBudget`
before anything is paid. Only a method that trains through the model in process (its
`needs` say so) reaches for the host, and pays by `work`; what it trains it keeps as
`tensors` (core/optimize/tensors.py). A search (core/optimize/search.py) calls
`step` until the optimiser has finished or a stop condition says so, and saves
`state_dict` after every step; a killed search starts again from the last one, and what
was paid for since comes out of the evaluator's cache.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from core.llm.protocol import Host, Messages, Sampling

if TYPE_CHECKING:
    from core.optimize.objectives import Objective

T = TypeVar("T")
Row = Mapping[str, Any]  # id, input, fields, messages, reference
Rows = dict[str, list[dict[str, Any]]]  # split -> rows
Scores = dict[str, Any]  # {"score", "low", "high", "n", …}: a number with its interval


class OutOfBudget(Exception):
    """What was asked for does not fit into the rest of the budget, and nothing of it was paid;
    or a limit on tokens, cost or time was reached (`reason`, a key of FINISH_WORDS) between two
    batches, and what was paid until then is kept."""

    def __init__(self, *said: object, reason: str = "budget") -> None:
        super().__init__(*said)
        self.reason = reason


@dataclass
class Candidate:
    """A text that was proposed and scored. `number` 0 is the start. `parent` and
    `operation` say where it came from; `scores` maps a split to its score (its `n` says on
    how many examples: a method may score in parts); `calls` is what the run had spent when
    it was scored."""

    number: int
    text: str
    parent: int | None
    operation: str
    accepted: bool = False
    scores: dict[str, Scores] = field(default_factory=dict)
    calls: int = 0
    others: list[int] = field(default_factory=list)  # further parents, where texts are crossed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Scores and outputs of some texts on examples of one split. `scores`: (texts,
    examples); `outputs[i][j]`: what text i gave on example j; `examples[j]`: its place
    in the split; `spent[i]`: calls the run had spent once text i was scored;
    `details[i][j]`: what else is known of that output (core/optimize/objectives.py)."""

    texts: list[str]
    split: str
    scores: np.ndarray
    outputs: list[list[str]]
    examples: list[int]
    spent: list[int]
    details: list[list[dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """A train example as a method may show it to a language model: `answer` is the word
    of its label, or its reference; empty where there is none."""

    input: str
    answer: str


class Evaluator(Protocol):
    """`host`: the target's; `optimizer_host`: the one that proposes, often the same;
    `objective`: what is maximised; `price`: calls that scoring one text on one example takes
    (1, unless a composed reward asks more than one model)."""

    host: Host
    optimizer_host: Host
    rows: Rows
    objective: "Objective"

    @property
    def price(self) -> int: ...

    def evaluate(
        self, texts: Sequence[str], split: str = "train", examples: Sequence[int] | None = None
    ) -> Evaluation:
        """Score texts on a split, or on some of its examples (places in it). Each (text,
        example) is paid for once. Raises OutOfBudget, before any call, when they cannot
        all be scored in full."""
        ...

    def request(self, text: str, row: Row) -> Messages:
        """What the host is asked with `text` for the instruction on a row of `rows`."""
        ...

    def fits(self, calls: int) -> bool:
        """Whether the search may still spend so many calls. For methods that score in
        parts, and must keep enough for their last comparison."""
        ...

    def measure(self, evaluation: Evaluation, row: int = 0) -> Scores:
        """One text's score with its interval."""
        ...

    def percent(self, scores: Scores) -> float:
        """A score on the scale from 0 to 100 on which texts are shown to a language
        model: accuracy, or the share of a standard normal below the reward."""
        ...

    @property
    def shown(self) -> Sequence[Shown]:
        """The train examples, in the order of the split."""
        ...

    def told(self, evaluation: Evaluation, row: int, place: int) -> tuple[str, str]:
        """What text `row` gave on the example at `place` of the evaluation, and how good
        that was, both in words."""
        ...

    def ask(self, key: str, messages: Messages, sampling: Sampling) -> str:
        """Ask the optimiser's language model: one call, answered from the cache when the
        same `key` was asked before; an only line that was cut off ends in “…”. Raises
        OutOfBudget when the answer could not be scored any more."""
        ...

    def ask_many(self, key: str, requests: Sequence[Messages], sampling: Sampling) -> list[str]:
        """As `ask`, all in one batch: request i has the key `key/i` and the seed
        `sampling.seed + i`. Raises OutOfBudget when not all of the answers could be
        scored."""
        ...

    def work(
        self, key: str, calls: int, make: Callable[[], T], *, then: int = 0, purpose: str = "target"
    ) -> T:
        """Take a step of training on a model in process: charge its calls (an example read
        forwards is one, and backwards two more), then `make()`. `then`: calls that must
        still fit afterwards, such as those to score what was trained. A key that is paid
        for costs nothing, and `make`, which must be deterministic, runs again. Raises
        OutOfBudget before anything is paid."""
        ...

    @property
    def begins(self) -> bool:
        """Whether the optimiser's host goes on with an answer that was begun for it (a
        request that ends with the assistant's words)."""
        ...

    @property
    def context(self) -> str:
        """What a language model that writes a text should know of where it stands: empty,
        or the prompt around the one section that is edited."""
        ...

    def since(self, spent: int) -> int:
        """Calls that this step has taken, which began when so many were spent. Some of them may have
        been saved since: a step that is done again must decide as if they had not."""
        ...

    @property
    def calls(self) -> int:
        """Calls spent so far, of both the target and the optimiser."""
        ...

    @property
    def unit(self) -> float:
        """How large a score is when everything is right: 100, or 1 for a reward whose
        standard deviation is 1. What a temperature is measured against."""
        ...


# --- events ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """A candidate has a (new) score, or was accepted."""

    candidate: Candidate


@dataclass(frozen=True)
class Dropped:
    """A proposal that was not scored: `reason` is one of the optimiser's own words."""

    operation: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Iterated:
    """One iteration ended. `accepted` is the new base, or None."""

    iteration: int
    accepted: int | None
    note: str


@dataclass(frozen=True)
class Learned:
    """A policy took a step. `figures`: what it says of it, each with its n, by name
    (core/optimize/policy_figures.py)."""

    step: int
    figures: Mapping[str, Scores]


Event = Scored | Dropped | Iterated | Learned


@dataclass(frozen=True)
class Figure:
    """A number of a method's own, with the sentence that defines it."""

    label: str
    value: float
    help: str


class Optimizer(Protocol):
    """`candidates` are all that were scored, the start first; `finished` is the
    method's own reason to stop (a key of FINISH_WORDS), else None; `dropped` counts
    proposals that were not scored, by reason."""

    name: str
    candidates: list[Candidate]
    finished: str | None
    dropped: dict[str, int]

    def step(self, evaluator: Evaluator) -> list[Event]:
        """Do the smallest piece of work that pays for something. Either all of it
        happens, or (OutOfBudget, Cancelled, kill) nothing changes."""
        ...

    def fraction(self) -> float:
        """How far the method is by its own limits, 0 to 1."""
        ...

    def figures(self) -> list[Figure]:
        """What the method has to say about its search, for the page."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All it needs to go on, as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Closing(Protocol):
    """An optimizer that scores its finalists in full only where it ends by itself: it can do so
    as well where it is stopped, so that what was paid for is not thrown away."""

    def to_close(self, evaluator: Evaluator) -> int:
        """Calls that this would take now, for as much as the method keeps enough of its budget
        for: the limits on tokens and cost leave room for them."""
        ...

    def close(self, evaluator: Evaluator, reason: str) -> list[Event]:
        """Score in full what looks best, as far as the budget and the limits carry it. Like a
        step, but for a search that was stopped for `reason`; there is none after it."""
        ...


# --- when to stop ------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What a stop condition looks at. `candidates`: how many were scored on all of train; `best`
    is the best score of theirs so far."""

    calls: int
    candidates: int
    best: float
    best_at: int  # how many of them had been scored when the best was found


StopCondition = Callable[[Standing], str | None]  # the reason, or None to go on


@dataclass(frozen=True)
class Limits:
    """On all tokens, in and out, on the cost by the hosts' prices, and on the time at work. None
    is known before an answer is there, so they are looked at before every batch: none is begun
    once a limit is reached, and a search overruns by one batch at most."""

    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None

    def reached(self, tokens: float, cost: float, seconds: float) -> str | None:
        now = {"tokens": tokens, "cost": cost, "seconds": seconds}
        found = next((name for name, spent in now.items() if self._over(name, spent)), None)
        return "time" if found == "seconds" else found

    def _over(self, name: str, spent: float) -> bool:
        limit = getattr(self, name)
        return limit is not None and spent >= limit


@dataclass(frozen=True)
class Calls:
    limit: int

    def __call__(self, now: Standing) -> str | None:
        return "budget" if now.calls >= self.limit else None


@dataclass(frozen=True)
class NoImprovement:
    candidates: int

    def __call__(self, now: Standing) -> str | None:
        return "no_improvement" if now.candidates - now.best_at >= self.candidates else None


@dataclass(frozen=True)
class Target:
    score: float

    def __call__(self, now: Standing) -> str | None:
        return "target" if now.best >= self.score else None


@dataclass(frozen=True)
class Cancel:
    requested: Callable[[], bool]

    def __call__(self, now: Standing) -> str | None:
        return "cancelled" if self.requested() else None


@dataclass(frozen=True)
class Pause:
    requested: Callable[[], bool]

    def __call__(self, now: Standing) -> str | None:
        return "paused" if self.requested() else None


@dataclass(frozen=True)
class AnyOf:
    conditions: tuple[StopCondition, ...]

    def __call__(self, now: Standing) -> str | None:
        return next((reason for stop in self.conditions if (reason := stop(now))), None)


FINISH_WORDS = {
    "budget": "The budget was spent: what was left would not have scored another candidate in full.",
    "time": "The time limit was reached.",
    "gold_falls": "The gold reward model fell while the reward rose: the search had begun to exploit its "
    "reward. Only what was found before that could be chosen.",
    "tokens": "The limit on tokens was reached, but for what choosing on dev and reporting on test take.",
    "cost": "The limit on cost was reached, but for what choosing on dev and reporting on test take.",
    "no_improvement": "No candidate was better for as long as the settings allow.",
    "target": "The target score was reached.",
    "cancelled": "A person stopped it. The best so far was kept, without a score on dev and test.",
    "paused": "A person paused it. The best so far is kept, without a score on dev and test.",
    "patience": "Several iterations in a row found nothing better (the method's patience).",
    "iterations": "The method's number of iterations was done.",
    "exhausted": "There was nothing left to try that gives a new text.",
    "unproductive": "The language model that proposes gave nothing that could be used, several times in "
    "a row. Choose a stronger optimiser host.",
}
