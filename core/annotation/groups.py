"""Who gets what: groups of annotators, and rules which say that some pairs are for one of
them only.

The first rule that matches a pair wins; pairs without a rule are for everybody, members of
groups included. A lead's groups and rules are one document in versions. With it, in the same
unit of work, every slot gets its audience and every member the right to claim it
(`storage.groups`); new pairs get theirs when they are made.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.annotation.pausing import Pause, Pauses, pauses_in
from core.errors import Invalid, NotFound
from core.projects import find_project
from core.set_by_leads import changed, checked, keep, note
from storage import groups as stored
from storage.database import Database
from storage.groups import ADJUDICATOR, KIND, Standing, audience_of
from storage.ids import id_of
from storage.pairs import annotator_of_user
from storage.project_documents import document_body
from storage.tables import Annotator, Prompt, User

By = Literal["field", "source", "prompt", "text"]
MAX_GROUPS, MAX_RULES = 50, 100
ADJUDICATION = "adjudication"  # the document that names the adjudicators


class Group(BaseModel):
    """`members` are ids of users. Without an `id` it is the group of this name, or a new one."""

    id: str = Field("", max_length=40)
    name: str = Field(max_length=60)
    about: str = Field("", max_length=500)
    members: list[str] = Field(default_factory=list, max_length=1_000)


class Condition(BaseModel):
    """`by` field: the example's field `name` is one of `values`. source: the pair came from
    one of them. prompt: one of its prompts is one of them (ids). text: the input contains one
    of them. Upper and lower case are the same."""

    by: By
    name: str = Field("", max_length=200)
    values: list[str] = Field(min_length=1, max_length=200)


class Rule(BaseModel):
    """Pairs for which all `conditions` hold are for `group` (its id or name) only."""

    group: str
    conditions: list[Condition] = Field(min_length=1, max_length=5)


class Assignment(BaseModel):
    groups: list[Group] = Field(default_factory=list, max_length=MAX_GROUPS)
    rules: list[Rule] = Field(default_factory=list, max_length=MAX_RULES)

    def name_of(self, group_id: str) -> str:
        return next((group.name for group in self.groups if group.id == group_id), "")


@dataclass(frozen=True)
class Person:
    """A user who can be a member. `annotator_id`: who they are, or would be, in the project."""

    user_id: str
    annotator_id: str
    name: str
    role: str
    active: bool  # can sign in, and is not paused here
    why_not: str = ""


@dataclass(frozen=True)
class GroupState:
    """`beyond_reach`: pairs that want more votes than the group's active members can still
    give. `active`: how many of the members can claim."""

    group: Group
    members: list[Person]
    active: int
    standing: Standing
    beyond_reach: int
    paused: Pause | None


@dataclass(frozen=True)
class RuleState:
    """`matches`: pairs it holds for; `pairs`: those that no earlier rule takes."""

    rule: Rule
    group: str
    matches: int
    pairs: int


@dataclass(frozen=True)
class View:
    groups: list[GroupState]
    rules: list[RuleState]
    everybody: Standing
    paused: Pause | None
    people: list[Person]


@dataclass(frozen=True)
class Options:
    """What a rule can ask for: `fields` with their frequent values, `sources`, and `prompts`
    as {id: name}."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """`slots`: how many changed hands; `members`: annotators whose groups changed."""

    assignment: Assignment
    slots: int
    members: int


def assignment_in(session: Session, project_id: str) -> Assignment:
    return Assignment.model_validate(document_body(session, project_id, KIND))


def assignment_of(db: Database, who: Principal, project_id: str) -> Assignment:
    require(who, "quality.view")
    with db.read() as session:
        return assignment_in(session, find_project(session, project_id).id)


def view(db: Database, who: Principal, project_id: str) -> View:
    """Groups and rules with how they stand."""
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        assignment, pauses = assignment_in(session, project.id), pauses_in(session, project.id)
        people = people_in(session, project.id)
        counts = stored.standing(session, project.id)
        matches = stored.count_rules(session, project.id, _stored(assignment.rules))
        by_id = {person.user_id: person for person in people}
        groups = [_state(session, project.id, group, by_id, counts, pauses) for group in assignment.groups]
    return View(
        groups,
        [
            RuleState(rule, assignment.name_of(rule.group), *found)
            for rule, found in zip(assignment.rules, matches, strict=True)
        ],
        counts.get(None, Standing()),
        pauses.project,
        people,
    )


def _state(
    session: Session,
    project_id: str,
    group: Group,
    people: dict[str, Person],
    counts: dict[str | None, Standing],
    pauses: Pauses,
) -> GroupState:
    members = [people.get(user_id) or _gone(project_id, user_id) for user_id in group.members]
    active = [person.annotator_id for person in members if person.active]
    audience = audience_of(group.id)
    here = counts.get(audience, Standing())
    beyond = stored.beyond_reach(session, project_id, audience, active) if here.waiting else 0
    return GroupState(group, members, len(active), here, beyond, pauses.groups.get(group.id))


def people_of(db: Database, who: Principal, project_id: str) -> list[Person]:
    require(who, "quality.view")
    with db.read() as session:
        return people_in(session, find_project(session, project_id).id)


def people_in(session: Session, project_id: str) -> list[Person]:
    """Every user, annotators first: who may be a member, and who cannot claim now and why."""
    users = session.exec(select(User).order_by(col(User.name))).all()
    known = {
        annotator.user_id: annotator
        for annotator in session.exec(
            select(Annotator).where(Annotator.project_id == project_id, col(Annotator.user_id).is_not(None))
        )
    }
    found = []
    for user in users:
        here = known.get(user.id)
        why = ""
        if not user.active:
            why = "deactivated"
        elif here is not None and here.paused_at is not None:
            why = "paused"
        elif here is not None and here.excluded_at is not None:
            why = "votes left out"
        person = Person(
            user.id,
            here.id if here else annotator_key(project_id, user.id),
            user.name,
            user.role,
            not why,
            why,
        )
        if user.active or here is not None:
            found.append(person)
    return sorted(found, key=lambda person: (person.role != "annotator", person.name.lower()))


def annotator_key(project_id: str, user_id: str) -> str:
    """The id that a user has, or will have, as an annotator of the project."""
    return id_of("annotator", project_id, "user", user_id)


def _gone(project_id: str, user_id: str) -> Person:
    return Person(
        user_id, annotator_key(project_id, user_id), "somebody who is gone", "", False, "no account"
    )


def options(db: Database, who: Principal, project_id: str) -> Options:
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        prompts = session.exec(
            select(Prompt.id, Prompt.name, Prompt.version)
            .where(Prompt.project_id == project.id)
            .order_by(col(Prompt.name), col(Prompt.version))
        )
        names = {id_: name if version == 1 else f"{name} v{version}" for id_, name, version in prompts}
        return Options(stored.field_values(session, project.id), stored.sources(session, project.id), names)


def preview(
    db: Database, who: Principal, project_id: str, rules: Sequence[Rule | dict[str, Any]]
) -> list[RuleState]:
    """What rules would take, in this order, before they are saved."""
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        before = assignment_in(session, project.id)
        raw = [rule.model_dump() if isinstance(rule, Rule) else rule for rule in rules]
        wanted = _checked(
            session, project.id, before, {"groups": before.model_dump()["groups"], "rules": raw}
        )
        counts = stored.count_rules(session, project.id, _stored(wanted.rules))
    return [
        RuleState(rule, wanted.name_of(rule.group), *found)
        for rule, found in zip(wanted.rules, counts, strict=True)
    ]


def set_assignment(db: Database, who: Principal, project_id: str, **values: Any) -> Saved:
    """Set `groups`, `rules` or both; what is not named stays. A rule of a group that is gone
    is refused. Who holds a pair keeps it."""
    require(who, "annotator.manage")

    def work(session: Session) -> Saved:
        project = find_project(session, project_id)
        before = assignment_in(session, project.id)
        after = _checked(session, project.id, before, {**before.model_dump(), **_raw(values)})
        if after == before:
            return Saved(after, 0, 0)
        keep(session, who, project.id, KIND, "Assignment", after)
        members = share_audiences(session, project.id)
        slots = stored.apply_rules(session, project.id)
        note(
            session, who, "project.assignment", project.id, list(changed(before, after)),
            groups=len(after.groups), rules=len(after.rules), slots=slots, members=members,
        )  # fmt: skip
        return Saved(after, slots, members)

    return db.write(work)


def share_audiences(session: Session, project_id: str) -> int:
    """Give every annotator of the project the audiences that its documents say; answers how
    many changed. Members who never came here are made annotators."""
    wanted: dict[str, list[str]] = {}
    lists = [(audience_of(group.id), group.members) for group in assignment_in(session, project_id).groups]
    lists.append((ADJUDICATOR, document_body(session, project_id, ADJUDICATION).get("members", [])))
    names = dict(session.exec(select(User.id, User.name)).all())
    for audience, members in lists:
        for user_id in members:
            if user_id in names:
                annotator = annotator_of_user(session, project_id, user_id, names[user_id])
                wanted.setdefault(annotator.id, []).append(audience)
    return stored.give_audiences(session, project_id, wanted)


def others_wait_for(db: Database, who: Principal, project_id: str) -> list[str]:
    """Names of the groups that the pairs are for which are left, and which this person may
    not have."""
    require(who, "annotate")
    with db.read() as session:
        assignment = assignment_in(session, project_id)
        if not assignment.rules:
            return []
        key = annotator_key(project_id, who.user_id)
        annotator = session.get(Annotator, key)
        mine = (annotator and annotator.audiences) or ()
        found = stored.waiting_for_others(session, project_id, key, mine)
    return [name for group_id in found if (name := assignment.name_of(group_id))]


def check_members(session: Session, members: Sequence[str], before: Sequence[str]) -> list[str]:
    """Ids of users, each once; who is no user is refused, unless they were a member before
    (their account may be gone since)."""
    there = set(session.exec(select(User.id).where(col(User.id).in_(members)))) | set(before)
    unknown = [user_id for user_id in members if user_id not in there]
    if unknown:
        raise NotFound(f"members: there is no user {unknown[0]}.")
    return list(dict.fromkeys(members))


def _checked(session: Session, project_id: str, before: Assignment, values: dict[str, Any]) -> Assignment:
    found = checked(Assignment, values)
    known = {group.name.lower(): group for group in before.groups}
    names: set[str] = set()
    for group in found.groups:
        group.name, group.about = group.name.strip(), group.about.strip()
        if not group.name:
            raise Invalid("groups: a group needs a name.")
        if group.name.lower() in names:
            raise Invalid(f"groups: there are two of the name “{group.name}”.")
        names.add(group.name.lower())
        same = known.get(group.name.lower())
        if group.id and group.id not in {item.id for item in before.groups}:
            raise NotFound(f"groups: there is no group {group.id}.", "Leave the id out to make a new one.")
        group.id = group.id or (same.id if same else secrets.token_hex(4))
        old = next((item.members for item in before.groups if item.id == group.id), [])
        group.members = check_members(session, group.members, old)
    if len({group.id for group in found.groups}) < len(found.groups):
        raise Invalid("groups: two have the same id.")
    ids = {group.id: group.id for group in found.groups} | {g.name.lower(): g.id for g in found.groups}
    for place, rule in enumerate(found.rules, 1):
        group_id = ids.get(rule.group) or ids.get(rule.group.strip().lower())
        if group_id is None:
            name = before.name_of(rule.group) or rule.group
            raise Invalid(f"rules: rule {place} is for the group “{name}”, which there is not.")
        rule.group = group_id
        for condition in rule.conditions:
            _check_condition(session, project_id, place, condition)
    return found


def _check_condition(session: Session, project_id: str, place: int, condition: Condition) -> None:
    condition.values = list(dict.fromkeys(value.strip() for value in condition.values if value.strip()))
    condition.name = condition.name.strip() if condition.by == "field" else ""
    if not condition.values:
        raise Invalid(f"rules: rule {place} has no value to look for.")
    if condition.by == "field" and not condition.name:
        raise Invalid(f"rules: rule {place} does not say which field it reads.")
    if condition.by == "prompt":
        there = session.exec(
            select(Prompt.id).where(Prompt.project_id == project_id, col(Prompt.id).in_(condition.values))
        ).all()
        if set(there) != set(condition.values):
            raise NotFound(f"rules: rule {place} names a prompt that this project does not have.")


def _raw(values: dict[str, Any]) -> dict[str, Any]:
    """Without models: checking changes what it checks."""
    return {
        name: [item.model_dump() if isinstance(item, BaseModel) else item for item in value]
        if isinstance(value, list | tuple)
        else value
        for name, value in values.items()
    }


def _stored(rules: Sequence[Rule]) -> list[stored.Rule]:
    return stored.rules_of({"rules": [rule.model_dump() for rule in rules]})
