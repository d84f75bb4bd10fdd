"""Freezing a run: everything its worker needs goes into the folder, before the run exists
for anybody."""

import hashlib
import platform
import shutil
import subprocess
import tomllib
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import PrefloopError
from core.runs.folder import RunFolder, plain, write_json
from core.runs.kinds import Prepared
from core.settings import ROOT
from storage.ids import now

_LIBRARIES = ("torch", "transformers", "tokenizers", "trl", "accelerate", "datasets", "numpy", "pyarrow")


def freeze(folder: RunFolder, spec: dict[str, Any], prepared: Prepared) -> None:
    """Write inputs/ and, last, spec.json with the inputs' checksums; on any failure the
    folder is gone again. Raises PrefloopError when the disk does not take it."""
    try:
        inputs = write_inputs(folder.inputs, prepared)
        folder.create({**spec, "inputs": inputs, "versions": versions(), "frozen_at": now().isoformat()})
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise PrefloopError(
            f"The run's folder could not be written: {error.strerror or error}.",
            f"Free some space, or check the permissions of {folder.path.parent}.",
        ) from error
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def write_inputs(folder: Path, prepared: Prepared) -> dict[str, dict[str, Any]]:
    """Tables as parquet, documents as JSON, files as they are; answers file name ->
    {sha256, rows}."""
    folder.mkdir(parents=True)
    written: dict[str, dict[str, Any]] = {}
    for name, rows in prepared.tables.items():
        # Columns are all keys of all rows: pyarrow alone would look at the first row only.
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = pa.table({column: [row.get(column) for row in rows] for column in columns})
        path = folder / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd")
        written[path.name] = {"rows": len(rows), "sha256": _sha256(path)}
    for name, document in prepared.documents.items():
        path = folder / f"{name}.json"
        write_json(path, plain(document))
        written[path.name] = {"sha256": _sha256(path)}
    for name, source in prepared.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        written[name] = {"sha256": _sha256(path)}
    return written


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def versions() -> dict[str, str | None]:
    """Of Python, of Prefloop and of the libraries the work rests on, read without
    importing them."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "prefloop": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "commit": _commit(),
    }
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = None
    return found


def _commit() -> str | None:
    try:
        said = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=5, check=True
        )
        return said.stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
