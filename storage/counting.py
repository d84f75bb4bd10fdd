"""The one place that says which votes count.

A lead may leave an annotator's votes out, and take them back in. They stay where they are;
whatever reads votes to learn what people prefer (leaderboard, quality, reward data, plans,
exports, the view `preference`) asks here and passes over them. Only what was done and paid
for (votes cast a day, time spent) counts them still.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlmodel import Session, col

from storage.tables import Annotator, Vote


def counted(project_id: str, annotator_id: Any = Vote.annotator_id) -> ColumnElement[bool]:
    """A condition on votes of a project: their annotator was not left out."""
    left_out = select(col(Annotator.id)).where(
        col(Annotator.project_id) == project_id, col(Annotator.excluded_at).is_not(None)
    )
    return col(annotator_id).not_in(left_out)


def by_machine(project_id: str, annotator_id: Any = Vote.annotator_id) -> ColumnElement[bool]:
    """A condition on votes of a project: a language model cast it as a judge. Whether it
    counts is another question (`counted`)."""
    return col(annotator_id).in_(machines_of(project_id))


def not_by_machine(project_id: str, annotator_id: Any = Vote.annotator_id) -> ColumnElement[bool]:
    """Not cast by a language model as a judge: what says how many votes a pair still wants,
    and what people did."""
    return col(annotator_id).not_in(machines_of(project_id))


def by_people(project_id: str) -> ColumnElement[bool]:
    """Votes of people that count: neither simulated, nor of a judge, nor left out."""
    return and_(col(Vote.simulated).is_(False), not_by_machine(project_id), counted(project_id))


def machines_of(project_id: str) -> Any:
    """The ids of a project's machine judges, as a subquery."""
    return select(col(Annotator.id)).where(
        col(Annotator.project_id) == project_id, col(Annotator.machine).is_(True)
    )


def machines_left_out(project_id: str) -> Any:
    """Those of them whose votes are left out, as at first: for "no vote at all"."""
    return machines_of(project_id).where(col(Annotator.excluded_at).is_not(None))


def machine_votes(session: Session, project_id: str) -> tuple[int, int]:
    """Votes by judges that count, and those that do not."""
    counts_now = func.coalesce(func.sum(case((counted(project_id), 1), else_=0)), 0)
    query = select(func.count(), counts_now).where(by_machine(project_id))
    n, of_them = session.execute(query.select_from(Vote)).one()
    return int(of_them), int(n) - int(of_them)


def left_out_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever somebody's votes are left out or taken back in: part of the state of
    whatever is kept because it was computed from votes."""
    query = select(func.count(), func.max(col(Annotator.excluded_at))).where(
        col(Annotator.project_id) == project_id, col(Annotator.excluded_at).is_not(None)
    )
    return tuple(session.execute(query).one())


def people_state(session: Session, project_id: str) -> tuple[Any, ...]:
    """Changes whenever an annotator is paused, resumed, left out or taken back in."""
    query = select(func.count(col(Annotator.paused_at)), func.max(col(Annotator.paused_at))).where(
        col(Annotator.project_id) == project_id
    )
    return (*session.execute(query).one(), *left_out_state(session, project_id))
