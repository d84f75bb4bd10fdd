from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.annotation import marks, probe_answers, qualification, votes
from core.annotation.asked import VoteSent
from core.annotation.judgements import Simulated
from core.annotation.leaderboard import leaderboard as leaderboard_of
from core.annotation.quality import quality as quality_of
from storage.tables import Vote

router = APIRouter(tags=["annotation"])

Choice = Literal["left", "right", "tie", "both_bad"]
Strength = Literal["significantly", "clearly", "slightly", "barely"]
Mark = Literal["left", "same", "right"]
Points = dict[Literal["left", "right"], Annotated[int, Field(ge=1, le=5, strict=True)]]
SimulatedVotes = Annotated[
    Simulated | None,
    Query(description="Votes of simulated annotators. By default left out as soon as people have voted."),
]


class Training(BaseModel):
    """The `place`-th `of` so many training pairs, of which `needed` must be right."""

    place: int
    of: int
    needed: int


class ReasonPublic(BaseModel):
    """What somebody else said, in the sides of this claim."""

    choice: Choice
    strength: Strength | None
    reason: str


class ClaimPublic(BaseModel):
    """A pair to judge, blind. Send `lease` with the vote, before `expires_at`. `training`:
    a pair of the qualification, whose answer is told after the vote. `reasons`: what others
    said, on a disputed pair that adjudicators decide."""

    pair_id: str
    lease: str
    expires_at: datetime
    input: str
    messages: list[dict[str, str]] | None = None
    fields: dict[str, Any] = {}
    left: str
    right: str
    training: Training | None = None
    reasons: list[ReasonPublic] | None = None


class VoteCast(BaseModel):
    lease: str
    choice: Choice
    strength: Strength | None = None
    criteria: dict[str, Mark | Points] = {}
    reason: str = Field("", max_length=marks.MAX_REASON)
    duration_ms: int | None = Field(None, ge=0, lt=2**31)


class FeedbackPublic(BaseModel):
    """On a training pair: what was expected, as it was shown, and why; how the attempt goes,
    and after its last pair how it ended."""

    right: bool
    expected: Choice
    explanation: str
    place: int
    of: int
    score: int
    needed: int
    verdict: Literal["passed", "failed"] | None
    tries_left: int


class VotePublic(BaseModel):
    id: str
    pair_id: str
    project_id: str
    choice: Choice
    outcome: Literal["win", "tie", "both_bad"]
    strength: str | None
    reason: str
    duration_ms: int | None
    created_at: datetime
    feedback: FeedbackPublic | None = None


class Undone(BaseModel):
    id: str
    pair_id: str
    undone: bool = True


class Lease(BaseModel):
    lease: str


class Leases(BaseModel):
    leases: list[str] = Field(max_length=1_000)


class Held(BaseModel):
    held: list[str]


class SkipPair(Lease):
    reason: str = Field("", max_length=marks.MAX_REASON)


class Skipped(BaseModel):
    pair_id: str
    reason: str
    created_at: datetime


class Unskipped(BaseModel):
    pair_id: str
    unskipped: bool = True


@router.post(
    "/projects/{project_id}/pairs/claim",
    response_model=ClaimPublic,
    responses={204: {"description": "Nothing is left for you"}},
)
async def claim(project_id: str, db: DatabaseDep, who: CurrentUser) -> ClaimPublic | Response:
    """The next pair to judge. Again, without voting, is the same pair."""
    found = await votes.claim_async(db, who, project_id)
    if found is None:
        return Response(status_code=204)
    return ClaimPublic.model_validate(found, from_attributes=True)


@router.post("/projects/{project_id}/pairs/claim-ahead")
def claim_ahead(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    wanted: Annotated[int, Query(ge=1, le=votes.MOST_HELD)] = 2,
) -> list[ClaimPublic]:
    """The pair to judge now and the ones after it, `wanted` in all: what you hold already
    comes first. Keep their leases alive with a heartbeat."""
    found = votes.claim_some(db, who, project_id, wanted)
    return [ClaimPublic.model_validate(item, from_attributes=True) for item in found]


@router.post("/projects/{project_id}/pairs/heartbeat")
def heartbeat(project_id: str, values: Leases, db: DatabaseDep, who: CurrentUser) -> Held:
    """Let your leases run on. Answers those that still hold their pair."""
    return Held(held=votes.heartbeat(db, who, project_id, values.leases))


@router.post(
    "/pairs/{pair_id}/votes",
    status_code=201,
    responses={409: {"description": "The lease is lost, or was used for another vote"}},
)
async def cast(pair_id: str, values: VoteCast, db: DatabaseDep, who: CurrentUser) -> VotePublic:
    """Vote on a claimed pair. The same again answers the same vote. A training pair answers
    with `feedback`, and no vote is stored."""
    sent = VoteSent(
        who,
        pair_id,
        values.lease,
        values.choice,
        values.strength,
        values.criteria,
        values.reason,
        values.duration_ms,
        source="api",
    )
    vote = await votes.cast_async(db, sent)
    answer = public_vote(vote)
    if vote.source == probe_answers.TRAINING:
        told = qualification.feedback(db, who, vote.id)
        answer.feedback = FeedbackPublic.model_validate(told, from_attributes=True)
    return answer


@router.delete("/votes/{vote_id}")
def undo(vote_id: str, db: DatabaseDep, who: CurrentUser) -> Undone:
    """Take your own vote back: its pair is what the next claim answers."""
    return Undone(id=vote_id, pair_id=votes.undo(db, who, vote_id))


@router.post("/pairs/{pair_id}/skip", status_code=201)
def skip(pair_id: str, values: SkipPair, db: DatabaseDep, who: CurrentUser) -> Skipped:
    """Leave a claimed pair to others: it is not offered to you again."""
    return Skipped.model_validate(
        votes.skip(db, who, pair_id, values.lease, values.reason), from_attributes=True
    )


@router.delete("/pairs/{pair_id}/skip", responses={409: {"description": "Others judge it by now"}})
def unskip(pair_id: str, db: DatabaseDep, who: CurrentUser) -> Unskipped:
    """Take your skip back: the pair is what the next claim answers."""
    return Unskipped(pair_id=votes.unskip(db, who, pair_id))


@router.post("/pairs/{pair_id}/release", status_code=204)
def release(pair_id: str, values: Lease, db: DatabaseDep, who: CurrentUser) -> None:
    """Give a claimed pair back at once."""
    votes.release(db, who, pair_id, values.lease)


@router.get("/projects/{project_id}/quality")
def quality(
    project_id: str, db: DatabaseDep, who: CurrentUser, simulated: SimulatedVotes = None
) -> dict[str, Any]:
    """Agreement, position bias, ties and pace, overall and per annotator. Intervals: 95 %."""
    return quality_of(db, who, project_id, simulated=simulated)


@router.get("/projects/{project_id}/leaderboard")
def leaderboard(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    annotator: Annotated[list[str] | None, Query(description="ids of annotators; all by default")] = None,
    since: Annotated[datetime | None, Query(description="votes from this time on")] = None,
    until: Annotated[datetime | None, Query(description="votes before this time")] = None,
    simulated: SimulatedVotes = None,
) -> dict[str, Any]:
    """Bradley-Terry ratings of the prompts with 95 % intervals, ranks, and the win matrix."""
    return leaderboard_of(
        db, who, project_id, annotators=annotator, since=since, until=until, simulated=simulated
    )


def public_vote(vote: Vote) -> VotePublic:
    return VotePublic.model_validate({**vote.model_dump(), "choice": marks.choice_of(vote)})
