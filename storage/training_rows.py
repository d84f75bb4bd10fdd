"""Rows that trainers read: preferences (TRL, DPO, OpenAI), unpaired ones (KTO), and
demonstrations (SFT).

The prompt is the input that people saw. A conversation becomes messages, or HH-RLHF's
transcript in the formats that are text. Rows come one at a time from one read.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.formats import FORMATS, Format
from storage.preferences import transcript
from storage.tables import Demonstration, Example, Pair, Response
from storage.verdicts import Policy, verdicts

_STREAM = {"yield_per": 1_000}  # on PostgreSQL a cursor of the server's: no result is here whole
Row = dict[str, Any]


class Judged(NamedTuple):
    """A pair with its verdict (a, b, even, bad); `q` and `margin` speak for response a."""

    input: str
    earlier: list[dict[str, str]] | None
    text_a: str
    text_b: str
    verdict: str
    q: float | None
    margin: float | None
    n: int
    simulated: int

    @property
    def turns(self) -> list[dict[str, str]]:
        return [*(self.earlier or []), {"role": "user", "content": self.input}]


def pair_rows(
    session: Session,
    project_id: str,
    format: str,
    policy: Policy,
    include_simulated: bool,
    split: str | None,
) -> Iterator[tuple[Row, bool]]:
    """Rows of a format that is made of pairs, each with whether it rests on a simulated vote."""
    described = FORMATS[format]
    make = _unpaired if described.family == "kto" else _paired
    for pair in _judged(session, project_id, policy, include_simulated, split):
        for row in make(pair, described, policy):
            yield row, pair.simulated > 0


def demonstration_rows(
    session: Session,
    project_id: str,
    format: str,
    policy: Policy,
    include_simulated: bool,
    split: str | None,
    chosen: bool,
) -> Iterator[tuple[Row, bool]]:
    """What people wrote (`source` is demonstration, with its author), and with `chosen`
    the responses that won a pair and lost none (`source` is chosen, without an author)."""
    described = FORMATS[format]
    for text, author, input_, earlier in session.execute(
        _demonstrations(project_id, split), execution_options=_STREAM
    ):
        yield _lesson(described, input_, earlier, text, "demonstration", author), False
    if chosen:
        winners = _winners(project_id, policy, include_simulated, split)
        for text, input_, earlier, simulated in session.execute(winners, execution_options=_STREAM):
            yield _lesson(described, input_, earlier, text, "chosen", None), simulated > 0


def count_lessons(
    session: Session,
    project_id: str,
    policy: Policy,
    include_simulated: bool,
    split: str | None,
) -> tuple[int, int]:
    """How many demonstrations there are, and how many chosen responses."""
    queries = (
        _demonstrations(project_id, split),
        _winners(project_id, policy, include_simulated, split),
    )
    written, won = (
        session.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
        for query in queries
    )
    return written, won


# --- queries ------------------------------------------------------------------------------


def _judged(
    session: Session, project_id: str, policy: Policy, include_simulated: bool, split: str | None
) -> Iterator[Judged]:
    v = verdicts(project_id, policy, include_simulated, split)
    first, second = aliased(Response), aliased(Response)
    columns: list[Any] = [Example.input, Example.messages, first.text, second.text]
    columns += [v.c.verdict, v.c.q, v.c.margin, v.c.n, v.c.simulated]
    query: Any = (
        select(*columns)
        .select_from(v)
        .join(Pair, col(Pair.id) == v.c.pair_id)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .join(first, col(first.id) == col(Pair.response_a))
        .join(second, col(second.id) == col(Pair.response_b))
        .order_by(col(Pair.id))
    )
    for row in session.execute(query, execution_options=_STREAM):
        yield Judged(*row)


def _demonstrations(project_id: str, split: str | None) -> Any:
    query = (
        select(Demonstration.text, Demonstration.author, Example.input, Example.messages)  # type: ignore[call-overload]
        .join(Example, col(Example.id) == col(Demonstration.example_id))
        .where(col(Demonstration.project_id) == project_id, col(Demonstration.deleted_at).is_(None))
        .order_by(col(Demonstration.id))
    )
    return query.where(col(Example.split) == split) if split else query


def _winners(project_id: str, policy: Policy, include_simulated: bool, split: str | None) -> Any:
    """Responses that won at least one pair and lost none; one that lost somewhere, or stood
    in a pair that is bad, is no example to follow."""
    v = verdicts(project_id, policy, include_simulated, split)
    sides = [
        select(response.label("response_id"), (v.c.verdict == won).label("won"), lost.label("lost"), v.c.simulated)
        .select_from(v)
        .join(Pair, col(Pair.id) == v.c.pair_id)
        for response, won, lost in (
            (col(Pair.response_a), "a", v.c.verdict.in_(("b", "bad"))),
            (col(Pair.response_b), "b", v.c.verdict.in_(("a", "bad"))),
        )
    ]  # fmt: skip
    both = sides[0].union_all(sides[1]).subquery()
    best = (
        select(both.c.response_id, func.sum(both.c.simulated).label("simulated"))
        .group_by(both.c.response_id)
        .having(func.sum(case((both.c.won, 1), else_=0)) > 0, func.sum(case((both.c.lost, 1), else_=0)) == 0)
        .subquery()
    )
    return (
        select(Response.text, Example.input, Example.messages, best.c.simulated)  # type: ignore[call-overload]
        .select_from(best)
        .join(Response, col(Response.id) == best.c.response_id)
        .join(Example, col(Example.id) == col(Response.example_id))
        .order_by(col(Response.id))
    )


# --- rows ---------------------------------------------------------------------------------


def _prompt(described: Format, turns: list[dict[str, str]]) -> Any:
    if described.messages:
        return turns
    return transcript(turns) if len(turns) > 1 else turns[0]["content"]


def _answer(described: Format, text: str) -> Any:
    return [{"role": "assistant", "content": text}] if described.messages else text


def _paired(pair: Judged, described: Format, policy: Policy) -> Iterator[Row]:
    a_first = [pair.verdict == "a"]
    if pair.verdict == "even" and policy.ties == "both":
        a_first = [True, False]
    elif pair.verdict not in ("a", "b"):
        return
    prompt = _prompt(described, pair.turns)
    for is_a in a_first:
        best, worst = (pair.text_a, pair.text_b) if is_a else (pair.text_b, pair.text_a)
        chosen, rejected = _answer(described, best), _answer(described, worst)
        if described.family == "openai":
            yield {
                "input": {"messages": prompt},
                "preferred_output": chosen,
                "non_preferred_output": rejected,
            }
            continue
        row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        if described.family == "margin":
            q, margin = float(pair.q or 0.0), float(pair.margin or 0.0)
            # A majority of weak votes against few strong ones gives a margin below zero:
            # the loss would then ask for less than a difference, so it is zero.
            row |= {
                "margin": 0.0 if pair.verdict == "even" else max(0.0, margin if is_a else -margin),
                "q": q if is_a else 1.0 - q,
                "n": int(pair.n),
            }
        yield row


def _unpaired(pair: Judged, described: Format, policy: Policy) -> Iterator[Row]:
    if pair.verdict == "even" and policy.ties == "both":
        labels = (True, True)
    elif pair.verdict == "bad" and policy.both_bad == "reject":
        labels = (False, False)
    elif pair.verdict in ("a", "b"):
        labels = (pair.verdict == "a", pair.verdict == "b")
    else:
        return
    prompt = _prompt(described, pair.turns)
    for text, label in zip((pair.text_a, pair.text_b), labels, strict=True):
        yield {"prompt": prompt, "completion": _answer(described, text), "label": label}


def _lesson(
    described: Format,
    input_: str,
    earlier: list[dict[str, str]] | None,
    text: str,
    source: str,
    author: str | None,
) -> Row:
    turns = [*(earlier or []), {"role": "user", "content": input_}]
    said = {"source": source, "author": author or None}
    if described.name == "sft-messages":
        return {"messages": [*turns, {"role": "assistant", "content": text}], **said}
    return {"prompt": _prompt(described, turns), "completion": _answer(described, text), **said}
