"""Targets that moved: what successive versions of the plan say differently about each
milestone."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from core.access import Principal
from core.planning.documents import Saved, history
from core.planning.milestones.catalogue import KIND, MANUAL, shown
from core.planning.milestones.model import Milestone, Milestones, planned
from core.planning.milestones.schedule import current_plan, due_date
from core.planning.milestones.status import day
from storage.database import Database


@dataclass(frozen=True)
class Moved:
    """One change of one milestone; `before` is empty for a new one, `after` for one that
    was taken out."""

    milestone: str
    name: str
    what: str  # target, due date, metric, added, removed
    before: str
    after: str
    version: int
    author: str
    at: datetime
    note: str


def moved(db: Database, who: Principal, project_id: str) -> list[Moved]:
    """Newest first. A due date also moves when the phase it ends with does."""
    saved = current_plan(db, who, project_id).saved
    if saved is None:
        return []
    return changes(history(db, who, project_id, Milestones, saved.plan_id))


def changes(versions: list[Saved[Milestones]]) -> list[Moved]:
    """`versions`: newest first, as from `documents.history`."""
    found: list[Moved] = []
    for new, old in pairwise(versions):
        spans = planned(old.body), planned(new.body)
        before = {item.key: item for item in old.body.milestones}
        after = {item.key: item for item in new.body.milestones}
        for key in [*after, *(key for key in before if key not in after)]:
            a, b = before.get(key), after.get(key)
            stamp: dict[str, Any] = {
                "milestone": key, "name": (b or a or after[key]).name, "version": new.number,
                "author": new.author, "at": new.at, "note": new.note,
            }  # fmt: skip
            if a is None and b is not None:
                said = f"{_target(b)}, due {day(due_date(b, spans[1]))}"
                found.append(Moved(what="added", before="", after=said, **stamp))
            elif b is None and a is not None:
                said = f"{_target(a)}, due {day(due_date(a, spans[0]))}"
                found.append(Moved(what="removed", before=said, after="", **stamp))
            elif a is not None and b is not None:
                pairs = {
                    "target": (_target(a), _target(b)),
                    "due date": (day(due_date(a, spans[0])), day(due_date(b, spans[1]))),
                }
                for what, (was, is_) in pairs.items():
                    if was != is_:
                        found.append(Moved(what=what, before=was, after=is_, **stamp))
    return found


def _target(item: Milestone) -> str:
    if item.metric == MANUAL:
        return "ticked off by hand"
    word = "at least" if item.direction == "at_least" else "at most"
    return f"{KIND[item.metric].title.lower()} {word} {shown(item.metric, item.target)}"
