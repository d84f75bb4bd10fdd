"""Candidates of an optimise run, and sending the best to the annotators."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.deps import CurrentUser, DatabaseDep
from core.access import require
from core.optimize.method import Option
from core.optimize.methods import METHODS
from core.optimize.promote import queue_candidates
from core.optimize.rewards.kinds import COMPONENTS, CONSTRAINTS, Kind, Text
from core.optimize.transfer import transfers_of
from core.optimize.view import candidates_of, offered, other_parents

router = APIRouter(tags=["optimise"])


class OptionPublic(BaseModel):
    name: str
    label: str
    default: bool | int | float | str
    help: str
    low: float | None
    high: float | None
    choices: list[str]


class MethodPublic(BaseModel):
    """`unavailable`: why the hosts that were asked about cannot serve it, or null. `trains`: what
    it needs of the optimiser's host."""

    name: str
    title: str
    sentence: str
    source: str
    baseline: bool
    asks: bool
    needs: list[str]
    trains: list[str]
    options: list[OptionPublic]
    unavailable: str | None


@router.get("/optimizers")
def optimizers(
    db: DatabaseDep, who: CurrentUser, host: str | None = None, optimizer_host: str | None = None
) -> list[MethodPublic]:
    """The methods with their options, and whether a host (default: the embedded one) can
    serve them, with another one for the optimiser's own language model (default: the same)."""
    reasons = offered(db, who, host, optimizer_host)
    return [
        MethodPublic(
            name=name,
            title=method.title,
            sentence=method.sentence,
            source=method.source,
            baseline=method.baseline,
            asks=method.asks,
            needs=sorted(method.needs),
            trains=sorted(method.trains),
            options=[
                OptionPublic(
                    name=option.name,
                    label=option.label,
                    default=option.default,
                    help=option.help,
                    low=option.low if _is_number(option.default) else None,
                    high=option.high if _is_number(option.default) else None,
                    choices=list(option.choices),
                )
                for option in method.options
            ],
            unavailable=reasons[name],
        )
        for name, method in METHODS.items()
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class FieldPublic(BaseModel):
    """A setting of a component or constraint; `several`: it takes a list of texts."""

    name: str
    label: str
    default: bool | int | float | str | list[str]
    help: str
    several: bool
    low: float | None
    high: float | None
    choices: list[str]


class RewardKindPublic(BaseModel):
    """`scale`: what a component's values mean before they are weighed; empty for constraints."""

    kind: str
    title: str
    sentence: str
    scale: str
    fields: list[FieldPublic]


class RewardKinds(BaseModel):
    components: list[RewardKindPublic]
    constraints: list[RewardKindPublic]


@router.get("/rewards")
def rewards(who: CurrentUser) -> RewardKinds:
    """What a reward may be composed of, with every setting: `reward: {"components": […],
    "constraints": […]}` in a run's config."""
    require(who, "run.view")
    return RewardKinds(
        components=[_kind(name, kind) for name, kind in COMPONENTS.items()],
        constraints=[_kind(name, kind) for name, kind in CONSTRAINTS.items()],
    )


def _kind(name: str, kind: Kind) -> RewardKindPublic:
    return RewardKindPublic(
        kind=name, title=kind.title, sentence=kind.sentence, scale=kind.scale,
        fields=[_field(field) for field in kind.fields],
    )  # fmt: skip


def _field(field: Option | Text) -> FieldPublic:
    default: Any = list(field.default) if isinstance(field.default, tuple) else field.default
    limits = isinstance(field, Option) and _is_number(field.default)
    return FieldPublic(
        name=field.name,
        label=field.label,
        default=default,
        help=field.help,
        several=isinstance(field, Text) and field.several,
        low=field.low if limits and isinstance(field, Option) else None,
        high=field.high if limits and isinstance(field, Option) else None,
        choices=list(field.choices) if isinstance(field, Option) else [],
    )


class CandidatePublic(BaseModel):
    number: int
    parent: int | None
    others: list[int] = Field(default=[], description="further parents, where texts were crossed")
    operation: str
    text: str
    accepted: bool
    scores: dict[str, Any]
    calls: int
    prompt_id: str | None
    created_at: datetime


class Promote(BaseModel):
    """Without `candidates`: the best two that beat the start. `examples`: on how many held-out
    ones (test split) they are compared; without, up to 200."""

    candidates: list[int] | None = None
    examples: int | None = None


class Promoted(BaseModel):
    prompts: list[str]
    run_id: str


class CellPublic(BaseModel):
    """A prompt on a host. `gain`: less the start's on the same host and examples, paired; null for
    the start itself. `own`: the host that the search worked on."""

    split: str
    host: str
    own: bool
    prompt: str
    candidate: int | None
    prompt_id: str | None
    scores: dict[str, Any]
    gain: dict[str, Any] | None


class TransferPublic(BaseModel):
    """`runs`: of the kind `transfer` that look at this search, newest first."""

    runs: list[str]
    cells: list[CellPublic]


@router.get("/runs/{run_id}/transfer")
def transfer(run_id: str, db: DatabaseDep, who: CurrentUser) -> TransferPublic:
    """What a search's prompts score on other hosts. Start one with a run of the kind `transfer`:
    `{"run": …, "hosts": […]}`, and `candidates`, `prompts`, `split`."""
    found = transfers_of(db, who, run_id)
    cells = [CellPublic.model_validate(cell, from_attributes=True) for cell in found.cells]
    return TransferPublic(runs=[run.id for run in found.runs], cells=cells)


@router.get("/runs/{run_id}/candidates")
def candidates(
    run_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    limit: int = Query(1_000, ge=1, le=10_000),
    offset: int = Query(0, ge=0),
) -> list[CandidatePublic]:
    """In the order they were proposed; number 0 is the start prompt."""
    found = candidates_of(db, who, run_id)[offset : offset + limit]
    others = other_parents(db, who, run_id)
    public = [CandidatePublic.model_validate(item, from_attributes=True) for item in found]
    return [one.model_copy(update={"others": others.get(one.number, [])}) for one in public]


@router.post("/runs/{run_id}/promote-candidates", status_code=202)
def promote(run_id: str, db: DatabaseDep, who: CurrentUser, wanted: Promote | None = None) -> Promoted:
    """Make prompt versions of candidates, generate their responses, and queue blind pairs
    against the champion. Again answers the same."""
    asked = wanted or Promote()
    made = queue_candidates(db, who, run_id, asked.candidates, asked.examples)
    return Promoted(prompts=[prompt.id for prompt in made["prompts"]], run_id=made["run"].id)
