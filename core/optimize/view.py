"""What pages and routes read about optimise runs: candidates, the ledger, and what a
search would do before it starts."""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from core.access import Principal, require
from core.errors import Invalid, NotFound
from core.llm.registry import host_spec
from core.llm.soft_names import SOFT, Card, card_of, names_in
from core.optimize.estimate import Spend, spend_of
from core.optimize.instruction import Instruction, instruction_of
from core.optimize.method import why_not
from core.optimize.methods import METHODS
from core.optimize.rewards.kinds import has, read_reward
from core.optimize.runs import lay_out
from core.optimize.starts import starting_point
from core.optimize.trends import Step, steps_of
from core.projects import find_project
from core.reward.registry import active_model
from core.runs.service import find_run, latest_events, run_folder, sampled_events
from storage.database import Database
from storage.tables import (
    Candidate,
    Example,
    LedgerEntry,
    Project,
    Prompt,
    RewardModel,
    Run,
    RunEvent,
)

# Seconds a call takes before anything was measured: SmolLM2-135M on 2 processor cores.
SECONDS_PER_TOKEN, SECONDS_PER_LABEL, SECONDS_REMOTE = 0.008, 0.05, 1.5


@dataclass(frozen=True)
class Preview:
    """What a search with this config would do. `seconds` is for the whole budget, from
    the pace of the last such search, or (measured=False) a rule of thumb; `spend`: tokens
    and money, likewise."""

    config: dict[str, Any]
    instruction: str
    start_name: str
    seconds: float
    measured: bool
    spend: Spend


@dataclass(frozen=True)
class Readiness:
    """What a project has to offer an optimiser."""

    project_id: str
    reward_model: RewardModel | None
    examples: dict[str, int]  # by split
    with_reference: dict[str, int]
    prompts: list[Prompt]  # with something to edit; the champion first, then the newest
    champion_id: str | None


def optimize_run(session: Session, run_id: str) -> Run:
    run = find_run(session, run_id)
    if run.kind != "optimize":
        raise NotFound(f"The run {run_id} is not an optimisation.")
    return run


def candidates_of(db: Database, who: Principal, run_id: str) -> list[Candidate]:
    """In the order they were proposed; 0 is the start."""
    require(who, "run.view")
    with db.read() as session:
        optimize_run(session, run_id)
        query = select(Candidate).where(Candidate.run_id == run_id)
        return list(session.exec(query.order_by(col(Candidate.number))))


def soft_card_of(db: Database, who: Principal, run_id: str, text: str) -> Card | None:
    """What is known of the vectors that a candidate's text names; None when they are gone."""
    require(who, "run.view")
    with db.read() as session:
        optimize_run(session, run_id)
    names = names_in(text)
    return card_of(run_folder(run_id).artifacts / SOFT, names[0]) if names else None


def ledger_of(db: Database, who: Principal, run_id: str) -> list[LedgerEntry]:
    require(who, "run.view")
    with db.read() as session:
        query = select(LedgerEntry).where(LedgerEntry.run_id == run_id)
        return list(session.exec(query.order_by(col(LedgerEntry.host), col(LedgerEntry.purpose))))


@dataclass(frozen=True)
class SoFar:
    """What a search has spent. `seconds` at work, in all its processes together."""

    calls: int
    cached: int
    tokens_in: int
    tokens_out: int
    cost: float
    seconds: float


def so_far(db: Database, who: Principal, run: Run) -> SoFar:
    lines = ledger_of(db, who, run.id)
    said = latest_events(db, who, run.id, 1, ["progress"])
    seconds = (run.result or {}).get("seconds") or (said[0].data.get("at_work_s") if said else None) or 0.0
    return SoFar(
        sum(line.calls for line in lines),
        sum(line.cached for line in lines),
        sum(line.tokens_in for line in lines),
        sum(line.tokens_out for line in lines),
        sum(line.cost for line in lines),
        float(seconds),
    )


def events_over(db: Database, who: Principal, run_id: str, type: str, at_most: int = 300) -> list[RunEvent]:
    """Events of one type from the whole run, thinned out evenly; the newest is always there."""
    found, _ = sampled_events(db, who, run_id, type, at_most)
    newest = [
        one
        for one in latest_events(db, who, run_id, 1, [type])
        if one.number not in {e.number for e in found}
    ]
    return [*found, *newest]


def policy_steps(db: Database, who: Principal, run_id: str) -> list[Step]:
    """What the policy that a search trains said of its steps; none where it trains none."""
    return steps_of(events_over(db, who, run_id, "policy"))


def prompts_made(db: Database, who: Principal, candidates: list[Candidate]) -> dict[str, Prompt]:
    """The prompt versions that candidates became, by prompt id."""
    require(who, "run.view")
    ids = [candidate.prompt_id for candidate in candidates if candidate.prompt_id]
    with db.read() as session:
        return {prompt.id: prompt for prompt in session.exec(select(Prompt).where(col(Prompt.id).in_(ids)))}


def readiness(db: Database, who: Principal, project_id: str) -> Readiness:
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        return Readiness(
            project.id,
            active_model(session, project),
            _splits(session, project, with_reference=False),
            _splits(session, project, with_reference=True),
            _editable_prompts(session, project),
            project.champion_prompt_id,
        )


def _splits(session: Session, project: Project, *, with_reference: bool) -> dict[str, int]:
    query = select(Example.split, func.count()).where(Example.project_id == project.id)
    if with_reference:
        query = query.where(col(Example.reference).is_not(None), Example.reference != "")
    counts: dict[str, int] = dict(session.exec(query.group_by(col(Example.split))).all())
    return {split: counts.get(split, 0) for split in ("train", "dev", "test")}


def _editable_prompts(session: Session, project: Project) -> list[Prompt]:
    query = select(Prompt).where(
        Prompt.project_id == project.id, col(Prompt.archived_at).is_(None), Prompt.user != ""
    )
    found = []
    for prompt in session.exec(query.order_by(col(Prompt.created_at).desc(), col(Prompt.version).desc())):
        try:
            instruction_of(prompt.system, prompt.user)
        except Invalid:
            continue
        found.append(prompt)
    return sorted(found, key=lambda prompt: prompt.id != project.champion_prompt_id)


def offered(
    db: Database, who: Principal, host: str | None = None, optimizer_host: str | None = None
) -> dict[str, str | None]:
    """Every method, with the reason why this host cannot serve it, or None. `optimizer_host`: by
    default the same."""
    require(who, "run.view")
    with db.read() as session:
        spec = host_spec(session, host)
        proposer = host_spec(session, optimizer_host) if optimizer_host else spec
    return {name: why_not(method, spec, proposer) for name, method in METHODS.items()}


def preview(db: Database, who: Principal, project_id: str, config: dict[str, Any]) -> Preview:
    """Everything `start_run` would check and lay out, without starting. Raises Invalid
    with what is missing."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        prepared = lay_out(session, project, dict(config), int(config.get("seed") or 0))
        pace, measured = _pace(session, project, prepared.config)
        spend = spend_of(session, project, prepared.config, prepared.documents, prepared.tables["examples"])
    start = prepared.config["start"]
    return Preview(
        prepared.config,
        Instruction(**start).text,
        Instruction(**start).title,
        pace * prepared.config["plan"]["budget"],
        measured,
        spend,
    )


def sections_of(db: Database, who: Principal, project_id: str, config: dict[str, Any]) -> dict[str, str]:
    """The sections of a search's start that can be edited alone: key -> title. Empty for free
    text, and while the config names nothing to start from."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        reward = config.get("reward")
        try:
            labels = has(read_reward(reward), "labels") if isinstance(reward, dict) else reward == "labels"
            # Which sections there are depends on whether there are labels, not on which.
            words = ["one", "other"] if labels else []
            return starting_point(session, project, {**config, "section": None}, words).sections
        except Invalid:
            return {}


def other_parents(db: Database, who: Principal, run_id: str) -> dict[int, list[int]]:
    """The further parents of candidates that were crossed out of several, by number. The
    first is in the candidate itself; these are in its events alone."""
    require(who, "run.view")
    with db.read() as session:
        method = METHODS.get(optimize_run(session, run_id).config["method"])
        if method is None or not method.crosses:
            return {}
        query = select(RunEvent.data).where(RunEvent.run_id == run_id, RunEvent.type == "candidate")
        return {data["number"]: data["others"] for data in session.exec(query) if data.get("others")}


def _pace(session: Session, project: Project, config: dict[str, Any]) -> tuple[float, bool]:
    """Seconds a call takes, and whether that was measured by an earlier search of this
    project on this host."""
    query = select(Run).where(Run.project_id == project.id, Run.kind == "optimize", Run.status == "succeeded")
    for run in session.exec(query.order_by(col(Run.id).desc()).limit(20)):
        result = run.result or {}
        same = all(run.config.get(name) == config.get(name) for name in ("host", "reward", "sampling"))
        if same and result.get("calls") and result.get("seconds"):
            return float(result["seconds"]) / float(result["calls"]), True
    spec = host_spec(session, config["host"])
    if spec.kind != "local":
        return SECONDS_REMOTE / max(1, spec.concurrency), False
    if "sampling" not in config:  # labels, and nothing else
        return SECONDS_PER_LABEL, False
    return SECONDS_PER_TOKEN * config["sampling"]["max_new_tokens"], False
