"""One ledger counts each language-model call before it is made.

A charge that does not fit the budget is refused as a whole and nothing of it is made,
so a budget is never overrun, not even by the last batch. Calls are kept apart by host
and purpose (`target`: the model whose prompt is worked on; `optimizer`: the model that
proposes; `judge`).
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol


class BudgetSpent(Exception):
    """These calls do not fit the budget any more. None of them was made."""

    def __init__(self, wanted: int, remaining: int, budget: int) -> None:
        super().__init__(f"{wanted} calls wanted, {remaining} of {budget} left")
        self.wanted, self.remaining, self.budget = wanted, remaining, budget


class Emitter(Protocol):
    def emit(self, type: str, **data: Any) -> int: ...


@dataclass
class Line:
    """What was spent on one host for one purpose; tokens and cost are what it answered."""

    calls: int = 0
    cached: int = 0  # answers known already: counted, and no call
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


class Ledger:
    """Safe to use from several threads. `on_change(ledger)` is called after each change
    outside the lock; `budget_calls=None` counts without a limit."""

    def __init__(
        self, budget_calls: int | None = None, on_change: Callable[["Ledger"], None] | None = None
    ) -> None:
        if budget_calls is not None and budget_calls < 0:
            raise ValueError("a budget is not negative")
        self.budget_calls = budget_calls
        self._on_change = on_change
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str], Line] = {}
        self._emitted: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def calls(self) -> int:
        """All calls charged so far."""
        with self._lock:
            return self._spent()

    @property
    def remaining(self) -> int | None:
        """Calls left in the budget; None without one."""
        with self._lock:
            return None if self.budget_calls is None else self.budget_calls - self._spent()

    @property
    def lines(self) -> dict[tuple[str, str], Line]:
        """A copy, by (host, purpose)."""
        with self._lock:
            return {key: Line(**asdict(line)) for key, line in self._lines.items()}

    @property
    def total(self) -> Line:
        lines = self.lines.values()
        return Line(**{name: sum(getattr(line, name) for line in lines) for name in Line.__annotations__})

    def _spent(self) -> int:
        return sum(line.calls for line in self._lines.values())

    def charge(self, host: str, purpose: str, calls: int) -> None:
        """Count calls that are about to be made. Raises BudgetSpent, and counts
        nothing, when they do not all fit."""
        if calls < 0:
            raise ValueError("calls are not negative")
        with self._lock:
            if self.budget_calls is not None:
                remaining = self.budget_calls - self._spent()
                if calls > remaining:
                    raise BudgetSpent(calls, remaining, self.budget_calls)
            self._line(host, purpose).calls += calls
        self._changed()

    def record(
        self,
        host: str,
        purpose: str,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost: float = 0.0,
        cached: int = 0,
    ) -> None:
        """Note what calls answered, and how many answers came from a cache."""
        with self._lock:
            line = self._line(host, purpose)
            line.tokens_in += tokens_in
            line.tokens_out += tokens_out
            line.cost += cost
            line.cached += cached
        self._changed()

    def _line(self, host: str, purpose: str) -> Line:
        return self._lines.setdefault((host, purpose), Line())

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change(self)

    def emit(self, context: Emitter) -> None:
        """One `ledger` event for each (host, purpose) that changed since the last time,
        with its sums so far: reading one event twice changes nothing."""
        for (host, purpose), line in self.lines.items():
            data = {"host": host, "purpose": purpose, **asdict(line)}
            if self._emitted.get((host, purpose)) != data:
                context.emit("ledger", **data)
                self._emitted[host, purpose] = data

    def state_dict(self) -> dict[str, Any]:
        """JSON, for a checkpoint."""
        return {
            "budget_calls": self.budget_calls,
            "lines": [{"host": h, "purpose": p, **asdict(line)} for (h, p), line in self.lines.items()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where a checkpoint stopped. The budget is the run's own, and
        not read from the checkpoint."""
        with self._lock:
            self._lines = {
                (item["host"], item["purpose"]): Line(**{k: item[k] for k in Line.__annotations__})
                for item in state["lines"]
            }
