"""Claims and votes that arrive at the same time, done together: one unit of work, one
commit, and each step of it one statement for everybody (DuckDB).

Only what is ordinary is done here: a claim by a known annotator, a vote on a lease that
holds. Whatever is not (a repeated vote, a lost lease, a first claim, nothing free in sight)
is done alone afterwards, by the code that PostgreSQL always uses, which also says what was
wrong. So there is one place that decides, and this one only saves time.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from core import audit, webhooks
from core.annotation import probes, room
from core.annotation.annotators import check_not_paused
from core.annotation.asked import Claim, PairsAsked, VoteSent, annotator_id_of
from core.annotation.desk import Desk, desk_in
from core.annotation.marks import checked_marks
from core.annotation.pausing import check_open
from core.errors import PrefloopError
from core.settings import get_settings
from storage import claims_together as bulk
from storage.bulk import insert_many
from storage.claims import Held
from storage.database import Database
from storage.group_commit import GroupCommit
from storage.groups import ADJUDICATOR
from storage.ids import now
from storage.tables import Annotator, AuditEntry, Project, Vote

LINE = 1_000  # slots read ahead of the claims
LINE_S = 1.0  # a line is read anew after this, for what time alone changes (leases run out)
LOOKS = 3  # times that slots may turn out to be taken, before they are searched alone
CONTENTS = 2_000  # pairs whose texts are kept at hand

Asked = PairsAsked | VoteSent
ClaimsAlone = Callable[[Database, PairsAsked], list[Claim]]
CastAlone = Callable[[Database, VoteSent], Vote]


class _Alone:
    """Stands for: to be done alone."""


ALONE = _Alone()
Result = list[Claim] | Vote | PrefloopError | _Alone


class Together:
    """One for each database. The line and the contents are only what was read last: every slot
    is looked at again before it is leased."""

    def __init__(self, db: Database, claims_alone: ClaimsAlone, cast_alone: CastAlone) -> None:
        self._db = ref(db)  # `together` keeps this as long as the database is there
        self._alone = (claims_alone, cast_alone)
        self._commits: GroupCommit[Asked, Any] = GroupCommit(self._work, "claims-and-votes")
        self._lines: dict[str, _Line] = {}
        self._contents: OrderedDict[str, bulk.Content] = OrderedDict()

    def claim(self, asked: PairsAsked) -> Future[list[Claim]]:
        return self._commits.ask(asked)

    def cast(self, sent: VoteSent) -> Future[Vote]:
        return self._commits.ask(sent)

    def _work(self, asked: list[Asked]) -> list[Any]:
        db = self._db()
        assert db is not None, "somebody waits for this, and holds the database"
        try:
            results = db.write(lambda session: self._unit(session, asked))
        except DBAPIError:  # a conflict, most likely over what should have been done alone
            results = [ALONE] * len(asked)
        answers: list[Any] = []
        for one, result in zip(asked, results, strict=True):
            if isinstance(result, _Alone):
                try:
                    claims_alone, cast_alone = self._alone
                    result = claims_alone(db, one) if isinstance(one, PairsAsked) else cast_alone(db, one)  # type: ignore[assignment]
                except Exception as error:
                    result = error  # type: ignore[assignment]
            answers.append(result)
        self._seen = db.commits
        return answers

    _seen = -1  # the database's commits when a unit of work of ours had ended

    def _unit(self, session: Session, asked: Sequence[Asked]) -> list[Result]:
        db = self._db()
        if db is not None and db.commits != self._seen:  # somebody else wrote: other slots may be free
            self._lines.clear()
        results: list[Result] = [ALONE] * len(asked)
        first = {one.who.user_id: place for place, one in reversed(list(enumerate(asked)))}
        own = sorted(first.values())  # two of one person's: the second alone
        unit = _Unit(session, self._lines, self._contents)
        unit.cast([(i, one) for i in own if isinstance(one := asked[i], VoteSent)], results)
        unit.claim([(i, one) for i in own if isinstance(one := asked[i], PairsAsked)], results)
        while len(self._contents) > CONTENTS:
            self._contents.popitem(last=False)
        return results


_made: WeakKeyDictionary[Database, Together] = WeakKeyDictionary()
_making = threading.Lock()


def together(db: Database, claims_alone: ClaimsAlone, cast_alone: CastAlone) -> Together:
    found = _made.get(db)
    if found is None:
        with _making:
            found = _made.setdefault(db, Together(db, claims_alone, cast_alone))
    return found


@dataclass
class _Line:
    """The slots of a project to claim next, in order."""

    slots: dict[str, bulk.Waiting]
    judged: set[tuple[str, str]]  # (annotator, pair), of the pairs of these slots
    read_at: float


@dataclass
class _Wish:
    """An annotator who wants slots, within a unit of work."""

    place: int
    asked: PairsAsked
    annotator: Annotator
    held: list[Held]
    missing: int


class _Unit:
    """One unit of work."""

    def __init__(
        self, session: Session, lines: dict[str, _Line], contents: "OrderedDict[str, bulk.Content]"
    ) -> None:
        self.session = session
        self.lines = lines
        self.known = contents
        self.at = now()
        self.until = self.at + timedelta(minutes=get_settings().lease_minutes)
        self.projects: dict[str, tuple[Project, Desk] | None] = {}

    # --- votes ----------------------------------------------------------------------------

    def cast(self, sent: Sequence[tuple[int, VoteSent]], results: list[Result]) -> None:
        if not sent:
            return
        leased = bulk.leased(self.session, {one.lease for _, one in sent})
        shown = self.contents({slot.pair_id for slot in leased.values()})
        votes: list[Vote] = []
        entries: list[AuditEntry] = []
        for place, one in sent:
            slot = leased.get(one.lease)
            content = shown.get(one.pair_id)
            project = self.project(slot.project_id) if slot else None
            if slot is None or content is None or project is None or slot.pair_id != one.pair_id:
                continue
            if slot.annotator_id != annotator_id_of(slot.project_id, one.who):
                continue
            if slot.audience == ADJUDICATOR:
                continue
            try:
                marks = checked_marks(*project, one.criteria)
            except PrefloopError as problem:
                results[place] = problem
                continue
            a, b = content.response_a, content.response_b
            vote = one.as_vote(
                project_id=slot.project_id,
                annotator_id=slot.annotator_id,
                slot_id=slot.slot_id,
                left=a if slot.a_left else b,
                right=b if slot.a_left else a,
                marks=marks,
            )
            votes.append(vote)
            entries.append(
                audit.entry(one.who, "vote.cast", "vote", vote.id, slot.project_id, pair=one.pair_id)
            )
            results[place] = vote
            if slot.project_id in self.lines:
                self.lines[slot.project_id].judged.add((slot.annotator_id, slot.pair_id))
        if votes:
            bulk.close(self.session, [str(vote.slot_id) for vote in votes])
            insert_many(self.session, Vote, votes, ignore_existing=False)
            insert_many(self.session, AuditEntry, entries, ignore_existing=False)
            room.after_votes(self.session, votes)
            webhooks.after_votes(self.session, votes)

    # --- claims ---------------------------------------------------------------------------

    def claim(self, asked: Sequence[tuple[int, PairsAsked]], results: list[Result]) -> None:
        if not asked:
            return
        wishes = self.wishes(asked, results)
        given: list[bulk.Lease] = []
        hopeless: set[int] = set()
        for project_id in {wish.asked.project_id for wish in wishes}:
            mine = [wish for wish in wishes if wish.asked.project_id == project_id]
            hopeless |= self.fill(project_id, mine, given)
        if given:
            bulk.lease(self.session, given, self.at, self.until)
        wishes = [wish for wish in wishes if wish.place not in hopeless]
        shown = self.contents({held.pair_id for wish in wishes for held in wish.held})
        for wish in wishes:
            if all(held.pair_id in shown for held in wish.held):
                results[wish.place] = [_shown(held, shown[held.pair_id]) for held in wish.held]

    def wishes(self, asked: Sequence[tuple[int, PairsAsked]], results: list[Result]) -> list[_Wish]:
        """Who may have pairs, with those they hold already, whose leases are prolonged."""
        ids = {annotator_id_of(one.project_id, one.who): (place, one) for place, one in asked}
        known = self.session.exec(select(Annotator).where(col(Annotator.id).in_(ids))).all()
        wishes = []
        for annotator in known:
            place, one = ids[annotator.id]
            if self.project(one.project_id) is None:
                continue
            try:
                check_not_paused(annotator)
                check_open(self.session, annotator)
            except PrefloopError as problem:
                results[place] = problem
                continue
            wishes.append(_Wish(place, one, annotator, [], one.wanted))
        held = bulk.held_by(self.session, [wish.annotator.id for wish in wishes])
        for wish in wishes:
            mine = held.get(wish.annotator.id, [])
            wish.held = [_prolonged(item, self.until) for item in (mine[:1] if wish.asked.one else mine)]
            wish.missing = max(0, wish.asked.wanted - len(wish.held))
        # Who has a probe, or gets one now, asks alone; so does who decides disputed pairs.
        ordinary = probes.ordinary(self.session, [(wish.annotator, wish.missing) for wish in wishes])
        wishes = [wish for wish in wishes if wish.annotator.id in ordinary and not _adjudicates(wish)]
        if held:
            bulk.prolong(self.session, [item.slot_id for wish in wishes for item in wish.held], self.until)
        return wishes

    def fill(self, project_id: str, wishes: Sequence[_Wish], given: list[bulk.Lease]) -> set[int]:
        """Give every wish what it misses, from the project's line; answers the places of those
        for whom nothing was found, though there may be something further back."""
        open_wishes = [wish for wish in wishes if wish.missing]
        if not open_wishes:
            return set()
        line = self.line(project_id, 2 * sum(wish.missing for wish in open_wishes))
        for _ in range(LOOKS):
            chosen: dict[str, tuple[_Wish, bulk.Waiting]] = {}
            for wish in open_wishes:
                for slot in islice(self.candidates(line, wish, chosen), wish.missing):
                    chosen[slot.slot_id] = (wish, slot)
            if not chosen:
                break
            free = bulk.still_free(self.session, chosen, self.at)
            for slot_id, (wish, slot) in chosen.items():
                del line.slots[slot_id]
                if slot_id in free:
                    self.give(wish, slot, given)
            open_wishes = [wish for wish in open_wishes if wish.missing]
            if not open_wishes:
                return set()
        # What was given to somebody who misses more stays theirs: it is held when they ask alone.
        return {wish.place for wish in open_wishes}

    def candidates(self, line: _Line, wish: _Wish, taken: Collection[str]) -> Iterator[bulk.Waiting]:
        """Slots this annotator may have, in order, each pair once."""
        annotator = wish.annotator
        own = {held.pair_id for held in wish.held}
        for slot in line.slots.values():
            if (
                slot.slot_id not in taken
                and slot.pair_id not in own
                and (slot.audience is None or slot.audience in (annotator.audiences or ()))
                and (annotator.id, slot.pair_id) not in line.judged
            ):
                own.add(slot.pair_id)
                yield slot

    def give(self, wish: _Wish, slot: bulk.Waiting, given: list[bulk.Lease]) -> None:
        key, a_left = secrets.token_urlsafe(18), secrets.randbits(1) == 1
        given.append(bulk.Lease(slot.slot_id, wish.annotator.id, key, a_left))
        wish.held.append(Held(slot.slot_id, slot.pair_id, key, a_left, self.until, slot.audience))
        wish.missing -= 1

    # --- what both read -------------------------------------------------------------------

    def line(self, project_id: str, wanted: int) -> _Line:
        found = self.lines.get(project_id)
        if found is None or len(found.slots) < wanted or time.monotonic() - found.read_at > LINE_S:
            slots = bulk.waiting(self.session, project_id, self.at, LINE + wanted)
            judged = bulk.judged(self.session, {slot.pair_id for slot in slots})
            found = _Line({slot.slot_id: slot for slot in slots}, judged, time.monotonic())
            self.lines[project_id] = found
        return found

    def project(self, project_id: str) -> tuple[Project, Desk] | None:
        """None: it is gone, or put away."""
        if project_id not in self.projects:
            found = self.session.get(Project, project_id)
            good = found is not None and found.archived_at is None
            self.projects[project_id] = (found, desk_in(self.session, project_id)) if found and good else None
        return self.projects[project_id]

    def contents(self, pairs: set[str]) -> dict[str, bulk.Content]:
        missing = pairs - self.known.keys()
        if missing:
            self.known.update(bulk.contents(self.session, missing))
        return {pair_id: self.known[pair_id] for pair_id in pairs if pair_id in self.known}


def _adjudicates(wish: _Wish) -> bool:
    audiences = [*(wish.annotator.audiences or ()), *(held.audience for held in wish.held)]
    return ADJUDICATOR in audiences


def _prolonged(held: Held, until: datetime) -> Held:
    return replace(held, expires_at=until)


def _shown(held: Held, content: bulk.Content) -> Claim:
    return Claim(
        pair_id=content.pair_id,
        project_id=content.project_id,
        lease=held.lease,
        expires_at=held.expires_at,
        input=content.input,
        messages=content.messages,
        fields=content.fields,
        left=content.text_a if held.a_left else content.text_b,
        right=content.text_b if held.a_left else content.text_a,
    )
