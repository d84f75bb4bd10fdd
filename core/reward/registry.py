"""The reward models of a project, of which one is active: the one optimisers use."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.projects import find_project
from core.reward.promotion import MAX_REASON, Change, change_in
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


def get_model(db: Database, who: Principal, model_id: str) -> RewardModel:
    """Archived ones too. Raises NotFound."""
    require(who, "run.view")
    with db.read() as session:
        model = session.get(RewardModel, model_id)
    if model is None:
        raise NotFound(f"There is no reward model {model_id}.")
    return model


@dataclass(frozen=True)
class Activation:
    """The model that is active now, and what that changed."""

    model: RewardModel
    change: Change


def activate(db: Database, who: Principal, model_id: str, reason: str = "") -> Activation:
    """Make this the model that optimisers of its project use from now on. Where it is not
    shown to be better than the one that is active, a reason is asked for; it is kept in the
    audit log with the figures. Raises NotFound, Invalid for a reason that is too long, or
    Conflict: its files are gone, or there is no reason."""
    require(who, "reward.activate")
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON} characters.")

    with db.read() as session:  # read first: comparing takes its time, and writes wait for each other
        model = _whole(session, model_id)
        changed = change_in(session, active_model(session, find_project(session, model.project_id)), model)

    def work(session: Session) -> Activation:
        model = _whole(session, model_id)
        project = find_project(session, model.project_id)
        if project.reward_model_id != model.id:
            active = active_model(session, project)
            if (active.id if active else None) != changed.before:
                raise Conflict("Another model was made the active one meanwhile.", "Compare with that one.")
            if changed.warning and not reason:
                raise Conflict(changed.warning, "Give a reason to make it the active one all the same.")
            project.reward_model_id = model.id
            session.add(project)
            audit.record(
                session, who, "reward.activate", "reward_model", model.id, project.id,
                name=model.name, reason=reason, **changed.for_audit(),
            )  # fmt: skip
        return Activation(model, changed)

    return db.write(work)


def _whole(session: Session, model_id: str) -> RewardModel:
    model = session.get(RewardModel, model_id)
    if model is None or model.archived_at is not None:
        raise NotFound(f"There is no reward model {model_id}.")
    if not (get_settings().data_dir / model.folder / "reward.json").exists():
        raise Conflict(f"The files of “{model.name}” are gone.", "Train a new one.")
    return model
