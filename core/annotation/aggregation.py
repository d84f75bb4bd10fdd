"""How the votes on a pair become one soft preference, and what each way changes.

q is the chance that response a is the better one, from 0 to 1. A tie speaks half for each;
"both bad" says nothing about which is better and is left out. The lead chooses the way for
each project, and training a reward model reads it. A pair that an adjudicator decided is
worth what the adjudicator said, whatever the way (`core.reward.data`).

- majority: the share of votes for a. Every vote counts the same.
- skill: the same share, each vote weighted by its annotator's competence (MACE, see
  `core.annotation.skill`): who clicks at random has next to no say.
- bradley_terry: the share, drawn towards what the ratings of the two prompts expect, as if
  that were K more votes: (votes for a + K p) / (votes + K). K is the one that makes the votes
  most likely (a beta-binomial on each pair), so the less pairs of two prompts differ, the
  more the prompts' ratings speak.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln
from sqlmodel import Session

from core import audit
from core.access import Principal, require
from core.annotation.judgements import Simulated, which_votes
from core.annotation.ratings import SCALE, bradley_terry
from core.annotation.skill import mace
from core.errors import Invalid
from core.projects import find_project
from storage import ballots
from storage.ballots import Ballots
from storage.database import Database
from storage.judgements import Which
from storage.tables import Project

MAJORITY, SKILL, BRADLEY_TERRY = METHODS = ("majority", "skill", "bradley_terry")
LEAST_WEIGHT = 0.01
_K = np.geomspace(0.25, 64, 33)
_EVEN = 1e-9  # nearer to a half than this, neither response is preferred


@dataclass(frozen=True)
class Labels:
    """pair_ids: (P,) in order; q: (P,), nan where every vote says "both bad"; n: (P,) votes
    that compare. `prior`: K of the Bradley-Terry way."""

    pair_ids: np.ndarray
    q: np.ndarray
    n: np.ndarray
    prior: float | None = None


@dataclass(frozen=True)
class Effect:
    """What a way of adding votes up does to the pairs with votes that compare. `decided`: one
    response is preferred; `flipped`: another one than by majority; `undone`: none, where the
    majority prefers one; `settled`: one, where the majority is even. `moved`: mean |q - share|."""

    method: str
    pairs: int
    votes: int
    decided: int
    flipped: int
    undone: int
    settled: int
    moved: float


def method_of(project: Project) -> str:
    return project.aggregation if project.aggregation in METHODS else MAJORITY


def set_method(db: Database, who: Principal, project_id: str, method: str) -> str:
    """Choose how votes add up in a project. Models that are trained already stay as they are."""
    require(who, "annotator.manage")
    if method not in METHODS:
        raise Invalid(f"method: there is no “{method}”.", f"One of: {', '.join(METHODS)}.")

    def work(session: Session) -> str:
        project = find_project(session, project_id)
        before = method_of(project)
        if before != method:
            project.aggregation = method
            session.add(project)
            audit.record(
                session, who, "project.aggregation", "project", project_id, project_id,
                before=before, after=method,
            )  # fmt: skip
        return method

    return db.write(work)


def effects(
    db: Database, who: Principal, project_id: str, simulated: Simulated | str | None = None
) -> list[Effect]:
    """The effect of each way, on the votes that the quality page counts."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        which, _, _ = which_votes(session, project_id, simulated=simulated, independent=True)
        return effects_of(ballots.read(session, which))


def effects_of(votes: Ballots, competence: np.ndarray | None = None) -> list[Effect]:
    """`competence`: (J,) of the annotators, where it is known already."""
    by_method = {method: labels(votes, method, competence) for method in METHODS}
    majority = by_method[MAJORITY]
    there = majority.n > 0
    plain = _sign(majority.q[there])
    found = []
    for method, label in by_method.items():
        now = _sign(label.q[there])
        found.append(
            Effect(
                method,
                int(there.sum()),
                int(majority.n.sum()),
                int((now != 0).sum()),
                int((now * plain < 0).sum()),
                int(((now == 0) & (plain != 0)).sum()),
                int(((now != 0) & (plain == 0)).sum()),
                float(np.abs(label.q[there] - majority.q[there]).mean()) if there.any() else 0.0,
            )
        )
    return found


def soft_labels(session: Session, which: Which, method: str) -> Mapping[str, float]:
    """pair id -> q, by another way than the majority's share. `which` should leave out votes of
    adjudicators, whose pairs get their labels from them alone."""
    found = labels(ballots.read(session, which), method)
    there = found.n > 0
    return dict(zip(found.pair_ids[there].tolist(), found.q[there].tolist(), strict=True))


def labels(votes: Ballots, method: str, competence: np.ndarray | None = None) -> Labels:
    size = len(votes.pair_ids)
    says = votes.choice != ballots.BOTH_BAD
    pair = votes.pair[says]
    value = np.array([1.0, 0.0, 0.5, 0.0])[votes.choice[says]]
    n = np.bincount(pair, minlength=size)
    weight = np.ones(len(pair))
    if method == SKILL:
        if competence is None:
            skill = mace(votes.pair, votes.judge, votes.choice, votes.a_left, size, len(votes.judges))
            competence = skill.competence
        weight = np.maximum(LEAST_WEIGHT, competence)[votes.judge[says]]
    total = np.bincount(pair, weight, size)
    won = np.bincount(pair, weight * value, size)
    if method == BRADLEY_TERRY:
        return _towards_ratings(votes, won, n)
    with np.errstate(invalid="ignore"):
        return Labels(votes.pair_ids, won / total, n)


def _towards_ratings(votes: Ballots, won: np.ndarray, n: np.ndarray) -> Labels:
    a, b = votes.prompt_a, votes.prompt_b
    counts = votes.counts()
    other = (a != b) & (n > 0)
    ratings = bradley_terry(a[other], b[other], counts[other][:, :3].astype(float), len(votes.prompts))
    p = 1 / (1 + np.exp((ratings.rating[b] - ratings.rating[a]) / SCALE))
    k = _prior(won[n > 0], n[n > 0], p[n > 0])
    with np.errstate(invalid="ignore"):
        return Labels(votes.pair_ids, np.where(n > 0, (won + k * p) / (n + k), np.nan), n, k)


def _prior(won: np.ndarray, n: np.ndarray, p: np.ndarray) -> float:
    """The K of the largest beta-binomial likelihood, of pairs with two votes and more (one
    vote says nothing about how much pairs differ). Without any, 2."""
    some = n > 1
    if not some.any():
        return 2.0
    # Pairs of the same two prompts with the same votes are interchangeable.
    kinds, times = np.unique(np.stack([won[some] * 2 + n[some] * 1e6, p[some]]), axis=1, return_counts=True)
    n, won = np.divmod(kinds[0], 1e6)
    won, p = won / 2, kinds[1]
    fits = [
        (times * (betaln(won + k * p, n - won + k * (1 - p)) - betaln(k * p, k * (1 - p)))).sum() for k in _K
    ]
    return float(_K[int(np.argmax(fits))])


def _sign(q: np.ndarray) -> np.ndarray:
    return np.where(np.abs(q - 0.5) < _EVEN, 0, np.sign(q - 0.5)).astype(int)
