"""The reward models of a project, of which one is active: the one optimisers use."""

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, NotFound
from core.projects import find_project
from core.settings import get_settings
from storage.database import Database
from storage.tables import Project, RewardModel


def active_model(session: Session, project: Project) -> RewardModel | None:
    """For use inside a unit of work. Its folder is relative to the data folder."""
    model = session.get(RewardModel, project.reward_model_id) if project.reward_model_id else None
    return model if model is not None and model.archived_at is None else None


def list_models(db: Database, who: Principal, project_id: str) -> list[RewardModel]:
    """Newest first."""
    require(who, "run.view")
    with db.read() as session:
        find_project(session, project_id)
        query = select(RewardModel).where(
            RewardModel.project_id == project_id, col(RewardModel.archived_at).is_(None)
        )
        return list(session.exec(query.order_by(col(RewardModel.created_at).desc(), col(RewardModel.id))))


def activate(db: Database, who: Principal, model_id: str) -> RewardModel:
    """Make this the model that optimisers of its project use from now on. Raises NotFound,
    or Conflict when its files are gone."""
    require(who, "reward.activate")
    data_dir = get_settings().data_dir

    def work(session: Session) -> RewardModel:
        model = session.get(RewardModel, model_id)
        if model is None or model.archived_at is not None:
            raise NotFound(f"There is no reward model {model_id}.")
        if not (data_dir / model.folder / "reward.json").exists():
            raise Conflict(f"The files of “{model.name}” are gone.", "Train a new one.")
        project = find_project(session, model.project_id)
        before = project.reward_model_id
        if before != model.id:
            project.reward_model_id = model.id
            session.add(project)
            audit.record(
                session, who, "reward.activate", "reward_model", model.id, project.id,
                name=model.name, before=before,
            )  # fmt: skip
        return model

    return db.write(work)
