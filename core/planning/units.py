"""Currency and working time of a project's plans, and how money is written."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from core.access import Principal
from core.planning.documents import Body, current
from core.settings import get_settings
from storage.database import Database

SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "CNY": "CN¥", "KRW": "₩"}
MINUS = "\u2212"  # a line never breaks after it, as it does after a hyphen
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Units(Body):
    """All money of a project's plans is in one currency; months are twelfths of a year."""

    KIND: ClassVar[str] = "units"
    TITLE: ClassVar[str] = "Units"

    currency: Currency = Field(default_factory=lambda: get_settings().currency)
    hours_per_week: Annotated[float, Field(gt=0, le=168, description="a full-time week")] = 40
    weeks_per_year: Annotated[float, Field(gt=0, le=53, description="worked, without leave")] = 44

    @property
    def hours_per_month(self) -> float:
        return self.hours_per_week * self.weeks_per_year / 12


def units_of(db: Database, who: Principal, project_id: str) -> Units:
    saved = current(db, who, project_id, Units)
    return saved.body if saved else Units()


def money(value: float | None, currency: str, *, short: bool = False) -> str:
    """`€12,300`, `−€950`, `12,300 SEK`; `short`: `€12.3k`, `€1.2M`. None: `—`."""
    if value is None:
        return "—"
    size, sign = abs(value), MINUS if value < 0 else ""
    if short and size >= 999_500:
        digits = f"{size / 1e6:,.2f}".rstrip("0").rstrip(".") + "M"
    elif short and size >= 9_999.5:
        digits = f"{size / 1e3:,.1f}".rstrip("0").rstrip(".") + "k"
    elif size >= 100 or size == round(size):
        digits = f"{size:,.0f}"
    else:
        digits = f"{size:,.2f}" if size >= 0.01 else f"{size:.2g}"
    if digits == "0":
        sign = ""
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{sign}{digits} {currency}"
