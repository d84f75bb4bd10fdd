"""Keeping the scores of all responses current, and what is left of old score runs tidy.

A person switches it on for a project. Then a score run of scope `all` starts by itself when the
active model has not scored the project yet, when enough responses have no score, or when some
have had none for an hour. The folders of score runs that a newer one supersedes are deleted.
"""

import logging
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.access import Principal, Role, require
from core.projects import find_project
from core.reward import reference
from core.reward.normalise import Normalisation
from core.reward.registry import active_model
from core.reward.scores import ALL, KIND, OPEN, Scores, newest, read_scores, scope_of
from core.reward.scoring import may_start, under_way
from core.runs.states import ACTIVE
from core.settings import get_settings
from storage.database import Database
from storage.ids import now
from storage.project_documents import document_body, projects_with, save_document
from storage.tables import Project, Response, RewardModel, Run

SWITCH = "reward_scores"  # the project's document
FEW = 50  # responses without a score that are not worth a run at once
STALE_SHARE = 0.02  # of all responses
SOON = timedelta(hours=1)  # even a few are scored after so long
SYSTEM = Principal("system", "system", Role.ADMIN)
log = logging.getLogger(__name__)


def is_kept(session: Session, project_id: str) -> bool:
    return bool(document_body(session, project_id, SWITCH).get("keep"))


def keep_current(db: Database, who: Principal, project_id: str, on: bool) -> None:
    """Switch it on or off."""
    require(who, "reward.manage")

    def work(session: Session) -> None:
        find_project(session, project_id)
        if is_kept(session, project_id) == on:
            return
        save_document(session, project_id, SWITCH, "Scores of responses", {"keep": on}, who.user_id, who.name)
        audit.record(session, who, "reward.keep_scores", "project", project_id, project_id, on=on)

    db.write(work)


# --- where it stands --------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """The scores of a project's responses by its active model. `run`: the newest that ended
    well (by whichever model then); `current`: it is by the active model; `scored` of
    `responses` have a score in it."""

    model: RewardModel | None
    run: Run | None
    current: bool
    responses: int
    scored: int
    kept: bool
    busy: Run | None
    failed: Run | None  # the newest of all runs of this scope, where it failed or was cancelled

    @property
    def missing(self) -> int:
        return max(0, self.responses - self.scored) if self.current else self.responses

    @property
    def when(self) -> datetime | None:
        return self.run.finished_at if self.run else None


def standing(db: Database, who: Principal, project_id: str) -> Standing:
    require(who, "run.view")
    with db.read() as session:
        return _standing(session, find_project(session, project_id))


def _standing(session: Session, project: Project) -> Standing:
    model = active_model(session, project)
    run = newest(session, project.id, ALL, model.id) if model else None
    current = run is not None
    run = run or newest(session, project.id, ALL)
    scores = read_scores(run) if run is not None else None
    last = next(iter(_ended(session, project.id, ALL)), None)
    failed = last if last is not None and last.status in ("failed", "cancelled") else None
    return Standing(
        model=model,
        run=run if scores is not None else None,
        current=current and scores is not None,
        responses=responses_of(session, project.id),
        scored=len(scores.place) if scores else 0,
        kept=is_kept(session, project.id),
        busy=under_way(session, project.id, ALL),
        failed=failed,
    )


def responses_of(session: Session, project_id: str) -> int:
    return session.exec(select(func.count()).where(Response.project_id == project_id)).one()


def current_scores(
    session: Session, project: Project, model_id: str | None = None
) -> tuple[Scores, int, Normalisation] | None:
    """The newest scores of all responses by a model (default: the active one), its column in
    them, and the project's scale for it; None where there are none."""
    wanted = model_id or project.reward_model_id
    run = newest(session, project.id, ALL, wanted) if wanted else None
    scores = read_scores(run) if run is not None else None
    chosen = reference.kept(session, project.id)
    if scores is None or chosen is None or wanted not in scores.models:
        return None
    column = scores.models.index(wanted)
    scale = scores.normalisation(chosen, column)
    return (scores, column, scale) if scale is not None else None


# --- by itself --------------------------------------------------------------------------------


class ScoreKeeper:
    """Looks after all projects; one per web process. Two at once do no harm: the second finds a
    run under way."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._cleaned: dict[str, str] = {}  # project -> newest score run when it was cleaned

    def refresh(self) -> None:
        with self.db.read() as session:
            kept = [key for key in projects_with(session, SWITCH) if is_kept(session, key)]
            ran = session.exec(
                select(Run.project_id, func.max(Run.id))
                .where(Run.kind == KIND, Run.status == "succeeded")
                .group_by(col(Run.project_id))
            ).all()
        for project_id in kept:
            try:
                self._keep(project_id)
            except Exception:  # one project's trouble is not the others'
                log.exception("project %s: its scores could not be kept current", project_id)
        for project_id, newest_run in ran:
            if self._cleaned.get(project_id) != newest_run:
                clean(self.db, project_id)
                self._cleaned[project_id] = newest_run

    def _keep(self, project_id: str) -> None:
        from core.runs.service import start_run

        with self.db.read() as session:
            project = session.get(Project, project_id)
            if project is None or not is_due(session, project):
                return
            models = [project.reward_model_id]
        start_run(self.db, SYSTEM, project_id, KIND, {"scope": ALL, "models": models})


def is_due(session: Session, project: Project) -> bool:
    """Whether a run should start by itself now."""
    found = _standing(session, project)
    if found.model is None or not found.responses:
        return False
    if not (get_settings().data_dir / found.model.folder / "reward.json").exists():
        return False
    if not may_start(session, project.id, [found.model.id], ALL):
        return False
    if not found.current:
        return True
    enough = found.missing >= max(FEW, STALE_SHARE * found.responses)
    waited = found.when is None or now() - found.when > SOON
    return enough or (found.missing > 0 and waited)


# --- tidy -------------------------------------------------------------------------------------


def clean(db: Database, project_id: str) -> list[str]:
    """Delete the folders of score runs that nobody reads any more; answers whose. Kept are the
    newest one of open pairs, the newest one of all responses by each model that is not archived
    (so that versions can be compared), and whatever is not at an end."""
    with db.read() as session:
        models = set(
            session.exec(
                select(RewardModel.id).where(
                    RewardModel.project_id == project_id, col(RewardModel.archived_at).is_(None)
                )
            )
        )
        superseded = _superseded(session, project_id, models)
    for run_id in superseded:
        shutil.rmtree(get_settings().runs_dir / run_id, ignore_errors=True)
    return superseded


def _superseded(session: Session, project_id: str, models: set[str]) -> list[str]:
    read: set[Any] = set()  # what a newer run that ended well stands for
    found = []
    for run in _ended(session, project_id):
        scope = scope_of(run)
        covers = {OPEN} if scope == OPEN else {key for key in run.config.get("models", ()) if key in models}
        if covers <= read or (not covers and scope == ALL):
            if (get_settings().runs_dir / run.id).exists():
                found.append(run.id)
        elif run.status == "succeeded":
            read |= covers
    return found


def _ended(session: Session, project_id: str, scope: str | None = None) -> list[Run]:
    """Score runs at an end, newest first."""
    query = (
        select(Run)
        .where(Run.project_id == project_id, Run.kind == KIND)
        .where(col(Run.status).not_in((*ACTIVE, "interrupted", "paused")))
        .order_by(col(Run.id).desc())
    )
    return [run for run in session.exec(query) if scope in (None, scope_of(run))]
