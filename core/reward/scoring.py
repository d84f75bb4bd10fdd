"""Scoring responses with reward models, web side. The web process never imports torch, so this
is a run of its own (kind `score`), of one of two scopes:

open   the responses of open pairs, by the models that a selection strategy asks. Started by
       itself when scores are missing or old, one at a time (`core.annotation.front`).
all    every response of the project, by the active model: for the page Scores, the leaderboard
       by reward and drift. Started by itself where a person switched that on
       (`core.reward.keeping`).

config: scope (open); models (ids; default: the active one); pairs (open: at most so many open
pairs, those with the fewest votes first; default SCORED_PAIRS); most (all: score at most so many
responses anew, the reference and then the newest first; default SCORED_RESPONSES). What the
newest runs have scored with a model is not scored with it again. `core.reward.scores` reads.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.annotation.selection import STRATEGIES
from core.errors import Invalid
from core.projects import find_project
from core.reward import reference
from core.reward.registry import active_model
from core.reward.scores import (
    ALL,
    KIND,
    OPEN,
    SCOPES,
    Scores,
    known_rows,
    newest,
    read_scores,
    scope_of,
    score_runs,
    scores_path,
)
from core.reward.text import input_text
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.bulk import chunks
from storage.database import Database
from storage.ids import now
from storage.selection import OpenSlot, open_slots
from storage.tables import Example, Project, Response, RewardModel, Run

__all__ = ["ALL", "KIND", "OPEN", "Scores", "newest", "read_scores", "scores_path"]

SCORED_PAIRS = 2_000
SCORED_RESPONSES = 20_000  # scored anew by one run of scope all; what is left, by the next
MOST_MODELS = 5  # of an ensemble
STALE_SHARE = 0.25  # of the open pairs looked at that have no score
FEW = 20  # pairs without a score that are not worth a run
PAUSE = timedelta(hours=1)  # after a scoring that failed or was cancelled
_FIELDS = {"scope", "models", "pairs", "most", "seed"}
_FROZEN = {"model_names", "n_pairs", "n_responses", "known", "left"}
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
    """Freeze the responses to score, the models, and what is known already."""
    for name in config:
        if name not in _FIELDS | _FROZEN:
            raise Invalid(f"{name}: a score run has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}.")
    scope = config.get("scope") or OPEN
    if scope not in SCOPES:
        raise Invalid(f"scope: there is no “{scope}”.", f"One of: {', '.join(SCOPES)}.")
    models = _models(session, project, config.get("models"))
    made = (_open if scope == OPEN else _all)(session, project, config, models)
    made.config |= {
        "scope": scope,
        "models": [model.id for model in models],
        "model_names": [model.name for model in models],
    }
    made.documents["models"] = [
        {"id": model.id, "name": model.name, "folder": str(_folder(model))} for model in models
    ]
    return made


def _open(session: Session, project: Project, config: dict[str, Any], models: list[RewardModel]) -> Prepared:
    most = _whole(config, "pairs", SCORED_PAIRS, 20_000)
    slots = open_slots(session, project.id, most)
    if not slots:
        raise Invalid("pairs: no pair of this project waits for a vote.")
    wanted = sorted({key for slot in slots for key in (slot.response_a, slot.response_b)})
    known = known_rows(session, project.id, [model.id for model in models], set(wanted))
    names = ", ".join(model.name for model in models)
    return Prepared(
        config={"pairs": most, "n_pairs": len(slots), "n_responses": len(wanted), "known": len(known)},
        tables=_tables(session, wanted, known, len(models)),
        name=f"Score {len(slots):,} open pairs with {names}",
    )


def _all(session: Session, project: Project, config: dict[str, Any], models: list[RewardModel]) -> Prepared:
    most = _whole(config, "most", SCORED_RESPONSES, 1_000_000)
    query = select(Response.id).where(Response.project_id == project.id)
    ids = list(session.exec(query.order_by(col(Response.created_at).desc(), col(Response.id).desc())))
    if not ids:
        raise Invalid("scope: this project has no responses to score.", "Generate or import some.")
    chosen = reference.choose(reference.kept(session, project.id), ids)
    known = known_rows(session, project.id, [model.id for model in models], set(ids))
    whole, there = _complete(known, len(models)), set(ids)
    first = dict.fromkeys([*(key for key in chosen.ids if key in there), *ids])
    missing = [key for key in first if key not in whole]
    wanted = [*whole, *missing[:most]]
    names = ", ".join(model.name for model in models)
    return Prepared(
        config={
            "most": most,
            "n_responses": len(wanted),
            "known": len(known),
            "left": max(0, len(missing) - most),
        },
        tables=_tables(session, wanted, known, len(models)),
        documents={"reference": {"ids": list(chosen.ids), "version": chosen.version}},
        name=f"Score all responses with {names}",
    )


def _whole(config: dict[str, Any], name: str, default: int, most: int) -> int:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Invalid(f"{name}: a whole number from 1 to {most:,}.")
    return value


def _complete(known: list[dict[str, Any]], models: int) -> set[str]:
    """Responses that every model has scored."""
    count: dict[str, int] = {}
    for row in known:
        count[row["response_id"]] = count.get(row["response_id"], 0) + 1
    return {key for key, number in count.items() if number == models}


def _tables(
    session: Session, wanted: Sequence[str], known: list[dict[str, Any]], models: int
) -> dict[str, list[dict[str, Any]]]:
    """The texts of what is not known, and what is."""
    whole = _complete(known, models)
    texts = texts_of(session, [key for key in wanted if key not in whole])
    # A table without rows would have no columns.
    return {"responses": texts, **({"known": known} if known else {})}


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


def texts_of(session: Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    columns: list[Any] = [
        Response.id, Response.prompt_id, Response.example_id, Response.text,
        Example.split, Example.input, Example.messages,
    ]  # fmt: skip
    for part in chunks(ids):
        query = (
            select(*columns)
            .join(Example, col(Example.id) == col(Response.example_id))
            .where(col(Response.id).in_(part))
        )
        for key, prompt_id, example_id, text, split, input_, earlier in session.exec(query):
            rows[key] = {
                "response_id": key,
                "prompt_id": prompt_id,
                "example_id": example_id,
                "split": split,
                "input": input_text(input_, earlier),
                "response": text,
            }
    return [rows[key] for key in ids if key in rows]


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Keep the reference responses that a run of scope all has chosen; the scores are read from
    the newest run's file."""
    path = folder.inputs / "reference.json"
    if path.exists():
        ids = json.loads(path.read_text(encoding="utf-8"))["ids"]
        reference.keep(session, run.project_id, reference.Reference(tuple(ids)))


# --- when -----------------------------------------------------------------------------------


def wanted_models(session: Session, project: Project, least: int) -> list[str]:
    """The models a strategy asks that needs at least so many: the active one, or, for more
    than one, the ensemble. Empty while there are too few."""
    if active_model(session, project) is None:
        return []
    found = ensemble(session, project, 1 if least == 1 else MOST_MODELS)
    return [model.id for model in found] if len(found) >= least else []


def may_start(session: Session, project_id: str, models: list[str], scope: str = OPEN) -> bool:
    """Not while a scoring is under way, and not soon after one of this scope with these models
    that failed or was cancelled."""
    for place, last in enumerate(score_runs(session, project_id)):
        if last.status in _UNDER_WAY:
            return False
        if scope_of(last) == scope:
            ended = last.finished_at or last.created_at
            unlucky = last.status in ("failed", "cancelled") and last.config.get("models") == models
            return not (unlucky and now() - ended < PAUSE)
        if place >= 50:  # of the other scope alone
            return True
    return True


def too_many_unscored(scores: Scores | None, slots: Sequence[OpenSlot]) -> bool:
    """Whether enough open pairs have no score to make another run worth while."""
    if scores is None:
        return bool(slots)
    unscored = sum(not {slot.response_a, slot.response_b} <= scores.place.keys() for slot in slots)
    return unscored >= FEW and unscored > STALE_SHARE * len(slots)


def under_way(session: Session, project_id: str, scope: str) -> Run | None:
    """The score run of this scope that waits, runs or was interrupted."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == KIND, col(Run.status).in_(_UNDER_WAY))
    return next((run for run in session.exec(query) if scope_of(run) == scope), None)


# --- what the settings page says --------------------------------------------------------------


def state_in_words(session: Session, project: Project, least: int) -> str:
    """Where a strategy stands that needs at least so many reward models, in a sentence."""
    until = "Until then pairs come fewest votes first."
    models = wanted_models(session, project, least)
    if not models:
        what = "an active reward model" if least == 1 else "an active reward model and one more"
        return f"It needs {what}, which this project does not have yet. {until}"
    run = newest(session, project.id)
    busy = under_way(session, project.id, OPEN)
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
