"""Opening and closing the room that pairs have for votes."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, func, select

from storage.adjudicated import independent
from storage.bulk import chunks, insert_many
from storage.counting import counted, not_by_machine
from storage.groups import ADJUDICATOR, audiences_for
from storage.pairs import slots_for
from storage.probes import gold_among
from storage.tables import Pair, Slot, Vote


def wanted(votes_per_pair: int, votes: int) -> int:
    """How many more votes a pair with `votes` asks for."""
    return max(0, votes_per_pair - votes)


def adjust_slots(session: Session, change: Mapping[str, int]) -> tuple[int, int]:
    """Open (positive) or close (negative) that many slots of each pair; answers how many
    were opened and closed. Closed slots are opened again before new ones are made. A
    slot that somebody has claimed is theirs: only open ones are closed, last in line
    first. Slots for an adjudicator are room of another kind, and stay as they are."""
    to_open: list[str] = []
    to_close: list[str] = []
    new: list[dict[str, Any]] = []
    moving = [pair_id for pair_id, number in change.items() if number]
    for part in chunks(moving):
        known = gold_among(session, [pair_id for pair_id in part if change[pair_id] > 0])
        slots: dict[str, list[Slot]] = defaultdict(list)
        ordinary = col(Slot.audience).is_distinct_from(ADJUDICATOR)
        for slot in session.exec(select(Slot).where(col(Slot.pair_id).in_(part), ordinary)):
            slots[slot.pair_id].append(slot)
        pairs = session.exec(select(Pair).where(col(Pair.id).in_(part))).all()
        audience: dict[str, str] = {}
        for project_id in {pair.project_id for pair in pairs}:
            growing = [p.id for p in pairs if p.project_id == project_id and change[p.id] > 0]
            audience |= audiences_for(session, project_id, growing)
        for pair in pairs:
            own = sorted(slots[pair.id], key=lambda slot: slot.position)
            number = change[pair.id]
            if pair.id in known:
                continue
            if number < 0:
                free = [slot.id for slot in own if slot.status == "open"]
                to_close += free[number:]
                continue
            closed = [slot.id for slot in own if slot.status == "closed"][:number]
            to_open += closed
            ordinals = range(len(own), len(own) + number - len(closed))
            new += slots_for(pair.project_id, pair.id, pair.priority, ordinals, audience.get(pair.id))
    for ids, before, after in ((to_open, "closed", "open"), (to_close, "open", "closed")):
        for part in chunks(ids):
            session.exec(
                update(Slot).where(col(Slot.id).in_(part), col(Slot.status) == before).values(status=after)
            )
    return len(to_open) + insert_many(session, Slot, new), len(to_close)


def change_votes_per_pair(session: Session, project_id: str, before: int, after: int) -> tuple[int, int]:
    """Fit every pair's slots to another number of votes per pair; answers how many were
    opened and closed. A pair that was given more or fewer votes than the project asks
    for keeps that difference."""
    votes = dict(
        session.exec(
            select(Vote.pair_id, func.count())
            .where(
                Vote.project_id == project_id, counted(project_id), not_by_machine(project_id), independent()
            )
            .group_by(Vote.pair_id)
        ).all()
    )
    pair_ids = session.exec(select(Pair.id).where(Pair.project_id == project_id)).all()
    change = {
        pair_id: wanted(after, votes.get(pair_id, 0)) - wanted(before, votes.get(pair_id, 0))
        for pair_id in pair_ids
    }
    return adjust_slots(session, change)
