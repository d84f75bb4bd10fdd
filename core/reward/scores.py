"""Reading what score runs made: scores of responses by reward models. Web side, no torch.

A score run has a scope: `open` (the responses of open pairs, for the strategies that choose the
next pair; `core.reward.scoring`) or `all` (every response of the project, by the active model;
kept current by `core.reward.keeping`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.reward.normalise import Normalisation, normalisation
from core.reward.reference import Reference
from core.settings import get_settings
from storage.tables import Run

KIND = "score"
OPEN, ALL = "open", "all"
SCOPES = (OPEN, ALL)
_AT_A_TIME = 20


@dataclass(frozen=True)
class Scores:
    """Scores of one run, of R responses by M models.

    models: their ids, the active one of then first; names: theirs. place: response id -> row.
    logits (R, M): p(a beats b) = sigmoid(logit a - logit b), calibrated as the model was, of the
    mean over the model's members. scores (R, M): the same mean in units of the model's own
    training responses (mean 0, deviation 1); `rewards` puts it on the project's scale. spreads
    (R, M): standard deviation of the score over the members, which is how much the ensemble
    disagrees about a response, not an interval; nan where a model has one member. members (M,):
    how many each model has. Where a response has no score by a model, all are nan. prompt,
    example, split (R,): where each response is from ("" in files of earlier versions)."""

    run_id: str
    models: tuple[str, ...]
    names: tuple[str, ...]
    place: dict[str, int]
    logits: np.ndarray
    scores: np.ndarray
    spreads: np.ndarray
    members: tuple[int, ...]
    prompt: np.ndarray
    example: np.ndarray
    split: np.ndarray

    def chances(self, a: Sequence[str], b: Sequence[str]) -> np.ndarray:
        """(m, M) chance that a beats b by each model; nan where one of them has no score."""
        rows = [np.array([self.place.get(key, -1) for key in side], dtype=int) for side in (a, b)]
        padded = np.vstack([self.logits, np.full(len(self.models), np.nan)])
        return 1 / (1 + np.exp(np.clip(padded[rows[1]] - padded[rows[0]], -30, 30)))

    def normalisation(self, reference: Reference, model: int = 0) -> Normalisation | None:
        """The project's scale for a model: from its scores of the reference responses. None
        where fewer than two of them are scored."""
        rows = [self.place[key] for key in reference.ids if key in self.place]
        return normalisation(self.scores[rows, model], reference.version)


def scope_of(run: Run) -> str:
    return str(run.config.get("scope") or OPEN)


def newest(session: Session, project_id: str, scope: str = OPEN, model_id: str | None = None) -> Run | None:
    """The newest score run of this scope (and with this model) that ended well; None where there
    is none, or its file is gone."""
    for run in score_runs(session, project_id):
        if run.status == "succeeded" and scope_of(run) == scope:
            if model_id is not None and model_id not in run.config.get("models", ()):
                continue
            return run if scores_path(run) is not None else None
    return None


def score_runs(session: Session, project_id: str) -> Iterator[Run]:
    """Newest first, read a few at a time."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == KIND).order_by(col(Run.id).desc())
    offset = 0
    while found := list(session.exec(query.limit(_AT_A_TIME).offset(offset))):
        yield from found
        offset += len(found)
        if len(found) < _AT_A_TIME:
            return


def scores_path(run: Run) -> Path | None:
    path = get_settings().runs_dir / run.id / "artifacts" / "scores.parquet"
    return path if path.is_file() else None


def read_scores(run: Run) -> Scores | None:
    """The scores of a score run that ended well (`newest`), of either scope; None when its file
    is gone. Kept in memory by run: do not change what it answers."""
    path = scores_path(run)
    if path is None:
        return None
    try:
        return _read(str(path), run.id, tuple(run.config["models"]), tuple(run.config.get("model_names", ())))
    except FileNotFoundError:  # superseded and cleaned up in this moment
        return None


@lru_cache(maxsize=8)
def _read(path: str, run_id: str, models: tuple[str, ...], names: tuple[str, ...]) -> Scores:
    table = pq.read_table(path)
    column = {key: i for i, key in enumerate(models)}
    ids = table["response_id"].to_pylist()
    place = {key: i for i, key in enumerate(dict.fromkeys(ids))}
    rows = np.array([place[key] for key in ids], dtype=int)
    columns = np.array([column[key] for key in table["model_id"].to_pylist()], dtype=int)

    def matrix(name: str) -> np.ndarray:
        found = np.full((len(place), len(models)), np.nan)
        if name in table.column_names:
            found[rows, columns] = table[name].to_numpy()
        return found

    def texts(name: str) -> np.ndarray:
        found = np.full(len(place), "", dtype=object)
        if name in table.column_names:
            found[rows] = [value or "" for value in table[name].to_pylist()]
        return found

    members = np.nan_to_num(np.nanmax(matrix("members"), axis=0, initial=1.0), nan=1.0)
    return Scores(
        run_id, models, names, place, matrix("logit"), matrix("score"), matrix("spread"),
        tuple(int(number) for number in members), texts("prompt_id"), texts("example_id"), texts("split"),
    )  # fmt: skip


def known_rows(
    session: Session, project_id: str, models: Sequence[str], wanted: set[str]
) -> list[dict[str, Any]]:
    """Rows of the newest runs' files (of both scopes, and of each model) that need not be made
    again: those of `wanted` responses by `models`, each once."""
    runs = [newest(session, project_id), *(newest(session, project_id, ALL, key) for key in models)]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run in {run.id: run for run in runs if run is not None}.values():
        path = scores_path(run)
        if path is None or "score" not in pq.read_schema(path).names:  # of an earlier version
            continue
        for row in pq.read_table(path).to_pylist():
            if row["model_id"] in models and row["response_id"] in wanted:
                found.setdefault((row["model_id"], row["response_id"]), row)
    return list(found.values())
