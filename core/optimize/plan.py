"""How a budget of calls is laid out: how many examples each split gives, what is set
aside for the end, and how many candidates the rest can score.

    start on train + candidates on train | start and finalists on dev | start and best on test
    \\________ the search ________________/ \\______________ set aside up front ______________/
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Invalid

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
    and test. `candidates`: how many the rest of the budget scores, the start not counted
    (fewer where paraphrases take calls too)."""

    budget: int
    train: int
    dev: int
    test: int
    finalists: int
    price: int = 1

    @property
    def reserve(self) -> int:
        return self.price * (self.dev * (self.finalists + 1) + self.test * 2)

    @property
    def candidates(self) -> int:
        return (self.budget - self.reserve) // (self.price * self.train) - 1

    @property
    def minimum(self) -> int:
        """The least budget with these sizes: the start and one candidate, and the end."""
        return self.reserve + 2 * self.price * self.train

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
) -> Plan:
    """Lay a budget out. Sizes a person chose are kept; the others shrink until some
    iterations fit. Raises Invalid when a split is too small, or the budget is, saying
    the least that works."""
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
        laid = _sized(budget, available, reward, wanted, finalists or FINALISTS, percent, price)
        if laid.candidates >= COMFORT * per_iteration:
            return laid
    # Not comfortable at any size: the smallest, with one finalist if nobody chose more.
    laid = _sized(budget, available, reward, wanted, finalists or 1, 0, price)
    if budget < laid.minimum:
        raise Invalid(
            f"budget: {budget:,} calls are too few; the least is {laid.minimum:,}.",
            f"That scores the start and one candidate on {laid.train} train examples, chooses on "
            f"{laid.dev} dev and reports on {laid.test} test examples.",
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
) -> Plan:
    sizes = {
        split: wanted.get(split)
        or min(available[split], max(SMALLEST[split], DEFAULT_SIZES[reward][split] * percent // 100))
        for split in SPLITS
    }
    return Plan(budget, **sizes, finalists=finalists, price=price)


def trained_candidates(laid: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """How many candidates a plan carries when each takes steps of training (an example read
    forwards and backwards is three calls) before it is scored."""
    scored = int(laid["train"]) * int(laid.get("price", 1))
    each = 3 * int(options["batch"]) * int(options["every"]) + scored
    left = int(laid["budget"]) - int(laid["reserve"]) - scored
    return max(0, min(left // each, -(-int(options["steps"]) // int(options["every"]))))
