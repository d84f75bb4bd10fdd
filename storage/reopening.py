"""Room for a vote that was left out: somebody else is asked instead.

A pair has room for T votes: its own slots, and, as far as it was given fewer slots because
votes were imported, those; and a vote for each time it was asked again (`storage.again`). C votes count (not left out, no machine's, no adjudicator's) and O
slots wait. When somebody's votes are left out, T - C - O of each of their pairs is opened
again, in slots of another kind than the pair's own ("instead"); when they are taken back in,
what is then too much is closed, as far as nobody has it. So doing and undoing, in any order,
never asks for more than T.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.again import again_id
from storage.bulk import chunks, insert_many
from storage.counting import counted, not_by_machine
from storage.groups import ADJUDICATOR, audiences_for
from storage.ids import id_of
from storage.pairs import slots_for
from storage.probes import gold_among
from storage.tables import Pair, Slot, Vote

_WAITING = ("open", "leased")


@dataclass
class _Room:
    """The slots of a pair as (id, status); its own, those in which it was asked again, and
    those opened instead of votes."""

    own: list[tuple[str, str]] = field(default_factory=list)
    again: list[tuple[str, str]] = field(default_factory=list)
    instead: list[tuple[str, str]] = field(default_factory=list)

    def missing(self, asked: int, counting: int, without_slot: int) -> int:
        """T - C - O: more than 0 asks for votes, less than 0 has too many slots open."""
        own = sum(status != "closed" for _, status in self.own)
        again = sum(status != "closed" for _, status in self.again)
        target = own + min(without_slot, max(0, asked - own)) + again
        waiting = sum(status in _WAITING for _, status in [*self.own, *self.again, *self.instead])
        return target - counting - waiting


def refit(session: Session, project_id: str, annotator_id: str, asked: int) -> tuple[int, int]:
    """Fit the room of every pair that this annotator voted on to the votes that count now;
    answers how many slots were opened and closed. `asked`: the project's votes per pair. For
    use in the unit of work that left votes out, or took them back in."""
    session.flush()
    pair_ids = session.scalars(
        sa_select(col(Vote.pair_id)).where(
            col(Vote.project_id) == project_id, col(Vote.annotator_id) == annotator_id, independent()
        )
    ).all()
    return refit_pairs(session, project_id, pair_ids, asked)


def refit_pairs(session: Session, project_id: str, pair_ids: Sequence[str], asked: int) -> tuple[int, int]:
    """The same for these pairs."""
    opened = closed = 0
    for part in chunks(pair_ids):
        more, fewer = _refit_some(session, project_id, part, asked)
        opened, closed = opened + more, closed + fewer
    return opened, closed


def _refit_some(session: Session, project_id: str, pair_ids: Sequence[str], asked: int) -> tuple[int, int]:
    rooms = _rooms(session, pair_ids)
    counting = _counting(session, project_id, pair_ids)
    known = gold_among(session, list(pair_ids))
    to_open: list[str] = []
    to_close: list[str] = []
    new: dict[str, int] = {}
    for pair_id in pair_ids:
        room, missing = rooms[pair_id], rooms[pair_id].missing(asked, *counting.get(pair_id, (0, 0)))
        if missing < 0:
            free = [slot_id for slot_id, status in room.instead if status == "open"]
            to_close += free[:-missing]
        elif missing > 0 and pair_id not in known:
            again = [slot_id for slot_id, status in room.instead if status == "closed"][:missing]
            to_open += again
            new[pair_id] = missing - len(again)
    for ids, before, after in ((to_open, "closed", "open"), (to_close, "open", "closed")):
        session.execute(
            update(Slot)
            .where(col(Slot.id).in_(ids), col(Slot.status) == before)
            .values(status=after)
            .execution_options(synchronize_session=False)
        )
    rows = _new_slots(session, project_id, rooms, {pair_id: n for pair_id, n in new.items() if n})
    return len(to_open) + insert_many(session, Slot, rows), len(to_close)


def _rooms(session: Session, pair_ids: Sequence[str]) -> dict[str, _Room]:
    slots: dict[str, list[tuple[str, str]]] = defaultdict(list)
    query = sa_select(col(Slot.pair_id), col(Slot.id), col(Slot.status)).where(
        col(Slot.pair_id).in_(pair_ids), col(Slot.audience).is_distinct_from(ADJUDICATOR)
    )
    for pair_id, slot_id, status in session.execute(query.order_by(col(Slot.position), col(Slot.id))):
        slots[pair_id].append((slot_id, status))
    rooms: dict[str, _Room] = {}
    for pair_id in pair_ids:
        rooms[pair_id] = room = _Room()
        instead = {_instead(pair_id, place) for place in range(len(slots[pair_id]))}
        again = {again_id(pair_id, place) for place in range(len(slots[pair_id]))}
        for slot in slots[pair_id]:
            kind = room.instead if slot[0] in instead else room.again if slot[0] in again else room.own
            kind.append(slot)
    return rooms


def _counting(session: Session, project_id: str, pair_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """pair id -> votes that count, and votes (also left out ones) that filled no slot."""
    counts = case((counted(project_id), 1), else_=0)
    query = (
        sa_select(
            col(Vote.pair_id),
            func.sum(counts),
            func.sum(case((col(Vote.slot_id).is_(None), 1), else_=0)),
        )
        .where(col(Vote.pair_id).in_(pair_ids), not_by_machine(project_id), independent())
        .group_by(col(Vote.pair_id))
    )
    return {pair_id: (int(n), int(loose)) for pair_id, n, loose in session.execute(query)}


def _new_slots(
    session: Session, project_id: str, rooms: dict[str, _Room], wanted: dict[str, int]
) -> list[dict[str, Any]]:
    if not wanted:
        return []
    audience = audiences_for(session, project_id, wanted)
    priority = dict(
        session.execute(sa_select(col(Pair.id), col(Pair.priority)).where(col(Pair.id).in_(wanted)))
        .tuples()
        .all()
    )
    rows = []
    for pair_id, number in wanted.items():
        there = len(rooms[pair_id].instead)
        # In line where the vote that was left out had stood: about the pair's last.
        last = max(0, len(rooms[pair_id].own) - 1)
        [like] = slots_for(
            project_id, pair_id, priority[pair_id], range(last, last + 1), audience.get(pair_id)
        )
        rows += [{**like, "id": _instead(pair_id, there + place)} for place in range(number)]
    return rows


def _instead(pair_id: str, place: int) -> str:
    return id_of("slot", pair_id, "instead", str(place))
