"""What the claims of a project need to know, kept between units of work (DuckDB).

All of it was read, or written by the units that keep it, and no other unit of work has been
committed since: `Together` throws it away when one was (`Database.commits`). Time alone can
change one thing, that a lease runs out and its slot is free: then the line is read anew. And
a slot is only taken under the condition that it is free, so that what should be stale all
the same is noticed, and costs nobody a vote.
"""

from collections.abc import Collection, Iterator
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

LINE = 1_000  # slots read ahead of the claims
CONTENTS = 3_000  # pairs whose texts are kept
AHEAD = 300  # of them, looked up before they are claimed
AT_MOST = timedelta(seconds=30)  # a line is read anew after this, come what may


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
        self.whole = False  # nothing is free that is not in the line
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

    def look(self, session: Session, wanted: int, at: datetime) -> None:
        """Have at least `wanted` slots in the line, when there are that many."""
        enough = self.whole or len(self.line) >= wanted
        if enough and self.good_until is not None and at < self.good_until:
            return
        slots = bulk.waiting(session, self.project.id, at, LINE + wanted)
        self.line = {slot.slot_id: slot for slot in slots}
        self.whole = len(slots) < LINE + wanted
        self.judged = bulk.judged(session, {slot.pair_id for slot in slots})
        # A slot whose lease had run out may be in the line and still be its holder's: both are so
        # until somebody takes it.
        runs_out = bulk.next_to_run_out(session, self.project.id, at)
        self.good_until = min(filter(None, (at + AT_MOST, runs_out)))

    def candidates(self, annotator: Annotator, taken: Collection[str]) -> Iterator[bulk.Waiting]:
        """Slots this annotator may have, in order, each pair once."""
        own = {held.pair_id for held in self.held[annotator.id]}
        audiences = annotator.audiences or ()
        for slot in self.line.values():
            if (
                slot.slot_id not in taken
                and slot.pair_id not in own
                and (slot.audience is None or slot.audience in audiences)
                and (annotator.id, slot.pair_id) not in self.judged
            ):
                own.add(slot.pair_id)
                yield slot

    def leased(self, lease: bulk.Lease, slot: bulk.Waiting, until: datetime) -> Held:
        """The slot has gone to this annotator, and from whoever's lease on it had run out."""
        self.line.pop(slot.slot_id, None)
        for others in self.held.values():
            others[:] = [held for held in others if held.slot_id != slot.slot_id]
        held = Held(slot.slot_id, slot.pair_id, lease.lease, lease.a_left, until, slot.audience)
        self.held[lease.annotator_id].append(held)
        return held

    def voted(self, annotator_id: str, held: Held) -> None:
        self.judged.add((annotator_id, held.pair_id))
        self.line.pop(held.slot_id, None)  # where it was if its lease had run out
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
