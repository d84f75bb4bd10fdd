"""An annotator's own votes and better responses, and how a project's annotators work."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.annotation import Choice, Mark, Points, Strength, VotePublic, public_vote
from api.deps import CurrentUser, DatabaseDep
from core.annotation import demonstrations, desk, mine, votes
from core.annotation.marks import MAX_REASON, marks_of
from storage.my_votes import Filter
from storage.tables import Demonstration

router = APIRouter(tags=["annotation"])


class VoteEdit(BaseModel):
    """The whole of what the vote says now; left and right as they were shown then."""

    choice: Choice
    strength: Strength | None = None
    criteria: dict[str, Mark | Points] = {}
    reason: str = Field("", max_length=MAX_REASON)


class MyVote(VotePublic):
    """`edits`: how often it was changed; what it said before is kept."""

    criteria: dict[str, Any]
    input: str
    left: str
    right: str
    edits: int


class MyVotes(BaseModel):
    total: int
    items: list[MyVote]


class DemonstrationWrite(BaseModel):
    text: str = Field(min_length=1, max_length=demonstrations.LONGEST)


class DemonstrationPublic(BaseModel):
    id: str
    project_id: str
    example_id: str
    pair_id: str | None
    author: str
    text: str
    created_at: datetime
    updated_at: datetime | None


@router.put("/votes/{vote_id}")
def edit(vote_id: str, values: VoteEdit, db: DatabaseDep, who: CurrentUser) -> VotePublic:
    """Change your own vote, at any time. The same again changes nothing."""
    changed = votes.edit(
        db,
        who,
        vote_id,
        values.choice,
        strength=values.strength,
        criteria=values.criteria,
        reason=values.reason,
    )
    return public_vote(changed)


@router.get("/projects/{project_id}/votes/mine")
def my_votes(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    choice: Choice | None = None,
    strength: Strength | None = None,
    contains: Annotated[str, Query(description="in the input or the reason", max_length=200)] = "",
    since: Annotated[datetime | None, Query(description="votes from this time on")] = None,
    until: Annotated[datetime | None, Query(description="votes before this time")] = None,
    limit: Annotated[int, Query(ge=1, le=mine.MOST_ROWS)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> MyVotes:
    """Your own votes, newest first."""
    found = mine.my_votes_of(
        db, who, project_id, Filter(choice, strength, contains, since, until), limit, offset
    )
    items = [
        MyVote(
            **public_vote(row.vote).model_dump(),
            criteria=marks_of(row.vote),
            input=row.input,
            left=row.left,
            right=row.right,
            edits=row.versions,
        )
        for row in found.rows
    ]
    return MyVotes(total=found.total, items=items)


@router.get("/projects/{project_id}/desk")
def get_desk(project_id: str, db: DatabaseDep, who: CurrentUser) -> desk.Desk:
    """Scales of the criteria, the goal for a day, whether agreement is shown."""
    return desk.desk_of(db, who, project_id)


@router.put("/projects/{project_id}/desk")
def put_desk(project_id: str, values: desk.Desk, db: DatabaseDep, who: CurrentUser) -> desk.Desk:
    return desk.set_desk(db, who, project_id, **values.model_dump())


@router.post("/pairs/{pair_id}/demonstrations", status_code=201)
def write(pair_id: str, values: DemonstrationWrite, db: DatabaseDep, who: CurrentUser) -> DemonstrationPublic:
    """A better response than both of a pair you were given: training data, with your name.
    Again for the same pair replaces your text."""
    return _own(demonstrations.write(db, who, pair_id, values.text))


@router.get("/projects/{project_id}/demonstrations")
def of_project(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    mine: Annotated[bool, Query(description="only your own")] = False,
) -> list[DemonstrationPublic]:
    """Better responses people wrote, newest first."""
    if mine:
        return [_own(item) for item in demonstrations.mine(db, who, project_id)]
    return [_demonstration(item) for item in demonstrations.of_project(db, who, project_id)]


@router.put("/demonstrations/{demonstration_id}")
def change(
    demonstration_id: str, values: DemonstrationWrite, db: DatabaseDep, who: CurrentUser
) -> DemonstrationPublic:
    return _own(demonstrations.change(db, who, demonstration_id, values.text))


@router.delete("/demonstrations/{demonstration_id}", status_code=204)
def delete(demonstration_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    demonstrations.delete(db, who, demonstration_id)


def _own(item: Demonstration) -> DemonstrationPublic:
    """For its author, who may know the pair by another id."""
    return _demonstration(item).model_copy(update={"pair_id": demonstrations.shown_pair(item)})


def _demonstration(item: Demonstration) -> DemonstrationPublic:
    return DemonstrationPublic.model_validate(item, from_attributes=True)
