"""Several searches beside each other, at equal calls: a method that was given more calls is
not better for that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.optimize.curve import best_so_far
from core.optimize.methods import METHODS
from core.optimize.protocol import Scores
from core.optimize.view import optimize_run
from storage.database import Database
from storage.tables import Candidate, Run


@dataclass(frozen=True)
class Curve:
    """The best train score so far, as calls were spent: `points` are (calls, the best
    candidate's scores), each better than the one before. `searched`: calls the search had
    spent with its last candidate."""

    run: Run
    label: str
    points: list[tuple[int, Scores]]
    searched: int

    def at(self, calls: int) -> Scores | None:
        """The best that was known once so many calls were spent."""
        return next((scores for spent, scores in reversed(self.points) if spent <= calls), None)

    @property
    def like(self) -> tuple[Any, ...]:
        """Only searches that agree in this are on one scale: the same reward, the same host."""
        reward = self.run.config.get("reward_model") or {}
        asked = json.dumps(self.run.config["reward"], sort_keys=True)  # of a composed one, all of it
        return asked, reward.get("id"), self.run.config["host"]


def curves(db: Database, who: Principal, run_ids: Sequence[str]) -> list[Curve]:
    require(who, "run.view")
    with db.read() as session:
        return [_curve(session, optimize_run(session, run_id)) for run_id in run_ids]


def _curve(session: Session, run: Run) -> Curve:
    query = select(Candidate).where(Candidate.run_id == run.id)
    found = list(session.exec(query.order_by(col(Candidate.number))))
    points = [(point.candidate.calls, point.scores) for point in best_so_far(found) if point.better]
    method = METHODS.get(run.config["method"])
    name = method.short if method else run.config["method"]
    return Curve(run, f"{name}, seed {run.seed}", points, max((c.calls for c in found), default=0))


def equal_calls(found: Sequence[Curve]) -> int:
    """As many calls as each of them has spent on its search."""
    return min((curve.searched for curve in found if curve.points), default=0)
