"""A decision worked out: weights, ranking, sensitivity and the recommendation, from what
the body says and what the project knows. The page, the API and the brief all show this."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.access import Principal, require
from core.planning.decision import ahp, proposals
from core.planning.decision.ahp import Priorities
from core.planning.decision.evidence import DecisionEvidence, collect
from core.planning.decision.model import Decision
from core.planning.decision.proposals import Proposal
from core.planning.decision.ranking import order, shares, topsis, weighted_sum
from core.planning.decision.recommend import Recommendation, recommend
from core.planning.decision.sensitivity import Draws, Room, draw, rooms
from core.planning.documents import Saved, load
from core.planning.documents import current as newest
from storage.database import Database


@dataclass(frozen=True)
class Result:
    """`body` has every cell. `scores` (m, n), `weights` (n,) as shares, `values` and
    `closeness` (m,): the weighted sum, 0 to 10, and TOPSIS, 0 to 1. `draws`: weights drawn
    around these; `anywhere`: any weights at all. `blocked`: what is not possible here; it
    is ranked, and never recommended."""

    body: Decision
    found: DecisionEvidence
    proposals: dict[tuple[str, str], Proposal]
    priorities: Priorities | None
    scores: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    closeness: np.ndarray
    draws: Draws
    anywhere: Draws
    rooms: list[Room]
    rooms_topsis: list[Room]
    blocked: dict[str, str]
    recommendation: Recommendation

    @property
    def ranked(self) -> list[int]:
        """Places of the alternatives, best first, those that are not possible last."""
        keys = [a.key for a in self.body.alternatives]
        return sorted(order(self.values), key=lambda i: keys[i] in self.blocked)


def compute(db: Database, who: Principal, project_id: str, body: Decision) -> Result:
    """Nothing is saved."""
    require(who, "plan.view")
    return work_out(body, collect(db, who, project_id, body))


def work_out(body: Decision, found: DecisionEvidence) -> Result:
    proposed = proposals.propose(body, found)
    body = proposals.filled(body, proposed)
    alternatives, factors = [a.key for a in body.alternatives], [f.key for f in body.factors]
    cells = {(s.alternative, s.factor): s.value for s in body.scores}
    scores = np.array([[cells[a, f] for f in factors] for a in alternatives])
    priorities = None
    if body.weighting == "pairwise":
        said = [(c.a, c.b, c.value) for c in body.comparisons]
        priorities = ahp.weights_of(factors, said)
        weights = priorities.weights
    else:
        weights = shares(np.array([f.weight for f in body.factors]))
    values, close = weighted_sum(scores, weights), topsis(scores, weights)
    blocked = proposals.impossible(body, found)
    # How sure a choice is, is asked among what can be chosen.
    kept = np.array([a not in blocked for a in alternatives])
    around, anywhere = _among(scores, weights, kept), _among(scores, None, kept)
    linear = _rooms(scores, weights, kept, "weighted sum")
    return Result(
        body, found, proposed, priorities, scores, weights, values, close, around, anywhere,
        linear, _rooms(scores, weights, kept, "topsis"), blocked,
        recommend(body, found, scores, weights, values, close, around, linear, blocked),
    )  # fmt: skip


def _among(scores: np.ndarray, weights: np.ndarray | None, kept: np.ndarray) -> Draws:
    """Draws of all, in which only those that are kept can win."""
    every = draw(scores, weights)
    if kept.all() or not kept.any():
        return every
    some = draw(scores[kept], weights)
    wins = np.zeros(len(scores))
    wins[kept] = some.wins
    return Draws(wins, every.low, every.high, every.n)


def _rooms(scores: np.ndarray, weights: np.ndarray, kept: np.ndarray, method: Any) -> list[Room]:
    places = np.flatnonzero(kept) if kept.any() else np.arange(len(scores))
    if len(places) < 2:
        return []

    def back(i: int | None) -> int | None:
        return None if i is None else int(places[i])

    return [
        Room(r.factor, r.share, r.down, back(r.down_winner), r.up, back(r.up_winner))
        for r in rooms(scores[places], weights, method)
    ]


def saved_or_default(
    db: Database, who: Principal, project_id: str, plan_id: str | None = None
) -> tuple[Decision, Saved[Decision] | None]:
    """The body of a plan, else of the project's first decision, else the defaults."""
    if plan_id:
        saved: Saved[Decision] | None = load(db, who, project_id, Decision, plan_id)
    else:
        saved = newest(db, who, project_id, Decision)
    return (saved.body if saved else Decision()), saved
