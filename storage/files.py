"""Reading a file into a table of rows: CSV, TSV, JSON Lines, JSON and Parquet, each also
with .gz. The file's content decides, its name only settles doubts.

Nothing is guessed silently: what cannot be read at all raises FileProblem; a single broken
line goes to `Table.broken` with its number and the reason, and the rest is read.
"""

import csv
import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

csv.field_size_limit(2**27)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class FileProblem(ValueError):
    """The file as a whole cannot be read. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass
class Table:
    """Rows as they stand in the file. `numbers[i]` is where row i stands: a line of the
    file (`unit` "line") or a record ("row"), from 1."""

    format: str
    unit: str
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.numbers.append(number)


def read_table(name: str, data: bytes, limit: int = 2**31) -> Table:
    """Read a file of at most `limit` bytes, also when unpacked. Raises FileProblem."""
    if len(data) > limit:
        raise FileProblem(f"{name} is larger than {limit // 2**20} MB.", "Split it, or raise the limit.")
    lower = name.lower()
    if data[:2] == b"\x1f\x8b":
        data, lower = _unpacked(name, data, limit), lower.removesuffix(".gz")
    if data[:4] == b"PK\x03\x04":
        raise FileProblem(f"{name} is a zip archive or a spreadsheet.", "Unpack it, or save it as CSV.")
    if data[:4] == b"PAR1":
        return _finished(name, _parquet(name, data))
    if lower.endswith((".parquet", ".pq")):
        raise FileProblem(f"{name} is not a Parquet file, whatever its name says.", "Export it again.")
    text = _decoded(name, data)
    start = text.lstrip()[:1]
    if not start:
        raise FileProblem(f"{name} is empty.", "Choose a file with rows in it.")
    if lower.endswith((".jsonl", ".ndjson")):
        table = _json_lines(text)
    elif lower.endswith(".json") or start == "[":
        table = _json(name, text)
    elif start == "{":
        table = _json_lines(text)
    else:
        table = _separated(name, text, lower)
    return _finished(name, table)


def _finished(name: str, table: Table) -> Table:
    if not table.columns:
        table.columns = list(dict.fromkeys(column for row in table.rows for column in row))
    if not table.rows:
        if table.broken:
            number, reason = table.broken[0]
            raise FileProblem(f"{name}: {table.unit} {number}: {reason}.", "No row could be read.")
        raise FileProblem(f"{name} has no rows.", "Choose a file with rows in it.")
    return table


def _unpacked(name: str, data: bytes, limit: int) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise FileProblem(f"{name} is a damaged gzip file.", "Pack it again.") from None
    if len(content) > limit:
        raise FileProblem(f"{name} unpacks to more than {limit // 2**20} MB.", "Split it.")
    return content


def _decoded(name: str, data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise FileProblem(
            f"{name}: line {line} is not UTF-8 (byte 0x{data[problem.start]:02x}).",
            "Save the file with the encoding UTF-8.",
        ) from None


# --- JSON ---------------------------------------------------------------------------------


def _json_lines(text: str) -> Table:
    table = Table("JSON Lines", "line")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as problem:
            table.broken.append((number, _json_fault(problem)))
            continue
        _add(table, number, row)
    return table


def _json(name: str, text: str) -> Table:
    try:
        value = json.loads(text)
    except ValueError as problem:
        lines = _json_lines(text)  # JSON Lines under the name .json are common
        if lines.rows:
            return lines
        where = f"line {problem.lineno}" if isinstance(problem, json.JSONDecodeError) else "it"
        raise FileProblem(f"{name}: {where}: {_json_fault(problem)}.", "Correct it there.") from None
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list) and item]
        value = lists[0] if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]) else [value]
    if not isinstance(value, list):
        raise FileProblem(f"{name} is not a list of objects.", "Wrap the rows in [ … ].")
    table = Table("JSON", "row")
    for number, row in enumerate(value, 1):
        _add(table, number, row)
    return table


def _add(table: Table, number: int, row: Any) -> None:
    row = {"input": row} if isinstance(row, str) else named(row)
    if isinstance(row, dict):
        table.add(number, row)
    else:
        table.broken.append((number, "it is not an object"))


def named(row: Any) -> Any:
    """A record that is a list of objects, as an object: its places, from "0", are the names."""
    if isinstance(row, list) and row and all(isinstance(item, dict) for item in row):
        return {str(place): item for place, item in enumerate(row)}
    return row


def _json_fault(problem: Exception) -> str:
    if isinstance(problem, json.JSONDecodeError):
        return f"broken JSON at column {problem.colno}: {problem.msg[0].lower() + problem.msg[1:]}"
    return "broken JSON"


# --- Parquet ------------------------------------------------------------------------------


def _parquet(name: str, data: bytes) -> Table:
    try:
        content = pq.read_table(io.BytesIO(data))
        rows = content.to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        raise FileProblem(f"{name} is a damaged Parquet file.", "Export it again.") from None
    return Table("Parquet", "row", list(content.column_names), rows, list(range(1, len(rows) + 1)))


# --- CSV and TSV --------------------------------------------------------------------------


def _separated(name: str, text: str, lower: str) -> Table:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    # The first of equals: a comma.
    separator = "\t" if lower.endswith((".tsv", ".tab")) else max(",\t;|", key=first.count)
    records = _plain_records(text, separator) if separator == "\t" else None
    if records is None:
        records = _quoted_records(name, text, separator)
    if not records:
        raise FileProblem(f"{name} is empty.", "Choose a file with rows in it.")
    columns = [cell.strip() or f"column {place}" for place, cell in enumerate(records[0][1], 1)]
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise FileProblem(f"{name}: two columns are called “{twice[0]}”.", "Rename one of them.")
    table = Table("TSV" if separator == "\t" else "CSV", "line", columns)
    for number, cells in records[1:]:
        if len(cells) == len(columns):
            table.add(number, dict(zip(columns, cells, strict=True)))
        else:
            table.broken.append(
                (number, f"it has {len(cells)} columns where the first line has {len(columns)}")
            )
    return table


def _plain_records(text: str, separator: str) -> list[tuple[int, list[str]]] | None:
    """Lines without quoting, as many tools write TSV; None when the file is quoted after
    all: cells that begin with a quotation mark all end like one, or lines do not fit."""
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1)]
    records = [(number, line.split(separator)) for number, line in lines if line]
    opened = [cell for _, cells in records for cell in cells if cell.startswith('"')]
    if opened and all(_QUOTED.fullmatch(cell) for cell in opened):
        return None
    if len({len(cells) for _, cells in records}) > 1 and opened:
        return None
    return records


def _quoted_records(name: str, text: str, separator: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records = []
    before = 0
    try:
        for cells in reader:
            if cells:
                records.append((before + 1, cells))
            before = reader.line_num
    except csv.Error as problem:
        raise FileProblem(
            f"{name}: line {before + 1}: {problem}.", "A quotation mark may be open: double it inside a cell."
        ) from None
    return records
