"""Every vote that counts, as columns of numbers: for what cannot be counted in the database
(skill, sequential tests, style). A million votes take some seconds and 60 MB."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import case, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.judgements import Which
from storage.tables import Annotator, Pair, Response, Vote

A, B, TIE, BOTH_BAD = range(4)  # choices
STRENGTHS = ("significantly", "clearly", "slightly", "barely")


@dataclass(frozen=True)
class Judge:
    id: str
    name: str
    simulated: bool


@dataclass(frozen=True)
class Ballots:
    """P pairs with a vote, J annotators, V votes, in no order.

    pair_ids: (P,), source: (P,) texts. prompt_a, prompt_b: (P,) places in `prompts`;
    length_a, length_b: (P,) characters of the responses. pair, judge: (V,) places. choice:
    (V,) A, B, TIE or BOTH_BAD. a_left: (V,) 1 where response a stood left, 0 where b did, -1
    where it is not known. strength: (V,) 1 (barely) to 4 (significantly), 0 without.
    seconds: (V,) taken, nan where not known. at: (V,) seconds since 1970.
    """

    pair_ids: np.ndarray
    source: np.ndarray
    prompts: tuple[str, ...]
    prompt_a: np.ndarray
    prompt_b: np.ndarray
    length_a: np.ndarray
    length_b: np.ndarray
    judges: tuple[Judge, ...]
    pair: np.ndarray
    judge: np.ndarray
    choice: np.ndarray
    a_left: np.ndarray
    strength: np.ndarray
    seconds: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.choice)

    def counts(self) -> np.ndarray:
        """(P, 4) votes for each choice."""
        return np.bincount(self.pair * 4 + self.choice, minlength=4 * len(self.pair_ids)).reshape(-1, 4)


def read(session: Session, which: Which) -> Ballots:
    first, second = aliased(Response), aliased(Response)
    voted = select(col(Vote.pair_id)).where(*which.where()).distinct().subquery()
    columns: Any = (
        col(Pair.id), col(Pair.source), first.prompt_id, second.prompt_id,
        func.length(first.text), func.length(second.text),
    )  # fmt: skip
    pairs = columns_of(
        session,
        select(*columns)
        .select_from(Pair)
        .join(voted, voted.c.pair_id == col(Pair.id))
        .join(first, col(first.id) == col(Pair.response_a))
        .join(second, col(second.id) == col(Pair.response_b))
        .order_by(col(Pair.id)),
    )
    judges = session.execute(
        select(col(Annotator.id), col(Annotator.name), col(Annotator.simulated))
        .where(col(Annotator.id).in_(select(col(Vote.annotator_id)).where(*which.where()).distinct()))
        .order_by(col(Annotator.id))
    ).all()
    prompts, places = np.unique(np.concatenate([pairs[2], pairs[3]]).astype(str), return_inverse=True)
    size = len(pairs[0])
    # Places among the voted pairs and the annotators, in the same order as above.
    pair_place, judge_place = (_places(column, which) for column in (Vote.pair_id, Vote.annotator_id))
    columns = (
        pair_place.c.place,
        judge_place.c.place,
        case(
            (col(Vote.outcome) == "tie", TIE),
            (col(Vote.outcome) == "both_bad", BOTH_BAD),
            (col(Vote.winner) == col(Pair.response_a), A),
            else_=B,
        ),
        case((col(Vote.left).is_(None), -1), (col(Vote.left) == col(Pair.response_a), 1), else_=0),
        case({name: 4 - i for i, name in enumerate(STRENGTHS)}, value=col(Vote.strength), else_=0),
        func.coalesce(col(Vote.duration_ms), -1),
        func.extract("epoch", col(Vote.created_at)),
    )
    votes = columns_of(
        session,
        select(*columns)
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(pair_place, pair_place.c.id == col(Vote.pair_id))
        .join(judge_place, judge_place.c.id == col(Vote.annotator_id))
        .where(*which.where()),
    )
    ms = votes[5].astype(float)
    return Ballots(
        pairs[0], pairs[1], tuple(str(item) for item in prompts), places[:size], places[size:],
        pairs[4].astype(float), pairs[5].astype(float), tuple(Judge(*row) for row in judges),
        votes[0].astype(np.int64), votes[1].astype(np.int64), votes[2].astype(np.int64),
        votes[3].astype(np.int8), votes[4].astype(np.int8), np.where(ms < 0, np.nan, ms / 1000),
        votes[6].astype(float),
    )  # fmt: skip


def _places(column: Any, which: Which) -> Any:
    """What occurs in a column of the votes, numbered from 0 in its order."""
    found = select(col(column).label("id")).where(*which.where()).distinct().subquery()
    return select(found.c.id, (func.row_number().over(order_by=found.c.id) - 1).label("place")).subquery()


def columns_of(session: Session, query: Any) -> list[np.ndarray]:
    """The columns of a query. DuckDB hands them over whole, ten times as fast as in rows."""
    result = session.connection().execute(query)
    if session.get_bind().dialect.name == "duckdb":
        found = result.cursor.fetchnumpy()
        return [np.asarray(column) for column in found.values()]
    rows = result.all()
    width = len(result.keys())
    return [np.array([row[i] for row in rows]) for i in range(width)]
