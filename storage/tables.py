"""The schema: one class a table, in the words of the design.

Ids are UUIDv7 text. There are no physical foreign keys (DuckDB refuses updates of
parents that have them), so a service checks what an id points to. Columns that are
updated carry no index: DuckDB rewrites a row whose indexed column changes.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, UniqueConstraint
from sqlmodel import Field, SQLModel

from storage.ids import new_id, now


def _id() -> Any:
    return Field(default_factory=new_id, primary_key=True)


def _time(*, optional: bool = False) -> Any:
    """A UTC time; set at creation unless optional."""
    if optional:
        return Field(default=None, sa_type=DateTime(timezone=True))  # type: ignore[call-overload]
    return Field(default_factory=now, sa_type=DateTime(timezone=True))  # type: ignore[call-overload]


def _json(default: Any) -> Any:
    return Field(default_factory=default, sa_type=JSON)


# --- people -----------------------------------------------------------------------------


class User(SQLModel, table=True):
    """Someone who can sign in, or a program that holds tokens."""

    id: str = _id()
    name: str
    email: str | None = Field(default=None, unique=True)
    role: str
    password_hash: str | None = None
    oidc_subject: str | None = Field(default=None, unique=True)
    active: bool = True
    created_at: datetime = _time()


class Invitation(SQLModel, table=True):
    """A link that makes one account. Only the hash of its secret is kept."""

    id: str = _id()
    secret_hash: str = Field(unique=True)
    role: str
    name: str = ""
    created_by: str | None = None
    created_at: datetime = _time()
    expires_at: datetime = _time()
    used_at: datetime | None = _time(optional=True)
    used_by: str | None = None
    revoked_at: datetime | None = _time(optional=True)


class SignIn(SQLModel, table=True):
    """A session of a signed-in person; its id is what the signed cookie names."""

    __tablename__ = "sign_in"

    id: str = _id()
    user_id: str = Field(index=True)
    created_at: datetime = _time()
    expires_at: datetime = _time()
    ended_at: datetime | None = _time(optional=True)
    user_agent: str = ""


class ApiToken(SQLModel, table=True):
    __tablename__ = "api_token"

    id: str = _id()
    user_id: str = Field(index=True)
    name: str = ""
    secret_hash: str = Field(unique=True)
    hint: str = ""  # the first characters, to tell tokens apart
    scope: str = "full"
    created_at: datetime = _time()
    expires_at: datetime | None = _time(optional=True)
    last_used_at: datetime | None = _time(optional=True)
    revoked_at: datetime | None = _time(optional=True)


class AuditEntry(SQLModel, table=True):
    __tablename__ = "audit_entry"

    id: str = _id()
    at: datetime = _time()
    user_id: str | None = None
    user_name: str = ""
    action: str
    entity: str = ""
    entity_id: str = ""
    project_id: str | None = None
    detail: dict[str, Any] = _json(dict)


# --- the project and what its prompts answer ---------------------------------------------


class Project(SQLModel, table=True):
    id: str = _id()
    name: str
    guidelines: str = ""
    criteria: list[str] = _json(list)
    votes_per_pair: int = 1
    demo: bool = False
    champion_prompt_id: str | None = None
    reward_model_id: str | None = None  # the active one
    created_by: str | None = None
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)
    aggregation: str | None = None  # how a pair's votes become one soft preference; None: majority
    selection: str | None = None  # which pair is asked next; None: fewest votes first


class Example(SQLModel, table=True):
    """One input from the users' world. `input` is the text people see; `fields` what
    the slots of a template take (`{"input": text}` where the input is plain text)."""

    __table_args__ = (UniqueConstraint("project_id", "content_hash"),)

    id: str = _id()
    project_id: str = Field(index=True)
    content_hash: str
    input: str = ""
    fields: dict[str, Any] = _json(dict)
    messages: list[dict[str, str]] | None = Field(default=None, sa_type=JSON)  # earlier turns, if any
    reference: str | None = None
    split: str = "train"  # train, dev, test
    external_id: str | None = None
    created_at: datetime = _time()


class Prompt(SQLModel, table=True):
    """An immutable version of a template. `user` is empty for a prompt known by name
    only (imported comparisons name what produced them, and cannot generate)."""

    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: str = _id()
    project_id: str = Field(index=True)
    name: str
    version: int = 1
    system: str = ""
    user: str = ""
    structure: dict[str, Any] | None = Field(default=None, sa_type=JSON)  # framework and its sections
    parent_id: str | None = None
    operation: str = "written"  # written, imported, edited, or what an optimiser did
    run_id: str | None = None
    created_by: str | None = None
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)


class Host(SQLModel, table=True):
    """Where a language model runs. Keys stay in environment variables: only the
    variable's name is kept."""

    id: str = _id()
    name: str = Field(unique=True)
    kind: str  # local, openai
    model: str
    base_url: str = ""
    api_key_env: str = ""
    params: dict[str, Any] = _json(dict)  # temperature, max_new_tokens, …
    price_in: float = 0.0  # per million tokens
    price_out: float = 0.0
    concurrency: int = 8
    timeout_s: float = 60.0
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)


class Response(SQLModel, table=True):
    """What a host answered. `cache_key` covers host, prompt, example, parameters and
    seed: the same key is never paid for twice."""

    id: str = _id()
    project_id: str = Field(index=True)
    example_id: str = Field(index=True)
    prompt_id: str
    host_id: str | None = None
    run_id: str | None = None
    text: str = ""
    cache_key: str = Field(unique=True)
    seed: int | None = None
    params: dict[str, Any] = _json(dict)
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_ms: float | None = None
    cost: float | None = None
    finish_reason: str | None = None
    created_at: datetime = _time()


# --- labelling ---------------------------------------------------------------------------


class Pair(SQLModel, table=True):
    """Two responses to one example. Which is `a` is fixed by their ids, not by how
    they are shown: that is drawn anew for each annotator."""

    __table_args__ = (UniqueConstraint("response_a", "response_b"),)

    id: str = _id()
    project_id: str = Field(index=True)
    example_id: str
    response_a: str
    response_b: str
    priority: float = 0.0
    source: str = "import"  # import, generate, optimize, demo
    run_id: str | None = None
    external_id: str | None = None
    created_at: datetime = _time()


class Slot(SQLModel, table=True):
    """Room for one vote on a pair. A pair that wants three votes has three slots, so
    it can never get a fourth by claiming. A claim fills a slot with a lease."""

    id: str = _id()
    project_id: str = Field(index=True)
    pair_id: str = Field(index=True)
    position: float = 0.0  # order within the project: lower is claimed first
    status: str = "open"  # open, leased, voted, closed
    annotator_id: str | None = None
    lease: str | None = None
    a_left: bool | None = None
    leased_at: datetime | None = _time(optional=True)
    expires_at: datetime | None = _time(optional=True)
    front: float | None = None  # place before all others, when a strategy put it there
    audience: str | None = None  # who may have it; None: everybody (`Annotator.audiences`)


class Annotator(SQLModel, table=True):
    """A judge within a project: a user of ours, a name in an import, or a simulation.
    A paused one gets no pairs; the votes of an excluded one count for nothing
    (`storage.counting`)."""

    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: str = _id()
    project_id: str
    name: str
    user_id: str | None = None
    simulated: bool = False
    created_at: datetime = _time()
    paused_at: datetime | None = _time(optional=True)
    paused_reason: str | None = None
    excluded_at: datetime | None = _time(optional=True)
    excluded_by: str | None = None  # id of the user who left the votes out
    excluded_reason: str | None = None
    audiences: list[str] | None = Field(default=None, sa_type=JSON)  # restricted slots they may have
    machine: bool | None = None  # a language model that judges; its votes are left out at first
    qualified_at: datetime | None = _time(optional=True)


class Vote(SQLModel, table=True):
    """One annotator's judgement of one pair, as it stands now."""

    __table_args__ = (UniqueConstraint("pair_id", "annotator_id"),)

    id: str = _id()
    project_id: str = Field(index=True)
    pair_id: str
    annotator_id: str
    slot_id: str | None = None
    lease: str | None = Field(default=None, unique=True)
    outcome: str  # win, tie, both_bad
    winner: str | None = None  # a response id, when outcome is win
    left: str | None = None  # the response id shown on the left, when known
    strength: str | None = None  # significantly, clearly, slightly, barely
    criteria: dict[str, Any] = _json(dict)
    reason: str = ""
    duration_ms: int | None = None
    source: str = "page"  # page, api, import, simulated, machine
    simulated: bool = False
    external_id: str | None = None
    created_at: datetime = _time()


class VoteHistory(SQLModel, table=True):
    """What was undone or replaced, so that nothing a person did is lost; and of a skip (then
    `vote_id` is its id) how the pair stood, so that it stands so again when that is taken back."""

    __tablename__ = "vote_history"

    id: str = _id()
    vote_id: str = Field(index=True)
    project_id: str
    at: datetime = _time()
    what: str  # undone, replaced, probe, skipped
    vote: dict[str, Any] = _json(dict)


class Skip(SQLModel, table=True):
    """A pair this annotator does not want to judge; it is not offered to them again."""

    __table_args__ = (UniqueConstraint("pair_id", "annotator_id"),)

    id: str = _id()
    project_id: str
    pair_id: str
    annotator_id: str
    reason: str = ""
    created_at: datetime = _time()


class Gold(SQLModel, table=True):
    """A pair whose answer is known. `use`: training (shown with its explanation before real
    pairs are given) or check (mixed in unseen later)."""

    id: str = _id()
    project_id: str = Field(index=True)
    pair_id: str = Field(unique=True)
    use: str  # training, check
    outcome: str  # win, tie, both_bad
    winner: str | None = None  # a response id, when outcome is win
    explanation: str = ""
    created_by: str | None = None
    created_at: datetime = _time()
    retired_at: datetime | None = _time(optional=True)


class Probe(SQLModel, table=True):
    """A pair given to learn about the annotator, not about the responses: it has a lease
    of its own and never becomes a vote. `expected_…`: the gold answer, or what the
    annotator said the first time; then what they said now."""

    id: str = _id()
    project_id: str
    annotator_id: str = Field(index=True)
    pair_id: str
    kind: str  # training, gold, repeat
    lease: str = Field(unique=True)
    a_left: bool
    leased_at: datetime = _time()
    expires_at: datetime = _time()
    expected_outcome: str
    expected_winner: str | None = None
    outcome: str | None = None  # None: not answered yet
    winner: str | None = None
    strength: str | None = None
    reason: str = ""
    duration_ms: int | None = None
    passed: bool | None = None
    answered_at: datetime | None = _time(optional=True)


class Message(SQLModel, table=True):
    """What a lead (or, with no author, a rule the lead set) tells an annotator."""

    id: str = _id()
    project_id: str
    annotator_id: str = Field(index=True)
    author_id: str | None = None
    author: str = ""
    text: str
    created_at: datetime = _time()
    read_at: datetime | None = _time(optional=True)


class Demonstration(SQLModel, table=True):
    """A better response to an example, written by a person (both of a pair were bad, or
    simply because they knew one): training data for fine-tuning, with its author."""

    id: str = _id()
    project_id: str = Field(index=True)
    example_id: str
    pair_id: str | None = None  # the pair it was written at
    author_id: str | None = None  # a user; empty for an imported one
    author: str = ""
    text: str
    created_at: datetime = _time()
    updated_at: datetime | None = _time(optional=True)
    deleted_at: datetime | None = _time(optional=True)


# --- telling other programs ---------------------------------------------------------------


class Webhook(SQLModel, table=True):
    """Where a project's events are sent, signed with `secret`."""

    id: str = _id()
    project_id: str = Field(index=True)
    url: str
    secret: str
    events: list[str] = _json(list)
    active: bool = True
    created_by: str | None = None
    created_at: datetime = _time()
    deleted_at: datetime | None = _time(optional=True)


class Delivery(SQLModel, table=True):
    """One event on its way to one webhook; written in the unit of work that it tells of."""

    __table_args__ = (UniqueConstraint("webhook_id", "event", "entity_id"),)

    id: str = _id()
    webhook_id: str = Field(index=True)
    project_id: str
    event: str  # vote.cast, pair.complete, project.complete, gold.failed
    entity_id: str
    body: dict[str, Any] = _json(dict)
    status: str = "waiting"  # waiting, delivered, given_up
    attempts: int = 0
    next_at: datetime | None = _time(optional=True)
    http_status: int | None = None
    error: str | None = None
    created_at: datetime = _time()
    delivered_at: datetime | None = _time(optional=True)


# --- background work ---------------------------------------------------------------------


class Run(SQLModel, table=True):
    id: str = _id()
    project_id: str = Field(index=True)
    kind: str  # generate, reward_model, optimize, …
    name: str = ""
    config: dict[str, Any] = _json(dict)
    seed: int = 0
    status: str = "queued"  # queued, running, succeeded, failed, cancelled, interrupted
    progress: float = 0.0  # 0 to 1
    message: str = ""
    eta_s: float | None = None
    result: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    error: str | None = None
    hint: str | None = None  # what a person can do about the error
    attempt: int = 0
    pid: int | None = None
    pid_started: float | None = None
    cancel_requested: bool = False
    last_event: int = 0  # number of the newest event stored
    event_offset: int = Field(default=0, sa_type=BigInteger)  # bytes of events.jsonl read
    created_by: str | None = None
    created_at: datetime = _time()
    started_at: datetime | None = _time(optional=True)
    finished_at: datetime | None = _time(optional=True)


class RunEvent(SQLModel, table=True):
    """Numbered by the worker: (run, number) makes reading them again a no-op."""

    __tablename__ = "run_event"

    run_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    at: datetime = _time()
    type: str  # progress, metric, candidate, artifact, log, state
    data: dict[str, Any] = _json(dict)


class Snapshot(SQLModel, table=True):
    """A preference data set: votes as they were when it was made, added up, split and
    frozen in a folder. Only its archiving ever changes."""

    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: str = _id()
    project_id: str = Field(index=True)
    name: str
    folder: str  # relative to the data folder
    filters: dict[str, Any] = _json(dict)  # which votes, and how they became labels
    counts: dict[str, Any] = _json(dict)
    checks: list[dict[str, Any]] = _json(list)  # leak checks, each with its verdict
    content_hash: str  # of filters, pairs and votes: the same data, the same hash
    automatic: bool = False  # made for a training that named none
    created_by: str | None = None
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)


class RewardModel(SQLModel, table=True):
    __tablename__ = "reward_model"

    id: str = _id()
    project_id: str = Field(index=True)
    run_id: str = Field(unique=True)
    name: str
    folder: str  # relative to the data folder
    backbone: str = ""
    metrics: dict[str, Any] = _json(dict)
    simulated_share: float = 0.0  # of the votes it was trained on, or, uploaded, judged by
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)
    snapshot_id: str | None = None  # the preference data set it was trained on
    card: str | None = None  # the model card as a person edited it; None: as generated


class Candidate(SQLModel, table=True):
    """A prompt an optimiser proposed."""

    __table_args__ = (UniqueConstraint("run_id", "number"),)

    id: str = _id()
    project_id: str
    run_id: str = Field(index=True)
    number: int
    parent: int | None = None
    operation: str = ""
    text: str = ""
    accepted: bool = False
    scores: dict[str, Any] = _json(dict)  # split -> {score, low, high, n, …}
    calls: int = 0  # spent in the run when this one was scored
    prompt_id: str | None = None  # the version it became
    created_at: datetime = _time()


class LedgerEntry(SQLModel, table=True):
    """Language-model calls of a run, by host and purpose."""

    __tablename__ = "ledger_entry"
    __table_args__ = (UniqueConstraint("run_id", "host", "purpose"),)

    id: str = _id()
    run_id: str
    project_id: str
    host: str
    purpose: str  # target, optimizer, judge
    calls: int = 0
    cached: int = 0
    tokens_in: int = Field(default=0, sa_type=BigInteger)
    tokens_out: int = Field(default=0, sa_type=BigInteger)
    cost: float = 0.0
    updated_at: datetime = _time()


# --- production --------------------------------------------------------------------------


class Interaction(SQLModel, table=True):
    """One use in production."""

    id: str = _id()
    project_id: str = Field(index=True)
    prompt_id: str | None = None
    input: str = ""
    response: str = ""
    external_id: str | None = None
    detail: dict[str, Any] = _json(dict)
    created_at: datetime = _time()


class Signal(SQLModel, table=True):
    """What the user did after an interaction: explicit (a thumb) or implicit (a copy)."""

    id: str = _id()
    project_id: str
    interaction_id: str = Field(index=True)
    kind: str
    value: float | None = None
    detail: dict[str, Any] = _json(dict)
    created_at: datetime = _time()


# --- planning ----------------------------------------------------------------------------


class Plan(SQLModel, table=True):
    """A lead's document: a scenario, a decision, milestones, a team, build or buy. What it
    says is in its versions."""

    id: str = _id()
    project_id: str = Field(index=True)
    kind: str  # scenario, decision, milestones, team, sourcing, units
    name: str = ""
    created_by: str | None = None
    created_at: datetime = _time()
    archived_at: datetime | None = _time(optional=True)


class PlanVersion(SQLModel, table=True):
    """One saved state of a plan; never changed afterwards."""

    __tablename__ = "plan_version"
    __table_args__ = (UniqueConstraint("plan_id", "number"),)

    id: str = _id()
    project_id: str = Field(index=True)
    plan_id: str
    number: int
    body: dict[str, Any] = _json(dict)
    note: str = ""
    author_id: str | None = None
    author: str = ""
    created_at: datetime = _time()


# A preference is what a pair's votes add up to. It is a view (made by the migrations),
# so it cannot disagree with the votes: pair_id, project_id, example_id, response_a,
# response_b, n, q (soft label: the share for response_a, a tie counting half),
# n_simulated. Pairs whose votes all say "both bad" have no preference; votes of annotators
# that were left out do not count.
PREFERENCE = "preference"
