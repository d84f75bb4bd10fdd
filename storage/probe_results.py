"""What probes say of annotators: attempts at the training set, gold checks, hidden repeats."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from storage.scan import scanned
from storage.tables import Annotator, Probe, Vote


@dataclass(frozen=True)
class Attempt:
    """One go at the training set. `asked` pairs, of which `answered`, of which `right`."""

    annotator_id: str
    started: datetime
    asked: int
    answered: int
    right: int

    @property
    def over(self) -> bool:
        return self.answered == self.asked


def attempts(session: Session, project_id: str, annotator_id: str | None = None) -> list[Attempt]:
    """In order of time; of everybody, or of one."""
    which = [col(Probe.project_id) == project_id, col(Probe.kind) == "training"]
    if annotator_id is not None:
        which.append(col(Probe.annotator_id) == annotator_id)
    right = func.coalesce(func.sum(case((col(Probe.passed).is_(True), 1), else_=0)), 0)
    query = (
        sa_select(
            col(Probe.annotator_id),
            col(Probe.leased_at),
            func.count(),
            func.count(col(Probe.answered_at)),
            right,
        )
        .where(*which)
        .group_by(col(Probe.annotator_id), col(Probe.leased_at))
        .order_by(col(Probe.annotator_id), col(Probe.leased_at))
    )
    return [Attempt(who, at, int(n), int(done), int(ok)) for who, at, n, done, ok in session.execute(query)]


@dataclass(frozen=True)
class Tally:
    """Of an annotator: answered gold checks and those passed; hidden repeats and those
    answered as before."""

    gold: int = 0
    gold_right: int = 0
    repeats: int = 0
    repeats_same: int = 0


def tallies(session: Session, project_id: str) -> dict[str, Tally]:
    """annotator id -> what their hidden probes say. Annotators whose votes are left out are
    there too."""

    def number(kind: str, passed: bool) -> Any:
        hit = (col(Probe.kind) == kind) & (
            col(Probe.passed).is_(True) if passed else col(Probe.outcome).is_not(None)
        )
        return func.coalesce(func.sum(case((hit, 1), else_=0)), 0)

    query = (
        sa_select(
            col(Probe.annotator_id), number("gold", False), number("gold", True), number("repeat", False),
            number("repeat", True),
        )
        .where(col(Probe.project_id) == project_id, col(Probe.outcome).is_not(None))
        .group_by(col(Probe.annotator_id))
    )  # fmt: skip
    return {who: Tally(*(int(value) for value in row)) for who, *row in session.execute(query)}


def counting_tallies(session: Session, project_id: str) -> list[Tally]:
    """Of the annotators whose votes count."""
    left_out = sa_select(col(Annotator.id)).where(
        col(Annotator.project_id) == project_id, col(Annotator.excluded_at).is_not(None)
    )
    out = set(session.scalars(left_out))
    return [tally for who, tally in tallies(session, project_id).items() if who not in out]


def last_checks(
    session: Session, annotator_id: str, project_id: str, since: datetime | None, most: int
) -> list[Probe]:
    """The newest answered gold checks of this annotator, newest first."""
    query = select(Probe).where(
        Probe.annotator_id == annotator_id,
        Probe.project_id == project_id,
        Probe.kind == "gold",
        col(Probe.outcome).is_not(None),
    )
    if since is not None:
        query = query.where(col(Probe.answered_at) > since)
    return list(session.exec(query.order_by(col(Probe.answered_at).desc(), col(Probe.id).desc()).limit(most)))


def of_gold(session: Session, project_id: str) -> dict[str, tuple[int, int]]:
    """pair id -> how many answered it as a gold or training pair, and how many were right."""
    right = func.coalesce(func.sum(case((col(Probe.passed).is_(True), 1), else_=0)), 0)
    query = (
        sa_select(col(Probe.pair_id), func.count(), right)
        .where(
            col(Probe.project_id) == project_id, col(Probe.kind) != "repeat", col(Probe.outcome).is_not(None)
        )
        .group_by(col(Probe.pair_id))
    )
    return {pair_id: (int(n), int(ok)) for pair_id, n, ok in session.execute(query)}


def voters_before(session: Session, project_id: str, moment: datetime) -> set[str]:
    query = sa_select(col(Vote.annotator_id)).where(
        scanned(col(Vote.project_id)) == project_id, col(Vote.created_at) < moment
    )
    return set(session.scalars(query.distinct()))
