"""Every table of a brief as CSV and as JSON, and all of them in one zip."""

import io
import json
import math
import re
import unicodedata
import zipfile
from datetime import date
from typing import Any

from core.errors import NotFound
from core.planning.brief.collect import Brief
from core.planning.section import Section
from core.spreadsheet import as_csv

Rows = list[dict[str, Any]]


def tables_of(section: Section) -> dict[str, Rows]:
    """slug -> rows, the figures first; two titles with one slug are told apart by a number."""
    figures = [
        {"figure": label, "value": value, "detail": detail} for label, value, detail in section.figures
    ]
    found: dict[str, Rows] = {"figures": figures} if figures else {}
    for title, rows in section.tables.items():
        name, number = slug(title), 2
        while name in found:
            name, number = f"{slug(title)}-{number}", number + 1
        found[name] = rows
    return found


def slug(title: str) -> str:
    """`Cost by phase, €` -> `cost-by-phase`"""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "table"


def table(section: Section, name: str) -> Rows:
    """Raises NotFound naming the tables that there are."""
    found = tables_of(section)
    if name not in found:
        there = f"Tables: {', '.join(found)}." if found else "It has no tables yet."
        raise NotFound(f"“{section.title}” has no table “{name}”.", there)
    return found[name]


def table_csv(rows: Rows) -> str:
    """The columns of all rows, in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return as_csv(columns, ([_cell(row.get(key)) for key in columns] for row in rows))


def _cell(value: Any) -> Any:
    value = plain(value)
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def plain(value: Any) -> Any:
    """The value as JSON has it: no NaN, no dates, no numbers of numpy's."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(inner) for inner in value]
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def archive(brief: Brief) -> bytes:
    """A zip of `answers.csv` and `<section>/<table>.csv`, with a byte order mark, so that
    spreadsheets read them as UTF-8."""
    answers = [
        {"section": section.title, "answer": section.answer, "why": " ".join(section.why)}
        for section in brief.sections
    ]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("answers.csv", table_csv(answers).encode("utf-8-sig"))
        for section in brief.sections:
            for name, rows in tables_of(section).items():
                zipped.writestr(f"{section.key}/{name}.csv", table_csv(rows).encode("utf-8-sig"))
    return file.getvalue()
