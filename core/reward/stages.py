"""Versions of a project's reward model: their stage, where they come from, archive and restore.

A stage is derived, so that it cannot disagree: archived (put away), active (the one optimisers
use: `Project.reward_model_id`), else candidate.
"""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, NotFound
from core.projects import find_project
from core.settings import get_settings
from storage.database import Database
from storage.ids import now
from storage.tables import Project, RewardModel, Run, Snapshot, User

CANDIDATE, ACTIVE, ARCHIVED = "candidate", "active", "archived"
STAGES = (CANDIDATE, ACTIVE, ARCHIVED)


@dataclass(frozen=True)
class Version:
    """`run` made it: a training, or the taking in of an upload; `author` started that.
    `snapshot`: the preference data set it learnt from, where it is known. `files`: its folder
    is there; `bytes` of it."""

    model: RewardModel
    stage: str
    run: Run | None
    snapshot: Snapshot | None
    author: str
    files: bool
    bytes: int

    @property
    def uploaded(self) -> bool:
        return bool(self.model.metrics.get("uploaded"))

    def lineage(self) -> dict[str, Any]:
        """What it was made from, as far as it is kept."""
        found = self.model.metrics
        return {
            "run_id": self.model.run_id,
            "run_kind": self.run.kind if self.run else None,
            "started_by": self.author or None,
            "snapshot_id": self.model.snapshot_id,
            "snapshot": self.snapshot.name if self.snapshot else None,
            "content_hash": self.snapshot.content_hash if self.snapshot else None,
            "pairs": {
                "train": found.get("n_train"),
                "dev": found.get("n_dev"),
                "test": found.get("n_test_pairs"),
            },
            "simulated_share": None if self.uploaded else self.model.simulated_share,
            "machine_votes": None if self.uploaded else found.get("machine_votes"),
            "backbone": self.model.backbone,
            "seed": self.run.seed if self.run else None,
        }


def stage_of(model: RewardModel, project: Project) -> str:
    if model.archived_at is not None:
        return ARCHIVED
    return ACTIVE if project.reward_model_id == model.id else CANDIDATE


def versions(db: Database, who: Principal, project_id: str, stage: str | None = None) -> list[Version]:
    """All of a project, newest first, archived ones too."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        query = select(RewardModel).where(RewardModel.project_id == project_id)
        query = query.order_by(col(RewardModel.created_at).desc(), col(RewardModel.id))
        found = _versions(session, project, list(session.exec(query)))
    return [one for one in found if stage in (None, one.stage)]


def version(db: Database, who: Principal, model_id: str) -> Version:
    require(who, "run.view")
    with db.read() as session:
        model = find_model(session, model_id)
        return _versions(session, find_project(session, model.project_id), [model])[0]


def find_model(session: Session, model_id: str) -> RewardModel:
    """The model, archived or not, or NotFound: for use inside a unit of work."""
    model = session.get(RewardModel, model_id)
    if model is None:
        raise NotFound(f"There is no reward model {model_id}.")
    return model


def _versions(session: Session, project: Project, models: list[RewardModel]) -> list[Version]:
    def rows(table: Any, ids: set[str | None]) -> dict[str, Any]:
        return {row.id: row for row in session.exec(select(table).where(col(table.id).in_(ids - {None})))}

    runs = rows(Run, {model.run_id for model in models})
    snapshots = rows(Snapshot, {model.snapshot_id for model in models})
    people = rows(User, {run.created_by for run in runs.values()})
    made = []
    for model in models:
        run = runs.get(model.run_id)
        person = people.get(run.created_by or "") if run else None
        size = folder_bytes(model)
        made.append(
            Version(
                model, stage_of(model, project), run, snapshots.get(model.snapshot_id or ""),
                person.name if person else "", size is not None, size or 0,
            )
        )  # fmt: skip
    return made


def folder_bytes(model: RewardModel) -> int | None:
    """Size of the model's folder; None when its files are gone."""
    folder = get_settings().data_dir / model.folder
    if not (folder / "reward.json").is_file():
        return None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def archive(db: Database, who: Principal, model_id: str) -> RewardModel:
    """Put a version away: it is not offered, compared or asked any more; nothing is deleted.
    Raises Conflict for the active one."""
    require(who, "reward.manage")

    def work(session: Session) -> RewardModel:
        model = find_model(session, model_id)
        project = find_project(session, model.project_id)
        if project.reward_model_id == model.id:
            raise Conflict(f"“{model.name}” is the active one.", "Make another one active first.")
        if model.archived_at is None:
            model.archived_at = now()
            session.add(model)
            audit.record(
                session, who, "reward.archive", "reward_model", model.id, project.id, name=model.name
            )
        return model

    return db.write(work)


def restore(db: Database, who: Principal, model_id: str) -> RewardModel:
    """Make an archived version a candidate again. Raises Conflict when its files are gone."""
    require(who, "reward.manage")

    def work(session: Session) -> RewardModel:
        model = find_model(session, model_id)
        project = find_project(session, model.project_id)
        if folder_bytes(model) is None:
            raise Conflict(f"The files of “{model.name}” are gone.", "Train a new one.")
        if model.archived_at is not None:
            model.archived_at = None
            session.add(model)
            audit.record(
                session, who, "reward.restore", "reward_model", model.id, project.id, name=model.name
            )
        return model

    return db.write(work)
