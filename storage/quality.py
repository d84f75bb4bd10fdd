"""What the quality page counts: kinds of pairs by their votes, and annotators' pace and taste
for length. Pairs with the same counts are one row, so that a million votes come back as
hundreds of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Float, case, cast, func, literal, literal_column, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.judgements import Which
from storage.tables import Pair, Response, Vote

CHARACTERS_PER_WORD = 6.0  # five letters and a space
TOO_FAST_WPM = 700  # three times what good readers reach (238, Brysbaert 2019)
STRENGTHS = ("significantly", "clearly", "slightly", "barely")
GROUPS = ("all", "week", "source", "prompts")
_MONDAY = date(1969, 12, 29)  # of the week of the epoch

# (group, votes for each value in their order, pairs with just these votes)
Kind = tuple[Any, tuple[int, ...], int]


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _week(moment: Any) -> Any:
    """Weeks from Monday since the week of the epoch. On DuckDB a tenth of `date_trunc`'s time,
    which asks for the time zone of each row."""
    days = func.extract("epoch", moment) / literal_column("86400.0")
    return func.floor((days + literal_column("3.0")) / literal_column("7.0"))


def week_of(number: Any) -> date:
    return _MONDAY + timedelta(weeks=int(number))


_A = col(Vote.winner) == col(Pair.response_a)
_B = col(Vote.winner) == col(Pair.response_b)
_CHOICES = (_A, _B, col(Vote.outcome) == "tie", col(Vote.outcome) == "both_bad")
_SIGNED = (
    *(_A & (col(Vote.strength) == name) for name in STRENGTHS),
    col(Vote.outcome) == "tie",
    *(_B & (col(Vote.strength) == name) for name in reversed(STRENGTHS)),
)


def kinds(session: Session, which: Which, group: str = "all", *, signed: bool = False) -> list[Kind]:
    """Kinds of pairs with votes, by what they won: a, b, ties, both bad; or, `signed`, on the
    scale from significantly for a over tie to significantly for b (votes without a strength
    left out). A pair is of the week of its last vote; `prompts` groups by the two prompts,
    as (id, id)."""
    values = _SIGNED if signed else _CHOICES
    columns = [_count(value).label(f"v{i}") for i, value in enumerate(values)]
    return _kinds(session, which, group, columns)


def criterion_kinds(session: Session, which: Which, criterion: str, group: str = "all") -> list[Kind]:
    """The same for marks on a criterion: a, b, same, and nothing in the fourth place. Points
    from 1 to 5 count as a mark for the response that has more. Votes without a mark on the
    criterion are left out."""
    values = _marks(session, criterion)
    return _kinds(session, which, group, [_count(value).label(f"v{i}") for i, value in enumerate(values)])


def _marks(session: Session, criterion: str) -> tuple[Any, ...]:
    """Conditions on a vote: marked a, marked b, same, never."""
    mark = col(Vote.criteria)[criterion]
    text = mark.as_string()
    a, b = (_points(mark, response, session) for response in (Pair.response_a, Pair.response_b))
    return (
        (text == col(Pair.response_a)) | (a > b),
        (text == col(Pair.response_b)) | (b > a),
        (text == "same") | (a == b),
        literal(False),
    )


def _points(mark: Any, response: Any, session: Session) -> Any:
    """Points for a response, where a mark is {response id: points}; null where it is not."""
    if session.get_bind().dialect.name == "duckdb":
        return cast(func.json_extract_string(mark, literal("$.") + '"' + col(response) + '"'), Float)
    is_object = func.json_typeof(mark) == "object"
    return cast(case((is_object, func.json_extract_path_text(mark, col(response))), else_=None), Float)


def _kinds(session: Session, which: Which, group: str, columns: list[Any]) -> list[Kind]:
    names = [column.name for column in columns]
    by: list[Any] = []
    extra: list[Any] = []
    if group == "week":
        extra.append(_week(func.max(col(Vote.created_at))).label("g0"))
    elif group == "source":
        by.append(col(Pair.source))
        extra.append(col(Pair.source).label("g0"))
    elif group == "prompts":
        by += [col(Pair.response_a), col(Pair.response_b)]
        extra += [col(Pair.response_a).label("ra"), col(Pair.response_b).label("rb")]
    counts = (
        select(*extra, *columns)
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Vote.pair_id), *by)
        .subquery()
    )
    c = counts.c
    keys: list[Any] = []
    query: Any = select(func.count())
    if group == "prompts":
        a, b = aliased(Response), aliased(Response)
        first = case((col(a.prompt_id) < col(b.prompt_id), col(a.prompt_id)), else_=col(b.prompt_id))
        second = case((col(a.prompt_id) < col(b.prompt_id), col(b.prompt_id)), else_=col(a.prompt_id))
        keys = [first.label("first"), second.label("second")]
    elif group != "all":
        keys = [c.g0]
    values = [c[name] for name in names]
    query = select(*keys, *values, func.count()).select_from(counts)
    if group == "prompts":
        query = query.join(a, col(a.id) == c.ra).join(b, col(b.id) == c.rb)
    some = sum(values[1:], values[0])
    query = query.where(some > 0).group_by(*keys, *values).order_by(*keys, *values)
    width = len(keys)
    found: list[Kind] = []
    for row in session.execute(query):
        key = None if not width else row[0] if width == 1 else tuple(row[:width])
        if group == "week":
            key = week_of(key)
        found.append((key, tuple(int(x) for x in row[width:-1]), int(row[-1])))
    return found


@dataclass(frozen=True)
class Pace:
    """Of an annotator ("" for all together): `timed` votes have a time; `words_per_minute`
    their median, `too_fast` those beyond TOO_FAST_WPM; `sized`: decisive votes between
    responses of different length, `longer`: those for the longer."""

    annotator_id: str
    timed: int
    words_per_minute: float | None
    too_fast: int
    sized: int
    longer: int


def pace(session: Session, which: Which) -> list[Pace]:
    """A row for each annotator. Words are those of the two responses, six characters each;
    the input is not counted, because many have read it before."""
    a, b = aliased(Response), aliased(Response)
    lengths = (
        select(
            col(Pair.id).label("pair_id"),
            col(Pair.response_a).label("response_a"),
            func.length(a.text).label("a"),
            func.length(b.text).label("b"),
        )
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(col(Pair.project_id) == which.project_id)
        .subquery()
    )
    words = cast(lengths.c.a + lengths.c.b, Float) / CHARACTERS_PER_WORD
    # At least a millisecond: somebody may have clicked within the first.
    minutes = cast(case((col(Vote.duration_ms) > 1, col(Vote.duration_ms)), else_=1), Float) / 60_000.0
    speed = case((col(Vote.duration_ms).is_not(None), words / minutes), else_=None)
    sized = (col(Vote.outcome) == "win") & (lengths.c.a != lengths.c.b)
    for_longer = (col(Vote.winner) == lengths.c.response_a) == (lengths.c.a > lengths.c.b)
    query = (
        select(
            col(Vote.annotator_id),
            func.count(col(Vote.duration_ms)),
            func.percentile_cont(0.5).within_group(speed.asc()),
            _count(speed > TOO_FAST_WPM),
            _count(sized),
            _count(sized & for_longer),
        )
        .join(lengths, lengths.c.pair_id == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Vote.annotator_id))
        .order_by(col(Vote.annotator_id))
    )
    return [
        Pace(who, int(timed), None if speed is None else float(speed), int(fast), int(n), int(longer))
        for who, timed, speed, fast, n, longer in session.execute(query)
    ]


def votes_by_week(session: Session, which: Which) -> dict[str, dict[date, int]]:
    """annotator id -> first day of a week -> votes."""
    week = _week(col(Vote.created_at))
    query = (
        select(col(Vote.annotator_id), week, func.count())
        .where(*which.where())
        .group_by(col(Vote.annotator_id), week)
    )
    found: dict[str, dict[date, int]] = {}
    for who, number, votes in session.execute(query):
        found.setdefault(who, {})[week_of(number)] = votes
    return found


def length_blocks(session: Session, which: Which) -> Sequence[tuple[int, int, int]]:
    """Pairs by (decisive votes between responses of different length, those for the longer):
    the kinds and how many pairs are of each. Votes on one pair hang together, so an interval
    goes over pairs."""
    a, b = aliased(Response), aliased(Response)
    decisive = _count(col(Vote.outcome) == "win")
    longer = _count((col(Vote.winner) == col(Pair.response_a)) == (func.length(a.text) > func.length(b.text)))
    counts = (
        select(decisive.label("n"), longer.label("longer"))
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(*which.where(), col(Vote.outcome) == "win", func.length(a.text) != func.length(b.text))
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    query = select(counts.c.n, counts.c.longer, func.count()).group_by(counts.c.n, counts.c.longer)
    return [(int(n), int(x), int(pairs)) for n, x, pairs in session.execute(query)]


def criterion_meetings(
    session: Session, which: Which, criterion: str
) -> list[tuple[str, str, int, int, int]]:
    """(prompt a, prompt b, marks for a, for b, same) of a criterion, a row for each pair of
    two different prompts."""
    first, second = aliased(Response), aliased(Response)
    counts = _criterion_counts(session, which, criterion)
    c = counts.c
    query = (
        select(col(first.prompt_id), col(second.prompt_id), c.v0, c.v1, c.v2)
        .select_from(counts)
        .join(first, col(first.id) == c.ra)
        .join(second, col(second.id) == c.rb)
        .where(col(first.prompt_id) != col(second.prompt_id), c.v0 + c.v1 + c.v2 > 0)
        .order_by(c.ra, c.rb)
    )
    return [(a, b, int(x), int(y), int(same)) for a, b, x, y, same in session.execute(query)]


def _criterion_counts(session: Session, which: Which, criterion: str) -> Any:
    values = _marks(session, criterion)
    return (
        select(
            col(Pair.response_a).label("ra"),
            col(Pair.response_b).label("rb"),
            *(_count(value).label(f"v{i}") for i, value in enumerate(values[:3])),
        )
        .select_from(Vote)
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(*which.where())
        .group_by(col(Vote.pair_id), col(Pair.response_a), col(Pair.response_b))
        .subquery()
    )
