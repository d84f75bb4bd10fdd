"""What people said of two prompts' responses to the same held-out examples, for a blind comparison;
and taking pairs of it out of the queue that nobody has begun."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.counting import by_machine, counted
from storage.groups import ADJUDICATOR
from storage.tables import Example, Pair, Project, Prompt, Response, Slot, Vote

HELD_OUT = "test"  # the split that no search and no training has seen


@dataclass(frozen=True)
class TrialVote:
    """A vote on a pair of the two. `value`: 1 for the candidate, 0 for the other, one half for
    neither. `who`: people, simulated or machine. `held_out`: whether the example is of the test split."""

    example_id: str
    value: float
    who: str
    at: datetime
    held_out: bool


@dataclass(frozen=True)
class TrialPairs:
    """Of the held-out examples. `there`: as many as the project has; `asked`: with a response of the
    prompt; `examples`: with a pair of the two; `waiting`: pairs that are still to be given out;
    `begun`: votes being cast now."""

    there: int
    asked: int
    examples: int
    waiting: int
    begun: int


def _pairs(project_id: str, prompt_id: str, other_id: str) -> Any:
    """pair_id, example_id, split, mine: the response of `prompt_id`."""
    a, b = aliased(Response), aliased(Response)
    first = (col(a.prompt_id) == prompt_id) & (col(b.prompt_id) == other_id)
    second = (col(a.prompt_id) == other_id) & (col(b.prompt_id) == prompt_id)
    return (
        select(
            col(Pair.id).label("pair_id"),
            col(Pair.example_id).label("example_id"),
            col(Example.split).label("split"),
            case((first, col(Pair.response_a)), else_=col(Pair.response_b)).label("mine"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .where(col(Pair.project_id) == project_id, or_(first, second))
        .subquery()
    )


def trial_votes(session: Session, project_id: str, prompt_id: str, other_id: str) -> list[TrialVote]:
    """In the order in which they were cast; without those left out, imported ones (nobody knows
    whether they were blind), and an adjudicator's, who saw what others had said."""
    met = _pairs(project_id, prompt_id, other_id)
    value = case((col(Vote.outcome) != "win", 0.5), (col(Vote.winner) == met.c.mine, 1.0), else_=0.0)
    who = case((by_machine(project_id), "machine"), (col(Vote.simulated), "simulated"), else_="people")
    query = (
        select(met.c.example_id, value, who, col(Vote.created_at), met.c.split == HELD_OUT)
        .select_from(Vote)
        .join(met, met.c.pair_id == col(Vote.pair_id))
        .where(counted(project_id), independent(), col(Vote.source) != "import")
        .order_by(col(Vote.created_at), col(Vote.id))
    )
    return [
        TrialVote(example, float(x), by, at, bool(held))
        for example, x, by, at, held in session.execute(query)
    ]


def trial_pairs(session: Session, project_id: str, prompt_id: str, other_id: str) -> TrialPairs:
    met = _pairs(project_id, prompt_id, other_id)
    of = lambda status: func.count(func.distinct(case((col(Slot.status) == status, met.c.pair_id))))  # noqa: E731
    query = (
        select(func.count(func.distinct(met.c.example_id)), of("open"), of("leased"))
        .select_from(met)
        .outerjoin(
            Slot, (col(Slot.pair_id) == met.c.pair_id) & col(Slot.audience).is_distinct_from(ADJUDICATOR)
        )
        .where(met.c.split == HELD_OUT)
    )
    examples, waiting, begun = session.execute(query).one()
    answered = (
        select(func.count(func.distinct(col(Response.example_id))))
        .join(Example, col(Example.id) == col(Response.example_id))
        .where(col(Response.prompt_id) == prompt_id, col(Example.split) == HELD_OUT)
    )
    asked = session.scalar(answered) or 0
    return TrialPairs(held_out(session, project_id), int(asked), int(examples), int(waiting), int(begun))


def held_out(session: Session, project_id: str) -> int:
    """How many examples no search and no training has seen."""
    query = select(func.count()).select_from(Example)
    found = session.scalar(query.where(col(Example.project_id) == project_id, col(Example.split) == HELD_OUT))
    return int(found or 0)


def close_unbegun(session: Session, project_id: str, prompt_id: str, other_id: str) -> int:
    """Close the open slots of held-out pairs of the two that nobody has voted on or holds; answers
    how many. One statement that names the state it starts from, like every step of a slot."""
    met = _pairs(project_id, prompt_id, other_id)
    begun = select(col(Vote.pair_id)).where(col(Vote.project_id) == project_id)
    held = select(col(Slot.pair_id)).where(col(Slot.project_id) == project_id, col(Slot.status) == "leased")
    found = (
        select(col(Slot.id))
        .join(met, met.c.pair_id == col(Slot.pair_id))
        .where(
            col(Slot.status) == "open",
            col(Slot.audience).is_distinct_from(ADJUDICATOR),
            met.c.split == HELD_OUT,
            met.c.pair_id.not_in(begun),
            met.c.pair_id.not_in(held),
        )
    )
    ids = session.scalars(found).all()
    if ids:
        session.execute(
            update(Slot).where(col(Slot.id).in_(ids), col(Slot.status) == "open").values(status="closed"),
            execution_options={"synchronize_session": False},
        )
    return len(ids)


def in_question(session: Session) -> list[tuple[str, str, str]]:
    """(project, prompt that an optimiser found or that was edited from another, champion) of every
    comparison there could be."""
    query = (
        select(col(Prompt.project_id), col(Prompt.id), col(Project.champion_prompt_id))
        .join(Project, col(Project.id) == col(Prompt.project_id))
        .where(
            or_(
                col(Prompt.run_id).is_not(None),
                col(Prompt.operation).contains(":"),
                col(Prompt.parent_id).is_not(None),
            ),
            col(Prompt.archived_at).is_(None),
            col(Project.archived_at).is_(None),
            col(Project.champion_prompt_id).is_not(None),
            col(Project.champion_prompt_id) != col(Prompt.id),
        )
        .order_by(col(Prompt.id))
    )
    return [(project, prompt, str(champion)) for project, prompt, champion in session.execute(query).tuples()]
