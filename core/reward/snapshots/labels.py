"""How the votes on a pair become one label.

In this order: votes are read as judgements of the whole, or of one criterion; an adjudicator's
decision stands alone; simulated votes speak where no other vote does; then ties and "both bad"
are treated as asked, and what is left adds up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.annotation.aggregation import LEAST_WEIGHT, MAJORITY, labels
from core.reward.snapshots.filters import Filters
from core.reward.snapshots.gather import Material, taken
from storage.ballots import BOTH_BAD, TIE, A, B, Ballots, Judge
from storage.rows import MARGINS

# By strength as it is numbered in `storage.ballots`: 0 is none, 4 significantly.
_MARGIN = np.array([0.0, *(MARGINS[name] for name in ("barely", "slightly", "clearly", "significantly"))])
_POINTS = 4.0  # from 1 to 5 on one criterion: the largest difference
EVEN = 1e-9


@dataclass(frozen=True)
class Read:
    """The votes as a data set reads them. every: (V,) the choice of each, A, B, TIE, BOTH_BAD.
    asked: (Q,) places of those cast independently that pass the filters: whose ratings the
    method bradley_terry draws towards. heard: (P,) pairs with a vote that passes. used: (U,)
    places of votes that speak, in order; choice, margin (0 to 1, nan without one), weight (by
    skill, 1 where nothing is known of anybody): of these, (U,)."""

    every: np.ndarray
    asked: np.ndarray
    heard: np.ndarray
    used: np.ndarray
    choice: np.ndarray
    margin: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """Of each of the P pairs (as in `Cast`), from its votes that speak: votes for a, b, ties,
    both bad; the label q (nan without a vote that compares); margin, signed, and strength,
    unsigned (nan without); what is left out and why."""

    read: Read
    a: np.ndarray
    b: np.ndarray
    ties: np.ndarray
    both_bad: np.ndarray
    weighted: np.ndarray  # (P, 3) votes for a, b and ties, weighted as `method` weighs them
    q: np.ndarray
    margin: np.ndarray
    strength: np.ndarray
    left_known: np.ndarray
    left_won: np.ndarray
    simulated: np.ndarray
    machine: np.ndarray
    adjudicated: np.ndarray
    weight: np.ndarray
    newest: np.ndarray
    left_out: dict[str, np.ndarray]  # reason -> (P,) bool; a pair has at most one

    @property
    def n(self) -> np.ndarray:
        return np.asarray(self.a + self.b + self.ties)

    @property
    def kept(self) -> np.ndarray:
        return np.asarray(~np.logical_or.reduce(list(self.left_out.values())))


def label(material: Material, filters: Filters) -> Labelled:
    cast, size = material.cast, len(material.cast.pair_ids)
    read = _read(material, filters)
    pair = cast.pair[read.used]

    def per_pair(of: Any, weight: Any = None) -> np.ndarray:
        return np.bincount(pair[of], None if weight is None else weight[of], size)

    for_a, for_b = read.choice == A, read.choice == B
    tie, bad = read.choice == TIE, read.choice == BOTH_BAD
    win = for_a | for_b
    speaks = win | tie
    a, b, ties, both_bad = (per_pair(of) for of in (for_a, for_b, tie, bad))
    n = a + b + ties
    known = win & (cast.a_left[read.used] >= 0)
    for_left = known & (for_a == (cast.a_left[read.used] == 1))
    margin = np.nan_to_num(read.margin)
    stated = win & ~np.isnan(read.margin)
    machine_voter = np.array([voter.machine for voter in cast.voters], dtype=bool)
    adjudicated = per_pair(cast.adjudication[read.used]) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        q = _q(material, filters, read, adjudicated)
        strength = per_pair(stated, margin) / per_pair(stated)
        signed = (per_pair(for_a, margin) - per_pair(for_b, margin)) / n
        weight = per_pair(speaks, read.weight) / n
    newest = np.full(size, -np.inf)
    np.maximum.at(newest, pair, cast.at[read.used])
    by_skill = read.weight if filters.method == "skill" else np.ones(len(read.used))
    weighted = np.stack([per_pair(of, by_skill) for of in (for_a, for_b, tie)], axis=1)
    even = (n > 0) & (np.abs(q - 0.5) < EVEN)
    mostly_bad = (filters.both_bad == "drop") & (both_bad > (n + both_bad) / 2)
    return Labelled(
        read, a, b, ties, both_bad, weighted, q, signed, strength, per_pair(known), per_pair(for_left),
        per_pair(speaks & cast.simulated[read.used]),
        per_pair(speaks & machine_voter[cast.voter[read.used]]), adjudicated, weight, newest,
        _left_out(
            material, n == 0, both_bad > 0, mostly_bad, n < filters.least_votes,
            even & (filters.ties == "drop"), ~read.heard,
        ),
    )  # fmt: skip


def _left_out(
    material: Material,
    silent: np.ndarray,
    heard_bad: np.ndarray,
    mostly_bad: np.ndarray,
    few: np.ndarray,
    even: np.ndarray,
    filtered: np.ndarray,
) -> dict[str, np.ndarray]:
    """Each pair's first reason to be left out."""
    cast = material.cast
    same = np.array(
        [
            " ".join(a.split()) == " ".join(b.split())
            for a, b in zip(cast.response_a, cast.response_b, strict=True)
        ],
        dtype=bool,
    )
    reasons = {
        "filtered": filtered,  # no vote passes
        "identical": same,
        "both_bad": (silent & heard_bad) | mostly_bad,
        "even": (silent & ~heard_bad) | even,  # nothing but ties, where ties are dropped
        "few": few,
    }
    found: dict[str, np.ndarray] = {}
    out = np.zeros(len(cast.pair_ids), dtype=bool)
    for name, reason in reasons.items():
        found[name] = reason & ~out
        out = out | reason
    return found


def _read(material: Material, filters: Filters) -> Read:
    cast = material.cast
    passing = taken(material, filters)
    choice = cast.choice.copy()
    margin = np.where(cast.strength > 0, _MARGIN[cast.strength], np.nan)
    if filters.criterion is not None:
        rated = np.zeros(len(cast), dtype=bool)
        for place, marks in cast.marks.items():
            if (said := judged(marks.get(filters.criterion))) is not None:
                choice[place], margin[place] = said
                rated[place] = True
        passing &= rated
    if filters.margins == "none":
        margin = np.full(len(cast), np.nan)
    asked = passing & ~cast.adjudication

    def among(votes: np.ndarray) -> np.ndarray:
        """(V,) whether the vote's pair has one of these."""
        there = np.zeros(len(cast.pair_ids), dtype=bool)
        there[cast.pair[votes]] = True
        return there[cast.pair]

    decided = passing & cast.adjudication
    passing &= cast.adjudication | ~among(decided)
    compares = choice != BOTH_BAD
    people = among(passing & ~cast.simulated & compares)
    simulated = among(passing & cast.simulated & compares) & ~people
    passing &= np.where(cast.simulated, ~people, ~simulated)
    heard = np.zeros(len(cast.pair_ids), dtype=bool)
    heard[cast.pair[passing]] = True
    if filters.ties == "drop":  # only now: people's tie is not overruled by a simulated vote
        passing &= choice != TIE
        asked &= choice != TIE
    competence, n = material.skill
    weight = np.maximum(LEAST_WEIGHT, competence)
    used = np.nonzero(passing)[0]
    of_vote = weight[cast.voter[used]]
    if not n.any() or not len(used):
        of_vote = np.ones(len(used))
    return Read(choice, np.nonzero(asked)[0], heard, used, choice[used], margin[used], of_vote)


def judged(mark: Any) -> tuple[int, float] | None:
    """What a vote says on a criterion, sides named a and b: the choice, and a margin where
    both responses got points from 1 to 5. None for anything else."""
    if mark == "a":
        return A, np.nan
    if mark == "b":
        return B, np.nan
    if mark == "same":
        return TIE, np.nan
    if isinstance(mark, dict):
        a, b = mark.get("a"), mark.get("b")
        if isinstance(a, int | float) and isinstance(b, int | float):
            return (A if a > b else B if b > a else TIE), min(1.0, abs(a - b) / _POINTS)
    return None


def _q(material: Material, filters: Filters, read: Read, adjudicated: np.ndarray) -> np.ndarray:
    """(P,) the labels. Votes of people and simulated ones are added up apart, as are those of
    adjudicators, which are shares whatever the method."""
    cast, size = material.cast, len(material.cast.pair_ids)
    value = np.array([1.0, 0.0, 0.5, 0.0])[read.choice]
    speaks = read.choice != BOTH_BAD
    pair = cast.pair[read.used]
    share = np.bincount(pair[speaks], value[speaks], size) / np.bincount(pair[speaks], None, size)
    q = share.copy()
    for simulated in (False, True) if filters.method != MAJORITY else ():
        places = read.asked[cast.simulated[read.asked] == simulated]
        if not len(places):
            continue
        found = labels(_ballots(material, places, read.every), filters.method, material.skill[0])
        there = np.zeros(size, dtype=bool)
        there[pair[speaks & (cast.simulated[read.used] == simulated)]] = True
        there &= ~adjudicated & ~np.isnan(found.q)
        q[there] = found.q[there]
    if not filters.soft:
        q = np.where(np.abs(q - 0.5) < EVEN, 0.5, np.where(np.isnan(q), np.nan, q > 0.5))
    return np.asarray(np.round(q, 12))


def _ballots(material: Material, places: np.ndarray, choice: np.ndarray) -> Ballots:
    cast = material.cast
    prompts = sorted({*cast.prompt_a, *cast.prompt_b})
    place = {name: i for i, name in enumerate(prompts)}
    size = len(cast.pair_ids)
    return Ballots(
        np.array(cast.pair_ids, dtype=object), np.full(size, "", dtype=object), tuple(prompts),
        np.array([place[name] for name in cast.prompt_a], dtype=int),
        np.array([place[name] for name in cast.prompt_b], dtype=int),
        np.zeros(size), np.zeros(size),
        tuple(Judge(voter.id, voter.name, voter.simulated) for voter in cast.voters),
        cast.pair[places], cast.voter[places], choice[places], cast.a_left[places], cast.strength[places],
        np.full(len(places), np.nan), cast.at[places],
    )  # fmt: skip
