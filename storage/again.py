"""Pairs that are asked again: one vote more than they were to get, of somebody who has not
judged them.

Such a slot is of a kind of its own ("again" in its id), so that it can be followed: whether it
waits, and which vote filled it. It raises the pair's target by one (`storage.reopening`), and
stands before ordinary slots, behind those for adjudicators.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from storage.adjudicated import ADJUDICATION
from storage.bulk import insert_many
from storage.counting import counted
from storage.groups import audiences_for
from storage.ids import id_of
from storage.probes import gold_among
from storage.tables import Annotator, Pair, Skip, Slot, User, Vote

FRONT = -0.5  # before the front row of a strategy (0 and up), behind adjudicators (-1)
FIRST = -500_000.0
MOST = 20  # times that one pair can be asked again
_WAITING = ("open", "leased")


@dataclass(frozen=True)
class Asked:
    """One time that a pair was asked again: `waiting`, or the vote that came of it; neither
    where the slot was closed."""

    pair_id: str
    waiting: bool
    vote: Vote | None


def again_id(pair_id: str, place: int) -> str:
    return id_of("slot", pair_id, "again", str(place))


def asked_again(session: Session, pair_ids: Sequence[str]) -> dict[str, list[Asked]]:
    """pair id -> each time it was asked again, in their order."""
    ids = {again_id(pair_id, place): pair_id for pair_id in pair_ids for place in range(MOST)}
    slots = {slot.id: slot for slot in session.exec(select(Slot).where(col(Slot.id).in_(ids)))}
    votes = {
        vote.slot_id: vote for vote in session.exec(select(Vote).where(col(Vote.slot_id).in_(list(slots))))
    }
    found: dict[str, list[Asked]] = defaultdict(list)
    for slot_id, pair_id in ids.items():
        if slot_id in slots:
            found[pair_id].append(Asked(pair_id, slots[slot_id].status in _WAITING, votes.get(slot_id)))
    return dict(found)


def refused(session: Session, project_id: str, pair_ids: Sequence[str]) -> dict[str, str]:
    """pair id -> why asking it again is of no use."""
    there = set(
        session.exec(select(Pair.id).where(col(Pair.id).in_(pair_ids), Pair.project_id == project_id))
    )
    gold = gold_among(session, list(pair_ids))
    adjudicated = set(
        session.exec(
            select(Vote.pair_id).where(
                col(Vote.pair_id).in_(pair_ids), Vote.source == ADJUDICATION, counted(project_id)
            )
        )
    )
    asked = asked_again(session, pair_ids)
    people = session.exec(select(func.count()).select_from(User).where(col(User.active))).one()
    judged = _judged_by(session, pair_ids)
    why: dict[str, str] = {}
    for pair_id in pair_ids:
        times = asked.get(pair_id, [])
        if pair_id not in there:
            why[pair_id] = "The pair is no longer there."
        elif pair_id in gold:
            why[pair_id] = "Its answer is known: it is a gold pair."
        elif pair_id in adjudicated:
            why[pair_id] = "An adjudicator has decided it: one more vote would not change its label."
        elif any(item.waiting for item in times):
            why[pair_id] = "It is on its way already."
        elif judged.get(pair_id, 0) >= people:
            why[pair_id] = "Everybody here has judged it or passed it."
        elif len(times) >= MOST:
            why[pair_id] = f"It was asked again {MOST} times."
    return why


def _judged_by(session: Session, pair_ids: Sequence[str]) -> dict[str, int]:
    """pair id -> active users who voted on it or skipped it."""
    seen: dict[str, set[str]] = defaultdict(set)
    for table in (Vote, Skip):
        query: Any = (
            sa_select(col(table.pair_id), col(Annotator.user_id))
            .join(Annotator, col(Annotator.id) == col(table.annotator_id))
            .join(User, col(User.id) == col(Annotator.user_id))
            .where(col(table.pair_id).in_(pair_ids), col(User.active))
        )
        for pair_id, user_id in session.execute(query):
            seen[pair_id].add(user_id)
    return {pair_id: len(users) for pair_id, users in seen.items()}


def ask_again(session: Session, project_id: str, pair_ids: Sequence[str]) -> list[str]:
    """Open one slot more for each of these pairs that is not refused; answers which. Within a
    unit of work. A slot that was closed is opened again before a new one is made."""
    why = refused(session, project_id, pair_ids)
    wanted = [pair_id for pair_id in dict.fromkeys(pair_ids) if pair_id not in why]
    audience = audiences_for(session, project_id, wanted)
    times = {pair_id: len(found) for pair_id, found in asked_again(session, wanted).items()}
    were_closed = select(Slot).where(col(Slot.pair_id).in_(wanted), Slot.status == "closed")
    closed = {slot.id: slot for slot in session.exec(were_closed)}
    rows = []
    for pair_id in wanted:
        place = times.get(pair_id, 0)
        before = next((closed[key] for k in range(place) if (key := again_id(pair_id, k)) in closed), None)
        if before is not None:
            before.status = "open"
            session.add(before)
            continue
        slot_id = again_id(pair_id, place)
        rows.append(
            {
                "id": slot_id, "project_id": project_id, "pair_id": pair_id, "front": FRONT,
                "position": FIRST + int(slot_id[-4:], 16) / 65_536, "audience": audience.get(pair_id),
            }
        )  # fmt: skip
    insert_many(session, Slot, rows)
    return wanted
