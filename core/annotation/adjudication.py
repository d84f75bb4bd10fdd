"""The adjudication queue: pairs that people strongly disagree on are decided by a senior
annotator, who sees the reasons given, blind as to who gave them and to what is compared.

Adjudicators are users that a lead names. A disputed pair gets one extra slot that only they
can claim, before all their other pairs. Their vote (source `adjudication`) decides the pair
for reward training and exports, counts on the leaderboard as one vote more, and stays out of
agreement, skill and bias, because it was not cast independently (`storage.adjudicated`).
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, Field
from sqlmodel import Session

from core import audit
from core.access import Principal, require
from core.annotation.asked import Reason
from core.annotation.groups import ADJUDICATION as KIND
from core.annotation.groups import Person, check_members, people_in, share_audiences
from core.projects import find_project
from core.set_by_leads import changed, checked, keep, note
from core.stats import wilson
from storage import adjudication as stored
from storage.adjudicated import ADJUDICATION
from storage.adjudication import Measure, Outcomes, Split
from storage.bulk import chunks
from storage.database import Database
from storage.groups import ADJUDICATOR, Standing, beyond_reach, standing
from storage.project_documents import document_body
from storage.tables import Pair, Vote

_FRESH_S = 2.0
AT_ONCE = 2_000  # pairs sent in one unit of work


class Adjudication(BaseModel):
    """`members` are ids of users. `automatic`: the vote that completes a disputed pair sends
    it. The defaults take 1:1, 2:2 and 3:2, and leave 2:1, which has a majority of two thirds."""

    members: list[str] = Field(default_factory=list, max_length=1_000)
    automatic: bool = False
    at_least: int = Field(2, ge=2, le=100)
    minority: float = Field(0.4, gt=0, le=0.5)
    opposite: bool = True

    @property
    def measure(self) -> Measure:
        return Measure(self.at_least, self.minority, self.opposite)

    def takes(self, split: Split) -> bool:
        n = split.more + split.fewer
        even = n >= self.at_least and split.fewer >= self.minority * n - 1e-9
        return even or (self.opposite and split.opposite)


@dataclass(frozen=True)
class View:
    """`disputed`: pairs by the measure; `to_send`: those of them that neither wait for votes nor
    were sent; `agreed`: how often the adjudicator sided with the majority, with Wilson's
    interval. `beyond_reach`: pairs that no active adjudicator may judge any more."""

    settings: Adjudication
    members: list[Person]
    people: list[Person]
    splits: list[Split]
    disputed: int
    waiting: int
    to_send: int
    queue: Standing
    beyond_reach: int
    outcomes: Outcomes
    agreed: float | None
    agreed_low: float | None
    agreed_high: float | None


@dataclass(frozen=True)
class Sent:
    """Slots for adjudicators that were opened, and closed because their pair is no longer
    disputed."""

    opened: int
    closed: int


def settings_in(session: Session, project_id: str) -> Adjudication:
    return Adjudication.model_validate(document_body(session, project_id, KIND))


def view(db: Database, who: Principal, project_id: str) -> View:
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        settings = settings_in(session, project.id)
        splits = stored.splits(session, project.id)
        people = people_in(session, project.id)
        named = {person.user_id: person for person in people}
        members = [named[user_id] for user_id in settings.members if user_id in named]
        queue = standing(session, project.id).get(ADJUDICATOR, Standing())
        active = [person.annotator_id for person in members if person.active]
        beyond = beyond_reach(session, project.id, ADJUDICATOR, active) if queue.waiting else 0
        found = stored.outcomes(session, project.id)
    taken = [split for split in splits if settings.takes(split)]
    low, high = wilson(found.sided, found.compared) if found.compared else (None, None)
    return View(
        settings,
        members,
        people,
        splits,
        sum(split.pairs for split in taken),
        sum(split.waiting for split in taken),
        sum(split.to_send for split in taken),
        queue,
        beyond,
        found,
        found.sided / found.compared if found.compared else None,
        low,
        high,
    )


def summary_in(session: Session, project_id: str) -> dict[str, Any]:
    """For the quality page: how many pairs an adjudicator decided, and how often they sided
    with the majority, with Wilson's interval."""
    found = stored.outcomes(session, project_id)
    low, high = wilson(found.sided, found.compared) if found.compared else (None, None)
    return {
        "adjudicated": found.pairs,
        "adjudicated_compared": found.compared,
        "adjudicated_even": found.even,
        "adjudicated_neither": found.neither,
        "adjudicator_agreed": found.sided / found.compared if found.compared else None,
        "adjudicator_agreed_low": low,
        "adjudicator_agreed_high": high,
    }


def set_adjudication(db: Database, who: Principal, project_id: str, **values: Any) -> Adjudication:
    """Change what is named. What was sent already stays until `send`."""
    require(who, "annotator.manage")

    def work(session: Session) -> Adjudication:
        project = find_project(session, project_id)
        before = settings_in(session, project.id)
        after = checked(Adjudication, {**before.model_dump(), **values})
        after.members = check_members(session, after.members, before.members)
        if after != before:
            keep(session, who, project.id, KIND, "Adjudication", after)
            names = list(changed(before, after))
            if "members" in names:
                share_audiences(session, project.id)
            note(session, who, "project.adjudication", project.id, names)
        return after

    done = db.write(work)
    _remember(project_id, done)
    return done


def send(db: Database, who: Principal, project_id: str) -> Sent:
    """Send every pair that is disputed now and waits for no vote; and take those back out of
    the queue that are not (any more) and that nobody has claimed. Again is the same as once.
    Done in parts, between which others can vote."""
    require(who, "annotator.manage")
    with db.read() as session:
        project = find_project(session, project_id)
        measure = settings_in(session, project.id).measure
        pair_ids = stored.to_send(session, project.id, measure)
    closed = db.write(lambda session: stored.close_undisputed(session, project_id, measure))
    opened = 0
    for part in chunks(pair_ids, AT_ONCE):
        opened += db.write(
            partial(stored.open_disputed, project_id=project_id, measure=measure, pair_ids=part)
        )

    def log(session: Session) -> None:
        audit.record(
            session,
            who,
            "project.adjudicate",
            "project",
            project_id,
            project_id,
            opened=opened,
            closed=closed,
        )

    db.write(log)
    return Sent(opened, closed)


# --- beside the votes -----------------------------------------------------------------------


def after_votes(session: Session, votes: Sequence[Vote]) -> int:
    """Within the unit of work of these votes, which are stored: send the pairs that they made
    disputed, where the lead switched that on. Answers how many."""
    of_project: dict[str, set[str]] = defaultdict(set)
    for vote in votes:
        if vote.source != ADJUDICATION:
            of_project[vote.project_id].add(vote.pair_id)
    opened = 0
    for project_id, pair_ids in of_project.items():
        settings = _settings(session, project_id)
        if settings.automatic:
            opened += stored.open_disputed(session, project_id, settings.measure, pair_ids)
    return opened


def follow(session: Session, project_id: str) -> None:
    """Within a unit of work that changed which votes count: bring the queue up to date, where
    the lead switched that on."""
    settings = settings_in(session, project_id)
    if settings.automatic:
        session.flush()
        stored.close_undisputed(session, project_id, settings.measure)
        for part in chunks(stored.to_send(session, project_id, settings.measure), AT_ONCE):
            stored.open_disputed(session, project_id, settings.measure, part)


def reasons_for(session: Session, pair: Pair, a_left: bool) -> list[Reason]:
    """What others said of the pair, for the adjudicator who sees response_a left, or right."""
    sides = {pair.response_a: "left" if a_left else "right", pair.response_b: "right" if a_left else "left"}
    return [
        Reason(sides[said.winner] if said.winner else said.outcome, said.strength, said.reason)
        for said in stored.said_of(session, pair.project_id, pair.id)
    ]


_known: dict[str, tuple[float, Adjudication]] = {}  # by project: until when it is good, and what it is


def _settings(session: Session, project_id: str) -> Adjudication:
    """As it was within the last two seconds: this stands in the way of every vote."""
    known = _known.get(project_id)
    if known is None or known[0] < time.monotonic():
        known = _remember(project_id, settings_in(session, project_id))
    return known[1]


def _remember(project_id: str, found: Adjudication) -> tuple[float, Adjudication]:
    if len(_known) > 10_000:
        _known.clear()
    _known[project_id] = (time.monotonic() + _FRESH_S, found)
    return _known[project_id]
