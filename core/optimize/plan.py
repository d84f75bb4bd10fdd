"""How a budget of calls is laid out: how many examples each split gives, what is set
aside for the end, and how many candidates the rest can score.

    start on train + candidates on train | start and finalists on dev | start and best on test
    \\________ the search ________________/ \\______________ set aside up front ______________/
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Invalid
from core.optimize.pacing import Pacing

SPLITS = ("train", "dev", "test")
DEFAULT_SIZES = {
    "reward_model": {"train": 16, "dev": 12, "test": 16},
    "labels": {"train": 100, "dev": 32, "test": 100},
}
SMALLEST = {"train": 4, "dev": 2, "test": 2}
FINALISTS = 3
COMFORT = 3  # iterations of candidates a plan tries to leave room for


@dataclass(frozen=True)
class Plan:
    """`price`: calls that one text on one example takes. `reserve`: calls set aside for dev
    and test. `candidates`: how many the rest of the budget scores in full, the start not counted
    (fewer where proposals take calls too). `first`: calls of the method's first step after the
    start; 0: those that score one candidate in full."""

    budget: int
    train: int
    dev: int
    test: int
    finalists: int
    price: int = 1
    first: int = 0

    @property
    def reserve(self) -> int:
        return self.price * (self.dev * (self.finalists + 1) + self.test * 2)

    @property
    def candidates(self) -> int:
        return (self.budget - self.reserve) // (self.price * self.train) - 1

    @property
    def minimum(self) -> int:
        """The least budget with these sizes: the start and the method's first step, and the end."""
        one = self.price * self.train
        return self.reserve + one + max(self.first, one)

    @property
    def searching(self) -> int:
        """Calls of the search, the start not counted."""
        return self.budget - self.reserve - self.price * self.train

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "reserve": self.reserve, "candidates": self.candidates}


def plan(
    budget: int,
    available: Mapping[str, int],
    reward: str,
    wanted: Mapping[str, int] | None = None,
    finalists: int | None = None,
    per_iteration: int = 5,
    price: int = 1,
    pacing: Pacing | None = None,
) -> Plan:
    """Lay a budget out. Sizes a person chose are kept; the others shrink until some
    iterations fit, and the method's first step by `pacing`. Raises Invalid when a split is too
    small, or the budget is, saying the least that works."""
    wanted = dict(wanted or {})
    for split in SPLITS:
        if available[split] < 2:
            raise Invalid(
                f"examples: the {split} split has {available[split]} that can be used, and an optimiser "
                "needs at least 2 in each split.",
                "Import more examples (they are split by a hash of their content).",
            )
        if split in wanted and not 2 <= wanted[split] <= available[split]:
            raise Invalid(
                f"examples: {split} must be from 2 to {available[split]}, the number of usable examples."
            )
    laid: Plan | None = None
    for percent in range(100, 0, -5):
        laid = _sized(budget, available, reward, wanted, finalists or FINALISTS, percent, price, pacing)
        if laid.candidates >= COMFORT * per_iteration and budget >= laid.minimum:
            return laid
    # Not comfortable at any size: the smallest, with one finalist if nobody chose more.
    laid = _sized(budget, available, reward, wanted, finalists or 1, 0, price, pacing)
    if budget < laid.minimum:
        raise Invalid(
            f"budget: {budget:,} calls are too few; the least is {laid.minimum:,}.",
            _least_words(laid),
        )
    return laid


def _sized(
    budget: int,
    available: Mapping[str, int],
    reward: str,
    wanted: Mapping[str, int],
    finalists: int,
    percent: int,
    price: int,
    pacing: Pacing | None,
) -> Plan:
    sizes = {
        split: wanted.get(split)
        or min(available[split], max(SMALLEST[split], DEFAULT_SIZES[reward][split] * percent // 100))
        for split in SPLITS
    }
    first = pacing.first(sizes["train"]) if pacing else 0
    return Plan(budget, **sizes, finalists=finalists, price=price, first=first)


def _least_words(laid: Plan) -> str:
    """What the least budget does, and how it could be smaller."""
    end = f"chooses on {laid.dev} dev and reports on {laid.test} test examples."
    if laid.first <= laid.price * laid.train + 1:  # a text that was asked for, or none
        return f"That scores the start and one candidate on {laid.train} train examples, {end}"
    return (
        f"That scores the start on {laid.train} train examples, takes the method's first step ({laid.first:,} "
        f"calls, a full score of what it finds among them), {end} A smaller step, by the method's settings, "
        "or fewer train examples need fewer."
    )
