"""What each planning room says about a project: for its page, the brief and the API alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class Drawn(Mapping[str, Any]):
    """Title -> Altair chart, each drawn when it is first asked for: a page that shows only the
    figures does not pay for charts."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._makers, self._made = dict(makers), dict[str, Any]()

    def __getitem__(self, title: str) -> Any:
        if title not in self._made:
            self._made[title] = self._makers[title]()
        return self._made[title]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


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
    charts: Mapping[str, Any] = field(default_factory=dict)
    empty: bool = False
