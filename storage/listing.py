"""Looking at a project's data: pages of examples and pairs, and counts."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import case, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from storage.counting import by_machine, machine_votes, machines_left_out, not_by_machine
from storage.rows import prompt_label
from storage.tables import Example, Pair, Prompt, Response, Slot, Vote

STATES = ("all", "waiting", "judged")


@dataclass
class Counts:
    examples: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    pairs: int = 0
    votes: int = 0
    simulated_votes: int = 0
    machine_votes: int = 0  # by judges that a lead has taken in; not in `votes`
    annotators: int = 0
    open_slots: int = 0


class Tally(NamedTuple):
    """A pair's votes. `simulated` of them were cast by no person, `machine` by judges."""

    a_wins: int = 0
    b_wins: int = 0
    ties: int = 0
    both_bad: int = 0
    simulated: int = 0
    machine: int = 0

    @property
    def votes(self) -> int:
        return self.a_wins + self.b_wins + self.ties + self.both_bad


class PairRow(NamedTuple):
    id: str
    input: str
    prompt_a: str
    response_a: str
    prompt_b: str
    response_b: str
    tally: Tally
    open_slots: int
    source: str
    external_id: str | None


def counts(session: Session, project_id: str) -> Counts:
    splits = dict.fromkeys(("train", "dev", "test"), 0) | dict(
        session.exec(
            select(Example.split, func.count())
            .where(Example.project_id == project_id)
            .group_by(col(Example.split))
        ).all()
    )
    simulated = func.sum(case((col(Vote.simulated), 1), else_=0))
    votes = session.exec(
        select(func.count(), simulated, func.count(func.distinct(Vote.annotator_id))).where(
            Vote.project_id == project_id, not_by_machine(project_id)
        )
    ).one()
    machine, _ = machine_votes(session, project_id)
    slots = select(func.count()).where(
        Slot.project_id == project_id, col(Slot.status).in_(("open", "leased"))
    )
    return Counts(
        examples=sum(splits.values()),
        splits=splits,
        pairs=session.exec(select(func.count()).where(Pair.project_id == project_id)).one(),
        votes=votes[0],
        simulated_votes=int(votes[1] or 0),
        machine_votes=machine,
        annotators=votes[2],
        open_slots=session.exec(slots).one(),
    )


def examples(
    session: Session, project_id: str, search: str, split: str | None, limit: int, offset: int
) -> tuple[list[Example], int]:
    query = select(Example).where(Example.project_id == project_id)
    if search.strip():
        pattern = like(search)
        fields: tuple[Any, ...] = (col(Example.input), col(Example.reference))
        query = query.where(or_(*(text.ilike(pattern, escape="\\") for text in fields)))
    if split:
        query = query.where(Example.split == split)
    total = session.exec(select(func.count()).select_from(query.subquery())).one()
    ordered = query.order_by(col(Example.created_at), col(Example.id)).limit(limit).offset(offset)
    return list(session.exec(ordered)), total


def pairs(
    session: Session, project_id: str, search: str, state: str, limit: int, offset: int
) -> tuple[list[PairRow], int]:
    first: Any = aliased(Response)
    second: Any = aliased(Response)
    columns: tuple[Any, ...] = (
        Pair,
        Example.input,
        first.text,
        first.prompt_id,
        second.text,
        second.prompt_id,
    )
    query: Any = (
        sa.select(*columns)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(first, first.id == col(Pair.response_a))
        .join(second, second.id == col(Pair.response_b))
        .where(col(Pair.project_id) == project_id)
    )
    if search.strip():
        pattern = like(search)
        fields: tuple[Any, ...] = (col(Example.input), first.text, second.text)
        query = query.where(or_(*(text.ilike(pattern, escape="\\") for text in fields)))
    if state == "waiting":
        query = query.where(
            exists().where(col(Slot.pair_id) == col(Pair.id), col(Slot.status).in_(("open", "leased")))
        )
    elif state == "judged":
        unheard = col(Vote.annotator_id).in_(machines_left_out(project_id))
        query = query.where(exists().where(col(Vote.pair_id) == col(Pair.id), ~unheard))
    total = session.exec(query.with_only_columns(func.count(col(Pair.id)))).one()[0]
    ordered = query.order_by(col(Pair.created_at).desc(), col(Pair.id)).limit(limit).offset(offset)
    found = session.exec(ordered).all()
    ids = [row[0].id for row in found]
    votes, slots = _votes(session, project_id, ids), _open_slots(session, ids)
    prompts = session.exec(
        select(Prompt.id, Prompt.name, Prompt.version).where(Prompt.project_id == project_id)
    ).all()
    names = {id_: prompt_label(name, version) for id_, name, version in prompts}
    rows = [
        PairRow(
            pair.id,
            text,
            names.get(prompt_a, ""),
            text_a,
            names.get(prompt_b, ""),
            text_b,
            votes.get(pair.id, Tally()),
            slots.get(pair.id, 0),
            pair.source,
            pair.external_id,
        )
        for pair, text, text_a, prompt_a, text_b, prompt_b in found
    ]
    return rows, total


def like(search: str) -> str:
    """A pattern that finds `search` itself, whatever is in it."""
    escaped = search.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _votes(session: Session, project_id: str, pair_ids: list[str]) -> dict[str, Tally]:
    """Votes as they were cast, but for those of machine judges that no lead has taken in."""

    def number(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    query: Any = (
        sa.select(
            col(Pair.id),
            number(col(Vote.winner) == col(Pair.response_a)),
            number(col(Vote.winner) == col(Pair.response_b)),
            number(col(Vote.outcome) == "tie"),
            number(col(Vote.outcome) == "both_bad"),
            number(col(Vote.simulated)),
            number(by_machine(project_id)),
        )
        .join(Vote, col(Vote.pair_id) == col(Pair.id))
        .where(col(Pair.id).in_(pair_ids), col(Vote.annotator_id).not_in(machines_left_out(project_id)))
        .group_by(col(Pair.id))
    )
    return {row[0]: Tally(*(int(value or 0) for value in row[1:])) for row in session.exec(query)}


def _open_slots(session: Session, pair_ids: list[str]) -> dict[str, int]:
    query = (
        select(Slot.pair_id, func.count())
        .where(col(Slot.pair_id).in_(pair_ids), col(Slot.status).in_(("open", "leased")))
        .group_by(col(Slot.pair_id))
    )
    return dict(session.exec(query).all())
