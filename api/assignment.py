"""Who gets what: `core.annotation.groups` and `core.annotation.pausing`."""

from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.annotation import groups as core_groups
from core.annotation import pausing
from core.annotation.groups import Group, GroupState, Rule, RuleState

router = APIRouter(prefix="/projects/{project_id}/assignment", tags=["assignment"])


class PausePublic(BaseModel):
    reason: str
    at: datetime
    by: str


class StandingPublic(BaseModel):
    pairs: int
    waiting: int
    votes: int
    wanted: int


class MemberPublic(BaseModel):
    user_id: str
    annotator_id: str
    name: str
    role: str
    active: bool
    why_not: str


class GroupPublic(BaseModel):
    """`waiting`: pairs that want a vote of this group; `beyond_reach`: those that want more
    than its active members can still give."""

    id: str
    name: str
    about: str
    members: list[MemberPublic]
    active: int
    pairs: int
    waiting: int
    votes: int
    wanted: int
    beyond_reach: int
    paused: PausePublic | None


class RulePublic(Rule):
    """`matches`: pairs it holds for; `pairs`: those that no earlier rule takes."""

    group_name: str
    matches: int
    pairs: int


class AssignmentPublic(BaseModel):
    groups: list[GroupPublic]
    rules: list[RulePublic]
    everybody: StandingPublic
    paused: PausePublic | None


class AssignmentWanted(BaseModel):
    """What is not named stays as it is. `rules` name a group by its id or its name."""

    groups: list[Group] | None = Field(None, max_length=core_groups.MAX_GROUPS)
    rules: list[Rule] | None = Field(None, max_length=core_groups.MAX_RULES)


class AssignmentSaved(BaseModel):
    """`slots`: how many changed hands; `members`: annotators whose groups changed."""

    groups: list[Group]
    rules: list[Rule]
    slots: int
    members: int


class Preview(BaseModel):
    rules: list[Rule] = Field(max_length=core_groups.MAX_RULES)


class PauseWanted(BaseModel):
    """`group`: the id of a group; without it the whole project."""

    group: str | None = None
    reason: str = Field("", max_length=pausing.MAX_REASON)


class ResumeWanted(BaseModel):
    group: str | None = None


class PausesPublic(BaseModel):
    project: PausePublic | None
    groups: dict[str, PausePublic]


class OptionsPublic(BaseModel):
    fields: dict[str, list[str]]
    sources: list[str]
    prompts: dict[str, str]


@router.get("")
def read(project_id: str, db: DatabaseDep, who: CurrentUser) -> AssignmentPublic:
    """Groups and rules, in the order in which they are tried, with how they stand."""
    found = core_groups.view(db, who, project_id)
    return AssignmentPublic(
        groups=[_group(item) for item in found.groups],
        rules=[_rule(item) for item in found.rules],
        everybody=StandingPublic(**asdict(found.everybody)),
        paused=PausePublic(**found.paused.model_dump()) if found.paused else None,
    )


@router.put("")
def write(project_id: str, values: AssignmentWanted, db: DatabaseDep, who: CurrentUser) -> AssignmentSaved:
    """Set groups, rules or both: at once for the pairs that are there, and for those to come."""
    named = {name: getattr(values, name) for name in values.model_fields_set}
    wanted = {name: value for name, value in named.items() if value is not None}
    saved = core_groups.set_assignment(db, who, project_id, **wanted)
    return AssignmentSaved(
        groups=saved.assignment.groups, rules=saved.assignment.rules, slots=saved.slots, members=saved.members
    )


@router.post("/preview")
def preview(project_id: str, values: Preview, db: DatabaseDep, who: CurrentUser) -> list[RulePublic]:
    """How many pairs rules would take, before they are saved."""
    return [_rule(item) for item in core_groups.preview(db, who, project_id, values.rules)]


@router.get("/options")
def options(project_id: str, db: DatabaseDep, who: CurrentUser) -> OptionsPublic:
    """What rules can name: fields with their frequent values, sources, prompts."""
    return OptionsPublic(**asdict(core_groups.options(db, who, project_id)))


@router.get("/people")
def people(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[MemberPublic]:
    """Who may be a member of a group, or an adjudicator."""
    return [MemberPublic(**asdict(item)) for item in core_groups.people_of(db, who, project_id)]


@router.post("/pause")
def pause(project_id: str, values: PauseWanted, db: DatabaseDep, who: CurrentUser) -> PausesPublic:
    """No new pairs for now: the reason is shown at the next claim (403)."""
    return _pauses(pausing.pause(db, who, project_id, values.reason, values.group))


@router.post("/resume")
def resume(project_id: str, values: ResumeWanted, db: DatabaseDep, who: CurrentUser) -> PausesPublic:
    return _pauses(pausing.resume(db, who, project_id, values.group))


def _pauses(found: pausing.Pauses) -> PausesPublic:
    return PausesPublic.model_validate(found.model_dump())


def _group(item: GroupState) -> GroupPublic:
    return GroupPublic(
        id=item.group.id,
        name=item.group.name,
        about=item.group.about,
        members=[MemberPublic(**asdict(person)) for person in item.members],
        active=item.active,
        **asdict(item.standing),
        beyond_reach=item.beyond_reach,
        paused=PausePublic(**item.paused.model_dump()) if item.paused else None,
    )


def _rule(item: RuleState) -> RulePublic:
    return RulePublic(**item.rule.model_dump(), group_name=item.group, matches=item.matches, pairs=item.pairs)
