"""Language models as judges: how they do. They are started as runs of the kind `judge`, and
their votes are taken in and left out like an annotator's."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.annotation.judge import figures

router = APIRouter(prefix="/projects/{project_id}/judges", tags=["judges"])


class FigurePublic(BaseModel, from_attributes=True):
    """A share or a coefficient with its 95 % interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class AgreementPublic(BaseModel, from_attributes=True):
    """With people, over pairs both judged: the share, Cohen's kappa, and the share without
    ties; `people_…`: of people with each other on those of the pairs that two and more judged."""

    share: FigurePublic
    kappa: FigurePublic
    decisive: FigurePublic
    people_share: FigurePublic
    people_kappa: FigurePublic
    people_decisive: FigurePublic


class JudgePublic(BaseModel):
    """`id` is its annotator's; `counts`: whether a lead has taken its votes in. `prompt` is
    null for the default one. `inconsistent`: pairs whose answer changed with the order (ties);
    `says_both_bad`: its prompt lets it, and agreement takes "both bad" for a choice of its own;
    `first`: answers for the response that stood first; `longer`: decisive votes for the longer
    response, and people's on the same pairs."""

    id: str
    name: str
    host: str
    model: str
    prompt: str | None
    counts: bool
    votes: int
    runs: int
    last_run: datetime | None
    agreement: AgreementPublic
    ties: FigurePublic
    both_bad: FigurePublic
    says_both_bad: bool
    inconsistent: FigurePublic
    first: FigurePublic
    longer: FigurePublic
    people_longer: FigurePublic
    by_source: dict[str, FigurePublic]
    unparsable: int
    failed: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float


@router.get("")
def list_(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[JudgePublic]:
    """Every language model that has judged pairs of this project. Start one with
    `POST /projects/{id}/runs` (kind judge; config: host, prompt, pairs voted|unvoted|all, limit,
    max_new_tokens, seed); count its votes with `POST /projects/{id}/annotators/{judge}/include`,
    stop counting them with `…/exclude`."""
    found = figures.judges(db, who, project_id)
    return [JudgePublic.model_validate(judge, from_attributes=True) for judge in found]
