"""What a lead sets about probes: qualification before real pairs, gold checks and hidden
repeats later, and what follows when gold checks fail. A document in versions."""

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator
from sqlmodel import Session

from core.access import Principal, require
from core.errors import Conflict, Invalid
from core.projects import find_project
from core.set_by_leads import changed, checked, keep, note
from storage import probes as stored
from storage.database import Database
from storage.ids import now
from storage.project_documents import document_body

KIND = "probes"
MOST_RATE = 0.5
Action = Literal["warn", "pause", "leave_out"]
SET_ELSEWHERE = {"since", "anew"}  # not by the form


class Probing(BaseModel):
    """`qualify`: annotators pass a training set of `asked` pairs first, `pass_mark` of them
    right, in at most `tries` attempts; `veterans`: also those who had voted before `since`,
    when it was switched on; `anew`: when a lead had an annotator begin anew: what they tried
    before does not count.

    `gold_rate`, `repeat_rate`: shares of the pairs given that are gold checks, and repeats of
    a pair judged at least `repeat_after` votes ago. After `failures` failed of the last
    `window` gold checks: `action` (0: nothing happens)."""

    qualify: bool = False
    asked: int = Field(default=5, ge=1, le=100)
    pass_mark: float = Field(default=0.8, gt=0, le=1)
    tries: int = Field(default=3, ge=1, le=20)
    veterans: bool = False
    since: datetime | None = None
    anew: dict[str, datetime] = Field(default_factory=dict)
    gold_rate: float = Field(default=0.0, ge=0, le=MOST_RATE)
    repeat_rate: float = Field(default=0.0, ge=0, le=MOST_RATE)
    repeat_after: int = Field(default=20, ge=1, le=10_000)
    failures: int = Field(default=0, ge=0, le=100)
    window: int = Field(default=10, ge=1, le=100)
    action: Action = "warn"

    @model_validator(mode="after")
    def _fits(self) -> "Probing":
        if self.failures > self.window:
            raise ValueError("failures: no more than the gold checks that are looked at (window)")
        return self

    def needed(self, asked: int) -> int:
        """How many of so many must be right."""
        return max(1, ceil(self.pass_mark * asked - 1e-9))

    def acts_on(self, passed: Sequence[bool]) -> bool:
        """Whether the newest `window` of these gold checks have one failure too many."""
        return 0 < self.failures <= sum(not right for right in passed[-self.window :])


def probing_in(session: Session, project_id: str) -> Probing | None:
    """As it is set, within a unit of work (looked up once in it); None when nothing ever was."""
    known: dict[str, Probing | None] = session.info.setdefault(KIND, {})
    if project_id not in known:
        body = document_body(session, project_id, KIND)
        known[project_id] = Probing.model_validate(body) if body else None
    return known[project_id]


def probing_of(db: Database, who: Principal, project_id: str) -> Probing:
    """For leads and engineers: annotators must not know how often they are checked."""
    require(who, "quality.view")
    with db.read() as session:
        return probing_in(session, find_project(session, project_id).id) or Probing()


def set_probing(db: Database, who: Principal, project_id: str, **values: Any) -> Probing:
    """Change what is named. Switching qualification on needs enough training pairs."""
    require(who, "annotator.manage")
    unknown = set(values) - (set(Probing.model_fields) - SET_ELSEWHERE)
    if unknown:
        raise Invalid(f"{min(unknown)}: this is nothing that can be set here.")

    def work(session: Session) -> Probing:
        project = find_project(session, project_id)
        before = probing_in(session, project.id) or Probing()
        after = checked(Probing, {**before.model_dump(), **values})
        if after == before:
            return before
        if after.qualify:
            check_pool(session, project.id, after)
        if after.qualify and not before.qualify:
            after.since = now()
        if before.qualify and not after.qualify:
            stored.drop_open(session, project_id=project.id, kind="training")
        for kind, rate in (("gold", after.gold_rate), ("repeat", after.repeat_rate)):
            if rate == 0:
                stored.drop_open(session, project_id=project.id, kind=kind)
        save(session, who, project.id, after)
        news = {name: value for name, value in changed(before, after).items() if name not in SET_ELSEWHERE}
        note(session, who, "probes.edit", project.id, news)
        return after

    return db.write(work)


def save(session: Session, who: Principal, project_id: str, values: Probing) -> None:
    keep(session, who, project_id, KIND, "Probes", values)
    session.info.setdefault(KIND, {})[project_id] = values


def check_pool(session: Session, project_id: str, probing: Probing, *, fewer: int = 0) -> None:
    """Raises Conflict when the training pairs (without `fewer` of them) are too few."""
    there = len(stored.training_pool(session, project_id, "")) - fewer
    if there < probing.asked:
        raise Conflict(
            f"Qualification asks for {probing.asked} training pairs, and there would be {there}.",
            "Mark more pairs as training, or ask for fewer.",
        )
