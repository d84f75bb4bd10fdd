"""Scoring at once, for programs and for the page: who may, by which model, on which scale.

The scores are made by the resident scorer (`core.reward.client`); this checks before and says
after what they mean.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from core.access import Principal, require
from core.errors import Conflict, NotFound, Unavailable
from core.projects import find_project
from core.reward.client import Found, ScorerClient
from core.reward.items import Asked, asked
from core.reward.keeping import current_scores
from core.reward.normalise import Normalisation
from core.reward.registry import active_model
from core.settings import get_settings
from storage.database import Database
from storage.tables import RewardModel

MOST = 256  # responses of one request
CUT = {0: None, 1: "input", 2: "response"}


@dataclass(frozen=True)
class Question:
    """A checked request. `scale`: the project's for this model; None while its responses have not
    been scored by it, then rewards are in units of the model's training responses."""

    model: RewardModel
    active: bool
    folder: str
    asked: Asked
    scale: Normalisation | None


def question(
    db: Database,
    who: Principal,
    project_id: str,
    items: Sequence[Any] | None = None,
    pairs: Sequence[Any] | None = None,
    model_id: str | None = None,
) -> Question:
    """Raises Forbidden, NotFound, Conflict (no model, or its files are gone), or Invalid naming
    the row."""
    require(who, "reward.score")
    checked = asked(items, pairs, MOST)
    with db.read() as session:
        project = find_project(session, project_id)
        model = session.get(RewardModel, model_id) if model_id else active_model(session, project)
        if model_id and (model is None or model.project_id != project.id):
            raise NotFound(f"There is no reward model {model_id} in this project.")
        if model is None:
            raise Conflict("This project has no active reward model.", "Train one, or make one active.")
        if model.archived_at is not None:
            raise Conflict(f"“{model.name}” is archived.", "Restore it, or name another model.")
        folder = (get_settings().data_dir / model.folder).resolve()
        if not (folder / "reward.json").exists():
            raise Conflict(f"The files of “{model.name}” are gone.", "Activate another model.")
        found = current_scores(session, project, model.id)
        active = project.reward_model_id == model.id
    return Question(model, active, str(folder), checked, found[2] if found else None)


def submit(client: ScorerClient, question: Question) -> "Future[Found]":
    return client.submit(question.folder, question.asked.inputs, question.asked.responses)


def too_late(seconds: float) -> Unavailable:
    return Unavailable(
        f"Scoring took longer than {seconds:.0f} s.", "Send fewer rows, or score a file.", retry_after=5
    )


def ask(client: ScorerClient, question: Question) -> dict[str, Any]:
    """Wait for the answer, in this thread."""
    seconds = get_settings().scorer_timeout_s
    future = submit(client, question)
    try:
        found = future.result(seconds)
    except TimeoutError:
        client.drop(future)
        raise too_late(seconds) from None
    return answer(question, found)


def answer(question: Question, found: Found) -> dict[str, Any]:
    """What the scores mean: rewards on the scale named in `scale`, spread (standard deviation of
    the reward over the model's members; None where there is one), what was cut, and for pairs
    the calibrated probability that people prefer response_a."""
    scale = question.scale
    mean, std = (scale.mean, scale.std) if scale else (0.0, 1.0)
    rewards = [(score - mean) / std for score in found["score"]]
    spreads = [value / std for value in found["spread"]] if found["spread"] else [None] * len(rewards)
    cut = [CUT[flag] for flag in found["cut"]]
    told: dict[str, Any] = {
        "model": {"id": question.model.id, "name": question.model.name, "active": question.active},
        "scale": {"kind": "project", **scale.as_dict()} if scale else {"kind": "training"},
        "members": found["members"],
        "seconds": found["seconds"],
    }
    if not question.asked.pairs:
        told["items"] = [
            {"reward": reward, "spread": spread, "cut": what}
            for reward, spread, what in zip(rewards, spreads, cut, strict=True)
        ]
        return told
    told["pairs"] = [
        {
            "p": _sigmoid(found["logit"][i] - found["logit"][i + 1]),
            "reward_a": rewards[i],
            "reward_b": rewards[i + 1],
            "spread_a": spreads[i],
            "spread_b": spreads[i + 1],
            "cut_a": cut[i],
            "cut_b": cut[i + 1],
        }
        for i in range(0, len(rewards), 2)
    ]
    return told


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
