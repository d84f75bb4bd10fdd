"""Pairwise benchmarks from a file, as a kind of run (`reward_bench`): the web side.

The file is read and checked at once, kept under the data folder by its content, and named by
that; so a run can be repeated, and two models asked the very same rows.

config: model (id; default: the active one), file (what `keep_file` answered), name (of the
file, for people).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.reward.bench_rows import read_bench
from core.reward.registry import active_model
from core.runs import service
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.database import Database
from storage.tables import Project, RewardModel, Run

KIND = "reward_bench"
_FIELDS = {"model", "file", "name", "seed"}
_FROZEN = {"model_name", "rows", "subsets"}
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()), ("subset", pa.string()), ("input", pa.string()),
        ("chosen", pa.list_(pa.string())), ("rejected", pa.list_(pa.string())),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A file that was read: `file` names it in a run's config."""

    file: str
    name: str
    rows: int
    subsets: int


def keep_file(who: Principal, name: str, data: bytes) -> Kept:
    """Read and check a file, and keep its rows. Raises Invalid, naming the row."""
    require(who, "run.start")
    rows = read_bench(name, data, get_settings().max_upload_mb * 2**20)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    key = hashlib.sha256(repr(rows).encode()).hexdigest()[:24]
    target = _path(key)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        pq.write_table(table, part, compression="zstd")
        part.replace(target)
    return Kept(key, name, len(rows), len({row["subset"] for row in rows}))


def _path(key: str) -> Path:
    return get_settings().data_dir / "benches" / f"{key}.parquet"


def start(db: Database, who: Principal, model_id: str, name: str, data: bytes) -> Run:
    """Keep the file and queue a run of this model on it. Raises NotFound, Conflict or Invalid."""
    require(who, "run.start")
    with db.read() as session:
        project_id = _there(session, model_id).project_id
    kept = keep_file(who, name, data)
    config = {"model": model_id, "file": kept.file, "name": name}
    return service.start_run(db, who, project_id, KIND, config)


def _there(session: Session, model_id: str) -> RewardModel:
    model = session.get(RewardModel, model_id)
    if model is None or model.archived_at is not None:
        raise NotFound(f"There is no reward model {model_id}.")
    return model


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Freeze the rows and the model's folder. Raises Invalid naming the field."""
    for name in config:
        if name not in _FIELDS | _FROZEN:
            raise Invalid(
                f"{name}: a benchmark run has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}."
            )
    model = _model(session, project, config.get("model"))
    key = config.get("file")
    if not isinstance(key, str) or not key.isalnum() or not _path(key).exists():
        raise Invalid(
            "file: there is no such benchmark file here.",
            "Send it first, on the model's page or by POST /reward-models/{id}/bench.",
        )
    rows = pq.read_table(_path(key)).to_pylist()
    said = str(config.get("name") or key)[:200]
    return Prepared(
        config={
            "model": model.id, "model_name": model.name, "file": key, "name": said, "rows": len(rows),
            "subsets": len({row["subset"] for row in rows}),
        },
        tables={"rows": rows},
        documents={"model": {"id": model.id, "name": model.name, "folder": str(_folder(model))}},
        name=f"{model.name} on {said}",
    )  # fmt: skip


def _model(session: Session, project: Project, asked: object) -> RewardModel:
    model = session.get(RewardModel, asked) if isinstance(asked, str) else active_model(session, project)
    if model is None or model.project_id != project.id or model.archived_at is not None:
        said = (
            f"model: there is no reward model {asked} here."
            if asked
            else "This project has no active reward model."
        )
        raise Invalid(said, "Train one, or name one of this project.")
    if not (_folder(model) / "reward.json").exists():
        raise Conflict(f"The files of “{model.name}” are gone.", "Train a new one.")
    return model


def _folder(model: RewardModel) -> Path:
    return (get_settings().data_dir / model.folder).resolve()


def bench_runs(db: Database, who: Principal, model_id: str, limit: int = 50) -> list[Run]:
    """The benchmark runs of a model, newest first. Raises NotFound."""
    require(who, "run.view")
    with db.read() as session:
        model = _there(session, model_id)
        query = select(Run).where(Run.project_id == model.project_id, Run.kind == KIND)
        found = session.exec(query.order_by(col(Run.id).desc()).limit(1_000))
        return [run for run in found if run.config.get("model") == model.id][:limit]
