"""Which prompt is in use: who made it the champion, on what grounds, and the way back.

A prompt that a person wrote is promoted freely, as is a project's first. One that an optimiser
found (`core.optimize.found`) must have passed the blind comparison with the champion
(`core.optimize.trial`), unless a lead or an admin overrides that and says why. The way back to an earlier champion is always open.
Every promotion is an entry of the audit log; the history is read from there.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from core import audit
from core.access import Principal, allowed, require
from core.errors import Conflict, Forbidden, Invalid
from core.optimize.found import is_found
from core.optimize.trial import Trial, trial_in
from core.projects import find_project
from core.prompts.versions import find_prompt, label
from storage.database import Database
from storage.improvements import promotions
from storage.tables import Project, Prompt

MAX_REASON = 500
SHOWN = 50
HOW = {
    "free": "chosen by a person",
    "test": "passed the blind comparison",
    "override": "without having passed the blind comparison",
    "rollback": "back to an earlier champion",
}


@dataclass(frozen=True)
class Reign:
    """A prompt was made the champion. `how`: a key of HOW; `figures`: those of the comparison it
    was decided on, if there was one."""

    at: datetime
    prompt_id: str
    name: str
    before_id: str | None
    by: str
    how: str
    reason: str
    figures: dict[str, Any]


def promote(db: Database, who: Principal, prompt_id: str, reason: str = "") -> Project:
    """Make a prompt the project's champion: the one that is in use, and that others are
    compared with. The same again changes nothing. Raises Conflict for a found prompt whose
    comparison is not passed, unless a lead or an admin gives a reason."""
    require(who, "prompt.promote")
    said = _reason(reason)

    def work(session: Session) -> Project:
        prompt = find_prompt(session, prompt_id)
        project = find_project(session, prompt.project_id)
        if project.champion_prompt_id == prompt.id:
            return project
        how, trial = "free", None
        if project.champion_prompt_id is not None and is_found(session, prompt):
            trial = trial_in(session, project, prompt)
            how = _grounds(who, prompt, trial, said)
        return _crown(session, who, project, prompt, how, said, trial)

    return db.write(work)


def _grounds(who: Principal, prompt: Prompt, trial: Trial | None, reason: str) -> str:
    if trial is None or trial.passed:
        return "test"
    found = trial.people
    standing = (
        f"{found.verdict} after {found.n:,} of people's votes on an example each"
        if found.n
        else "no votes yet"
    )
    message = f"{label(prompt)} has not passed the blind comparison with {trial.champion}: {standing}."
    if not reason:
        raise Conflict(
            message, "Let people vote on its pairs. A lead or an admin may override this with a reason."
        )
    if not allowed(who, "prompt.override"):
        raise Forbidden(message, "Only a lead or an admin may promote it all the same.")
    return "override"


def roll_back(
    db: Database, who: Principal, project_id: str, reason: str = "", to: str | None = None
) -> Project:
    """Make the champion before this one the champion again; `to`: the one that is expected to
    be it, so that of two who press at once only one goes back. Raises Conflict when there is none,
    it is another, or it is archived."""
    require(who, "prompt.promote")
    said = _reason(reason)

    def work(session: Session) -> Project:
        project = find_project(session, project_id)
        earlier = earlier_in(session, project)
        if earlier is None:
            raise Conflict("There is no earlier champion to go back to.")
        if to is not None and to != earlier.id:
            raise Conflict(
                f"The champion before this one is {label(earlier)}.", "Somebody has changed it meanwhile."
            )
        return _crown(session, who, project, earlier, "rollback", said, None)

    return db.write(work)


def earlier_in(session: Session, project: Project) -> Prompt | None:
    """The champion before the one there is now."""
    for entry in reversed(promotions(session, project.id, SHOWN)):
        if entry.prompt_id == project.champion_prompt_id:
            return session.get(Prompt, entry.before) if entry.before else None
    return None


def _crown(
    session: Session,
    who: Principal,
    project: Project,
    prompt: Prompt,
    how: str,
    reason: str,
    trial: Trial | None,
) -> Project:
    if prompt.archived_at is not None:
        raise Conflict(f"{label(prompt)} is archived.", "Restore it first.")
    before = project.champion_prompt_id
    project.champion_prompt_id = prompt.id
    session.add(project)
    audit.record(
        session, who, "prompt.promote", "prompt", prompt.id, project.id,
        name=prompt.name, version=prompt.version, before=before, how=how, reason=reason,
        **({"comparison": trial.for_audit()} if trial else {}),
    )  # fmt: skip
    return project


def _reason(text: str) -> str:
    said = " ".join(str(text or "").split())
    if len(said) > MAX_REASON:
        raise Invalid(f"reason: at most {MAX_REASON} characters.")
    return said


def history(db: Database, who: Principal, project_id: str) -> list[Reign]:
    """The promotions of a project, newest first, at most SHOWN."""
    require(who, "project.view")
    with db.read() as session:
        project = find_project(session, project_id)
        found = []
        for entry in reversed(promotions(session, project.id, SHOWN)):
            prompt = session.get(Prompt, entry.prompt_id)
            name = (
                label(prompt)
                if prompt
                else f"{entry.detail.get('name', '')} v{entry.detail.get('version', '')}"
            )
            found.append(
                Reign(
                    entry.at,
                    entry.prompt_id,
                    name,
                    entry.before,
                    entry.by,
                    str(entry.detail.get("how") or "free"),
                    str(entry.detail.get("reason") or ""),
                    dict(entry.detail.get("comparison") or {}),
                )
            )
        return found


def earlier_champion(db: Database, who: Principal, project_id: str) -> Prompt | None:
    require(who, "project.view")
    with db.read() as session:
        return earlier_in(session, find_project(session, project_id))
