"""Which votes a figure counts. Votes of people and simulated votes never mix silently:
unless asked otherwise, simulated ones are left out as soon as people have voted."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from sqlmodel import Session

from storage import judgements
from storage.judgements import Which


class Simulated(StrEnum):
    EXCLUDE = "exclude"
    INCLUDE = "include"
    ONLY = "only"


def which_votes(
    session: Session,
    project_id: str,
    *,
    simulated: Simulated | str | None = None,
    annotators: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    independent: bool = False,
) -> tuple[Which, int, int]:
    """The filter, and how many votes of people and of simulations the project has. A
    time without a zone is UTC. `independent`: without votes of adjudicators."""
    people, machine = judgements.people_and_simulated(session, project_id)
    if simulated is None:
        simulated = Simulated.EXCLUDE if people or not machine else Simulated.INCLUDE
    which = Which(
        project_id,
        Simulated(simulated).value,
        tuple(annotators) if annotators else None,
        _utc(since),
        _utc(until),
        independent,
    )
    return which, people, machine


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
