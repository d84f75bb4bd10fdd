"""Data in and out of a project: examples and comparisons here, exports in core.exports."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from core import audit, encoding, foreign, mapping, spreadsheet
from core.access import Principal, require
from core.errors import Invalid
from core.exports import as_lines, as_list, export, export_file, export_preview, export_stream, file_name
from core.projects import find_project
from core.settings import get_settings
from storage import importing, listing
from storage.database import Database
from storage.files import FileProblem, Table, named, read_table
from storage.importing import Checked, ImportReport
from storage.inputs import split_of
from storage.tables import Example, Pair, Project, Response

__all__ = ["as_lines", "as_list", "export", "export_file", "export_preview", "export_stream", "file_name"]

PAGE = 1_000  # most rows of a list in one answer


def read_upload(name: str, data: bytes) -> Table:
    """Read an uploaded file. Raises Invalid, naming the line, for what cannot be read."""
    try:
        return encoding.decoded(read_table(name, data, get_settings().max_upload_mb * 2**20))
    except FileProblem as problem:
        raise Invalid(str(problem), problem.hint) from None


def import_examples(
    db: Database, who: Principal, project_id: str, rows: Sequence[Any], *, dry_run: bool = False
) -> ImportReport:
    """Add examples: all that can be taken, in one transaction, or none. A row is a text,
    or an object with `input` (text, object of fields, or conversation), and optionally
    `reference`, `split` and `external_id`; other names are fields of the input. The split
    follows from a hash of the input (train 60 %, dev 20 %, test 20 %) unless the row
    names one. With `dry_run` nothing is written, and the report says what would be."""
    require(who, "data.import")
    checked = importing.check_examples(rows)
    return _store(db, who, project_id, checked, importing.store_examples, "data.import_examples", dry_run)


def import_comparisons(
    db: Database, who: Principal, project_id: str, rows: Sequence[Any], *, dry_run: bool = False
) -> ImportReport:
    """Add canonical comparison rows (storage.rows), or TRL's preference rows: all that can
    be taken, in one transaction, or none. With `dry_run` nothing is written."""
    require(who, "data.import")
    checked = importing.check_comparisons(rows)
    return _store(
        db, who, project_id, checked, importing.store_comparisons, "data.import_comparisons", dry_run
    )


def import_foreign(
    db: Database,
    who: Principal,
    project_id: str,
    records: Sequence[Any],
    tool: str,
    *,
    dry_run: bool = False,
) -> ImportReport:
    """Add the comparisons of another tool's export (core.foreign.TOOLS; "auto" recognises
    it): columns and choices as the import page would guess them. A record may give several
    comparisons, so that `imported` and `duplicates` count these; `skipped` names records."""
    require(who, "data.import")
    if tool != "auto" and tool not in foreign.TOOLS:
        raise Invalid(f"tool: “{tool}” is none.", f"One of auto, {', '.join(foreign.TOOLS)}.")
    table = Table("JSON", "row")
    for place, record in enumerate(map(named, records)):
        if isinstance(record, dict):
            table.add(place, record)
        else:
            table.broken.append((place, "the row is not an object"))
    found = foreign.recognised(table) if tool == "auto" else foreign.TOOLS[tool]
    if found is None:
        raise Invalid(
            "These are no records of a tool that is known.", f"Known are {', '.join(foreign.TOOLS)}."
        )
    made = foreign.converted(found, table)
    columns = mapping.guess_mapping("comparisons", made.columns)
    meanings = {}
    if columns["choice"]:
        said = mapping.choice_values(made.rows, columns["choice"][0], most=len(made.rows) + 1)
        meanings = {value: mapping.guess_meaning(value) for value in said}
    rows = mapping.apply("comparisons", columns, made.rows, meanings)
    report = import_comparisons(db, who, project_id, rows, dry_run=dry_run)
    report.skipped = [importing.Skipped(made.numbers[index], reason) for index, reason in report.skipped]
    report.skipped += [importing.Skipped(number, reason) for number, reason in made.broken]
    report.skipped.sort()
    return report


def _store(
    db: Database,
    who: Principal,
    project_id: str,
    checked: Checked[Any],
    store: Callable[[Session, Project, Checked[Any], bool], ImportReport],
    action: str,
    dry_run: bool,
) -> ImportReport:
    if dry_run:
        with db.read() as session:
            return store(session, find_project(session, project_id), checked, True)

    def work(session: Session) -> ImportReport:
        report = store(session, find_project(session, project_id), checked, False)
        audit.record(
            session,
            who,
            action,
            "project",
            project_id,
            project_id,
            imported=report.imported,
            duplicates=report.duplicates,
            skipped=len(report.skipped),
            **report.counts,
        )
        return report

    return db.write(work)


IMPORTS = {
    "examples": import_examples,
    "comparisons": import_comparisons,
    "preferences": import_comparisons,
}


def preview(kind: str, rows: Sequence[Any], limit: int = 5) -> list[dict[str, Any]]:
    """The first rows that can be taken, as they would be stored; splits as they would fall."""
    shown: list[dict[str, Any]] = []
    for value in rows[: 20 * limit]:
        checked: Checked[Any] = (
            importing.check_examples([value]) if kind == "examples" else importing.check_comparisons([value])
        )
        for _, row in checked.rows:
            known = row.model_dump(exclude={"input"}, exclude_none=True)
            earlier = {"earlier turns": len(row.input.messages)} if row.input.messages else {}
            if kind == "examples":
                known.setdefault("split", split_of(row.input.hash))
                slots = ", ".join(f"{{{{{name}}}}}" for name in row.input.fields)
                known = {"slots": slots, **known}
            shown.append({"input": row.input.text, **earlier, **known})
        if len(shown) == limit:
            break
    return shown


def not_taken(table: Table, report: ImportReport) -> list[dict[str, Any]]:
    """Every row of a file that was not taken: where it stands, why, and what it says."""
    broken = [{table.unit: number, "reason": reason, "content": ""} for number, reason in table.broken]
    skipped = [
        {
            table.unit: table.numbers[index],
            "reason": reason,
            "content": json.dumps(table.rows[index], ensure_ascii=False, default=str),
        }
        for index, reason in report.skipped
    ]
    return sorted(broken + skipped, key=lambda row: row[table.unit])


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Flat rows as CSV that is safe to open in a spreadsheet; objects and lists as JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = ([_cell(row.get(name)) for name in columns] for row in rows)
    return spreadsheet.as_csv(columns, cells)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


# --- looking ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and how many the whole list has."""

    rows: list[Any]
    total: int


def list_examples(
    db: Database,
    who: Principal,
    project_id: str,
    search: str = "",
    split: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> Page:
    """Examples in the order they came; `search` is looked for in input and reference."""
    require(who, "project.view")
    _check_range(limit, offset)
    with db.read() as session:
        find_project(session, project_id)
        rows, total = listing.examples(session, project_id, search, split, limit, offset)
    return Page(rows, total)


def list_pairs(
    db: Database,
    who: Principal,
    project_id: str,
    search: str = "",
    state: str = "all",
    limit: int = 100,
    offset: int = 0,
) -> Page:
    """Pairs with their texts, prompts and votes (listing.PairRow), newest first; `state` is
    all, waiting (with open slots) or judged (with a vote)."""
    require(who, "project.view")
    _check_range(limit, offset)
    if state not in listing.STATES:
        raise Invalid(f"state: one of {', '.join(listing.STATES)}.")
    with db.read() as session:
        find_project(session, project_id)
        rows, total = listing.pairs(session, project_id, search, state, limit, offset)
    return Page(rows, total)


def counts(db: Database, who: Principal, project_id: str) -> listing.Counts:
    """How much of everything a project has."""
    require(who, "project.view")
    with db.read() as session:
        find_project(session, project_id)
        return listing.counts(session, project_id)


def get_example(db: Database, who: Principal, project_id: str, example_id: str) -> Example | None:
    require(who, "project.view")
    with db.read() as session:
        found = session.get(Example, example_id)
        return found if found is not None and found.project_id == project_id else None


@dataclass(frozen=True)
class PairTexts:
    input: str
    response_a: str
    response_b: str


def get_pair(db: Database, who: Principal, pair_id: str) -> PairTexts | None:
    require(who, "project.view")
    with db.read() as session:
        pair = session.get(Pair, pair_id)
        if pair is None:
            return None
        example = session.get(Example, pair.example_id)
        a, b = session.get(Response, pair.response_a), session.get(Response, pair.response_b)
        if example is None or a is None or b is None:
            return None
        return PairTexts(example.input, a.text, b.text)


def _check_range(limit: int, offset: int) -> None:
    if not 1 <= limit <= PAGE:
        raise Invalid(f"limit: a number from 1 to {PAGE}.")
    if offset < 0:
        raise Invalid("offset: a number from 0.")
