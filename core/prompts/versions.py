"""Prompt versions: immutable, numbered per name, each with its parent and what made it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.projects import find_project
from core.prompts.frameworks import build, framework_of
from core.prompts.soft import check_marks
from core.prompts.templates import messages, slots
from storage.database import Database
from storage.ids import now
from storage.tables import Example, Project, Prompt, Response

MAX_TEXT = 100_000  # characters of a template
_FIELDS_LOOKED_AT = 500  # examples read to learn which fields there are


@dataclass(frozen=True)
class Template:
    """What a person or program asked for, checked."""

    system: str
    user: str
    structure: dict[str, Any] | None


def label(prompt: Prompt) -> str:
    """`plain v2`"""
    return f"{prompt.name} v{prompt.version}"


def fields_of(example: Example) -> dict[str, Any]:
    """What an example's slots are filled with. `{{input}}` always exists: the text that
    people see, where the example has no field of that name."""
    return {"input": example.input, **example.fields}


def rendered(prompt: Prompt | Template, example: Example) -> list[dict[str, str]]:
    """The conversation a host gets for this example."""
    return messages(prompt.system, prompt.user, fields_of(example), example.messages)


def project_fields(session: Session, project_id: str) -> list[str]:
    """Names of the fields that every example has (of the first 500), `input` first. Empty
    without examples."""
    query = select(Example.fields).where(Example.project_id == project_id).order_by(col(Example.id))
    found = list(session.exec(query.limit(_FIELDS_LOOKED_AT)))
    if not found:
        return []
    common = set.intersection(*(set(fields) for fields in found)) - {"input"}
    return ["input", *sorted(common)]


def checked_template(
    session: Session, project_id: str, system: str, user: str, structure: Mapping[str, Any] | None = None
) -> Template:
    """A template that can be asked, or Invalid naming the slot or section that is wrong.
    A structure makes the texts; without one, a text without any slot is an instruction:
    it becomes the system message, and the example the user's."""
    kept: dict[str, Any] | None = None
    if structure:
        framework_of(structure)
        kept = json.loads(json.dumps(structure))
        if not (system.strip() or user.strip()):
            system, user = build(structure)
    if len(system) + len(user) > MAX_TEXT:
        raise Invalid(f"user: a template has at most {MAX_TEXT:,} characters.")
    if not (system.strip() or user.strip()):
        raise Invalid("user: the template is empty.", "Write what the model is to do, with {{input}} in it.")
    if not slots(system, user):
        instruction = "\n\n".join(part.strip() for part in (system, user) if part.strip())
        system, user = instruction, "{{input}}"
    if not user.strip():
        system, user = "", system
    check_marks(project_id, system, user)
    fields = project_fields(session, project_id)
    if fields:
        for slot in slots(system, user):
            if slot not in fields:
                raise Invalid(
                    f"The slot {{{{{slot}}}}} has no field in every example of this project.",
                    f"Fields: {', '.join(fields)}.",
                )
    return Template(system, user, kept)


def create_prompt(
    db: Database,
    who: Principal,
    project_id: str,
    name: str,
    system: str = "",
    user: str = "",
    structure: Mapping[str, Any] | None = None,
    parent_id: str | None = None,
    operation: str = "written",
    run_id: str | None = None,
) -> Prompt:
    """A new version of the prompt `name`; without changes to its newest version, that one.
    Raises Invalid naming the field or slot that is wrong, NotFound for the project."""
    require(who, "prompt.edit")

    def work(session: Session) -> Prompt:
        project = find_project(session, project_id)
        return add_version(
            session, who, project, name, system, user, structure, parent_id, operation, run_id
        )  # fmt: skip

    return db.write(work)


def add_version(
    session: Session,
    who: Principal,
    project: Project,
    name: str,
    system: str,
    user: str,
    structure: Mapping[str, Any] | None = None,
    parent_id: str | None = None,
    operation: str = "written",
    run_id: str | None = None,
) -> Prompt:
    """Within a unit of work: `create_prompt` without its checks of who may."""
    name = " ".join(str(name or "").split())
    if not 1 <= len(name) <= 120:
        raise Invalid("name: a prompt's name has 1 to 120 characters.")
    template = checked_template(session, project.id, system or "", user or "", structure)
    newest = _newest(session, project.id, name)
    if newest is not None and newest.archived_at is None and _same(newest, template):
        return newest
    parent = _parent(session, project.id, parent_id) or newest
    prompt = Prompt(
        project_id=project.id,
        name=name,
        version=newest.version + 1 if newest else 1,
        system=template.system,
        user=template.user,
        structure=template.structure,
        parent_id=parent.id if parent else None,
        operation="edited" if parent and operation == "written" else operation,
        run_id=run_id,
        created_by=who.user_id,
    )
    session.add(prompt)
    audit.record(
        session, who, "prompt.create", "prompt", prompt.id, project.id, name=name, version=prompt.version
    )
    return prompt


def _newest(session: Session, project_id: str, name: str) -> Prompt | None:
    query = select(Prompt).where(Prompt.project_id == project_id, Prompt.name == name)
    return session.exec(query.order_by(col(Prompt.version).desc())).first()


def _same(prompt: Prompt, template: Template) -> bool:
    kept = (prompt.system, prompt.user, prompt.structure or None)
    return kept == (template.system, template.user, template.structure or None)


def _parent(session: Session, project_id: str, parent_id: str | None) -> Prompt | None:
    if not parent_id:
        return None
    parent = session.get(Prompt, parent_id)
    if parent is None or parent.project_id != project_id:
        raise Invalid(f"parent_id: this project has no prompt {parent_id}.")
    return parent


# --- reading ---------------------------------------------------------------------------------


def list_prompts(db: Database, who: Principal, project_id: str, archived: bool = False) -> list[Prompt]:
    """By name, newest version first; archived ones only when asked for."""
    require(who, "project.view")
    with db.read() as session:
        find_project(session, project_id)
        return prompts_of(session, project_id, archived)


def prompts_of(session: Session, project_id: str, archived: bool = False) -> list[Prompt]:
    query = select(Prompt).where(Prompt.project_id == project_id)
    if not archived:
        query = query.where(col(Prompt.archived_at).is_(None))
    return list(session.exec(query.order_by(col(Prompt.name), col(Prompt.version).desc())))


def find_prompt(session: Session, prompt_id: str) -> Prompt:
    prompt = session.get(Prompt, prompt_id)
    if prompt is None:
        raise NotFound(f"There is no prompt {prompt_id}.")
    return prompt


def get_prompt(db: Database, who: Principal, prompt_id: str) -> Prompt:
    require(who, "project.view")
    with db.read() as session:
        prompt = find_prompt(session, prompt_id)
        find_project(session, prompt.project_id)
        return prompt


def response_counts(db: Database, who: Principal, project_id: str) -> dict[str, int]:
    """How many responses each prompt has, by its id."""
    require(who, "project.view")
    with db.read() as session:
        query = select(Response.prompt_id, func.count()).where(Response.project_id == project_id)
        return dict(session.exec(query.group_by(col(Response.prompt_id))).all())


def some_examples(db: Database, who: Principal, project_id: str, limit: int = 50) -> list[Example]:
    """Examples for a preview."""
    require(who, "project.view")
    with db.read() as session:
        query = select(Example).where(Example.project_id == project_id).order_by(col(Example.id))
        return list(session.exec(query.limit(limit)))


def check_template(db: Database, who: Principal, project_id: str, system: str, user: str) -> Template:
    """A draft as `create_prompt` would take it. Raises Invalid as that would."""
    require(who, "project.view")
    with db.read() as session:
        return checked_template(session, project_id, system, user)


def fields_there(db: Database, who: Principal, project_id: str) -> list[str]:
    require(who, "project.view")
    with db.read() as session:
        return project_fields(session, project_id)


# --- changing --------------------------------------------------------------------------------


def archive_prompt(db: Database, who: Principal, prompt_id: str) -> Prompt:
    """Put a version away: it is neither listed nor generated from; its responses stay.
    Raises Conflict for the champion."""
    require(who, "prompt.edit")

    def work(session: Session) -> Prompt:
        prompt = find_prompt(session, prompt_id)
        project = find_project(session, prompt.project_id)
        if project.champion_prompt_id == prompt.id:
            raise Conflict(f"{label(prompt)} is the champion.", "Promote another prompt first.")
        if prompt.archived_at is None:
            prompt.archived_at = now()
            session.add(prompt)
            _record(session, who, "prompt.archive", prompt)
        return prompt

    return db.write(work)


def restore_prompt(db: Database, who: Principal, prompt_id: str) -> Prompt:
    """Take an archived version back into the list."""
    require(who, "prompt.edit")

    def work(session: Session) -> Prompt:
        prompt = find_prompt(session, prompt_id)
        find_project(session, prompt.project_id)
        if prompt.archived_at is not None:
            prompt.archived_at = None
            session.add(prompt)
            _record(session, who, "prompt.restore", prompt)
        return prompt

    return db.write(work)


def _record(session: Session, who: Principal, action: str, prompt: Prompt) -> None:
    audit.record(
        session, who, action, "prompt", prompt.id, prompt.project_id,
        name=prompt.name, version=prompt.version,
    )  # fmt: skip
