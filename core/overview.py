"""Where the loop stands in a project: the facts. What follows from them is `core.loop`."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import case, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.kept import Kept
from core.optimize.trial import trial_in
from core.projects import find_project
from core.stats import wilson
from storage.counting import by_machine, counted, machine_votes, not_by_machine
from storage.database import Database
from storage.evidence import is_large, votes_state
from storage.scan import scanned
from storage.tables import (
    Annotator,
    Candidate,
    Example,
    Pair,
    Project,
    Prompt,
    Response,
    RewardModel,
    Run,
    Slot,
    Vote,
)

ACTIVE = ("queued", "running", "interrupted")


@dataclass(frozen=True)
class HeadToHead:
    """A found prompt against the champion, by all votes that count. `rate` counts a tie half.
    `verdict`: what people's votes alone say by the test that promotion goes by
    (`core.optimize.trial`)."""

    prompt_id: str
    name: str
    n: int
    n_simulated: int
    waiting: int
    rate: float
    low: float
    high: float
    n_machine: int = 0
    verdict: str = "undecided"


@dataclass
class LoopState:
    examples: dict[str, int] = field(default_factory=dict)  # by split
    prompts: int = 0
    champion: str = ""
    responses: int = 0
    pairs: int = 0
    open_slots: int = 0
    votes: int = 0
    votes_simulated: int = 0
    votes_machine: int = 0  # by judges whose votes a lead has taken in; not in `votes`
    votes_machine_out: int = 0  # by judges, and counted nowhere
    annotators: int = 0
    decided: int = 0
    votes_by_day: list[dict[str, Any]] = field(default_factory=list)
    model: RewardModel | None = None
    votes_since_model: int = 0
    optimisation: Run | None = None
    unsent: int = 0  # accepted candidates of the last search that nobody has been sent
    head_to_head: list[HeadToHead] = field(default_factory=list)
    active_runs: list[Run] = field(default_factory=list)
    failed_run: Run | None = None  # the newest run, if it failed


def loop_state(db: Database, who: Principal, project_id: str) -> LoopState:
    require(who, "project.view")
    with db.read() as session:
        project = find_project(session, project_id)
        votes = votes_state(session, project_id)
        if is_large(votes):
            key = (db.url, project_id, project.champion_prompt_id)
            kept = _kept.get(key, votes, lambda: _from_votes(db, project_id), meanwhile=True)
            state = replace(kept)
        else:
            state = _counts(session, project)
            state.head_to_head = _head_to_head(session, project)
        _learning(session, project, state)
    return state


_kept: Kept[LoopState] = Kept()  # of large projects, where counting takes seconds


def _from_votes(db: Database, project_id: str) -> LoopState:
    with db.read() as session:
        project = find_project(session, project_id)
        state = _counts(session, project)
        state.head_to_head = _head_to_head(session, project)
        return state


def _counts(session: Session, project: Project) -> LoopState:
    here = project.id
    of_project = lambda table: select(func.count()).select_from(table).where(col(table.project_id) == here)  # noqa: E731
    splits = session.exec(
        select(Example.split, func.count()).where(Example.project_id == here).group_by(Example.split)
    )
    champion = session.get(Prompt, project.champion_prompt_id) if project.champion_prompt_id else None
    day = func.date_trunc("day", Vote.created_at)
    days = session.exec(
        select(day, Vote.simulated, func.count())
        .where(Vote.project_id == here, not_by_machine(here))
        .group_by(day, col(Vote.simulated))
        .order_by(day, col(Vote.simulated))
    )
    decided = session.exec(
        select(func.count(func.distinct(Vote.pair_id))).where(
            Vote.project_id == here, Vote.outcome == "win", counted(here)
        )
    ).one()
    machine, machine_out = machine_votes(session, here)
    return LoopState(
        examples=dict(splits.all()),
        prompts=session.exec(
            of_project(Prompt).where(Prompt.operation != "imported", col(Prompt.archived_at).is_(None))
        ).one(),
        champion=f"{champion.name} v{champion.version}" if champion else "",
        responses=session.exec(of_project(Response)).one(),
        pairs=session.exec(of_project(Pair)).one(),
        open_slots=session.exec(of_project(Slot).where(col(Slot.status).in_(("open", "leased")))).one(),
        votes=session.exec(of_project(Vote)).one() - machine - machine_out,
        votes_machine=machine,
        votes_machine_out=machine_out,
        votes_simulated=session.exec(of_project(Vote).where(col(Vote.simulated))).one(),
        annotators=session.exec(
            select(func.count(func.distinct(Vote.annotator_id)))
            .join(Annotator, col(Annotator.id) == Vote.annotator_id)
            .where(
                Vote.project_id == here,
                col(Annotator.simulated).is_(False),
                col(Annotator.machine).is_not(True),
            )
        ).one(),
        decided=decided,
        votes_by_day=[
            {"day": _day(when), "votes": n, "who": "simulated" if simulated else "people"}
            for when, simulated, n in days
        ]
        + (_machine_by_day(session, here) if machine else []),
    )


def _machine_by_day(session: Session, project_id: str) -> list[dict[str, Any]]:
    """Votes of judges that count."""
    day = func.date_trunc("day", Vote.created_at)
    query = (
        select(day, func.count())
        .where(Vote.project_id == project_id, by_machine(project_id), counted(project_id))
        .group_by(day)
        .order_by(day)
    )
    return [{"day": _day(when), "votes": n, "who": "machine judges"} for when, n in session.exec(query)]


def _day(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time())


def _learning(session: Session, project: Project, state: LoopState) -> None:
    here = project.id
    if project.reward_model_id:
        state.model = session.get(RewardModel, project.reward_model_id)
    if state.model is not None:
        state.votes_since_model = session.exec(
            select(func.count())
            .select_from(Vote)
            .where(
                scanned(col(Vote.project_id)) == here,
                Vote.created_at > state.model.created_at,
                counted(here),
            )
        ).one()
    newest = col(Run.created_at).desc()
    state.optimisation = session.exec(
        select(Run)
        .where(Run.project_id == here, Run.kind == "optimize", Run.status == "succeeded")
        .order_by(newest)
    ).first()
    if state.optimisation is not None:
        found = session.exec(
            select(Candidate).where(
                Candidate.run_id == state.optimisation.id,
                col(Candidate.accepted),
                Candidate.operation != "start",
                Candidate.number > 0,
            )
        ).all()
        state.unsent = len(found) if not any(item.prompt_id for item in found) else 0
    runs = session.exec(select(Run).where(Run.project_id == here).order_by(newest).limit(20)).all()
    state.active_runs = [run for run in runs if run.status in ACTIVE]
    state.failed_run = runs[0] if runs and runs[0].status == "failed" else None


def _head_to_head(session: Session, project: Project) -> list[HeadToHead]:
    champion = project.champion_prompt_id
    if champion is None:
        return []
    left, right = aliased(Response), aliased(Response)
    other = case((col(left.prompt_id) == champion, col(right.prompt_id)), else_=col(left.prompt_id))
    theirs = case((col(left.prompt_id) == champion, col(right.id)), else_=col(left.id))
    columns: Any = (
        other,
        func.sum(case((col(Vote.winner) == theirs, 1.0), (col(Vote.outcome) == "win", 0.0), else_=0.5)),
        func.count(col(Vote.id)),
        func.sum(case((col(Vote.simulated), 1), else_=0)),
        func.sum(case((by_machine(project.id), 1), else_=0)),
    )
    base = (
        sa.select(*columns)
        .select_from(Pair)
        .join(left, col(left.id) == Pair.response_a)
        .join(right, col(right.id) == Pair.response_b)
        .where(
            col(Pair.project_id) == project.id,
            (col(left.prompt_id) == champion) | (col(right.prompt_id) == champion),
        )
        .group_by(other)
    )
    votes = base.join(Vote, (col(Vote.pair_id) == Pair.id) & counted(project.id))
    voted: dict[str, Any] = {row[0]: row[1:] for row in session.execute(votes)}
    open_ = dict(
        session.exec(
            select(other, func.count(col(Slot.id)))
            .select_from(Pair)
            .join(left, col(left.id) == Pair.response_a)
            .join(right, col(right.id) == Pair.response_b)
            .join(Slot, col(Slot.pair_id) == Pair.id)
            .where(
                Pair.project_id == project.id,
                (left.prompt_id == champion) | (right.prompt_id == champion),
                col(Slot.status).in_(("open", "leased")),
            )
            .group_by(other)
        ).all()
    )
    prompts = session.exec(
        select(Prompt).where(
            Prompt.project_id == project.id,
            col(Prompt.run_id).is_not(None),
            col(Prompt.archived_at).is_(None),
            Prompt.id != champion,
        )
    )
    rows = []
    for prompt in prompts:
        wins, n, simulated, machine = voted.get(prompt.id, (0.0, 0, 0, 0))
        waiting = open_.get(prompt.id, 0)
        if n == 0 and waiting == 0:
            continue
        low, high = wilson(float(wins), n)
        trial = trial_in(session, project, prompt) if n else None
        rate = float(wins) / n if n else 0.5
        rows.append(
            HeadToHead(
                prompt.id,
                f"{prompt.name} v{prompt.version}",
                n,
                int(simulated),
                waiting,
                rate,
                low,
                high,
                int(machine),
                trial.people.verdict if trial else "undecided",
            )
        )
    return sorted(rows, key=lambda row: -row.rate)
