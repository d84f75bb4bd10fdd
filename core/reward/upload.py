"""Taking in a reward model that was trained elsewhere, web side: a zip of a standard
`transformers` folder, staged on the disk, checked by a run of the kind `reward_upload`, and put
into the registry as a candidate.

config: upload (the id that staging answered), name (of the model; default: the zip's).
"""

import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Invalid
from core.projects import find_project
from core.reward import reference
from core.reward.archive import entries
from core.reward.judged import JUDGING
from core.reward.scoring import texts_of
from core.reward.snapshots.quick import snapshot_for
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.runs.service import start_run
from core.settings import get_settings
from storage.database import Database
from storage.ids import id_of, new_id
from storage.tables import Project, Response, RewardModel, Run

KIND = "reward_upload"
KEPT_DAYS = 7  # a staged file that no run took away
MAX_NAME = 120
_FIELDS = {"upload", "name", "seed"}
_FROZEN = {"bytes", "simulated", "simulated_by_default", "snapshot", "n_reference", "embedder"}


def staging() -> Path:
    return get_settings().data_dir / "uploads"


def stage(chunks: Iterable[bytes], most_bytes: int, what: str) -> str:
    """Write what comes in to the disk; answers its id. Raises Invalid when it is too large or
    empty; then nothing is left. Files that nobody took away for a week are deleted."""
    folder = staging()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_DAYS * 86_400:
            old.unlink(missing_ok=True)
    key = new_id()
    path = folder / key
    size = 0
    try:
        with path.open("wb") as file:
            for piece in chunks:
                size += len(piece)
                if size > most_bytes:
                    raise Invalid(
                        f"The {what} is larger than {most_bytes / 2**20:,.0f} MB.",
                        "Raise the limit, or split it.",
                    )
                file.write(piece)
        if not size:
            raise Invalid(f"The {what} is empty.")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return key


def staged(key: Any) -> Path:
    """The path of a staged file. Raises Invalid."""
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f-]{36}", key):
        raise Invalid("upload: the id that an upload answered.")
    path = staging() / key
    if not path.is_file():
        raise Invalid("upload: this file is no longer there.", "Upload it again.")
    return path


def most_bytes() -> int:
    return get_settings().max_model_mb * 2**20


def upload_model(
    db: Database, who: Principal, project_id: str, chunks: Iterable[bytes], name: str = ""
) -> Run:
    """Stage the zip, look at its table of contents, and start the run that takes it in."""
    require(who, "reward.manage")
    require(who, "run.start")
    with db.read() as session:
        find_project(session, project_id)
    key = stage(chunks, most_bytes(), "zip")
    try:
        return start_run(db, who, project_id, KIND, {"upload": key, "name": name})
    except BaseException:
        (staging() / key).unlink(missing_ok=True)
        raise


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Check the zip's contents, and freeze what the model is measured and judged on: the project's
    reference responses, and a snapshot of its votes as they are now, as a training that names
    none has it. The leak checks, which are about what a training learns, do not stop it."""
    for field in config:
        if field not in _FIELDS | _FROZEN:
            raise Invalid(f"{field}: an upload has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}.")
    name = str(config.get("name") or "").strip()[:MAX_NAME]
    path = staged(config.get("upload"))
    inside = entries(path, most_bytes())
    ids = list(session.exec(select(Response.id).where(Response.project_id == project.id)))
    chosen = reference.choose(reference.kept(session, project.id), ids) if ids else reference.Reference(())
    votes = snapshot_for(session, project, {"allow_leaks": True}, seed)
    tables: dict[str, list[dict[str, Any]]] = {"reference": texts_of(session, chosen.ids)} if ids else {}
    if votes.pairs:
        # Not “pairs”: those of a training say what a model has seen.
        tables |= {JUDGING: votes.pairs, "votes": votes.votes}
    return Prepared(
        config={
            "upload": path.name,
            "name": name,
            "bytes": sum(entry.file_size for entry in inside.values()),
            "simulated": votes.filters.simulated,
            "simulated_by_default": votes.simulated_by_default,
            "snapshot": votes.snapshot_id if votes.pairs else None,
            "n_reference": len(chosen.ids),
            "embedder": get_settings().reward_backbone,
        },
        tables=tables,
        documents={
            "upload": {"path": str(path.resolve()), "most_bytes": most_bytes()},
            "reference": {"ids": list(chosen.ids), "version": chosen.version},
        },
        name=f"Take in {name or 'a reward model'}",
        store=votes.store if votes.pairs else None,
    )


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Put it into the registry, as a candidate."""
    model_id = id_of("reward_model", run.id)
    if not result.get("model") or session.get(RewardModel, model_id) is not None:
        return
    model = RewardModel(
        id=model_id,
        project_id=run.project_id,
        run_id=run.id,
        name=run.config.get("name") or _next_name(session, run.project_id),
        folder=str((folder.path / result["model"]).resolve().relative_to(get_settings().data_dir.resolve())),
        backbone=result.get("backbone", ""),
        metrics=dict(result),
    )
    session.add(model)
    told = {"reward_model_id": model_id, "active": False}
    result.update(told)
    audit.record(
        session, None, "reward.register", "reward_model", model_id, run.project_id,
        name=model.name, run=run.id, uploaded=True,
    )  # fmt: skip
    (staging() / str(run.config.get("upload"))).unlink(missing_ok=True)
    shutil.rmtree(folder.state, ignore_errors=True)


def _next_name(session: Session, project_id: str) -> str:
    there = session.exec(select(RewardModel.id).where(col(RewardModel.project_id) == project_id))
    return f"Uploaded model {len(there.all()) + 1}"
