"""What a training left beside its model, read for pages and routes.

artifacts/judgement.json      everything said about the model (core.reward.judgement)
artifacts/test_pairs.parquet  its held-out pairs, one a row, with the model's scores
inputs/pairs.parquet          what it was trained, tuned and judged on
inputs/judging.parquet        in its place, of an uploaded model: what it was judged on

Each file is read once and kept until it changes. A model that was made before these files
were, or that came when there was too little to judge it on, has none: then the answer is None.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core.settings import get_settings
from storage.tables import RewardModel

JUDGING = "judging"
SPLITS_SEEN = ("train", "dev")  # what a model was trained on, and what its state was chosen by


@dataclass(frozen=True)
class Seen:
    """Pairs, examples and inputs (as `same_text` has them) a model knows from its training (train
    and dev splits), and every pair that was in its data at all, with the test split."""

    pairs: frozenset[str]
    examples: frozenset[str]
    inputs: frozenset[str]
    all_pairs: frozenset[str]

    def knows(self, pair_id: str, example_id: str, input_: str) -> bool:
        return pair_id in self.pairs or example_id in self.examples or same_text(input_) in self.inputs


def same_text(text: str) -> str:
    """What two texts share that differ only in case and white space."""
    return " ".join(text.casefold().split())


def folder_of(model: RewardModel) -> Path:
    return (get_settings().data_dir / model.folder).resolve()


def judgement(model: RewardModel) -> dict[str, Any] | None:
    """The figures; None where there are none (or their file is damaged)."""
    return _read(_json, folder_of(model).parent / "judgement.json")


def test_pairs(model: RewardModel) -> dict[str, np.ndarray] | None:
    """Columns of (n,): pair_id, example_id, d, p, q, n, right, and the slices."""
    return _read(_columns, folder_of(model).parent / "test_pairs.parquet")


def seen(model: RewardModel) -> Seen | None:
    """None: nobody knows what it was trained on."""
    return _read(_seen, _inputs(model) / "pairs.parquet")


def test_inputs(model: RewardModel) -> dict[str, str] | None:
    """pair id -> the input of each test pair."""
    return _read(_test_inputs, _rows_at(model))


def rows_of(model: RewardModel, pair_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """pair id -> the row it had in the run's inputs, with the texts."""
    path = _rows_at(model)
    if not path.is_file() or not pair_ids:
        return {}
    found = pq.read_table(path, filters=[("pair_id", "in", list(pair_ids))])
    return {row["pair_id"]: row for row in found.to_pylist()}


def read_columns(path: Path) -> dict[str, np.ndarray] | None:
    """Any table of such columns, by the same rules."""
    return _read(_columns, path)


def _inputs(model: RewardModel) -> Path:
    return folder_of(model).parent.parent / "inputs"


def _rows_at(model: RewardModel) -> Path:
    trained = _inputs(model) / "pairs.parquet"
    return trained if trained.is_file() else _inputs(model) / f"{JUDGING}.parquet"


def _read(how: Any, path: Path) -> Any:
    try:
        stat = path.stat()
    except OSError:
        return None
    return how(str(path), stat.st_mtime_ns, stat.st_size)


# The second and third arguments only make a changed file another one.


@lru_cache(maxsize=32)
def _json(path: str, _changed: int, _size: int) -> dict[str, Any] | None:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@lru_cache(maxsize=32)
def _columns(path: str, _changed: int, _size: int) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names}


@lru_cache(maxsize=32)
def _seen(path: str, _changed: int, _size: int) -> Seen:
    table = pq.read_table(path, columns=["pair_id", "example_id", "split", "input"])
    pairs, examples, splits, inputs = (column.to_pylist() for column in table.columns)
    inside = [split in SPLITS_SEEN for split in splits]
    return Seen(
        frozenset(key for key, known in zip(pairs, inside, strict=True) if known),
        frozenset(key for key, known in zip(examples, inside, strict=True) if known),
        frozenset(same_text(text) for text, known in zip(inputs, inside, strict=True) if known),
        frozenset(pairs),
    )


@lru_cache(maxsize=8)
def _test_inputs(path: str, _changed: int, _size: int) -> dict[str, str]:
    table = pq.read_table(path, columns=["pair_id", "input"], filters=[("split", "=", "test")])
    return dict(zip(table["pair_id"].to_pylist(), table["input"].to_pylist(), strict=True))
