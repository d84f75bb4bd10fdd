"""The scenario in hand on the Return page: what was saved, with changes that are not yet.

It lives in the session as plain values, so that a wrong figure can stay in its field with
its message while the results still show the last scenario that was right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core.planning.documents import Saved
from core.planning.quantity import Quantity
from core.planning.roi.model import Scenario


@dataclass
class Draft:
    """`values`: the body as edited; `base`: as it was saved or proposed; `number`: the version
    it started from, None when nothing is saved. `revision` names the widgets: a new one
    makes them take their values from here."""

    plan_id: str | None
    number: int | None
    base: Scenario
    values: dict[str, Any]
    good: Scenario  # the last one without a mistake
    revision: int = 0

    @property
    def changed(self) -> bool:
        return self.values != self.base.model_dump(mode="json")

    def check(self) -> dict[str, str]:
        """Path of a field -> what is wrong with it; keeps the scenario when nothing is."""
        try:
            self.good = Scenario.model_validate(self.values)
        except ValidationError as problem:
            return {
                ".".join(str(part) for part in item["loc"]): str(item["msg"]).removeprefix("Value error, ")
                for item in problem.errors(include_url=False)
            }
        return {}

    def at(self, path: str) -> Any:
        value: Any = self.values
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def put(self, path: str, value: Any) -> None:
        *way, last = path.split(".")
        holder: Any = self.at(".".join(way)) if way else self.values
        if isinstance(holder, list):
            holder[int(last)] = value
        else:
            holder[last] = value

    def start_over(self, scenario: Scenario) -> None:
        """Take these values for all widgets; the version it is based on stays."""
        self.values = scenario.model_dump(mode="json")
        self.revision += 1


def draft_of(project_id: str, saved: Saved[Scenario] | None, proposed: Callable[[], Scenario]) -> Draft:
    """The draft of this scenario in this session; a new one where there is none, or where
    somebody saved a newer version and nothing was changed here."""
    key = f"roi_draft_{project_id}_{saved.plan_id if saved else 'new'}"
    held: Draft | None = st.session_state.get(key)
    number = saved.number if saved else None
    base = saved.body if saved else proposed()
    moved = held is not None and (held.number != number or held.base != base)
    if held is None or (moved and not held.changed):
        revision = held.revision + 1 if held else 0
        plan_id = saved.plan_id if saved else None
        held = Draft(plan_id, number, base, base.model_dump(mode="json"), base, revision)
        st.session_state[key] = held
    return held


def forget(project_id: str, plan_id: str | None) -> None:
    """After saving or discarding: the next run starts from what is saved."""
    st.session_state.pop(f"roi_draft_{project_id}_{plan_id or 'new'}", None)


def moved_range(item: dict[str, Any], value: float, least: float, most: float) -> dict[str, Any]:
    """The quantity with another value. A normal and a uniform range move along; others stay
    while they hold the value, and are scaled with it when they do not. Ends stay within what
    the input can be; a value outside of that leaves the range alone, to be refused."""
    changed = {**item, "value": value}
    low, high = item["low"], item["high"]
    if item["kind"] == "fixed" or low is None or high is None or not least <= value <= most:
        return changed
    # A value that was refused says nothing of where the range lay.
    old = item["value"] if low <= item["value"] <= high else (low + high) / 2
    if item["kind"] in ("normal", "uniform"):
        ends = (low + value - old, high + value - old)
    elif low <= value <= high or not old:
        return changed
    else:
        ends = (low * value / old, high * value / old)
    # Four digits: nobody means 48.637275 %.
    first, last = sorted(min(most, max(least, float(f"{end:.4g}"))) for end in ends)
    return {**changed, "low": first, "high": last}


def by_hand(item: dict[str, Any], measured: Quantity | None, usual: str, name: str) -> dict[str, Any]:
    """Marked as a person's. A reason that somebody wrote stays; a measurement's or a
    default's does not."""
    written = item["origin"] != "measured" and item["source"] not in ("", usual)
    return {
        **item,
        "n": None,
        "origin": "overridden" if measured is not None else "assumed",
        "source": item["source"] if written else f"put in by {name}",
    }
