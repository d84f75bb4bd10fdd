"""What the pages of large projects need, counted once after a start, so that nobody waits.

A million votes take seconds to count anew; afterwards what was counted is kept
(`core.kept`). Small projects are counted when somebody asks.
"""

import logging

from sqlmodel import col, func, select

from core.access import Principal, Role
from storage.database import Database
from storage.evidence import MANY
from storage.tables import Project, Vote

log = logging.getLogger(__name__)
SYSTEM = Principal("system", "system", Role.ADMIN)


def large_projects(db: Database) -> list[str]:
    """Projects with MANY votes and more that are in use."""
    with db.read() as session:
        query = (
            select(Vote.project_id)
            .join(Project, col(Project.id) == col(Vote.project_id))
            .where(col(Project.archived_at).is_(None))
            .group_by(col(Vote.project_id))
            .having(func.count() >= MANY)
        )
        return list(session.exec(query))


def warm(db: Database) -> int:
    """Count for every large project; answers how many there are. What fails is logged: the
    page that asks will say it."""
    import pymcdm.methods  # noqa: F401  (with matplotlib: 0.4 s, which the first page Decision would wait)

    projects = large_projects(db)
    for project_id in projects:
        try:
            _warm(db, project_id)
        except Exception:
            log.exception("project %s: plans could not be counted ahead", project_id)
    return len(projects)


def _warm(db: Database, project_id: str) -> None:
    # Imported here: a start must not wait for charts and rankings.
    from core.annotation.leaderboard import leaderboard
    from core.annotation.quality import quality
    from core.overview import loop_state
    from core.planning.brief.collect import collect

    for count in (loop_state, collect, quality, leaderboard):
        count(db, SYSTEM, project_id)
