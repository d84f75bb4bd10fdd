"""How much is left to claim in a project, and for how many: what tells whether somebody may
hold more pairs than the next one."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func
from sqlalchemy import select as sa_select
from sqlmodel import Session, col

from storage.scan import scanned
from storage.tables import Slot


@dataclass(frozen=True)
class Room:
    """`open`: slots by audience (None: everybody's). `people`: annotators who hold a pair."""

    open: dict[str | None, int] = field(default_factory=dict)
    people: int = 0

    def open_to(self, audiences: tuple[str, ...]) -> int:
        return sum(number for name, number in self.open.items() if name is None or name in audiences)


def room(session: Session, project_id: str) -> Room:
    is_open = func.sum(case((col(Slot.status) == "open", 1), else_=0))
    query: Any = (
        sa_select(col(Slot.audience), is_open)
        .where(scanned(Slot.project_id) == project_id, col(Slot.status).in_(("open", "leased")))
        .group_by(col(Slot.audience))
    )
    holders = sa_select(func.count(func.distinct(Slot.annotator_id))).where(
        scanned(Slot.project_id) == project_id, col(Slot.status) == "leased"
    )
    found = {row[0]: int(row[1] or 0) for row in session.execute(query)}
    return Room(found, int(session.execute(holders).scalar_one()))
