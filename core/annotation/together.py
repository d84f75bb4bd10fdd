"""Claims and votes that arrive at the same time, done together: one unit of work, one
commit, and each step of it one statement for everybody (DuckDB).

Only what is ordinary is done here: a claim by a known annotator, a vote on a lease that
holds, with gold checks and hidden repeats among them. Whatever is not (a repeated vote, a lost
lease, a training set, an adjudication, nothing free in sight) is done alone afterwards, by the code that PostgreSQL always uses, which also says what was
wrong. So there is one place that decides, and this one only saves time.
"""

import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from core import audit, webhooks
from core.annotation import probe_answers, probes, room
from core.annotation.alone import cast_alone, claims_alone
from core.annotation.annotators import check_not_paused
from core.annotation.asked import Claim, PairsAsked, VoteSent, annotator_id_of
from core.annotation.marks import checked_marks
from core.annotation.pausing import check_open
from core.annotation.snapshot import Snapshot, Snapshots
from core.errors import PrefloopError
from core.settings import get_settings
from storage import claims_together as bulk
from storage.bulk import insert_many
from storage.claims import Held
from storage.claims_together import Stale
from storage.database import Database
from storage.group_commit import GroupCommit
from storage.groups import ADJUDICATOR
from storage.ids import now
from storage.tables import Annotator, AuditEntry, Pair, Vote

Asked = PairsAsked | VoteSent


class _Alone:
    """Stands for: to be done alone."""


ALONE = _Alone()
Result = list[Claim] | Vote | PrefloopError | _Alone


class Together:
    """One for each database."""

    def __init__(self, db: Database) -> None:
        self._db = ref(db)  # `together` keeps this as long as the database is there
        self._commits: GroupCommit[Asked, Any] = GroupCommit(self._work, "claims-and-votes")
        self._snapshots = Snapshots()
        self._seen = -1  # the database's commits after our last unit of work

    def claim(self, asked: PairsAsked) -> Future[list[Claim]]:
        return self._commits.ask(asked)

    def cast(self, sent: VoteSent) -> Future[Vote]:
        return self._commits.ask(sent)

    def _work(self, asked: list[Asked]) -> list[Any]:
        db = self._db()
        assert db is not None, "somebody waits for this, and holds the database"
        answers: list[Any] = []
        for one, result in zip(asked, self._together(db, asked), strict=True):
            if isinstance(result, _Alone):
                try:
                    answers.append(
                        claims_alone(db, one) if isinstance(one, PairsAsked) else cast_alone(db, one)
                    )
                except Exception as error:
                    answers.append(error)
            else:
                answers.append(result)
        return answers

    def _together(self, db: Database, asked: Sequence[Asked]) -> Sequence[Result]:
        for _ in range(2):
            try:
                return db.write(lambda session: self._unit(session, db, asked))
            except (Stale, DBAPIError):
                self._snapshots.forget()
        return [ALONE] * len(asked)  # whatever it is, they are not in each other's way then

    def _unit(self, session: Session, db: Database, asked: Sequence[Asked]) -> list[Result]:
        if db.commits != self._seen:  # somebody else wrote, or our last attempt failed
            self._snapshots.forget()
        self._seen = db.commits + 1  # this one's: nobody else writes now
        session.info.update(self._snapshots.info)
        results: list[Result] = [ALONE] * len(asked)
        first = {one.who.user_id: place for place, one in reversed(list(enumerate(asked)))}
        own = sorted(first.values())  # two of one person's: the second alone
        unit = _Unit(session, self._snapshots)
        unit.cast([(i, one) for i in own if isinstance(one := asked[i], VoteSent)], results)
        unit.claim([(i, one) for i in own if isinstance(one := asked[i], PairsAsked)], results)
        self._snapshots.info = dict(session.info)
        return results


_made: WeakKeyDictionary[Database, Together] = WeakKeyDictionary()
_making = threading.Lock()


def together(db: Database) -> Together:
    found = _made.get(db)
    if found is None:
        with _making:
            found = _made.setdefault(db, Together(db))
    return found


@dataclass
class _Wish:
    """An annotator who wants pairs, within a unit of work. `held`: what they are shown."""

    place: int
    snapshot: Snapshot
    annotator: Annotator
    held: list[Held | probes.Held]
    missing: int


class _Unit:
    """One unit of work."""

    def __init__(self, session: Session, snapshots: Snapshots) -> None:
        self.session = session
        self.snapshots = snapshots
        self.at = self.moment = now()
        self.until = self.at + timedelta(minutes=get_settings().lease_minutes)

    def cast(self, sent: Sequence[tuple[int, VoteSent]], results: list[Result]) -> None:
        if not sent:
            return
        holding = self.snapshots.holding(self.session, [(one.who, one.lease) for _, one in sent])
        shown = self.snapshots.contents(self.session, {held.pair_id for *_, held in holding.values()})
        votes: list[Vote] = []
        entries: list[AuditEntry] = []
        closed: list[tuple[Snapshot, str, Held]] = []
        unknown: list[tuple[int, VoteSent]] = []
        for place, one in sent:
            snapshot, annotator_id, held = holding.get(one.lease, (None, "", None))
            if held is None:
                unknown.append((place, one))
            if snapshot is None or held is None or held.pair_id != one.pair_id or one.pair_id not in shown:
                continue
            if held.audience == ADJUDICATOR:
                continue
            try:
                marks = checked_marks(snapshot.project, snapshot.desk, one.criteria)
            except PrefloopError as problem:
                results[place] = problem
                continue
            a, b = shown[one.pair_id].response_a, shown[one.pair_id].response_b
            vote = one.as_vote(
                project_id=snapshot.project.id,
                annotator_id=annotator_id,
                slot_id=held.slot_id,
                left=a if held.a_left else b,
                right=b if held.a_left else a,
                marks=marks,
            )
            votes.append(vote)
            closed.append((snapshot, annotator_id, held))
            entries.append(
                audit.entry(one.who, "vote.cast", "vote", vote.id, snapshot.project.id, pair=one.pair_id)
            )
            results[place] = vote
        if votes:
            bulk.close(self.session, [held for *_, held in closed])
            insert_many(self.session, Vote, votes, ignore_existing=False)
            insert_many(self.session, AuditEntry, entries, ignore_existing=False)
            for snapshot, annotator_id, held in closed:
                snapshot.voted(annotator_id, held)
            if room.after_votes(self.session, votes):
                self.snapshots.forget()  # slots were opened or closed
            webhooks.after_votes(self.session, votes)
        if unknown:
            self.answer_probes(unknown, results)

    def answer_probes(self, sent: Sequence[tuple[int, VoteSent]], results: list[Result]) -> None:
        """Of these, whose leases hold no slot, those that answer a hidden probe."""
        found = probe_answers.unanswered(self.session, [one for _, one in sent])
        changed = False
        for place, one in sent:
            probe = found.get(one.lease)
            snapshot = self.snapshots.of(self.session, probe.project_id) if probe else None
            pair = self.session.get(Pair, probe.pair_id) if probe and snapshot else None
            if probe is None or snapshot is None or pair is None:
                continue
            try:
                marks = checked_marks(snapshot.project, snapshot.desk, one.criteria)
            except PrefloopError as problem:
                results[place] = problem
                continue
            results[place] = probe_answers.say(self.session, snapshot.project, pair, probe, one, marks)
            # A failed check may have paused its annotator, or left their votes out.
            changed |= (
                probe.kind == "gold" and not probe.passed and self.differs(snapshot, probe.annotator_id)
            )
        if changed:
            self.snapshots.forget()

    def differs(self, snapshot: Snapshot, annotator_id: str) -> bool:
        known, stands = snapshot.annotators.get(annotator_id), self.session.get(Annotator, annotator_id)
        return (
            known is None
            or stands is None
            or (known.paused_at, known.excluded_at) != (stands.paused_at, stands.excluded_at)
        )

    def claim(self, asked: Sequence[tuple[int, PairsAsked]], results: list[Result]) -> None:
        if not asked:
            return
        wishes = self.wishes(asked, results)
        given: list[bulk.Lease] = []
        for project_id in {wish.snapshot.project.id for wish in wishes}:
            self.fill([wish for wish in wishes if wish.snapshot.project.id == project_id], given)
        if given:
            bulk.lease(self.session, given, self.at, self.until)
        # Who misses something may still find it further back; what was given to them is theirs.
        wishes = [wish for wish in wishes if not wish.missing or wish.snapshot.whole(wish.annotator)]
        pairs = {held.pair_id for wish in wishes for held in wish.held}
        shown = self.snapshots.contents(self.session, pairs)
        for wish in wishes:
            if all(held.pair_id in shown for held in wish.held):
                results[wish.place] = [_shown(held, shown[held.pair_id]) for held in wish.held]

    def wishes(self, asked: Sequence[tuple[int, PairsAsked]], results: list[Result]) -> list[_Wish]:
        """Who may have pairs, with those they hold already, whose leases are prolonged."""
        wishes: list[_Wish] = []
        for project_id in {one.project_id for _, one in asked}:
            snapshot = self.snapshots.of(self.session, project_id)
            if snapshot is None:
                continue
            here = [(place, one) for place, one in asked if one.project_id == project_id]
            snapshot.meet(self.session, [one.who for _, one in here])
            able: list[tuple[int, PairsAsked, Annotator]] = []
            for place, one in here:
                annotator = snapshot.annotators[annotator_id_of(project_id, one.who)]
                try:
                    check_not_paused(annotator)
                    check_open(self.session, annotator)
                except PrefloopError as problem:
                    results[place] = problem
                    continue
                able.append((place, one, annotator))
            # Who is at a training set asks alone; so does who decides disputed pairs.
            probed = probes.hidden_of(self.session, [annotator for *_, annotator in able])
            for place, one, annotator in able:
                if annotator.id in probed and not _adjudicates(annotator, snapshot.held[annotator.id]):
                    wishes.append(self.wish(place, one, snapshot, annotator, probed[annotator.id]))
            if holders := [wish.annotator for wish in wishes if probed.get(wish.annotator.id)]:
                probes.prolong_all(self.session, holders, self.until)
        if held := [item for wish in wishes for item in wish.held if isinstance(item, Held)]:
            bulk.prolong(self.session, held, self.until)
        return wishes

    def wish(
        self, place: int, one: PairsAsked, snapshot: Snapshot, annotator: Annotator, probed: list[probes.Held]
    ) -> _Wish:
        mine = snapshot.held[annotator.id]
        slots = [replace(item, expires_at=self.until) for item in (mine[:1] if one.one else mine)]
        held: list[Held | probes.Held] = list(slots)
        if probed:
            held = probes.in_order(
                self.session, slots, [replace(item, expires_at=self.until) for item in probed]
            )
            if one.one:
                held = held[:1]
        for item in held:
            if isinstance(item, Held):
                snapshot.taken(item.slot_id)  # its lease had run out, and runs again
        return _Wish(place, snapshot, annotator, held, max(0, one.wanted - len(held)))

    def fill(self, wishes: Sequence[_Wish], given: list[bulk.Lease]) -> None:
        """Give every wish of a project what it misses: from the project's line, or a probe in
        place of a pair that stands there."""
        wanted = sum(wish.missing for wish in wishes)
        if not wanted:
            return
        snapshot = wishes[0].snapshot
        snapshot.look(self.session, 2 * wanted, self.at, [wish.annotator for wish in wishes])
        for wish in wishes:
            for slot in list(islice(snapshot.candidates(wish.annotator), wish.missing)):
                wish.missing -= 1
                # One after the other, so that they are shown in the order they were given.
                self.moment += timedelta(microseconds=1)
                probe = probes.draw_hidden(self.session, wish.annotator, self.until, self.moment)
                if probe is not None:
                    wish.held.append(probe)
                    continue
                key, a_left = secrets.token_urlsafe(18), secrets.randbits(1) == 1
                lease = bulk.Lease(slot.slot_id, wish.annotator.id, key, a_left, self.moment)
                given.append(lease)
                wish.held.append(snapshot.leased(lease, slot, self.until))


def _adjudicates(annotator: Annotator, held: Sequence[Held]) -> bool:
    return ADJUDICATOR in (*(annotator.audiences or ()), *(item.audience for item in held))


def _shown(held: Held | probes.Held, content: bulk.Content) -> Claim:
    return Claim(
        pair_id=held.shown_id if isinstance(held, probes.Held) else content.pair_id,
        project_id=content.project_id,
        lease=held.lease,
        expires_at=held.expires_at,
        input=content.input,
        messages=content.messages,
        fields=content.fields,
        left=content.text_a if held.a_left else content.text_b,
        right=content.text_b if held.a_left else content.text_a,
    )
