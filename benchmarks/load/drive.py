"""Simulated annotators without think time: claim, submit, claim, …; and what came of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Refused(Exception):
    """The tool answered a claim or a submit with an error."""


class Session(Protocol):
    """One annotator who is signed in."""

    async def claim(self) -> str | None:
        """The task to do next; None when nothing is left."""

    async def submit(self, task: str, choice: str) -> None:
        """Returns when the tool has acknowledged it. Raises Refused."""


@dataclass
class Measured:
    """Times in milliseconds; `acknowledged`: (annotator's place, task), `before`: those of the
    warm-up."""

    seconds: float = 0.0
    claim_ms: list[float] = field(default_factory=list)
    submit_ms: list[float] = field(default_factory=list)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    before: list[tuple[int, str]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        return {
            "loops_per_s": round(len(self.acknowledged) / self.seconds, 1),
            "loops": len(self.acknowledged),
            "claim_ms": percentiles(self.claim_ms),
            "submit_ms": percentiles(self.submit_ms),
            "errors": dict(self.errors),
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{p}": round(ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1) for p in (50, 95, 99)}


def drive(sessions: Sequence[Session], seconds: float, warm_up: float = 0.0) -> Measured:
    """All of them at once, until the time is over or nothing is left for anybody. What is
    done in the warm-up is kept apart."""
    return asyncio.run(_drive(sessions, seconds, warm_up))


async def _drive(sessions: Sequence[Session], seconds: float, warm_up: float) -> Measured:
    before = Measured()
    if warm_up:
        await _all(sessions, warm_up, before)
    measured = Measured()
    begin = time.perf_counter()
    await _all(sessions, seconds, measured)
    measured.seconds = time.perf_counter() - begin
    measured.before = before.acknowledged
    return measured


async def _all(sessions: Sequence[Session], seconds: float, into: Measured) -> None:
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_one(place, session, end, into) for place, session in enumerate(sessions)))


async def _one(place: int, session: Session, end: float, into: Measured) -> None:
    done = 0
    while (begin := time.perf_counter()) < end:
        try:
            task = await session.claim()
            claimed = time.perf_counter()
            if task is None:
                return
            into.claim_ms.append(1000 * (claimed - begin))
            await session.submit(task, "left" if (place + done) % 3 else "right")
            into.submit_ms.append(1000 * (time.perf_counter() - claimed))
            into.acknowledged.append((place, task))
            done += 1
        except (Refused, OSError, asyncio.IncompleteReadError) as error:
            into.errors[f"{type(error).__name__}: {error}"[:120]] += 1
            await asyncio.sleep(0.05)
