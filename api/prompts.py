"""Prompts and their versions, and the hosts that language models run on."""

from datetime import datetime
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AliasChoices, BaseModel, Field

from api.bodies import in_thread
from api.deps import CurrentUser, DatabaseDep
from core.errors import NotFound
from core.llm import registry
from core.prompts import portable, versions
from core.prompts.soft import soft_card

router = APIRouter(tags=["prompts"])

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0)]


class PromptCreate(BaseModel):
    """A template with `{{field}}` slots. `template` and `text` are other names of `user`. A
    text without any slot is an instruction: it becomes the system message, and the user
    message `{{input}}`. With `structure` ({framework, sections}) the texts may be left out."""

    name: str
    system: str = ""
    user: str = Field("", validation_alias=AliasChoices("user", "template", "text"))
    structure: dict[str, Any] | None = None
    parent_id: str | None = None


class PromptPublic(BaseModel):
    """`user` is empty for a prompt known by name only, from imported comparisons."""

    id: str
    project_id: str
    name: str
    version: int
    system: str
    user: str
    structure: dict[str, Any] | None
    parent_id: str | None
    operation: str
    run_id: str | None
    created_by: str | None
    created_at: datetime
    archived_at: datetime | None


class SoftPublic(BaseModel):
    """`kind` is `embeddings`, with the vocabulary token nearest to each vector in `rows`
    (Euclidean; `yardstick`: the median distance from a token to its nearest other one), or
    `keys_values`, with how far those of each layer moved. `text`: what it began as."""

    kind: str
    method: str
    model: str
    fingerprint: str
    tokens: int
    numbers: int
    trained: int
    steps: int
    text: str
    rows: list[dict[str, Any]]
    yardstick: float


class TakenPublic(BaseModel):
    """`made`: ids of the new versions; `there` were here already; vectors of `soft` soft prompts
    are new."""

    made: list[str]
    there: int
    soft: int


class HostCreate(BaseModel):
    """`kind` is `local` (model: a folder or hub id) or `openai` (any OpenAI-compatible
    `base_url`). The key stays in the server's environment: `api_key_env` names the variable.
    Prices are per million tokens."""

    name: str
    kind: str = "openai"
    model: str
    base_url: str = ""
    api_key_env: str = ""
    price_in: float = 0.0
    price_out: float = 0.0
    concurrency: int = 8
    timeout_s: float = 60.0
    params: dict[str, Any] = {}


class HostPublic(HostCreate):
    id: str


class HostTestPublic(BaseModel):
    ok: bool
    message: str
    hint: str
    latency_ms: float | None
    answer: str


@router.post("/projects/{project_id}/prompts", status_code=201)
def create(
    project_id: str, values: PromptCreate, db: DatabaseDep, who: CurrentUser, response: Response
) -> PromptPublic:
    """A new version of the prompt `name`. What its newest version says already is not made
    again: that version is the answer, with status 200."""
    before = {prompt.id for prompt in versions.list_prompts(db, who, project_id)}
    prompt = versions.create_prompt(db, who, project_id, **values.model_dump())
    if prompt.id in before:
        response.status_code = 200
    return PromptPublic.model_validate(prompt, from_attributes=True)


@router.get("/projects/{project_id}/prompts")
def list_(
    project_id: str,
    db: DatabaseDep,
    who: CurrentUser,
    archived: bool = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[PromptPublic]:
    """By name, newest version first."""
    found = versions.list_prompts(db, who, project_id, archived)[offset : offset + limit]
    return [PromptPublic.model_validate(prompt, from_attributes=True) for prompt in found]


@router.get("/prompts/{prompt_id}")
def get(prompt_id: str, db: DatabaseDep, who: CurrentUser) -> PromptPublic:
    return PromptPublic.model_validate(versions.get_prompt(db, who, prompt_id), from_attributes=True)


@router.get("/prompts/{prompt_id}/soft")
def soft(prompt_id: str, db: DatabaseDep, who: CurrentUser) -> SoftPublic:
    """What is known of the vectors of a soft prompt. 404 for a prompt that is text."""
    card = soft_card(versions.get_prompt(db, who, prompt_id))
    if card is None:
        raise NotFound(f"The prompt {prompt_id} has no vectors: it is text, or their file is gone.")
    return SoftPublic.model_validate(card, from_attributes=True)


@router.get("/projects/{project_id}/prompts/export", response_class=StreamingResponse)
def export(project_id: str, db: DatabaseDep, who: CurrentUser) -> StreamingResponse:
    """A zip: `prompts.jsonl`, a version a line, and the vectors of soft prompts as safetensors.
    Versions that are archived or known by name only are left out."""
    name, pieces = portable.export_prompts(db, who, project_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


@router.post("/projects/{project_id}/prompts/import")
async def import_(project_id: str, request: Request, db: DatabaseDep, who: CurrentUser) -> TakenPublic:
    """Take in such a zip, which is the body (`curl --data-binary @prompts.zip`); all of it or nothing."""
    taken = await anyio.to_thread.run_sync(portable.import_prompts, db, who, project_id, in_thread(request))
    return TakenPublic.model_validate(taken, from_attributes=True)


@router.post("/prompts/{prompt_id}/archive")
def archive(prompt_id: str, db: DatabaseDep, who: CurrentUser) -> PromptPublic:
    """Put a version away; its responses stay."""
    return PromptPublic.model_validate(versions.archive_prompt(db, who, prompt_id), from_attributes=True)


@router.get("/hosts", tags=["hosts"])
def hosts(db: DatabaseDep, who: CurrentUser, limit: Limit = 100, offset: Offset = 0) -> list[HostPublic]:
    """The embedded model first."""
    found = registry.list_hosts(db, who)[offset : offset + limit]
    return [HostPublic.model_validate(host, from_attributes=True) for host in found]


@router.post("/hosts", status_code=201, tags=["hosts"])
def create_host(values: HostCreate, db: DatabaseDep, who: CurrentUser) -> HostPublic:
    host = registry.create_host(db, who, **values.model_dump())
    return HostPublic.model_validate(host, from_attributes=True)


@router.post("/hosts/{host_id}/test", tags=["hosts"])
def test_host(host_id: str, db: DatabaseDep, who: CurrentUser) -> HostTestPublic:
    """One tiny request to a URL; a look at the files of a local model. A host that does not
    work is answered with `ok: false` and what to do."""
    return HostTestPublic.model_validate(registry.test_host(db, who, host_id), from_attributes=True)


@router.delete("/hosts/{host_id}", status_code=204, tags=["hosts"])
def archive_host(host_id: str, db: DatabaseDep, who: CurrentUser) -> None:
    """Take a host off the list; what it answered stays."""
    registry.archive_host(db, who, host_id)
