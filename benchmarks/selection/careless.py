"""Gold checks and hidden repeats: what they cost in answers, and what they bring when some
people click at random.

PEOPLE answer in turn as lots fall, pairs come fewest votes first, up to three that count each.
When a probe is due is decided by the product's schedule; it takes the place of a pair, uses
up an answer, and is never a vote. A careful person sees no difference in TIES of the pairs,
else prefers a with the pair's logistic chance; answers a gold pair as expected in GOLD_RIGHT;
and of pairs given again says the same in SAME and judges anew otherwise. Somebody who clicks
at random takes left or right as often, and a tie as often as others. These three figures are
assumed, not measured.

Who is left out loses the room their votes took, which others fill, and gets no more pairs. `rule` says who:

- none: nobody;
- gold: who fails FAILURES of their last WINDOW gold checks (the product's rule, by itself);
- repeats: whose share of repeats answered as before is surely (Wilson, 95 %) below that of all
  together, after at least LEAST repeats: what a lead could read from the quality page;
- suspects: whom the product's test for random clickers names, which needs no probes;
- known: who clicks at random, from the start. Nobody knows that: it is what can be gained.

The last two rules but one are looked at every batch. A person does not judge a pair twice.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.selection.replay import BATCH, board_errors
from benchmarks.selection.worlds import MOST_VOTES, TIES, World
from core.annotation import clickers
from core.annotation.probe_figures import share_of, share_over
from core.annotation.probing import Probing
from core.annotation.schedule import Schedule
from core.annotation.selection import OpenPairs, choose, standing

PEOPLE = 40
GOLD_RIGHT = 0.9
SAME = 0.5
FAILURES, WINDOW = 4, 10
LEAST = 10
REPEAT_AFTER = 20
MEASURES = ("ratings_elo", "win_matrix_points", "clickers_left_out", "careful_left_out", "votes_that_count")


@dataclass(frozen=True)
class Arm:
    clickers: float
    gold: float = 0.0
    repeat: float = 0.0
    rule: str = "none"


@dataclass
class Person:
    """`passed`: gold checks, `same`: repeats, in order; `at`, `votes`: (pair, choice, whether a
    stood left) of ordinary votes, and when they were cast."""

    careless: bool
    passed: list[bool] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    votes: list[tuple[int, int, bool]] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    judged: set[int] = field(default_factory=set)
    repeated: int = 0
    out: bool = False


def replay(arm: Arm, world: World, seed: int, at: Sequence[float]) -> np.ndarray:
    """(shares, MEASURES) after each share of so many answers as all pairs want votes."""
    crowd = _Crowd(arm, world, seed)
    total, found = MOST_VOTES * len(world.a), []
    for share in at:
        while crowd.answers < round(share * total):
            crowd.batch(min(BATCH, round(share * total) - crowd.answers))
        found.append(crowd.measures())
    return np.array(found)


class _Crowd:
    def __init__(self, arm: Arm, world: World, seed: int) -> None:
        self.arm, self.world = arm, world
        self.rng = np.random.default_rng([seed, 17])
        self.probing = Probing(
            gold_rate=arm.gold, repeat_rate=arm.repeat, repeat_after=REPEAT_AFTER,
            failures=FAILURES if arm.rule == "gold" else 0, window=WINDOW, action="leave_out",
        )  # fmt: skip
        self.schedule = Schedule(lot=random.Random(seed))
        careless = round(arm.clickers * PEOPLE)
        self.people = [Person(i < careless, out=arm.rule == "known" and i < careless) for i in range(PEOPLE)]
        self.names = [f"{seed}-{i}" for i in range(PEOPLE)]
        self.given = np.zeros(len(world.a), dtype=int)
        self.answers = 0

    def batch(self, wanted: int) -> None:
        world, open_ = self.world, np.flatnonzero(self.given < MOST_VOTES)
        pairs = OpenPairs(world.a[open_], world.b[open_], self.given[open_])
        k = len(world.truth_t)
        row = list(open_[choose("fewest_votes", pairs, standing(np.zeros((k, k))), wanted, self.rng)])
        for _ in range(wanted):
            if not row:
                self.answers += 1  # nothing is left for anybody: an answer less is no better
                continue
            person = self.somebody(row[0])
            if not self.probe(person):
                self.vote(person, int(row.pop(0)))
            self.answers += 1
        self.look()

    def somebody(self, pair: int) -> int:
        there = [i for i, one in enumerate(self.people) if not one.out and pair not in one.judged]
        return int(self.rng.choice(there))

    def vote(self, person: int, pair: int) -> None:
        one = self.people[person]
        one.votes.append((pair, self.choice(one, pair), bool(self.rng.random() < 0.5)))
        one.at.append(self.answers)
        one.judged.add(pair)
        self.given[pair] += 1

    def choice(self, one: Person, pair: int) -> int:
        """0 a, 1 b, 2 tie."""
        if self.rng.random() < TIES:
            return 2
        chance = 0.5 if one.careless else self.world.chance[pair]
        return 0 if self.rng.random() < chance else 1

    def probe(self, person: int) -> bool:
        """Whether a probe took the place of a pair."""
        one, key = self.people[person], str(person)
        rates = (("gold", self.probing.gold_rate), ("repeat", self.probing.repeat_rate))
        due = [kind for kind, rate in rates if self.schedule.step((key, kind), rate)]
        for kind in due:
            self.schedule.settle((key, kind))
            if kind == "gold":
                right = (1 - TIES) / 2 if one.careless else GOLD_RIGHT
                one.passed.append(bool(self.rng.random() < right))
                if self.probing.acts_on(one.passed):
                    self.leave_out(person)
                return True
            if one.repeated < len(one.votes) - REPEAT_AFTER:
                pair, before, _ = one.votes[one.repeated]
                one.repeated += 1
                again = not one.careless and self.rng.random() < SAME
                one.same.append(bool(again or self.choice(one, pair) == before))
                return True
        return False

    def leave_out(self, person: int) -> None:
        one = self.people[person]
        one.out = True
        for pair, _, _ in one.votes:
            self.given[pair] -= 1

    def look(self) -> None:
        there = [i for i, one in enumerate(self.people) if not one.out]
        if self.arm.rule == "repeats":
            counts = [(sum(one.same), len(one.same)) for one in self.people]
            usual = share_over("repeat", counts)
            for i in there:
                right, n = counts[i]
                if n >= LEAST and share_of("repeat", right, n)["repeat_high"] < usual["repeat_low"]:
                    self.leave_out(i)
        elif self.arm.rule == "suspects":
            found = clickers.find(*self.votes(there), [self.names[i] for i in there])
            for i in np.flatnonzero(found.suspected):
                self.leave_out(there[i])

    def votes(self, there: Sequence[int]) -> tuple[np.ndarray, ...]:
        """pair, judge, choice, a_left, at (V,) of these people, and the meeting of each pair."""
        rows = [
            (pair, judge, choice, left, at)
            for judge, i in enumerate(there)
            for (pair, choice, left), at in zip(self.people[i].votes, self.people[i].at, strict=True)
        ]
        columns = np.array(rows, dtype=int).reshape(-1, 5).T
        return (*columns, self.world.a * len(self.world.truth_t) + self.world.b)

    def measures(self) -> tuple[float, ...]:
        world, k = self.world, len(self.world.truth_t)
        counted = [vote for one in self.people if not one.out for vote in one.votes]
        pair = np.array([vote[0] for vote in counted], dtype=int)
        score = np.array([1.0, 0.0, 0.5])[[vote[1] for vote in counted]]
        wins = np.zeros((k, k))
        np.add.at(wins, (world.a[pair], world.b[pair]), score)
        np.add.at(wins, (world.b[pair], world.a[pair]), 1 - score)
        shares = [
            float(np.mean(out))
            if (out := [one.out for one in self.people if one.careless == careless])
            else np.nan
            for careless in (True, False)
        ]
        return (*board_errors(standing(wins), world), *shares, float(len(counted)))
