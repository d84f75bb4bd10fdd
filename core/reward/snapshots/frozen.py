"""A snapshot on disk: a folder that is never changed.

    pairs.parquet    a row a pair, as trainings read them
    votes.parquet    a row a vote of those pairs
    snapshot.json    name, filters, counts, checks, content hash
    README.md        the card

Written beside its place and then renamed, so that it is there whole or not at all.
"""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import NotFound, PrefloopError

Row = dict[str, Any]
FILES = ("pairs.parquet", "votes.parquet", "snapshot.json", "README.md")

_TEXT, _WHOLE, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()
PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("pair_id", "split", "example_id", "input", "response_a", "response_b")),
        *((name, _TEXT) for name in ("prompt_a", "prompt_b")),
        ("q", _REAL),
        *((name, _WHOLE) for name in ("n", "n_simulated", "n_machine")),
        ("margin", _REAL),
        *((name, _WHOLE) for name in ("left_known", "left_won")),
        ("share", _REAL),
        ("weight", _REAL),
        *((name, _WHOLE) for name in ("count_a", "count_b", "count_tie")),
        *((name, _REAL) for name in ("votes_a", "votes_b", "votes_tie")),
        ("criteria", _TEXT),
        ("strength", _REAL),
        ("week", _TEXT),
    ]
)
VOTES = pa.schema(
    [
        *((name, _TEXT) for name in ("pair_id", "annotator", "outcome", "strength", "left", "criteria")),
        *((name, _TEXT) for name in ("week", "source")),
        ("simulated", _YES),
        ("machine", _YES),
        ("weight", _REAL),
    ]
)


def write(folder: Path, pairs: Sequence[Row], votes: Sequence[Row], document: Row, card: str) -> None:
    """Make `folder`; when it is there already it is left as it is. Raises PrefloopError when
    the disk does not take it."""
    if folder.exists():
        return
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(list(pairs), PAIRS), part / "pairs.parquet", compression="zstd")
        pq.write_table(pa.Table.from_pylist(list(votes), VOTES), part / "votes.parquet", compression="zstd")
        (part / "snapshot.json").write_text(
            json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8"
        )
        (part / "README.md").write_text(card, encoding="utf-8")
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if folder.exists():  # somebody made the same one meanwhile
            return
        raise PrefloopError(
            f"The snapshot's folder could not be written: {error.strerror or error}.",
            f"Free some space, or check the permissions of {folder.parent}.",
        ) from error


def read_pairs(folder: Path) -> list[Row]:
    return _rows(folder / "pairs.parquet")


def read_votes(folder: Path) -> list[Row]:
    return _rows(folder / "votes.parquet")


def read_card(folder: Path) -> str:
    try:
        return (folder / "README.md").read_text(encoding="utf-8")
    except OSError as error:
        raise _gone(folder) from error


def as_zip(folder: Path) -> bytes:
    """The whole folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
        for name in FILES:
            try:
                archive.write(folder / name, name)
            except OSError as error:
                raise _gone(folder) from error
    return out.getvalue()


def file_of(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _gone(folder) from error


def _rows(path: Path) -> list[Row]:
    try:
        return pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise _gone(path.parent) from error


def _gone(folder: Path) -> NotFound:
    return NotFound(f"The files of the snapshot {folder.name} are gone.", "Make it again with its filters.")


def remove(folder: Path) -> None:
    """Of a snapshot that was never stored."""
    shutil.rmtree(folder, ignore_errors=True)
