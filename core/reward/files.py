"""Scoring a file, web side: CSV, JSON Lines, JSON or Parquet with inputs and responses, or with
pairs of responses, as a run of the kind `score_file`; its result in three forms.

config: upload (the id that staging answered), file (its name), model (an id; default: the active
one), columns (field -> columns, as `core.mapping` has them; default: guessed by name).
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session

from core import data, mapping, spreadsheet
from core.access import Principal, require
from core.errors import Conflict, Invalid
from core.reward.items import read_row
from core.reward.keeping import current_scores
from core.reward.registry import active_model
from core.reward.upload import stage, staged, staging
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.runs.service import get_run, run_folder, start_run
from core.settings import get_settings
from storage.database import Database
from storage.files import Table
from storage.inputs import RowProblem
from storage.tables import Project, RewardModel, Run

KIND = "score_file"
MOST_ROWS = 200_000
FORMS = {"csv": "text/csv", "jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
NAMED = 100  # rows that could not be read, named in the result
_FIELDS = {"upload", "file", "model", "columns", "seed"}
_FROZEN = {"model_name", "pairs", "rows", "unreadable", "scale"}


def score_file(
    db: Database,
    who: Principal,
    project_id: str,
    name: str,
    chunks: Iterable[bytes],
    model_id: str | None = None,
    columns: mapping.Mapping | None = None,
) -> Run:
    """Stage the file and start the run that scores it."""
    require(who, "run.start")
    key = stage(chunks, get_settings().max_upload_mb * 2**20, "file")
    config: dict[str, Any] = {"upload": key, "file": name or "file"}
    if model_id:
        config["model"] = model_id
    if columns:
        config["columns"] = columns
    try:
        return start_run(db, who, project_id, KIND, config)
    finally:
        (staging() / key).unlink(missing_ok=True)  # its rows are frozen with the run


def kind_of_file(columns: list[str]) -> str:
    """response_pairs where two responses are found by name, else responses."""
    guess = mapping.guess_mapping("response_pairs", columns)
    return "response_pairs" if guess["response_a"] and guess["response_b"] else "responses"


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Read the file and freeze its rows, the model, and the project's scale for it."""
    for field in config:
        if field not in _FIELDS | _FROZEN:
            raise Invalid(
                f"{field}: scoring a file has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}."
            )
    model, folder = _model(session, project, config.get("model"))
    name = str(config.get("file") or "file")[:200]
    table = data.read_upload(name, staged(config.get("upload")).read_bytes())
    if len(table.rows) > MOST_ROWS:
        raise Invalid(f"The file has {len(table.rows):,} rows, where {MOST_ROWS:,} are allowed.", "Split it.")
    rows, problems, pairs = read_rows(table, config.get("columns"))
    if not rows:
        number, reason = problems[0]
        raise Invalid(f"{table.unit} {number}: {reason}.", "No row of the file can be scored.")
    found = current_scores(session, project, model.id)
    return Prepared(
        config={
            "file": name,
            "model": model.id,
            "model_name": model.name,
            "pairs": pairs,
            "rows": len(rows),
            "unreadable": len(problems),
            "scale": found[2].as_dict() if found else None,
        },
        tables={"rows": rows},
        documents={
            "model": {"id": model.id, "name": model.name, "folder": str(folder)},
            "problems": {"unit": table.unit, "rows": [list(one) for one in problems]},
        },
        name=f"Score {name}",
    )


def _model(session: Session, project: Project, asked: Any) -> tuple[RewardModel, Path]:
    model = session.get(RewardModel, asked) if isinstance(asked, str) else active_model(session, project)
    if model is None or model.project_id != project.id or model.archived_at is not None:
        if asked is None:
            raise Invalid("model: this project has no active reward model.", "Train one, or make one active.")
        raise Invalid(f"model: there is no reward model {asked} in this project.")
    folder = (get_settings().data_dir / model.folder).resolve()
    if not (folder / "reward.json").exists():
        raise Invalid(f"model: the files of “{model.name}” are gone.", "Train a new one.")
    return model, folder


def read_rows(
    table: Table, columns: mapping.Mapping | None = None
) -> tuple[list[dict[str, Any]], list[tuple[int, str]], bool]:
    """(rows to score, [(where a row stands, why it cannot be)], whether they are pairs). Raises
    Invalid for a field without a column."""
    kind = "response_pairs" if columns and columns.get("response_a") else kind_of_file(table.columns)
    if columns and columns.get("response"):
        kind = "responses"
    chosen = _checked(columns, table.columns) if columns else mapping.guess_mapping(kind, table.columns)
    if not chosen.get("input") and chosen.get("messages"):
        kinds = [field for field in mapping.KINDS[kind] if field.required and field.name != "input"]
    else:
        kinds = [field for field in mapping.KINDS[kind] if field.required]
    missing = [field.title for field in kinds if not chosen.get(field.name)]
    if missing:
        raise Invalid(
            f"No column for: {', '.join(missing)}.", f"Columns there: {', '.join(table.columns[:20])}."
        )
    pairs = kind == "response_pairs"
    rows: list[dict[str, Any]] = []
    problems = list(table.broken)
    for number, row in zip(table.numbers, mapping.apply(kind, chosen, table.rows), strict=True):
        try:
            said, *responses = read_row(_parsed(row, table.format), pairs)
        except RowProblem as problem:
            problems.append((number, str(problem)))
            continue
        names = ("response_a", "response_b") if pairs else ("response",)
        rows.append({"row": number, "input": said, **dict(zip(names, responses, strict=True))})
    return rows, sorted(problems), pairs


def _checked(columns: Any, there: list[str]) -> mapping.Mapping:
    if not isinstance(columns, dict):
        raise Invalid("columns: an object of field and list of columns.")
    chosen: mapping.Mapping = {}
    for name, value in columns.items():
        several = [value] if isinstance(value, str) else value
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise Invalid(f"columns.{name}: a list of columns.")
        for one in several:
            if one not in there:
                raise Invalid(
                    f"columns.{name}: the file has no column “{one}”.", f"It has {', '.join(there[:20])}."
                )
        chosen[str(name)] = several
    return chosen


def _parsed(row: dict[str, Any], format: str) -> dict[str, Any]:
    """A cell of a table is text: a conversation in it is JSON."""
    if format not in ("CSV", "TSV", "Parquet"):
        return row
    made = dict(row)
    for name, cell in row.items():
        if isinstance(cell, str) and name in ("messages", "input") and cell.lstrip()[:2] in ("[{", "[ "):
            try:
                made[name] = json.loads(cell)
            except ValueError:
                continue
    if made.get("messages") == "":
        made["messages"] = None
    return made


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Nothing to store: the result is the run's file."""


# --- the result ---------------------------------------------------------------------------------


def result_file(db: Database, who: Principal, run_id: str, as_: str) -> tuple[str, Iterator[bytes]]:
    """(file name, pieces). Raises Invalid for another form, Conflict while there is none."""
    require(who, "run.view")
    if as_ not in FORMS:
        raise Invalid(f"as: one of {', '.join(FORMS)}.")
    run = get_run(db, who, run_id)
    path = run_folder(run.id).artifacts / "scores.parquet"
    if run.kind != KIND or not path.is_file():
        raise Conflict("This run has no scores to download.", "Wait for its end, or look at its error.")
    stem = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in Path(run.config["file"]).stem
    )
    write = {"csv": _csv, "jsonl": _json_lines, "parquet": _bytes}[as_]
    return f"{stem.strip('-')[:60] or 'file'}-scored.{as_}", write(path)


def _bytes(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(2**20):
            yield piece


def _json_lines(path: Path) -> Iterator[bytes]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1_000):
            yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist()).encode()


def _csv(path: Path) -> Iterator[bytes]:
    """In UTF-8 with its mark, as spreadsheets know it; safe to open in one."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        yield ("\ufeff" + ",".join(names) + "\r\n").encode()
        for batch in file.iter_batches(1_000):
            text = io.StringIO(newline="")
            csv.writer(text).writerows(
                [spreadsheet.safe(row[name]) for name in names] for row in batch.to_pylist()
            )
            yield text.getvalue().encode()
