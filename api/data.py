"""Examples and comparisons in and out."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core import data
from core.foreign import TOOLS
from storage.exporting import Order
from storage.formats import ENCODINGS, FORMATS
from storage.importing import ImportReport

router = APIRouter(prefix="/projects/{project_id}", tags=["data"])

Limit = Annotated[int, Query(ge=1, le=data.PAGE)]
Offset = Annotated[int, Query(ge=0)]


class SkippedRow(BaseModel):
    row: int
    reason: str


class ImportAnswer(BaseModel):
    """`row` of a skipped one is its index in the list that was sent, from 0. `added`
    counts what was new: examples, prompts, responses, pairs, votes, annotators."""

    imported: int
    duplicates: int
    skipped: list[SkippedRow]
    added: dict[str, int]


class ExamplePublic(BaseModel):
    id: str
    input: str
    fields: dict[str, Any]
    messages: list[dict[str, str]] | None
    reference: str | None
    split: str
    external_id: str | None
    created_at: datetime


class TallyPublic(BaseModel):
    a_wins: int
    b_wins: int
    ties: int
    both_bad: int
    simulated: int
    machine: int


class PairPublic(BaseModel):
    id: str
    input: str
    prompt_a: str
    response_a: str
    prompt_b: str
    response_b: str
    tally: TallyPublic
    open_slots: int
    source: str
    external_id: str | None


Rows = Annotated[list[Any], Body(description="a JSON list of rows")]


@router.post("/examples")
def import_examples(project_id: str, rows: Rows, db: DatabaseDep, who: CurrentUser) -> ImportAnswer:
    """Add examples. A row is a text, or an object with `input` (text, object of fields or
    list of messages), optionally `reference`, `split` and `external_id`; any other names
    are fields of the input. What is there already is a duplicate."""
    return _answer(data.import_examples(db, who, project_id, rows))


@router.post("/comparisons")
def import_comparisons(
    project_id: str,
    rows: Rows,
    db: DatabaseDep,
    who: CurrentUser,
    tool: Annotated[
        str | None,
        Query(description=f"whose export the rows are: auto, {', '.join(TOOLS)}; left out: our own rows"),
    ] = None,
) -> ImportAnswer:
    """Add canonical comparison rows: `input`, `response_a`, `response_b`, `prompt_a`,
    `prompt_b`, `annotator`, `choice` (a, b, tie, both_bad), and optionally `strength`,
    `left` (a, b), `reason`, `criteria`, `created_at`, `duration_ms`, `external_id`. A row
    without `annotator` and `choice` is a pair that waits for votes. TRL's rows (`prompt`,
    `chosen`, `rejected`) are taken too. All rows are stored in one transaction. With `tool`, the rows are
    records of another tool's JSON export; one record may give several votes, which `imported`
    and `duplicates` count."""
    if tool is not None:
        return _answer(data.import_foreign(db, who, project_id, rows, tool))
    return _answer(data.import_comparisons(db, who, project_id, rows))


@router.get("/examples")
def list_examples(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    response: Response,
    search: str = "",
    split: Literal["train", "dev", "test"] | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[ExamplePublic]:
    """Examples in the order they came; the header X-Total-Count says how many there are."""
    page = data.list_examples(db, who, project_id, search, split, limit, offset)
    response.headers["X-Total-Count"] = str(page.total)
    return [ExamplePublic.model_validate(row, from_attributes=True) for row in page.rows]


@router.get("/pairs")
def list_pairs(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    response: Response,
    search: str = "",
    state: Literal["all", "waiting", "judged"] = "all",
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[PairPublic]:
    """Pairs, newest first; the header X-Total-Count says how many there are."""
    page = data.list_pairs(db, who, project_id, search, state, limit, offset)
    response.headers["X-Total-Count"] = str(page.total)
    return [PairPublic.model_validate(row, from_attributes=True) for row in page.rows]


class ExportAccount(BaseModel):
    """What an export holds and leaves out. `rows` of the file; pairs by what their votes say:
    `decided` (one response preferred), `even` (ties, even votes), `both_bad`, `unheard` (only
    votes that do not count), `waiting` (no votes); `votes` that count, how many of them are
    simulated, and by how many annotators (people)."""

    rows: int
    decided: int
    even: int
    both_bad: int
    unheard: int
    waiting: int
    votes: int
    simulated_votes: int
    machine_votes: int
    annotators: int
    demonstrations: int
    chosen_responses: int


Format = Annotated[str, Query(description=f"one of {', '.join(FORMATS)}")]
Ties = Annotated[
    str | None,
    Query(
        description="pairs without a preferred response: drop, or both (once each way round; KTO: both good)"
    ),
]
BothBad = Annotated[
    str | None,
    Query(
        description="ignore (only pairs whose every vote says so are left out), drop (most votes), or reject (KTO)"
    ),
]


def _order(
    format: Format = "comparisons",
    include_simulated: bool = False,
    split: str | None = None,
    ties: Ties = None,
    both_bad: BothBad = None,
    chosen: Annotated[bool, Query(description="SFT: also responses that won a pair and lost none")] = False,
) -> Order:
    return Order(format, include_simulated, split, ties, both_bad, chosen)


Ordered = Annotated[Order, Depends(_order)]


@router.get("/export")
def export(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    order: Ordered,
    as_: Annotated[Literal["json", "jsonl", "csv", "parquet", "hf"] | None, Query(alias="as")] = None,
    accept: Annotated[str, Header()] = "",
) -> StreamingResponse:
    """`trl`, `trl-margin`, `dpo`, `kto`, `sft` (each also `-conversational`), `dpo-openai`,
    `sft-messages`, and `comparisons`, canonical rows which can be imported again. A JSON list;
    JSON Lines with `as=jsonl` (or `Accept: application/x-ndjson`); `csv`, `parquet`, or `hf`:
    a zip that `datasets.load_dataset` opens once it is unpacked. Votes of simulated annotators
    are left out unless `include_simulated=true`; then every row says in `simulated` whether it
    rests on any. `ties` and `both_bad` say what becomes of pairs without a preferred response."""
    if as_ is None:
        as_ = "jsonl" if "ndjson" in accept or "jsonl" in accept else "json"
    pieces = data.export_file(db, who, project_id, order, as_)
    name = data.file_name(project_id, order, as_)
    headers = {} if as_ in ("json", "jsonl") else {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=ENCODINGS[as_], headers=headers)


@router.get("/export/account")
def export_account(project_id: str, db: DatabaseDep, who: CurrentUser, order: Ordered) -> ExportAccount:
    """What `export` with the same parameters holds, and what it leaves out and why."""
    found = data.export_preview(db, who, project_id, order, limit=0).account
    pairs = found.tally
    return ExportAccount(
        rows=found.rows,
        decided=pairs.decided,
        even=pairs.even,
        both_bad=pairs.bad,
        unheard=pairs.unheard,
        waiting=pairs.waiting,
        votes=pairs.votes,
        simulated_votes=pairs.simulated_votes,
        machine_votes=pairs.machine_votes,
        annotators=pairs.annotators,
        demonstrations=found.demonstrations,
        chosen_responses=found.winners if order.chosen else 0,
    )


def _answer(report: ImportReport) -> ImportAnswer:
    return ImportAnswer(
        imported=report.imported,
        duplicates=report.duplicates,
        skipped=[SkippedRow(row=row, reason=reason) for row, reason in report.skipped],
        added=report.counts,
    )
