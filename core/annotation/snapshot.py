"""What the claims of a project need to know, kept between units of work (DuckDB).

All of it was read, or written by the units that keep it, and no other unit of work has been
committed since: `Together` throws it away when one was (`Database.commits`). Time alone can
change one thing, that a lease runs out and its slot is free: then the line is read anew. And
a slot is only taken under the condition that it is free, so that what should be stale all
the same is noticed, and costs nobody a vote.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlmodel import Session

from core.access import Principal
from core.annotation.asked import annotator_id_of
from core.annotation.desk import Desk, desk_in
from storage import claims_together as bulk
from storage.claims import Held
from storage.pairs import annotators_of_users
from storage.tables import Annotator, Project

LINE = 1_000  # slots read ahead of the claims, of each audience
CONTENTS = 3_000  # pairs whose texts are kept
AHEAD = 300  # of them, looked up before they are claimed
AT_MOST = timedelta(seconds=30)  # a line is read anew after this, come what may


@dataclass
class _Read:
    """Of an audience's slots, how many are `left` in the line, and the place of the `last` that
    was read; None when there are no more behind it."""

    left: int
    last: tuple[bool, float, float, str] | None

    def enough(self, wanted: int) -> bool:
        return self.last is None or self.left >= wanted


def _audiences(annotator: Annotator) -> set[str | None]:
    return {None, *(annotator.audiences or ())}


class Snapshot:
    """Of one project that is there. `line`: slots that are free, in the order they are to be
    claimed; `judged`: (annotator, pair) of the pairs in the line; `held`: what an annotator
    holds, the first to be shown first, of those who were asked for."""

    def __init__(self, session: Session, project: Project) -> None:
        self.project = project
        self.desk: Desk = desk_in(session, project.id)
        self.annotators: dict[str, Annotator] = {}
        self.held: dict[str, list[Held]] = {}
        self.line: dict[str, bulk.Waiting] = {}
        self.judged: set[tuple[str, str]] = set()
        self._read: dict[str | None, _Read] = {}  # by audience
        self.good_until: datetime | None = None

    def meet(self, session: Session, people: Collection[Principal]) -> None:
        """Know these people as annotators, and what they hold. Somebody's first claim here makes
        them one."""
        new = {
            who.user_id: who.name for who in people if annotator_id_of(self.project.id, who) not in self.held
        }
        if new:
            found = annotators_of_users(session, self.project.id, new)
            held = bulk.held_by(session, [annotator.id for annotator in found.values()])
            for annotator in found.values():
                self.annotators[annotator.id] = annotator
                self.held[annotator.id] = held.get(annotator.id, [])

    def look(self, session: Session, wanted: int, at: datetime, people: Collection[Annotator]) -> None:
        """Have at least `wanted` slots in the line for each audience of these people, when there
        are that many."""
        audiences = {audience for annotator in people for audience in _audiences(annotator)}
        enough = all(name in self._read and self._read[name].enough(wanted) for name in audiences)
        if enough and self.good_until is not None and at < self.good_until:
            return
        # Each audience by itself: slots that are for others only must not fill the line.
        slots: list[bulk.Waiting] = []
        for name in audiences | set(self._read):
            found = bulk.waiting(session, self.project.id, at, name, LINE + wanted)
            last = found[-1].place if len(found) == LINE + wanted else None
            self._read[name] = _Read(len(found), last)
            slots += found
        self.line = {slot.slot_id: slot for slot in sorted(slots, key=lambda slot: slot.place)}
        self.judged = bulk.judged(session, {slot.pair_id for slot in slots})
        # A slot whose lease had run out may be in the line and still be its holder's: both are so
        # until somebody takes it.
        runs_out = bulk.next_to_run_out(session, self.project.id, at)
        self.good_until = min(filter(None, (at + AT_MOST, runs_out)))

    def whole(self, annotator: Annotator) -> bool:
        """Nothing that this annotator may have is free and not in the line."""
        return all(name in self._read and self._read[name].last is None for name in _audiences(annotator))

    def candidates(self, annotator: Annotator) -> Iterator[bulk.Waiting]:
        """Slots this annotator may have, in order, each pair once."""
        own = {held.pair_id for held in self.held[annotator.id]}
        audiences = _audiences(annotator)
        # Behind the last that was read for one audience may stand more of its slots.
        ends = [read.last for name in audiences if (read := self._read.get(name)) and read.last is not None]
        end = min(ends, default=None)
        for slot in self.line.values():
            if end is not None and slot.place > end:
                return
            if (
                slot.audience in audiences
                and slot.pair_id not in own
                and (annotator.id, slot.pair_id) not in self.judged
            ):
                own.add(slot.pair_id)
                yield slot

    def taken(self, slot_id: str) -> None:
        """This slot is not in the line any more, if it was."""
        slot = self.line.pop(slot_id, None)
        if slot is not None:
            self._read[slot.audience].left -= 1

    def leased(self, lease: bulk.Lease, slot: bulk.Waiting, until: datetime) -> Held:
        """The slot has gone to this annotator, and from whoever's lease on it had run out."""
        self.taken(slot.slot_id)
        for others in self.held.values():
            others[:] = [held for held in others if held.slot_id != slot.slot_id]
        held = Held(slot.slot_id, slot.pair_id, lease.lease, lease.a_left, until, slot.audience)
        self.held[lease.annotator_id].append(held)
        return held

    def voted(self, annotator_id: str, held: Held) -> None:
        self.judged.add((annotator_id, held.pair_id))
        self.taken(held.slot_id)  # in the line if its lease had run out
        if annotator_id in self.held:
            mine = self.held[annotator_id]
            mine[:] = [other for other in mine if other.slot_id != held.slot_id]


class Snapshots:
    """Of all projects; and the texts of pairs, which never change. `info`: what other rooms keep in a session while it lasts; here as long as the rest."""

    def __init__(self) -> None:
        self.info: dict[Any, Any] = {}
        self._projects: dict[str, Snapshot | None] = {}
        self._contents: dict[str, bulk.Content] = {}

    def forget(self) -> None:
        self.info = {}
        self._projects.clear()

    def of(self, session: Session, project_id: str) -> Snapshot | None:
        """None: the project is gone, or put away."""
        if project_id not in self._projects:
            project = session.get(Project, project_id)
            there = project is not None and project.archived_at is None
            self._projects[project_id] = Snapshot(session, project) if project and there else None
        return self._projects[project_id]

    def holding(
        self, session: Session, leases: Collection[tuple[Principal, str]]
    ) -> dict[str, tuple[Snapshot, str, Held]]:
        """The project, the annotator and the slot of each lease; those that hold nothing for
        the one who names them are left out."""
        found: dict[str, tuple[Snapshot, str, Held]] = {}
        missing = []
        for who, lease in leases:
            for snapshot in filter(None, self._projects.values()):
                annotator_id = annotator_id_of(snapshot.project.id, who)
                for held in snapshot.held.get(annotator_id, ()):
                    if held.lease == lease:
                        found[lease] = (snapshot, annotator_id, held)
            if lease not in found:
                missing.append((who, lease))
        slots = bulk.leased(session, [lease for _, lease in missing]) if missing else {}
        for who, lease in missing:
            slot = slots.get(lease)
            of = self.of(session, slot.project_id) if slot else None
            if slot and of and slot.annotator_id == annotator_id_of(slot.project_id, who):
                found[lease] = (of, slot.annotator_id, slot.held)
        return found

    def contents(self, session: Session, pairs: Collection[str]) -> dict[str, bulk.Content]:
        """What these pairs show; those whose responses are gone are left out. What has to be
        looked up is looked up with what stands next in the lines, at little more cost."""
        missing = {pair_id for pair_id in pairs if pair_id not in self._contents}
        if missing:
            for snapshot in filter(None, self._projects.values()):
                following = (slot.pair_id for slot in islice(snapshot.line.values(), AHEAD))
                missing |= {pair_id for pair_id in following if pair_id not in self._contents}
            self._contents.update(bulk.contents(session, missing))
        shown = {pair_id: self._contents[pair_id] for pair_id in pairs if pair_id in self._contents}
        while len(self._contents) > CONTENTS:  # the oldest first
            del self._contents[next(iter(self._contents))]
        return shown
