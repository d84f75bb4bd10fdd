"""Prompts out of one installation and into another, with the vectors of soft prompts.

A zip: `prompts.jsonl`, a version a line in the order in which they were made, and
`soft/<name>.safetensors` for each soft prompt that one of them names. What comes in is what a stranger
sent: the table of contents is checked before anything is unpacked, vectors are taken as safetensors
alone and must be what their name says (it is a hash of them), and it is all taken or nothing.
"""

import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.encoding import Sink
from core.errors import Conflict, Invalid
from core.llm.soft_names import SOFT, file_of, names_in
from core.projects import find_project
from core.prompts.soft import soft_card, soft_folder, vectors_in, verified
from core.prompts.versions import add_version, label, prompts_of
from core.reward.archive import safe_name
from core.settings import get_settings
from storage.database import Database
from storage.tables import Project, Prompt

ROWS = "prompts.jsonl"
MOST_ROWS = 10_000
MOST_SOFT = 200
MOST_ROW_BYTES = 64 * 2**20
PIECE = 2**20
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same prompts, the same bytes
_TEXTS = ("name", "system", "user", "operation")
_FIELDS = {*_TEXTS, "version", "structure", "parent", "created_at"}


# --- out ---------------------------------------------------------------------------------------


def export_prompts(db: Database, who: Principal, project_id: str) -> tuple[str, Iterator[bytes]]:
    """(file name, the zip piece by piece): every version that has a template and is not archived.
    Raises Conflict when there is none, or when the vectors of one are gone."""
    require(who, "data.export")

    def work(session: Session) -> tuple[Project, list[Prompt]]:
        project = find_project(session, project_id)
        found = [prompt for prompt in prompts_of(session, project_id) if prompt.user.strip()]
        audit.record(session, who, "prompt.export", "project", project_id, project_id, prompts=len(found))
        session.flush()
        session.refresh(project)
        session.expunge(project)
        return project, found

    project, prompts = db.write(work)
    if not prompts:
        raise Conflict("There is no prompt to export.", "Write one on the page Prompts.")
    for prompt in prompts:
        if names_in(prompt.system, prompt.user) and soft_card(prompt) is None:
            raise Conflict(
                f"The vectors of {label(prompt)} are not there any more.", "Archive it, and export again."
            )
    return file_name(project.name), _pieces(project_id, prompts)


def file_name(project: str) -> str:
    """Letters of ASCII, digits and dashes, whatever the project is called."""
    stamp = re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:40].strip("-")
    return f"{stamp or 'project'}-prompts.zip"


def _pieces(project_id: str, prompts: list[Prompt]) -> Iterator[bytes]:
    prompts = sorted(prompts, key=lambda prompt: (prompt.created_at, prompt.name, prompt.version))
    labels = {prompt.id: [prompt.name, prompt.version] for prompt in prompts}
    lines = [
        {
            "name": prompt.name,
            "version": prompt.version,
            "system": prompt.system,
            "user": prompt.user,
            "structure": prompt.structure,
            "operation": prompt.operation,
            "parent": labels.get(prompt.parent_id or ""),
            "created_at": prompt.created_at.isoformat(),
        }
        for prompt in prompts
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    names = dict.fromkeys(name for prompt in prompts for name in names_in(prompt.system, prompt.user))
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(ROWS, _WHEN), text, zipfile.ZIP_DEFLATED)
        yield sink.take()
        for name in names:  # stored: vectors do not shrink
            entry = zipfile.ZipInfo(f"{SOFT}/{name}.safetensors", _WHEN)
            source = file_of(soft_folder(project_id), name)
            with archive.open(entry, "w") as into, source.open("rb") as file:
                while piece := file.read(PIECE):
                    into.write(piece)
                    yield sink.take()
    yield sink.take()


# --- in ----------------------------------------------------------------------------------------


@dataclass
class Taken:
    """What became of a file: ids of the versions that were made; how many were there already (in
    any version of that name), and how many soft prompts' vectors are new here."""

    made: list[str] = field(default_factory=list)
    there: int = 0
    soft: int = 0


def import_prompts(db: Database, who: Principal, project_id: str, chunks: Iterable[bytes]) -> Taken:
    """Take in what `export_prompts` wrote; all of it or nothing. A version that says what one of its
    name says already is not made again. Raises Invalid naming the entry or line that is wrong, and
    NotFound for the project."""
    require(who, "prompt.edit")
    with db.read() as session:
        find_project(session, project_id)
    most = get_settings().max_upload_mb * 2**20
    with tempfile.TemporaryDirectory(prefix="prompts-") as holder:
        folder = Path(holder)
        _received(chunks, folder / "zip", most)
        rows = _unpack(folder / "zip", folder, most)
        brought = {name for row in rows for name in names_in(row["system"], row["user"])}
        for path in sorted((folder / SOFT).glob("*.safetensors")):
            if path.stem not in brought:
                raise Invalid(f"{SOFT}/{path.name}: no prompt of the file names these vectors.")
            verified(path, f"{SOFT}/{path.name}")
        placed = vectors_in(project_id, folder / SOFT)
        try:
            taken: Taken = db.write(lambda session: _store(session, who, project_id, rows))
        except BaseException:
            for path in placed:  # nothing names them
                path.unlink(missing_ok=True)
            raise
    taken.soft = len(placed)
    return taken


def _received(chunks: Iterable[bytes], path: Path, most: int) -> None:
    size = 0
    with path.open("wb") as file:
        for piece in chunks:
            size += len(piece)
            if size > most:
                raise Invalid(
                    f"The file is larger than {most / 2**20:,.0f} MB.", "Raise PREFLOOP_MAX_UPLOAD_MB."
                )
            file.write(piece)


def _unpack(path: Path, folder: Path, most: int) -> list[dict[str, Any]]:
    """The rows; vectors into `folder`/soft. Raises Invalid."""
    try:
        archive = zipfile.ZipFile(path)
        found = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Invalid(
            "The file is not a zip archive, or it is damaged.", "Send what the export gave."
        ) from None
    (folder / SOFT).mkdir()
    rows: list[dict[str, Any]] | None = None
    seen: set[str] = set()
    left = most
    if len(found) > MOST_SOFT + 1:
        raise Invalid(
            f"The zip has {len(found):,} entries; at most {MOST_SOFT} soft prompts are taken at once."
        )
    with archive:
        for entry in found:
            name = safe_name(entry)
            if str(name) in seen:
                raise Invalid(f"{name}: it is in the zip twice.")
            seen.add(str(name))
            if str(name) == ROWS:
                text = b"".join(_read(archive, entry, MOST_ROW_BYTES))
                rows = _rows(text)
            elif name.parts[:-1] == (SOFT,) and name.suffix == ".safetensors" and _is_name(name.stem):
                with file_of(folder / SOFT, name.stem).open("wb") as file:
                    for piece in _read(archive, entry, left):
                        left -= len(piece)
                        file.write(piece)
            else:
                raise Invalid(
                    f"{name}: an export of prompts has no such entry.",
                    f"It has {ROWS}, and {SOFT}/<16 hexadecimal digits>.safetensors.",
                )
    if rows is None:
        raise Invalid(f"The zip has no {ROWS}.", "Send what the export gave.")
    return rows


def _is_name(stem: str) -> bool:
    return len(stem) == 16 and all(letter in "0123456789abcdef" for letter in stem)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
    """An entry in pieces; more than `most` bytes are refused whatever the table of contents says."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Invalid(f"{entry.filename}: it is packed in a way that is not read here.", "Zip it anew.")
    try:
        with archive.open(entry) as source:
            while piece := source.read(PIECE):
                most -= len(piece)
                if most < 0:
                    raise Invalid(f"{entry.filename}: it unpacks to more than is allowed.")
                yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError):
        raise Invalid(f"{entry.filename}: it is damaged in the zip.", "Send what the export gave.") from None


def _rows(text: bytes) -> list[dict[str, Any]]:
    try:
        lines = [line for line in text.decode("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise Invalid(f"{ROWS}: it is not UTF-8.") from None
    if not lines:
        raise Invalid(f"{ROWS}: it has no line.")
    if len(lines) > MOST_ROWS:
        raise Invalid(f"{ROWS}: it has {len(lines):,} lines; at most {MOST_ROWS:,} are taken at once.")
    return [_row(line, f"{ROWS}, line {place}") for place, line in enumerate(lines, 1)]


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        storable = _storable(row)
    except (ValueError, RecursionError):
        raise Invalid(f"{where}: it is no JSON.") from None
    if not storable:
        raise Invalid(f"{where}: it holds a character that no text can have.", "Export it again.")
    if not isinstance(row, dict):
        raise Invalid(f"{where}: a line is an object with name, system and user.")
    for name in row:
        if name not in _FIELDS:
            raise Invalid(f"{where}: a prompt has no field “{name[:60]}”.")
    row = {"system": "", "operation": "written", "version": 1, "structure": None, "parent": None, **row}
    for name in _TEXTS:
        if not isinstance(row.get(name), str):
            raise Invalid(f"{where}: {name} is a text.")
    if not row["user"].strip():
        raise Invalid(f"{where}: user is empty: a prompt without a template cannot be used.")
    if type(row["version"]) is not int or not 1 <= row["version"] < 10**6:
        raise Invalid(f"{where}: version is a whole number from 1.")
    if row["structure"] is not None and not isinstance(row["structure"], dict):
        raise Invalid(f"{where}: structure is an object, or null.")
    parent = row["parent"]
    if parent is not None and not (
        isinstance(parent, list) and [type(part) for part in parent] == [str, int]
    ):
        raise Invalid(f"{where}: parent is [name, version], or null.")
    return row


def _storable(value: Any) -> bool:
    """Whether all its texts can be kept: no NUL, and no half of a surrogate pair."""
    if isinstance(value, dict):
        return all(_storable(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return all(_storable(item) for item in value)
    return not isinstance(value, str) or not re.search("[\x00\ud800-\udfff]", value)


def _store(session: Session, who: Principal, project_id: str, rows: list[dict[str, Any]]) -> Taken:
    project = find_project(session, project_id)
    there: dict[str, list[Prompt]] = {}
    for prompt in session.exec(
        select(Prompt).where(Prompt.project_id == project_id, col(Prompt.archived_at).is_(None))
    ):
        there.setdefault(prompt.name, []).append(prompt)
    ids = {prompt.id for versions in there.values() for prompt in versions}
    taken = Taken()
    became: dict[tuple[str, int], str] = {}
    for place, row in enumerate(rows, 1):
        known = next((one for one in there.get(row["name"], []) if _same(one, row)), None)
        if known is not None:
            taken.there += 1
            prompt = known
        else:
            parent = became.get(tuple(row["parent"])) if row["parent"] else None
            try:
                prompt = add_version(
                    session, who, project, row["name"], row["system"], row["user"], row["structure"],
                    parent_id=parent, operation=_operation(row["operation"]),
                )  # fmt: skip
            except Invalid as problem:
                raise Invalid(f"{ROWS}, line {place}: {problem.message}", problem.hint) from problem
            session.flush()
            if prompt.id in ids:
                taken.there += 1
            else:
                ids.add(prompt.id)
                there.setdefault(prompt.name, []).append(prompt)
                taken.made.append(prompt.id)
        became[row["name"], row["version"]] = prompt.id
    return taken


def _same(prompt: Prompt, row: dict[str, Any]) -> bool:
    kept = (prompt.system, prompt.user, prompt.structure or None)
    return kept == (row["system"], row["user"], row["structure"] or None)


def _operation(said: str) -> str:
    """What an optimiser found elsewhere stays known as found: it is promoted by a blind
    comparison here, too (`core.optimize.found`)."""
    found = said.removeprefix("imported ")
    return f"imported {' '.join(found.split())[:100]}" if ":" in found else "imported"
