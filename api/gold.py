"""Gold pairs, qualification, checks: `core.annotation.gold`, `…qualification`, `…probing`."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.annotation import gold, probing, qualification
from core.annotation.gold_import import import_gold

router = APIRouter(prefix="/projects/{project_id}", tags=["gold"])

Use = Literal["training", "check"]
Choice = Literal["a", "b", "tie", "both_bad"]
MOST_ROWS = 5_000


class GoldPublic(BaseModel):
    """`answered`: people who judged it as a probe, `right` of them as expected, with Wilson's
    95 % interval of the share."""

    id: str
    pair_id: str
    use: Use
    choice: Choice
    explanation: str
    input: str
    response_a: str
    response_b: str
    answered: int
    right: int
    low: float | None
    high: float | None
    created_at: datetime
    retired_at: datetime | None


class GoldMark(BaseModel):
    """`choice`: a and b are the pair's response_a and response_b. (An imported gold pair has its
    row's a and b.)"""

    pair_id: str
    use: Use = "check"
    choice: Choice
    explanation: str = Field("", max_length=gold.MAX_EXPLANATION)


class GoldMarked(BaseModel):
    """`closed`: slots that waited for ordinary votes; `taken`: of those, on somebody's desk."""

    id: str
    closed: int
    taken: int


class GoldChange(BaseModel):
    use: Use | None = None
    choice: Choice | None = None
    explanation: str | None = Field(None, max_length=gold.MAX_EXPLANATION)


class GoldRetired(BaseModel):
    opened: int


class GoldRows(BaseModel):
    rows: list[dict[str, Any]] = Field(max_length=MOST_ROWS)
    use: Use = "check"


class GoldSkipped(BaseModel):
    row: int
    reason: str


class GoldImported(BaseModel):
    imported: int
    duplicates: int
    closed: int
    skipped: list[GoldSkipped]


class ProbesPublic(BaseModel):
    qualify: bool
    asked: int
    pass_mark: float
    tries: int
    veterans: bool
    since: datetime | None
    gold_rate: float
    repeat_rate: float
    repeat_after: int
    failures: int
    window: int
    action: probing.Action


class ProbesChange(BaseModel):
    qualify: bool | None = None
    asked: int | None = None
    pass_mark: float | None = None
    tries: int | None = None
    veterans: bool | None = None
    gold_rate: float | None = None
    repeat_rate: float | None = None
    repeat_after: int | None = None
    failures: int | None = None
    window: int | None = None
    action: probing.Action | None = None


class AttemptPublic(BaseModel):
    started: datetime
    asked: int
    answered: int
    right: int


class TallyPublic(BaseModel):
    gold: int
    gold_right: int
    repeats: int
    repeats_same: int


class StandingPublic(BaseModel):
    id: str
    name: str
    state: qualification.State
    qualified_at: datetime | None
    attempts: list[AttemptPublic]
    tries_left: int
    tally: TallyPublic


@router.get("/gold")
def list_(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    retired: Annotated[bool, Query(description="also those that were retired")] = False,
) -> list[GoldPublic]:
    """Pairs whose answer is known, the newest first."""
    found = gold.list_gold(db, who, project_id, retired=retired)
    return [GoldPublic.model_validate(item, from_attributes=True) for item in found]


@router.post("/gold", status_code=201)
def mark(project_id: str, values: GoldMark, db: DatabaseDep, who: CurrentUser) -> GoldMarked:
    """Make a pair of the project gold. It waits for ordinary votes no more; votes that were
    cast on it stay."""
    made = gold.mark(db, who, project_id, values.pair_id, values.use, values.choice, values.explanation)
    return GoldMarked.model_validate(made, from_attributes=True)


@router.post("/gold/import")
def import_(
    project_id: str,
    values: GoldRows,
    db: DatabaseDep,
    who: CurrentUser,
    dry_run: Annotated[bool, Query(description="only say what would be done")] = False,
) -> GoldImported:
    """Add gold pairs: rows with input, response_a, response_b, choice (a, b, tie, both_bad)
    and, optionally, explanation and use."""
    done = import_gold(db, who, project_id, values.rows, values.use, dry_run=dry_run)
    return GoldImported(
        imported=done.imported,
        duplicates=done.duplicates,
        closed=done.closed,
        skipped=[GoldSkipped(row=row, reason=reason) for row, reason in done.skipped],
    )


@router.patch("/gold/{gold_id}", status_code=204)
def change(project_id: str, gold_id: str, values: GoldChange, db: DatabaseDep, who: CurrentUser) -> None:
    """Answers that were given keep what was expected then."""
    gold.change(db, who, project_id, gold_id, **values.model_dump())


@router.delete("/gold/{gold_id}")
def retire(project_id: str, gold_id: str, db: DatabaseDep, who: CurrentUser) -> GoldRetired:
    """Give it to nobody any more. A pair that was not imported as gold waits for votes again."""
    return GoldRetired(opened=gold.retire(db, who, project_id, gold_id))


@router.get("/probes")
def settings(project_id: str, db: DatabaseDep, who: CurrentUser) -> ProbesPublic:
    """Qualification, rates of gold checks and hidden repeats, and what follows failed ones."""
    return ProbesPublic.model_validate(probing.probing_of(db, who, project_id), from_attributes=True)


@router.put("/probes")
def set_(project_id: str, values: ProbesChange, db: DatabaseDep, who: CurrentUser) -> ProbesPublic:
    """Change what is named."""
    changed = values.model_dump(exclude_none=True)
    return ProbesPublic.model_validate(
        probing.set_probing(db, who, project_id, **changed), from_attributes=True
    )


@router.get("/qualification")
def people(project_id: str, db: DatabaseDep, who: CurrentUser) -> list[StandingPublic]:
    """How each annotator with an account stands: attempts, gold checks, hidden repeats."""
    found = qualification.people(db, who, project_id)
    return [StandingPublic.model_validate(asdict(item)) for item in found]


@router.post("/annotators/{annotator_id}/qualify", status_code=204)
def qualify(project_id: str, annotator_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    """Let an annotator in without the training set."""
    qualification.qualify(db, who, project_id, annotator_id)


@router.post("/annotators/{annotator_id}/requalify", status_code=204)
def requalify(project_id: str, annotator_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    """Have an annotator begin anew: their qualification and their attempts no longer count."""
    qualification.begin_anew(db, who, project_id, annotator_id)
