"""My work: one's own votes, pace, goal for the day, and agreement with others."""

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from core.access import Principal, require
from core.annotation import probe_answers
from core.annotation.asked import annotator_id_of
from core.annotation.desk import desk_in
from core.annotation.probing import probing_in
from core.errors import Invalid
from core.kept import Kept
from core.projects import find_project
from core.stats import wilson
from storage import my_votes
from storage.database import Database
from storage.ids import now
from storage.my_votes import Filter, Past

DAYS = 30
MOST_ROWS = 200
MANY = 1_000  # votes of one's own, for which comparing them with others' takes a while
KEPT_S = 600
SKIPPED = "skip:"

_kept: Kept[my_votes.Agreed] = Kept(256)


@dataclass(frozen=True)
class History:
    total: int
    rows: list[Past]


@dataclass(frozen=True)
class Day:
    day: date
    votes: int
    median_ms: float | None


@dataclass(frozen=True)
class Agreement:
    """`value`: the mean share of the others who chose the same on the same pair; over n
    votes that others' can be compared with; low and high: Wilson's 95 % interval, which
    takes each of the n for a yes or no and so is a little too wide."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Work:
    """`agreement` is None where the project does not show it, or nobody else voted."""

    votes: int
    today: int
    goal: int
    median_ms: float | None
    days: list[Day]
    shows_agreement: bool
    agreement: Agreement | None


def my_votes_of(
    db: Database,
    who: Principal,
    project_id: str,
    which: Filter | None = None,
    limit: int = 20,
    offset: int = 0,
) -> History:
    """One's own votes, newest first."""
    require(who, "annotate")
    if not 1 <= limit <= MOST_ROWS or offset < 0:
        raise Invalid(f"limit: 1 to {MOST_ROWS}; offset: zero or more.")
    which = which or Filter()
    with db.read() as session:
        annotator_id = annotator_id_of(find_project(session, project_id).id, who)
        hidden = probing_in(session, project_id) is not None
        total, rows = my_votes.page(session, annotator_id, which, limit, offset, hidden)
        for row in rows:
            if row.hidden:
                probe_answers.as_shown(row.vote)
        return History(total, rows)


def my_work(db: Database, who: Principal, project_id: str) -> Work:
    """What one did, day by day (UTC) for DAYS days, and how it compares."""
    require(who, "annotate")
    with db.read() as session:
        project = find_project(session, project_id)
        desk = desk_in(session, project.id)
        annotator_id = annotator_id_of(project.id, who)
        today = now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        # Every day in one pass: their sum is the number of all votes.
        ever = my_votes.by_day(session, annotator_id, probing_in(session, project.id) is not None)
        first = today - timedelta(days=DAYS - 1)
        days = [Day(moment.date(), votes, median) for moment, votes, median in ever if moment >= first]
    total = sum(votes for _, votes, _ in ever)
    agreement = _agreement(db, project.id, annotator_id, total) if desk.show_agreement else None
    done_today = next((day.votes for day in days if day.day == today.date()), 0)
    timed = [day for day in days if day.median_ms is not None]
    return Work(
        votes=total,
        today=done_today,
        goal=desk.daily_goal,
        median_ms=timed[-1].median_ms if timed else None,
        days=days,
        shows_agreement=desk.show_agreement,
        agreement=agreement,
    )


def _agreement(db: Database, project_id: str, annotator_id: str, votes: int) -> Agreement | None:
    """`votes`: how many they cast. With MANY and more, at most KEPT_S old."""

    def count() -> my_votes.Agreed:
        with db.read() as session:
            return my_votes.agreement(session, project_id, annotator_id)

    if votes >= MANY:
        key = (db.url, project_id, annotator_id, int(time.time() / KEPT_S))
        found = _kept.get(key, votes, count, meanwhile=True)
    else:
        found = count()
    if not found.compared:
        return None
    low, high = wilson(found.agreed, found.compared)
    return Agreement(found.agreed / found.compared, low, high, found.compared)


def my_newest(db: Database, who: Principal, project_id: str, limit: int = 200) -> list[str]:
    """Ids of one's newest votes that an undo can take back, the newest first."""
    require(who, "annotate")
    with db.read() as session:
        annotator_id = annotator_id_of(project_id, who)
        found = my_votes.newest(session, project_id, annotator_id, limit)
        return probe_answers.newest(session, project_id, annotator_id, found, limit)


def undoable(db: Database, who: Principal, project_id: str, limit: int = 200) -> list[str]:
    """What an undo takes back, the newest first: ids of one's votes and, with SKIPPED before the
    id of the pair, what one skipped."""
    require(who, "annotate")
    with db.read() as session:
        annotator_id = annotator_id_of(project_id, who)
        votes = my_votes.newest(session, project_id, annotator_id, limit)
        pairs = my_votes.skips(session, project_id, annotator_id, limit)
        pairs += probe_answers.skipped(session, project_id, annotator_id)
        skips = [(SKIPPED + pair_id, at) for pair_id, at in pairs]
        return probe_answers.newest(session, project_id, annotator_id, votes, limit, skips)


def done_since(db: Database, who: Principal, project_id: str, since: datetime) -> int:
    require(who, "annotate")
    with db.read() as session:
        annotator_id = annotator_id_of(project_id, who)
        found = my_votes.count(session, annotator_id, Filter(since=since))
        return found + probe_answers.done_since(session, project_id, annotator_id, since)
