"""What each planning room says about a project: for its page, the brief and the API alike."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Section:
    """The answer first, then why, then the tables and charts it rests on.

    `tables`: title -> rows, of plain values. `charts`: title -> an Altair chart (typed Any,
    so that programs that only want the figures need no chart library). `empty` means that
    there is nothing to say yet; `answer` then says what is missing.
    """

    key: str
    title: str
    answer: str
    why: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, str]] = field(default_factory=list)  # label, value, detail
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    charts: dict[str, Any] = field(default_factory=dict)
    empty: bool = False
