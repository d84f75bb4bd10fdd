"""Votes with the texts they were about, for ratings with style held fixed."""

from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.judgements import Which
from storage.tables import Pair, Response, Vote

# prompt a, prompt b, votes for a, for b, even (ties and both bad), text a, text b
Row = tuple[str, str, int, int, int, str, str]


def pairs_between_prompts(session: Session, which: Which, most: int) -> tuple[list[Row], int]:
    """Pairs of two different prompts that have votes, in the order of ids, at most `most` of
    them; and how many there are. Ids of pairs are hashes of their responses, so that the
    first ones are a fair sample."""
    first, second = aliased(Response), aliased(Response)
    counts = (
        select(
            col(Vote.pair_id).label("pair_id"),
            func.sum(case((col(Vote.winner) == col(Pair.response_a), 1), else_=0)).label("a"),
            func.sum(case((col(Vote.winner) == col(Pair.response_b), 1), else_=0)).label("b"),
            func.sum(case((col(Vote.outcome) == "win", 0), else_=1)).label("even"),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    c = counts.c

    def joined(*columns: Any) -> Any:
        return (
            select(*columns)
            .select_from(counts)
            .join(Pair, col(Pair.id) == c.pair_id)
            .join(first, col(first.id) == col(Pair.response_a))
            .join(second, col(second.id) == col(Pair.response_b))
            .where(col(first.prompt_id) != col(second.prompt_id))
        )

    there = session.execute(joined(func.count())).scalar_one()
    columns = (
        col(first.prompt_id),
        col(second.prompt_id),
        c.a,
        c.b,
        c.even,
        col(first.text),
        col(second.text),
    )
    rows = session.execute(joined(*columns).order_by(c.pair_id).limit(most))
    return [tuple(row) for row in rows], int(there)  # type: ignore[misc]
