"""Taking votes and preferences out: canonical comparison rows, and TRL's preference rows.

Rows come one at a time from one read, so that a large project is never in memory whole.
Simulated votes are left out unless asked for, and are then marked.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import case
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from storage.inputs import Input
from storage.preferences import transcript
from storage.rows import prompt_label
from storage.tables import Annotator, Example, Pair, Prompt, Response, Vote

FORMATS = ("trl", "trl-conversational", "comparisons")
_BATCH = 1_000


def export_rows(
    session: Session, project_id: str, format: str, include_simulated: bool = False, split: str | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of one of FORMATS. `split` keeps the examples of one split. With
    `include_simulated`, every row says by `simulated` whether it rests on a simulated vote."""
    if format == "comparisons":
        yield from _comparisons(session, project_id, include_simulated, split)
    else:
        conversational = format == "trl-conversational"
        for pair, simulated in _decided(session, project_id, include_simulated, split):
            row = _trl_row(*pair, conversational=conversational)
            yield {**row, "simulated": simulated} if include_simulated else row


def count_rows(
    session: Session, project_id: str, format: str, include_simulated: bool = False, split: str | None = None
) -> int:
    """How many rows `export_rows` gives."""
    if format != "comparisons":
        query = _majorities(project_id, include_simulated, split).subquery()
        return session.exec(select(func.count()).select_from(query)).one()
    votes = _votes(select(func.count(col(Vote.id))), project_id, include_simulated, split)
    waiting = _waiting(select(func.count(col(Pair.id))), project_id, split)
    return session.exec(votes).one() + session.exec(waiting).one()


# --- preferences --------------------------------------------------------------------------


def _majorities(project_id: str, include_simulated: bool, split: str | None) -> Any:
    """Pairs whose votes prefer one response: more wins than the other has. A tie counts
    for neither, "both bad" not at all."""
    a_wins = func.sum(case((col(Vote.winner) == col(Pair.response_a), 1), else_=0))
    b_wins = func.sum(case((col(Vote.winner) == col(Pair.response_b), 1), else_=0))
    simulated = func.max(case((col(Vote.simulated), 1), else_=0))
    query: Any = (
        select(col(Pair.id).label("pair_id"), (a_wins > b_wins).label("a_won"), simulated.label("simulated"))
        .select_from(Pair)
        .join(Vote, col(Vote.pair_id) == col(Pair.id))
        .where(col(Pair.project_id) == project_id)
        .group_by(col(Pair.id))
        .having(a_wins != b_wins)
    )
    if not include_simulated:
        query = query.where(col(Vote.simulated).is_(False))
    if split:
        query = query.join(Example, col(Example.id) == col(Pair.example_id)).where(
            col(Example.split) == split
        )
    return query


def _decided(
    session: Session, project_id: str, include_simulated: bool, split: str | None
) -> Iterator[tuple[tuple[Example, str, str], bool]]:
    """(example, chosen text, rejected text), and whether a simulated vote is behind it."""
    majorities = _majorities(project_id, include_simulated, split).subquery()
    chosen_id = case((majorities.c.a_won, col(Pair.response_a)), else_=col(Pair.response_b))
    rejected_id = case((majorities.c.a_won, col(Pair.response_b)), else_=col(Pair.response_a))
    chosen, rejected = _sides()
    query: Any = (
        select(Example, chosen.text, rejected.text, majorities.c.simulated)
        .select_from(majorities)
        .join(Pair, col(Pair.id) == majorities.c.pair_id)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(chosen, chosen.id == chosen_id)
        .join(rejected, rejected.id == rejected_id)
        .order_by(col(Pair.id))
    )
    for example, best, worst, simulated in session.exec(query).yield_per(_BATCH):
        yield (example, best, worst), bool(simulated)


def _trl_row(example: Example, chosen: str, rejected: str, *, conversational: bool) -> dict[str, Any]:
    """As TRL's preference format has it. The prompt is the input that people saw; a
    conversation becomes messages, or HH-RLHF's transcript in the plain format."""
    earlier = example.messages or []
    turns = [*earlier, {"role": "user", "content": example.input}]
    if conversational:
        answers = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
        return {"prompt": turns, "chosen": answers[0], "rejected": answers[1]}
    return {"prompt": transcript(turns) if earlier else example.input, "chosen": chosen, "rejected": rejected}


def _sides() -> tuple[Any, Any]:
    return aliased(Response), aliased(Response)


# --- comparisons --------------------------------------------------------------------------


def _votes(query: Any, project_id: str, include_simulated: bool, split: str | None) -> Any:
    query = (
        query.select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .where(col(Vote.project_id) == project_id)
    )
    if not include_simulated:
        query = query.where(col(Vote.simulated).is_(False))
    return query.where(col(Example.split) == split) if split else query


def _waiting(query: Any, project_id: str, split: str | None) -> Any:
    """Pairs without any vote, not even a simulated one."""
    query = (
        query.select_from(Pair)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .outerjoin(Vote, col(Vote.pair_id) == col(Pair.id))
        .where(col(Pair.project_id) == project_id, col(Vote.id).is_(None))
    )
    return query.where(col(Example.split) == split) if split else query


def _comparisons(
    session: Session, project_id: str, include_simulated: bool, split: str | None
) -> Iterator[dict[str, Any]]:
    """A row for every vote, in the order they were cast, then one for every pair that has
    none."""
    prompts = session.exec(
        select(Prompt.id, Prompt.name, Prompt.version).where(Prompt.project_id == project_id)
    ).all()
    names = {id_: prompt_label(name, version) for id_, name, version in prompts}
    judges = dict(
        session.exec(select(Annotator.id, Annotator.name).where(Annotator.project_id == project_id)).all()
    )
    first, second = _sides()

    def joined(query: Any) -> Any:
        return query.join(first, first.id == col(Pair.response_a)).join(
            second, second.id == col(Pair.response_b)
        )

    texts: tuple[Any, ...] = (Pair, Example, first.text, first.prompt_id, second.text, second.prompt_id)
    votes = joined(_votes(sa.select(Vote, *texts), project_id, include_simulated, split))
    for vote, *rest in session.exec(votes.order_by(col(Vote.created_at), col(Vote.id))).yield_per(_BATCH):
        row = _comparison_row(*rest, names=names) | _judgement(vote, rest[0], judges[vote.annotator_id])
        if include_simulated:
            row["simulated"] = vote.simulated
        yield row
    waiting = joined(_waiting(sa.select(*texts), project_id, split))
    for found in session.exec(waiting.order_by(col(Pair.id))).yield_per(_BATCH):
        row = _comparison_row(*found, names=names)
        if found[0].external_id is not None:
            row["external_id"] = found[0].external_id
        yield row


def _comparison_row(
    pair: Pair,
    example: Example,
    text_a: str,
    prompt_a: str,
    text_b: str,
    prompt_b: str,
    *,
    names: dict[str, str],
) -> dict[str, Any]:
    return {
        "input": Input(example.input, example.fields, example.messages).as_value(),
        "response_a": text_a,
        "response_b": text_b,
        "prompt_a": names.get(prompt_a, prompt_a),
        "prompt_b": names.get(prompt_b, prompt_b),
    }


def _judgement(vote: Vote, pair: Pair, annotator: str) -> dict[str, Any]:
    """The vote's part of a row; what was never said is left out."""
    side = {pair.response_a: "a", pair.response_b: "b"}
    optional = {
        "strength": vote.strength,
        "left": side.get(vote.left or ""),
        "reason": vote.reason,
        "criteria": vote.criteria,
        "duration_ms": vote.duration_ms,
        "external_id": vote.external_id,
    }
    return {
        "annotator": annotator,
        "choice": side[vote.winner] if vote.winner else vote.outcome,
        **{name: value for name, value in optional.items() if value not in (None, "", {})},
        "created_at": vote.created_at.isoformat(),
    }
