"""A pair of reward models on disjoint halves of the votes: one to optimise against, one to watch
it (core/optimize/watch.py)."""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Conflict
from core.projects import find_project
from core.reward.registry import activate, active_model
from core.reward.runs import HALVES, prepare
from core.runs.service import start_run
from storage.database import Database
from storage.tables import Project, RewardModel, Run

BUSY = ("queued", "running", "interrupted")
# Of the active model's training, what its halves share with it: they should differ in votes alone.
_ALIKE = ("preset", "backbone", "max_length", "precision")
_SEED = 1


@dataclass(frozen=True)
class Half:
    """The newest training on one half of the votes, and what came of it. `active`: the project's
    searches are rewarded by it."""

    half: str
    run: Run
    model: RewardModel | None
    active: bool

    @property
    def busy(self) -> bool:
        return self.run.status in BUSY


def halves_of(db: Database, who: Principal, project_id: str) -> list[Half]:
    """First and second; empty where they were never trained together."""
    require(who, "run.view")
    with db.read() as session:
        return _halves(session, find_project(session, project_id))


def _halves(session: Session, project: Project) -> list[Half]:
    query = select(Run).where(Run.project_id == project.id, Run.kind == "reward_model")
    newest: dict[str, Run] = {}
    for run in session.exec(query.order_by(col(Run.id).desc())):
        if run.config.get("half") in HALVES:
            newest.setdefault(run.config["half"], run)
    if len(newest) < len(HALVES):
        return []
    found = []
    for half in HALVES:
        run = newest[half]
        model = session.exec(
            select(RewardModel).where(RewardModel.run_id == run.id, col(RewardModel.archived_at).is_(None))
        ).first()
        found.append(Half(half, run, model, model is not None and model.id == project.reward_model_id))
    return found


def train_halves(db: Database, who: Principal, project_id: str) -> list[Run]:
    """Start both trainings, with the same seed, like the active model's. Raises Invalid, before
    either is started, where there are too few votes for halves, and Conflict while a pair trains."""
    require(who, "run.start")
    with db.read() as session:
        project = find_project(session, project_id)
        if any(half.busy for half in _halves(session, project)):
            raise Conflict("A pair of halves is in training.", "Wait for it, or cancel it.")
        like = _like_the_active(session, project)
        for half in HALVES:
            prepare(session, project, {**like, "half": half}, _SEED)
    return [
        start_run(db, who, project_id, "reward_model", {**like, "half": half, "seed": _SEED})
        for half in HALVES
    ]


def _like_the_active(session: Session, project: Project) -> dict[str, Any]:
    model = active_model(session, project)
    run = session.get(Run, model.run_id) if model is not None else None
    if run is None or run.kind != "reward_model":
        return {}  # it was trained elsewhere
    return {name: run.config[name] for name in _ALIKE if run.config.get(name) is not None}


def reward_by_half(db: Database, who: Principal, project_id: str) -> Half:
    """Make the model of the first half the active one, so that the second watches what is
    optimised against it. Raises Conflict when there is no trained pair."""
    found = halves_of(db, who, project_id)
    if not found or any(half.model is None for half in found):
        raise Conflict("There is no trained pair of halves.", "Train one first.")
    first = found[0]
    assert first.model is not None and found[1].model is not None
    activate(
        db,
        who,
        first.model.id,
        f"So that “{found[1].model.name}”, of the other half of the votes, can watch it.",
    )
    return halves_of(db, who, project_id)[0]
