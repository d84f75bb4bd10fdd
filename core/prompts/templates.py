"""Templates with `{{field}}` slots, filled from an example's fields."""

import re
from collections.abc import Mapping
from typing import Any

from core.errors import Invalid

SLOT = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")


def slots(*templates: str) -> list[str]:
    """Names of the slots, in order of first appearance."""
    return list(dict.fromkeys(name for text in templates for name in SLOT.findall(text)))


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """Put the fields into their slots, in one pass: what a field contains is never
    read as a slot again. Raises Invalid naming the slot that has no field."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in fields:
            raise Invalid(f"The slot {{{{{name}}}}} has no field.", f"Fields: {', '.join(map(str, fields))}.")
        return str(fields[name])

    return SLOT.sub(value, template)


def messages(
    system: str, user: str, fields: Mapping[str, Any], earlier: list[dict[str, str]] | None = None
) -> list[dict[str, str]]:
    """The conversation a host gets: system (if any), earlier turns (if any), user."""
    start = [{"role": "system", "content": fill(system, fields)}] if system.strip() else []
    return [*start, *(earlier or []), {"role": "user", "content": fill(user, fields)}]
