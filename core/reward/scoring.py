"""Scoring the responses of open pairs with reward models, web side: what a selection strategy
that asks the reward model reads. The web process never imports torch, so this is a run of its
own (kind `score`), started by itself when scores are missing or old, one at a time.

config: models (ids; default: the active one), pairs (at most so many open pairs, those with
the fewest votes first; default SCORED_PAIRS). Responses that the newest run has scored with a
model are not scored with it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.annotation.selection import STRATEGIES
from core.errors import Invalid
from core.projects import find_project
from core.reward.registry import active_model
from core.reward.text import input_text
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.bulk import chunks
from storage.database import Database
from storage.ids import now
from storage.selection import OpenSlot, open_slots
from storage.tables import Example, Project, Response, RewardModel, Run

KIND = "score"
SCORED_PAIRS = 2_000
MOST_MODELS = 5  # of an ensemble
STALE_SHARE = 0.25  # of the open pairs looked at that have no score
FEW = 20  # pairs without a score that are not worth a run
PAUSE = timedelta(hours=1)  # after a scoring that failed or was cancelled
_FIELDS = {"models", "pairs", "seed"}
_FROZEN = {"model_names", "n_pairs", "n_responses", "known"}
_UNDER_WAY = ("queued", "running", "interrupted")


def ensemble(session: Session, project: Project, most: int = MOST_MODELS) -> list[RewardModel]:
    """The active reward model and the newest others, those whose files are there: a committee
    that differs by seed, votes and settings (query by committee: Seung et al. 1992)."""
    active = active_model(session, project)
    query = (
        select(RewardModel)
        .where(RewardModel.project_id == project.id, col(RewardModel.archived_at).is_(None))
        .order_by(col(RewardModel.created_at).desc(), col(RewardModel.id))
    )
    newest = [model for model in session.exec(query) if active is None or model.id != active.id]
    there = [model for model in ([active] if active else []) + newest if _folder(model).is_dir()]
    return there[:most]


def _folder(model: RewardModel) -> Path:
    return (get_settings().data_dir / model.folder).resolve()


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Freeze the responses of open pairs, the models, and what is known already."""
    for name in config:
        if name not in _FIELDS | _FROZEN:
            raise Invalid(f"{name}: a score run has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}.")
    models = _models(session, project, config.get("models"))
    most = config.get("pairs", SCORED_PAIRS)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 20_000:
        raise Invalid("pairs: a whole number from 1 to 20,000.")
    slots = open_slots(session, project.id, most)
    if not slots:
        raise Invalid("pairs: no pair of this project waits for a vote.")
    wanted = sorted({key for slot in slots for key in (slot.response_a, slot.response_b)})
    known = _known(session, project.id, {model.id for model in models}, set(wanted))
    tables: dict[str, list[dict[str, Any]]] = {"responses": _texts(session, wanted)}
    if known:
        tables["known"] = known
    return Prepared(
        config={
            "models": [model.id for model in models],
            "model_names": [model.name for model in models],
            "pairs": most,
            "n_pairs": len(slots),
            "n_responses": len(wanted),
            "known": len(known),
        },
        tables=tables,
        documents={
            "models": [
                {"id": model.id, "name": model.name, "folder": str(_folder(model))} for model in models
            ]
        },
        name=f"Score {len(slots):,} open pairs with {', '.join(model.name for model in models)}",
    )


def _models(session: Session, project: Project, asked: Any) -> list[RewardModel]:
    if asked is None:
        found = ensemble(session, project, 1)
        if not found or found[0].id != project.reward_model_id:
            raise Invalid(
                "models: this project has no active reward model.", "Train one on the page Reward models."
            )
        return found
    if not isinstance(asked, list) or not asked or len(asked) > MOST_MODELS:
        raise Invalid(f"models: a list of 1 to {MOST_MODELS} ids of reward models.")
    found = []
    for key in dict.fromkeys(asked):
        model = session.get(RewardModel, key) if isinstance(key, str) else None
        if model is None or model.project_id != project.id or model.archived_at is not None:
            raise Invalid(f"models: there is no reward model {key} in this project.")
        if not _folder(model).is_dir():
            raise Invalid(f"models: the files of “{model.name}” are gone.", "Train a new one.")
        found.append(model)
    return found


def _texts(session: Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for part in chunks(ids):
        query = (
            select(Response.id, Response.text, Example.input, Example.messages)
            .join(Example, col(Example.id) == col(Response.example_id))
            .where(col(Response.id).in_(part))
        )
        for key, text, input_, earlier in session.exec(query):
            rows[key] = {"response_id": key, "input": input_text(input_, earlier), "response": text}
    return [rows[key] for key in ids if key in rows]


def _known(session: Session, project_id: str, models: set[str], wanted: set[str]) -> list[dict[str, Any]]:
    run = newest(session, project_id)
    path = scores_path(run) if run is not None else None
    if path is None:
        return []
    return [
        row
        for row in pq.read_table(path).to_pylist()
        if row["model_id"] in models and row["response_id"] in wanted
    ]


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Nothing to store: the front row reads the newest run's file."""


# --- reading --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Scores of one run. `models`: their ids, the active one of then first; `logits` (R, M)
    by response in the order of `place`; p(a beats b) = sigmoid(logit a - logit b)."""

    run_id: str
    models: tuple[str, ...]
    names: tuple[str, ...]
    place: dict[str, int]
    logits: np.ndarray

    def chances(self, a: Sequence[str], b: Sequence[str]) -> np.ndarray:
        """(m, M) chance that a beats b by each model; nan where one of them has no score."""
        rows = [np.array([self.place.get(key, -1) for key in side], dtype=int) for side in (a, b)]
        padded = np.vstack([self.logits, np.full(len(self.models), np.nan)])
        return 1 / (1 + np.exp(np.clip(padded[rows[1]] - padded[rows[0]], -30, 30)))


def newest(session: Session, project_id: str) -> Run | None:
    """The newest score run that ended well and whose file is there."""
    query = (
        select(Run)
        .where(Run.project_id == project_id, Run.kind == KIND, Run.status == "succeeded")
        .order_by(col(Run.id).desc())
        .limit(1)
    )
    run = session.exec(query).first()
    return run if run is not None and scores_path(run) is not None else None


def scores_path(run: Run) -> Path | None:
    path = get_settings().runs_dir / run.id / "artifacts" / "scores.parquet"
    return path if path.is_file() else None


def read_scores(run: Run) -> Scores | None:
    path = scores_path(run)
    if path is None:
        return None
    return _read(str(path), run.id, tuple(run.config["models"]), tuple(run.config.get("model_names", ())))


@lru_cache(maxsize=8)
def _read(path: str, run_id: str, models: tuple[str, ...], names: tuple[str, ...]) -> Scores:
    table = pq.read_table(path)
    column = {key: i for i, key in enumerate(models)}
    ids = table["response_id"].to_pylist()
    place = {key: i for i, key in enumerate(dict.fromkeys(ids))}
    logits = np.full((len(place), len(models)), np.nan)
    rows = [place[key] for key in ids]
    columns = [column[key] for key in table["model_id"].to_pylist()]
    logits[rows, columns] = table["logit"].to_numpy()
    return Scores(run_id, models, names, place, logits)


# --- when -----------------------------------------------------------------------------------


def wanted_models(session: Session, project: Project, least: int) -> list[str]:
    """The models a strategy asks that needs at least so many: the active one, or, for more
    than one, the ensemble. Empty while there are too few."""
    if active_model(session, project) is None:
        return []
    found = ensemble(session, project, 1 if least == 1 else MOST_MODELS)
    return [model.id for model in found] if len(found) >= least else []


def may_start(session: Session, project_id: str, models: list[str]) -> bool:
    """Not while a scoring is under way, and not soon after one with these models that failed
    or was cancelled."""
    last = session.exec(
        select(Run)
        .where(Run.project_id == project_id, Run.kind == KIND)
        .order_by(col(Run.id).desc())
        .limit(1)
    ).first()
    if last is None:
        return True
    if last.status in _UNDER_WAY:
        return False
    ended = last.finished_at or last.created_at
    unlucky = last.status in ("failed", "cancelled") and last.config.get("models") == models
    return not (unlucky and now() - ended < PAUSE)


def too_many_unscored(scores: Scores | None, slots: Sequence[OpenSlot]) -> bool:
    """Whether enough open pairs have no score to make another run worth while."""
    if scores is None:
        return bool(slots)
    unscored = sum(not {slot.response_a, slot.response_b} <= scores.place.keys() for slot in slots)
    return unscored >= FEW and unscored > STALE_SHARE * len(slots)


# --- what the settings page says --------------------------------------------------------------


def state_in_words(session: Session, project: Project, least: int) -> str:
    """Where a strategy stands that needs at least so many reward models, in a sentence."""
    until = "Until then pairs come fewest votes first."
    models = wanted_models(session, project, least)
    if not models:
        what = "an active reward model" if least == 1 else "an active reward model and one more"
        return f"It needs {what}, which this project does not have yet. {until}"
    run = newest(session, project.id)
    busy = session.exec(
        select(Run.id).where(Run.project_id == project.id, Run.kind == KIND, col(Run.status).in_(_UNDER_WAY))
    ).first()
    if run is None or len(run.config["models"]) < least:
        doing = (
            "Open pairs are being scored." if busy else "There are no scores yet; scoring starts by itself."
        )
        return f"{doing} {until}"
    said = (
        f"{run.config['n_pairs']:,} open pairs are scored by {', '.join(run.config['model_names'])}; pairs without "
        "a score come after them, fewest votes first."
    )
    if list(run.config["models"]) != models:
        said += " The models have changed since: " + (
            "scoring anew." if busy else "a new scoring starts soon."
        )
    return said


def strategy_state(db: Database, who: Principal, project_id: str, strategy: str) -> str:
    """The same for a strategy by its key; "" for those that ask no reward model."""
    require(who, "project.view")
    rule = STRATEGIES.get(strategy)
    if rule is None or not rule.models:
        return ""
    with db.read() as session:
        return state_in_words(session, find_project(session, project_id), rule.models)
