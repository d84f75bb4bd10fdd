"""What preference data sets are made of: every vote that counts, with the texts it is about;
and the snapshots of a project."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import String, case, cast, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import ADJUDICATION
from storage.ballots import BOTH_BAD, STRENGTHS, TIE, A, B, columns_of
from storage.counting import counted
from storage.rows import renamed
from storage.scan import scanned
from storage.tables import Annotator, Example, Pair, Probe, Prompt, Response, RewardModel, Snapshot, Vote


@dataclass(frozen=True)
class Voter:
    """An annotator with votes that count. `audiences`: the groups they are in, as slots name
    them (`storage.groups`)."""

    id: str
    name: str
    simulated: bool
    machine: bool
    audiences: tuple[str, ...]


@dataclass(frozen=True)
class Cast:
    """P pairs with a vote that counts, by id; J voters, by id; V votes, by pair and voter.

    pair_ids, example_ids, splits, prompt_a, prompt_b (names with versions), input, earlier
    (turns or None), response_a, response_b: lists of P. example_at: (P,) when the example was
    made, seconds since 1970. pair, voter: (V,) places. choice: (V,) A, B, TIE, BOTH_BAD of
    `storage.ballots`. a_left: (V,) 1, 0, or -1 where sides are not known. strength: (V,) 1
    (barely) to 4, 0 without. adjudication, simulated: (V,) bool. source: (V,) texts. at: (V,)
    seconds since 1970. marks: place of a vote -> its criteria, sides named a and b.
    """

    pair_ids: list[str]
    example_ids: list[str]
    splits: list[str]
    example_at: np.ndarray
    prompt_a: list[str]
    prompt_b: list[str]
    input: list[str]
    earlier: list[list[dict[str, str]] | None]
    response_a: list[str]
    response_b: list[str]
    voters: list[Voter]
    pair: np.ndarray
    voter: np.ndarray
    choice: np.ndarray
    a_left: np.ndarray
    strength: np.ndarray
    source: np.ndarray
    simulated: np.ndarray
    at: np.ndarray
    marks: dict[int, dict[str, Any]]

    @property
    def adjudication(self) -> np.ndarray:
        return self.source == ADJUDICATION

    def __len__(self) -> int:
        return len(self.pair)


def read_cast(session: Session, project_id: str) -> Cast:
    """All of it at once: 50,000 votes on 10,000 pairs take about a second."""
    pairs = _pairs(session, project_id)
    voters_ = voters(session, project_id)
    pair_places = {row[0]: place for place, row in enumerate(pairs)}
    voter_places = {voter.id: place for place, voter in enumerate(voters_)}
    votes = columns_of(session, _votes(project_id))
    pair = np.array([pair_places[i] for i in votes[0].tolist()], dtype=np.int64)
    voter = np.array([voter_places[i] for i in votes[1].tolist()], dtype=np.int64)
    # The order must not depend on the database's way of sorting text.
    order = np.lexsort((voter, pair))
    names = _prompt_names(session, project_id)
    key = {(votes[0][i], votes[1][i]): place for place, i in enumerate(order.tolist())}
    return Cast(
        [row[0] for row in pairs],
        [row[1] for row in pairs],
        [row[2] for row in pairs],
        np.array([row[3].timestamp() for row in pairs], dtype=float),
        [names.get(row[8], "") for row in pairs],
        [names.get(row[9], "") for row in pairs],
        [row[4] for row in pairs],
        [row[5] for row in pairs],
        [row[6] for row in pairs],
        [row[7] for row in pairs],
        voters_,
        pair[order],
        voter[order],
        votes[2].astype(np.int64)[order],
        votes[3].astype(np.int8)[order],
        votes[4].astype(np.int8)[order],
        votes[5].astype(object)[order],
        votes[6].astype(bool)[order],
        votes[7].astype(float)[order],
        {key[pair_id, voter_id]: marks for pair_id, voter_id, marks in _marks(session, project_id)},
    )


def _pairs(session: Session, project_id: str) -> list[Any]:
    first, second = aliased(Response), aliased(Response)
    voted = select(col(Vote.pair_id)).where(_here(project_id), counted(project_id)).distinct().subquery()
    query = (
        select(
            col(Pair.id), col(Pair.example_id), col(Example.split), col(Example.created_at),
            col(Example.input), col(Example.messages), first.text, second.text,
            first.prompt_id, second.prompt_id,
        )  # type: ignore[call-overload]
        .select_from(Pair)
        .join(voted, voted.c.pair_id == col(Pair.id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(first, col(first.id) == col(Pair.response_a))
        .join(second, col(second.id) == col(Pair.response_b))
    )  # fmt: skip
    return sorted(session.execute(query).all(), key=lambda row: row[0])


def voters(session: Session, project_id: str) -> list[Voter]:
    """Everybody with a vote that counts, by id."""
    voted = select(col(Vote.annotator_id)).where(_here(project_id), counted(project_id)).distinct()
    query = select(Annotator).where(col(Annotator.id).in_(voted))
    found = [
        Voter(item.id, item.name, item.simulated, bool(item.machine), tuple(item.audiences or ()))
        for item in session.scalars(query)
    ]
    return sorted(found, key=lambda voter: voter.id)


def checks_state(session: Session, project_id: str) -> int:
    """Changes when a gold check is answered."""
    query = select(func.count(col(Probe.answered_at))).where(col(Probe.project_id) == project_id)
    return session.execute(query).scalar_one()


def _votes(project_id: str) -> Any:
    """Pair, annotator, choice, a_left, strength, source, simulated, time; no nulls."""
    return (
        select(
            col(Vote.pair_id),
            col(Vote.annotator_id),
            case(
                (col(Vote.outcome) == "tie", TIE),
                (col(Vote.outcome) == "both_bad", BOTH_BAD),
                (col(Vote.winner) == col(Pair.response_a), A),
                else_=B,
            ),
            case((col(Vote.left).is_(None), -1), (col(Vote.left) == col(Pair.response_a), 1), else_=0),
            case({name: 4 - i for i, name in enumerate(STRENGTHS)}, value=col(Vote.strength), else_=0),
            col(Vote.source),
            col(Vote.simulated),
            func.extract("epoch", col(Vote.created_at)),
        )
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(_here(project_id), counted(project_id))
    )


def _marks(session: Session, project_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Pair, annotator and marks, of the votes that have any."""
    query = (
        select(
            col(Vote.pair_id), col(Vote.annotator_id), col(Vote.criteria),
            col(Pair.response_a), col(Pair.response_b),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(_here(project_id), counted(project_id), cast(col(Vote.criteria), String).not_in(("{}", "null")))
    )  # fmt: skip
    return [
        (pair_id, voter_id, renamed(_object(criteria), {a: "a", b: "b"}))
        for pair_id, voter_id, criteria, a, b in session.execute(query)
    ]


def _object(value: Any) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _prompt_names(session: Session, project_id: str) -> dict[str, str]:
    query = select(col(Prompt.id), col(Prompt.name), col(Prompt.version)).where(
        col(Prompt.project_id) == project_id
    )
    return {id: f"{name} v{version}" for id, name, version in session.execute(query)}


def _here(project_id: str) -> Any:
    return scanned(col(Vote.project_id)) == project_id


# --- the snapshots themselves ---------------------------------------------------------------


def snapshots_of(session: Session, project_id: str, *, archived: bool = False) -> list[Snapshot]:
    """Newest first; with `archived`, those that were put away too."""
    query = select(Snapshot).where(col(Snapshot.project_id) == project_id)
    if not archived:
        query = query.where(col(Snapshot.archived_at).is_(None))
    return list(session.scalars(query.order_by(col(Snapshot.created_at).desc(), col(Snapshot.id).desc())))


def snapshot_with(session: Session, project_id: str, content_hash: str) -> Snapshot | None:
    """The oldest one of the same content that is not put away."""
    query = (
        select(Snapshot)
        .where(
            col(Snapshot.project_id) == project_id,
            col(Snapshot.content_hash) == content_hash,
            col(Snapshot.archived_at).is_(None),
        )
        .order_by(col(Snapshot.created_at), col(Snapshot.id))
    )
    return session.scalars(query.limit(1)).first()


def name_taken(session: Session, project_id: str, name: str) -> bool:
    """Also by one that was put away: a name means one data set for good."""
    query = select(col(Snapshot.id)).where(col(Snapshot.project_id) == project_id, col(Snapshot.name) == name)
    return session.execute(query.limit(1)).first() is not None


def models_on(session: Session, project_id: str) -> dict[str, list[RewardModel]]:
    """id of a snapshot -> the models that rest on it, oldest first."""
    query = (
        select(RewardModel)
        .where(
            col(RewardModel.project_id) == project_id,
            col(RewardModel.snapshot_id).is_not(None),
            col(RewardModel.archived_at).is_(None),
        )
        .order_by(col(RewardModel.created_at), col(RewardModel.id))
    )
    found: dict[str, list[RewardModel]] = {}
    for model in session.scalars(query):
        found.setdefault(model.snapshot_id or "", []).append(model)
    return found
