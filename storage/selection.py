"""What a selection strategy reads, and the places it gives. Aggregated in the database: a
project may have hundreds of thousands of pairs."""

from dataclasses import dataclass

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.counting import not_by_machine
from storage.groups import ADJUDICATOR
from storage.judgements import Which
from storage.tables import Pair, Project, Response, Slot, Vote

_ORDINARY = col(Slot.audience).is_distinct_from(ADJUDICATOR)


@dataclass(frozen=True)
class OpenSlot:
    """The next open slot of a pair, with the prompts it compares and the votes it has."""

    slot_id: str
    prompt_a: str
    prompt_b: str
    votes: int
    response_a: str = ""
    response_b: str = ""


def open_slots(session: Session, project_id: str, most: int) -> list[OpenSlot]:
    """One for each pair that wants a vote, up to `most`, pairs with few votes first."""
    pair = col(Slot.pair_id)
    first = [case((col(Slot.status) == "open", 0), else_=1), col(Slot.position), col(Slot.id)]
    ranked = (
        select(
            col(Slot.id).label("id"),
            col(Slot.pair_id).label("pair_id"),
            col(Slot.status).label("status"),
            col(Slot.position).label("position"),
            func.row_number().over(partition_by=pair, order_by=first).label("place"),
        )
        .where(col(Slot.project_id) == project_id, _ORDINARY)
        .subquery()
    )
    voted = (
        select(col(Vote.pair_id).label("pair_id"), func.count().label("n"))
        .where(col(Vote.project_id) == project_id, not_by_machine(project_id))
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    a, b = aliased(Response), aliased(Response)
    query = (
        select(
            ranked.c.id, col(a.prompt_id), col(b.prompt_id), func.coalesce(voted.c.n, 0), col(a.id), col(b.id)
        )
        .select_from(ranked)
        .outerjoin(voted, voted.c.pair_id == ranked.c.pair_id)
        .join(Pair, col(Pair.id) == ranked.c.pair_id)
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(ranked.c.place == 1, ranked.c.status == "open")
        .order_by(func.coalesce(voted.c.n, 0), ranked.c.position, ranked.c.id)
        .limit(most)
    )
    return [
        OpenSlot(slot, x, y, int(votes), response_x, response_y)
        for slot, x, y, votes, response_x, response_y in session.execute(query)
    ]


def wins_between(session: Session, which: Which) -> list[tuple[str, str, float, int]]:
    """(prompt_a, prompt_b, what a got, votes) for every two prompts that met, in the order
    their responses stand in pairs; ties and "both bad" count half to each."""
    a, b = aliased(Response), aliased(Response)
    got = case((col(Vote.outcome) != "win", 0.5), (col(Vote.winner) == col(Pair.response_a), 1.0), else_=0.0)
    query = (
        select(col(a.prompt_id), col(b.prompt_id), func.sum(got), func.count())
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(*which.where(), col(a.prompt_id) != col(b.prompt_id))
        .group_by(col(a.prompt_id), col(b.prompt_id))
    )
    return [(x, y, float(won), int(n)) for x, y, won, n in session.execute(query)]


def put_in_front(session: Session, project_id: str, slots: list[str]) -> None:
    """These slots are claimed before all others, in this order; others lose such a place, but
    for those of adjudicators, who always get disputed pairs first, and of pairs that are asked
    again (`storage.again`), whose places are below 0."""
    session.execute(
        update(Slot)
        .where(col(Slot.project_id) == project_id, col(Slot.front) >= 0, _ORDINARY)
        .values(front=None)
        .execution_options(synchronize_session=False)
    )
    if slots:
        places = {slot: float(place) for place, slot in enumerate(slots)}
        session.execute(
            update(Slot)
            .where(
                col(Slot.id).in_(slots),
                col(Slot.status) == "open",
                or_(col(Slot.front).is_(None), col(Slot.front) >= 0),
            )
            .values(front=case(places, value=col(Slot.id)))
            .execution_options(synchronize_session=False)
        )


def watched(session: Session) -> list[tuple[str, str, str | None, int]]:
    """(project, strategy, champion, open slots in front) of every project with a strategy."""
    front = (
        select(col(Slot.project_id).label("project_id"), func.count().label("n"))
        .where(col(Slot.front) >= 0, col(Slot.status) == "open", _ORDINARY)
        .group_by(col(Slot.project_id))
        .subquery()
    )
    query = (
        select(
            col(Project.id),
            col(Project.selection),
            col(Project.champion_prompt_id),
            func.coalesce(front.c.n, 0),
        )
        .outerjoin(front, front.c.project_id == col(Project.id))
        .where(col(Project.archived_at).is_(None), col(Project.selection).is_not(None))
    )
    return [tuple(row) for row in session.execute(query)]


def votes_of(session: Session, project_id: str) -> int:
    query = select(func.count()).select_from(Vote).where(col(Vote.project_id) == project_id)
    return int(session.execute(query).scalar_one())
