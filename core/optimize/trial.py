"""A found prompt against the champion, blind, by people's votes, until it is clear.

The pairs are those of `core.optimize.promote`; the test is `core.optimize.sequential`. The unit
is the example: each counts once, by the first vote that a person cast on it without knowing what
others had said. Only examples of the **test split** count: a search works on train and
chooses on dev, and reward models learn from both, so people's votes there would judge a prompt on what
it was made for. Further votes on an example are not independent of the first, and add nothing
here (they count on the leaderboard as always). A tie and “both bad” are one half. Simulated votes
and those of machine judges are counted apart and decide nothing.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session

from core.access import Principal, require
from core.errors import Conflict
from core.optimize.found import is_found
from core.optimize.power import SHARES, Power, power
from core.optimize.sequential import Rule, Verdict, judge
from core.projects import find_project
from core.prompts.versions import find_prompt, label
from core.runs.service import start_run
from storage import trials
from storage.database import Database
from storage.evidence import votes_state
from storage.tables import Project, Prompt, Run

MORE = 60  # held-out examples by which a comparison is enlarged
LONG_S, REST = 1.0, 20  # a longer look at all comparisons is repeated after 20 times as long, at the earliest

IMPORT = (
    "Import more examples, with “test” in a column named split, or without one: a fifth of them then falls "
    "into the test split."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """`people` decides. `simulated`: what simulated votes alone would say, None without any.
    `votes`: by who cast them, all of them, also those on an example that has one already; `seen`:
    people's votes on examples of train and dev, which decide nothing. `held_out` examples there are,
    of which `asked` were answered and `examples` have a pair of the two; `waiting` pairs are in the
    queue."""

    prompt_id: str
    name: str
    champion_id: str
    champion: str
    rule: Rule
    people: Verdict
    simulated: Verdict | None
    votes: dict[str, int]
    seen: int
    held_out: int
    asked: int
    examples: int
    waiting: int

    @property
    def passed(self) -> bool:
        return self.people.verdict == "better"

    @property
    def expected(self) -> list[Power]:
        """What all held-out examples can be expected to show, by how many people prefer it."""
        return [power(share, self.held_out) for share in SHARES]

    @property
    def decided(self) -> bool:
        return self.people.decided_at is not None

    def as_dict(self) -> dict[str, Any]:
        expected = [asdict(item) for item in self.expected]
        return {**asdict(self), "passed": self.passed, "expected": expected}

    def for_audit(self) -> dict[str, Any]:
        """The figures that a promotion was decided on."""
        found = self.people
        figures = {
            "verdict": found.verdict,
            "n": found.n,
            "won": found.won,
            "even": found.even,
            "lost": found.lost,
        }
        return {**figures, "low": round(found.low, 4), "high": round(found.high, 4), "alpha": self.rule.alpha}


def trial_of(db: Database, who: Principal, prompt_id: str) -> Trial | None:
    """The comparison of this prompt with the champion; None for the champion itself, and
    where there is none. Raises NotFound."""
    require(who, "leaderboard.view")
    with db.read() as session:
        prompt = find_prompt(session, prompt_id)
        return trial_in(session, find_project(session, prompt.project_id), prompt)


def trial_in(session: Session, project: Project, prompt: Prompt) -> Trial | None:
    """The same within a unit of work."""
    champion_id = project.champion_prompt_id
    if champion_id is None or champion_id == prompt.id:
        return None
    champion = find_prompt(session, champion_id)
    cast = trials.trial_votes(session, project.id, prompt.id, champion_id)
    votes = [vote for vote in cast if vote.held_out]
    pairs = trials.trial_pairs(session, project.id, prompt.id, champion_id)
    rule = Rule()
    by_simulation = _first(votes, "simulated")
    return Trial(
        prompt.id,
        label(prompt),
        champion_id,
        label(champion),
        rule,
        judge(_first(votes, "people"), rule),
        judge(by_simulation, rule) if by_simulation else None,
        dict(Counter(vote.who for vote in votes)),
        sum(vote.who == "people" and not vote.held_out for vote in cast),
        pairs.there,
        pairs.asked,
        pairs.examples,
        pairs.waiting,
    )


def _first(votes: list[trials.TrialVote], who: str) -> list[float]:
    """The first such vote on each example, in the order in which they were cast."""
    values: dict[str, float] = {}
    for vote in votes:
        if vote.who == who:
            values.setdefault(vote.example_id, vote.value)
    return list(values.values())


def held_out(db: Database, who: Principal, project_id: str) -> int:
    """How many examples of the project no search has seen (test split)."""
    require(who, "project.view")
    with db.read() as session:
        return trials.held_out(session, project_id)


def queue_more(db: Database, who: Principal, prompt_id: str) -> Run:
    """Generate responses to further held-out examples, and queue their pairs with the champion.
    Raises Conflict when there is nothing left to decide, or no example left."""
    require(who, "run.start")
    with db.read() as session:
        prompt = find_prompt(session, prompt_id)
        trial = trial_in(session, find_project(session, prompt.project_id), prompt)
        made_by = session.get(Run, prompt.run_id) if prompt.run_id else None
    if trial is None:
        raise Conflict("There is no other prompt to compare it with.", "Promote a champion first.")
    if trial.decided:
        raise Conflict(f"This comparison is over: {trial.people.verdict}.")
    if trial.asked >= trial.held_out:
        same = trial.asked - trial.examples
        raise Conflict(
            f"All {trial.held_out:,} held-out examples have been answered"
            + (f"; on {same:,} of them the two answers read the same, which makes no pair." if same else "."),
            IMPORT,
        )
    config: dict[str, Any] = {
        "prompts": [prompt_id],
        "pairs": "champion",
        "host": made_by.config.get("host") if made_by else None,
        "examples": {"split": trials.HELD_OUT, "limit": trial.asked + MORE},
        "source": "optimize",
    }
    return start_run(db, who, prompt.project_id, "generate", config)


class TrialKeeper:
    """Takes pairs out of the queue whose comparison is over; one per web process. Two at once do
    no harm. What somebody has begun is left to them. On a large project a look takes a while and
    every vote asks for another: after a long one it rests, so that annotators have the machine."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.db, self.clock = db, clock
        self._seen: dict[tuple[str, str, str], Any] = {}
        self._rests_until = float("-inf")

    def refresh(self) -> None:
        began = self.clock()
        if began < self._rests_until:
            return
        self._look_at_all()
        took = self.clock() - began
        if took > LONG_S:
            self._rests_until = began + REST * took

    def _look_at_all(self) -> None:
        with self.db.read() as session:
            found = trials.in_question(session)
            votes = {project: votes_state(session, project) for project in {item[0] for item in found}}
        for key in found:
            if self._seen.get(key) == votes[key[0]]:
                continue
            try:
                self._look(*key)
                self._seen[key] = votes[key[0]]
            except Exception:  # one comparison's trouble is not the others'
                log.exception("prompt %s: its comparison could not be looked at", key[1])

    def _look(self, project_id: str, prompt_id: str, champion_id: str) -> None:
        with self.db.read() as session:
            prompt = find_prompt(session, prompt_id)
            trial = trial_in(session, find_project(session, project_id), prompt)
            if trial is not None and trial.decided and trial.waiting and not is_found(session, prompt):
                return  # a person wrote it: nothing depends on the test, and all votes are of use
        if trial is None or trial.champion_id != champion_id or not (trial.decided and trial.waiting):
            return
        closed = self.db.write(
            lambda session: trials.close_unbegun(session, project_id, prompt_id, champion_id)
        )
        if closed:
            log.info("prompt %s: %s after %s examples, %d votes are not asked for any more",
                     prompt_id, trial.people.verdict, trial.people.decided_at, closed)  # fmt: skip
