"""Rows as files: JSON Lines, JSON, CSV, Parquet, and a Hugging Face folder as a zip.

Every encoder is a generator of bytes, and holds a batch of rows at a time, so that a large
project is never in memory whole.

A table's cell is text, so an `input` that is an object or a conversation is written as
JSON in CSV and Parquet; a plain text that could be taken for JSON is, too. `decoded` undoes
both, and the apostrophe that keeps a spreadsheet from taking a text for a formula.
"""

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core import spreadsheet
from storage.files import Table
from storage.formats import Format

Row = dict[str, Any]
_BATCH = 1_000
_OURS = {"input", "response_a", "response_b", "prompt_a", "prompt_b", "annotator", "choice", "created_at"}


def json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def json_list(rows: Iterable[Row]) -> Iterator[bytes]:
    """One JSON list, a row a line."""
    separator = "["
    for row in rows:
        yield (separator + json.dumps(row, ensure_ascii=False)).encode()
        separator = ",\n"
    yield b"[]" if separator == "[" else b"]"


def comma_separated(rows: Iterable[Row], format: Format, schema: pa.Schema) -> Iterator[bytes]:
    """CSV in UTF-8 with its mark, which is how spreadsheets know it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    file.write("\ufeff")
    writer.writerow(schema.names)
    for place, row in enumerate(rows):
        flat = _flat(row, format)
        writer.writerow([spreadsheet.safe(flat.get(name)) for name in schema.names])
        if place % _BATCH == 0:
            yield _drained(file)
    yield _drained(file)


def parquet(rows: Iterable[Row], format: Format, schema: pa.Schema) -> Iterator[bytes]:
    sink = Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for batch in _batches(rows):
            flat = [_flat(row, format) for row in batch]
            writer.write_batch(pa.RecordBatch.from_pylist(flat, schema=schema))
            yield sink.take()
    yield sink.take()


def folder(
    splits: dict[str, Callable[[], Iterator[Row]]],
    format: Format,
    schema: pa.Schema,
    card: Callable[[dict[str, int]], str],
) -> Iterator[bytes]:
    """A zip with one Parquet file for each split that has rows, and README.md. `card` makes
    it from the numbers of rows that were written."""
    sink = Sink()
    counts: dict[str, int] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # Parquet is packed already
        for split, open_rows in splits.items():
            rows = open_rows()
            first = list(islice(rows, 1))
            if not first:
                continue
            counts[split] = 0

            def counted(
                rows: Iterable[Row] = rows, first: list[Row] = first, split: str = split
            ) -> Iterator[Row]:
                for part in (first, rows):
                    for row in part:
                        counts[split] += 1
                        yield row

            with archive.open(f"data/{split}.parquet", "w", force_zip64=True) as file:
                for piece in parquet(counted(), format, schema):
                    file.write(piece)
                    yield sink.take()
        archive.writestr("README.md", card(counts))
    yield sink.take()


class Sink(io.RawIOBase):
    """A file that is written once, from front to back, and emptied as it grows."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.at = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self.pieces.append(data)
        self.at += len(data)
        return len(data)

    def tell(self) -> int:
        return self.at

    def take(self) -> bytes:
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data


# --- cells --------------------------------------------------------------------------------


def decoded(table: Table) -> Table:
    """A CSV or Parquet file with the columns of our own comparisons, its cells as they were
    before they became cells. Any other table is left as it is."""
    if table.format not in ("CSV", "Parquet") or not _OURS.issubset(table.columns):
        return table
    for row in table.rows:
        for name, cell in row.items():
            if isinstance(cell, str) and table.format == "CSV":
                row[name] = cell = spreadsheet.restored(cell)
            if name == "input" and isinstance(cell, str) and cell.lstrip()[:1] in ("{", "[", '"'):
                with contextlib.suppress(ValueError):  # a text of somebody else's looks like it
                    row[name] = json.loads(cell)
    return table


def _flat(row: Row, format: Format) -> Row:
    if format.family != "comparisons":
        return row
    flat = dict(row)
    if not isinstance(row["input"], str) or row["input"].lstrip()[:1] in ("{", "[", '"'):
        flat["input"] = json.dumps(row["input"], ensure_ascii=False)
    if "criteria" in row:
        flat["criteria"] = json.dumps(row["criteria"], ensure_ascii=False)
    return flat


def _drained(file: io.StringIO) -> bytes:
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text.encode()


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
