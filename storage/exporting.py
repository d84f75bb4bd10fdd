"""Taking votes out: canonical comparison rows here, what trainers read in
`storage.training_rows`.

Rows come one at a time from one read, so that a large project is never in memory whole.
Simulated votes are left out unless asked for, and are then marked; votes that a lead left
out (`storage.counting`) always.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from storage.adjudicated import ADJUDICATION
from storage.counting import counted, machines_left_out, machines_of
from storage.formats import FORMATS, Format
from storage.inputs import Input
from storage.rows import prompt_label, renamed
from storage.tables import Annotator, Example, Pair, Prompt, Response, Vote
from storage.training_rows import count_lessons, demonstration_rows, pair_rows
from storage.verdicts import Policy, Tally, tally

_STREAM = {"yield_per": 1_000}  # on PostgreSQL a cursor of the server's: no result is here whole


@dataclass(frozen=True)
class Order:
    """What is asked for. `ties` and `both_bad` None: the format's own default. `chosen`:
    responses that won are demonstrations too (formats for SFT)."""

    format: str
    include_simulated: bool = False
    split: str | None = None
    ties: str | None = None
    both_bad: str | None = None
    chosen: bool = False

    @property
    def described(self) -> Format:
        return FORMATS[self.format]

    @property
    def policy(self) -> Policy:
        known = self.described
        return Policy(
            self.ties or (known.ties[0] if known.ties else "drop"),
            self.both_bad or (known.both_bad[0] if known.both_bad else "ignore"),
        )


@dataclass
class Account:
    """What an export holds and what it leaves out. `tally` counts pairs; for SFT,
    `demonstrations` were written by people, and `winners` are responses that could be
    taken besides."""

    rows: int = 0
    demonstrations: int = 0
    winners: int = 0
    tally: Tally = field(default_factory=Tally)


def export_rows(session: Session, project_id: str, order: Order) -> Iterator[dict[str, Any]]:
    """Rows of an order. With `include_simulated`, every row says by `simulated` whether it
    rests on a simulated vote."""
    family = order.described.family
    if family == "comparisons":
        yield from _comparisons(session, project_id, order.include_simulated, order.split)
        return
    asked = (session, project_id, order.format, order.policy, order.include_simulated, order.split)
    rows = demonstration_rows(*asked, order.chosen) if family == "sft" else pair_rows(*asked)
    for row, simulated in rows:
        yield {**row, "simulated": simulated} if order.include_simulated else row


def account(session: Session, project_id: str, order: Order) -> Account:
    """How many rows `export_rows` gives, and what is left out of them and why."""
    family, policy = order.described.family, order.policy
    found = Account(tally=tally(session, project_id, policy, order.include_simulated, order.split))
    if family == "comparisons":
        votes = _votes(select(func.count(col(Vote.id))), project_id, order.include_simulated, order.split)
        waiting = _waiting(select(func.count(col(Pair.id))), project_id, order.split)
        found.rows = session.exec(votes).one() + session.exec(waiting).one()
    elif family == "sft":
        asked = (project_id, policy, order.include_simulated, order.split)
        found.demonstrations, found.winners = count_lessons(session, *asked)
        found.rows = found.demonstrations + (found.winners if order.chosen else 0)
    else:
        pairs, even, bad = found.tally.decided, found.tally.even, found.tally.bad
        each = 2 if family == "kto" else 1
        found.rows = each * pairs + (2 * even if policy.ties == "both" else 0)
        found.rows += 2 * bad if family == "kto" and policy.both_bad == "reject" else 0
    return found


def _sides() -> tuple[Any, Any]:
    return aliased(Response), aliased(Response)


# --- comparisons --------------------------------------------------------------------------


def _votes(query: Any, project_id: str, include_simulated: bool, split: str | None) -> Any:
    query = (
        query.select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(Example, col(Example.id) == col(Pair.example_id))
        .where(col(Vote.project_id) == project_id, counted(project_id))
    )
    if not include_simulated:
        query = query.where(col(Vote.simulated).is_(False))
    return query.where(col(Example.split) == split) if split else query


def _waiting(query: Any, project_id: str, split: str | None) -> Any:
    """Pairs without any vote, not even a simulated one; a machine's that is left out is none."""
    no_vote = col(Vote.annotator_id).in_(machines_left_out(project_id))
    query = (
        query.select_from(Pair)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .outerjoin(Vote, (col(Vote.pair_id) == col(Pair.id)) & ~no_vote)
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
    machines = set(session.scalars(machines_of(project_id)))
    first, second = _sides()

    def joined(query: Any) -> Any:
        return query.join(first, first.id == col(Pair.response_a)).join(
            second, second.id == col(Pair.response_b)
        )

    texts: tuple[Any, ...] = (Pair, Example, first.text, first.prompt_id, second.text, second.prompt_id)
    votes = joined(_votes(sa.select(Vote, *texts), project_id, include_simulated, split))
    for vote, *rest in session.exec(
        votes.order_by(col(Vote.created_at), col(Vote.id)), execution_options=_STREAM
    ):
        row = _comparison_row(*rest, names=names) | _judgement(vote, rest[0], judges[vote.annotator_id])
        if include_simulated:
            row["simulated"] = vote.simulated
        if vote.annotator_id in machines:
            row["machine"] = True
        if vote.source == ADJUDICATION:
            row["adjudication"] = True
        yield row
    waiting = joined(_waiting(sa.select(*texts), project_id, split))
    for found in session.exec(waiting.order_by(col(Pair.id)), execution_options=_STREAM):
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
        "criteria": renamed(vote.criteria, side),
        "duration_ms": vote.duration_ms,
        "external_id": vote.external_id,
    }
    return {
        "annotator": annotator,
        "choice": side[vote.winner] if vote.winner else vote.outcome,
        **{name: value for name, value in optional.items() if value not in (None, "", {})},
        "created_at": vote.created_at.isoformat(),
    }
