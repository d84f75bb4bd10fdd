"""Votes cast after a moment, with what is needed to see how a reward model does on them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import decides
from storage.counting import not_by_machine
from storage.scan import scanned
from storage.tables import Annotator, Example, Pair, Prompt, Response, Vote


@dataclass(frozen=True)
class FreshVote:
    """A decisive vote. `for_a`: the winner is response_a; lengths in characters."""

    pair_id: str
    example_id: str
    response_a: str
    response_b: str
    length_a: int
    length_b: int
    prompt_a: str
    prompt_b: str
    input: str
    annotator: str
    for_a: bool
    at: datetime


def fresh_votes(session: Session, project_id: str, since: datetime, simulated: bool) -> list[FreshVote]:
    """In the order of pairs; of people, or simulated ones; without those of machine judges. Where
    an adjudicator decided, their vote alone."""
    a, b, one, two = aliased(Response), aliased(Response), aliased(Prompt), aliased(Prompt)
    query = (
        select(
            col(Pair.id), col(Pair.example_id), col(Pair.response_a), col(Pair.response_b),
            func.length(a.text), func.length(b.text), col(one.name), col(one.version), col(two.name), col(two.version),
            col(Example.input), col(Annotator.name), col(Vote.winner) == col(Pair.response_a), col(Vote.created_at),
        )
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(Annotator, col(Annotator.id) == col(Vote.annotator_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .join(one, col(one.id) == col(a.prompt_id))
        .join(two, col(two.id) == col(b.prompt_id))
        .where(
            scanned(col(Vote.project_id)) == project_id,
            col(Vote.created_at) > since,
            col(Vote.outcome) == "win",
            col(Vote.simulated).is_(simulated),
            decides(project_id),
            not_by_machine(project_id),
        )
        .order_by(col(Pair.id), col(Vote.created_at), col(Vote.id))
    )  # fmt: skip
    return [
        FreshVote(
            pair,
            example,
            x,
            y,
            int(n or 0),
            int(m or 0),
            f"{p} v{pv}",
            f"{q} v{qv}",
            text,
            by,
            bool(for_a),
            at,
        )
        for pair, example, x, y, n, m, p, pv, q, qv, text, by, for_a, at in session.execute(query)
    ]
