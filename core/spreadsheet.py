"""Tables as CSV that is safe to open: a text that a spreadsheet would take for a formula
gets an apostrophe before it. So does a text that already begins with apostrophes before such
a sign: what was added can then be told from what was there, and be taken away again."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MADE_SAFE = re.compile(r"'+[=+\-@\t\r]")


def safe(cell: Any) -> Any:
    """The cell; a text that begins like a formula with an apostrophe before it. Numbers
    stay as they are."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """The text that `safe` was given."""
    return cell[1:] if _MADE_SAFE.match(cell) else cell


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([safe(cell) for cell in header])
    writer.writerows([safe(cell) for cell in row] for row in rows)
    return file.getvalue()
