"""Language models as judges: the pairs they are asked about, the annotators they are, and how
their votes compare with people's. Aggregated in the database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, case, exists, func, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.adjudicated import independent
from storage.bulk import chunks
from storage.counting import by_machine, by_people
from storage.ids import id_of, now
from storage.pairs import MACHINE_LEFT_OUT
from storage.scan import scanned
from storage.tables import Annotator, Example, Pair, Response, Vote


class JudgePair(NamedTuple):
    """What a judge is shown of a pair."""

    pair_id: str
    response_a: str
    response_b: str
    input: str
    earlier: list[dict[str, str]] | None
    text_a: str
    text_b: str


def judge_id(project_id: str, host_id: str, model: str, template_hash: str) -> str:
    """A judge is a model on a host with a prompt: another prompt is another judge."""
    return id_of("annotator", project_id, "machine", host_id, model, template_hash)


def make_judge(session: Session, project_id: str, key: str, name: str) -> Annotator:
    """The annotator that a judge is, made when first needed: its votes are left out until a
    lead takes them in."""
    found = session.get(Annotator, key)
    if found is None:
        found = Annotator(
            id=key,
            project_id=project_id,
            name=_free_name(session, project_id, name, key),
            machine=True,
            excluded_at=now(),
            excluded_reason=MACHINE_LEFT_OUT,
        )
        session.add(found)
        session.flush()
    return found


def _free_name(session: Session, project_id: str, name: str, key: str) -> str:
    taken = select(col(Annotator.id)).where(
        col(Annotator.project_id) == project_id, col(Annotator.name) == name
    )
    return f"{name} ({key[-6:]})" if session.execute(taken).first() else name


def pairs_to_judge(session: Session, project_id: str, which: str, judge: str) -> list[str]:
    """Ids of the pairs a judge may be asked about, in their order: `voted` by a person,
    `unvoted`, or `all`; without those it has judged, and those whose responses are the same
    text."""
    a, b = aliased(Response), aliased(Response)
    by_it = exists().where(col(Vote.pair_id) == col(Pair.id), col(Vote.annotator_id) == judge)
    query = (
        select(col(Pair.id))
        .join(a, col(a.id) == col(Pair.response_a))
        .join(b, col(b.id) == col(Pair.response_b))
        .where(col(Pair.project_id) == project_id, ~by_it, func.trim(a.text) != func.trim(b.text))
        .order_by(col(Pair.id))
    )
    if which != "all":
        voted = select(col(Vote.pair_id)).where(
            scanned(col(Vote.project_id)) == project_id, by_people(project_id)
        )
        query = query.where(col(Pair.id).in_(voted) if which == "voted" else col(Pair.id).not_in(voted))
    return [key for (key,) in session.execute(query)]


def people_voted(session: Session, project_id: str) -> bool:
    """Whether any vote of a person counts here."""
    one = select(col(Vote.id)).where(scanned(col(Vote.project_id)) == project_id, by_people(project_id))
    return session.execute(one.limit(1)).first() is not None


def shown(session: Session, pair_ids: Sequence[str]) -> list[JudgePair]:
    a, b = aliased(Response), aliased(Response)
    found: dict[str, JudgePair] = {}
    columns: Any = (
        col(Pair.id), col(Pair.response_a), col(Pair.response_b), col(Example.input), col(Example.messages),
        a.text, b.text,
    )  # fmt: skip
    for part in chunks(pair_ids):
        query = (
            select(*columns)
            .join(Example, col(Example.id) == col(Pair.example_id))
            .join(a, col(a.id) == col(Pair.response_a))
            .join(b, col(b.id) == col(Pair.response_b))
            .where(col(Pair.id).in_(part))
        )
        found |= {row[0]: JudgePair(*row) for row in session.execute(query)}
    return [found[key] for key in pair_ids if key in found]


def responses_of(session: Session, pair_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """pair id -> (response a, response b)"""
    found: dict[str, tuple[str, str]] = {}
    for part in chunks(pair_ids):
        query = select(col(Pair.id), col(Pair.response_a), col(Pair.response_b)).where(col(Pair.id).in_(part))
        found |= {key: (x, y) for key, x, y in session.execute(query)}
    return found


def judges(session: Session, project_id: str) -> list[tuple[Annotator, int, int, int]]:
    """(annotator, votes, ties, votes "both bad") of every judge of a project, by name."""

    def number(outcome: str) -> Any:
        return func.sum(case((col(Vote.outcome) == outcome, 1), else_=0)).label(outcome)

    counts = (
        select(
            col(Vote.annotator_id).label("id"),
            func.count().label("votes"),
            number("tie"),
            number("both_bad"),
        )
        .where(scanned(col(Vote.project_id)) == project_id, by_machine(project_id))
        .group_by(col(Vote.annotator_id))
        .subquery()
    )
    query: Any = (
        select(
            Annotator,
            *(func.coalesce(counts.c[name], 0) for name in ("votes", "tie", "both_bad")),
        )
        .outerjoin(counts, counts.c.id == col(Annotator.id))
        .where(col(Annotator.project_id) == project_id, col(Annotator.machine).is_(True))
        .order_by(col(Annotator.name))
    )
    return [(found, int(votes), int(tie), int(bad)) for found, votes, tie, bad in session.execute(query)]


class Kind(NamedTuple):
    """Pairs of one kind: a judge's choice (a, b, tie, both_bad), how many people chose each of
    these, where the pair comes from, and how many such pairs there are."""

    judge: str
    choice: str
    a: int
    b: int
    tie: int
    both_bad: int
    source: str
    pairs: int


_CHOICES = ("a", "b", "tie", "both_bad")


def _choice() -> Any:
    return case(
        (col(Vote.outcome) != "win", col(Vote.outcome)),
        (col(Vote.winner) == col(Pair.response_a), "a"),
        else_="b",
    )


def compared(session: Session, project_id: str) -> list[Kind]:
    """Every judge's votes beside those that people cast on the same pairs and that count."""
    ours = (
        select(
            col(Vote.pair_id).label("pair_id"),
            col(Vote.annotator_id).label("judge"),
            _choice().label("choice"),
            col(Pair.source).label("source"),
        )
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(scanned(col(Vote.project_id)) == project_id, by_machine(project_id))
        .subquery()
    )
    choice = _choice()

    def number(name: str) -> Any:
        return func.sum(case((choice == name, 1), else_=0)).label(name)

    people = (
        select(col(Vote.pair_id).label("pair_id"), *(number(name) for name in _CHOICES))
        .join(Pair, col(Pair.id) == col(Vote.pair_id))
        .where(
            scanned(col(Vote.project_id)) == project_id,
            by_people(project_id),
            independent(),  # people among themselves are compared, too
            col(Vote.pair_id).in_(select(ours.c.pair_id)),
        )
        .group_by(col(Vote.pair_id))
        .subquery()
    )
    keys = (ours.c.judge, ours.c.choice, *(people.c[name] for name in _CHOICES), ours.c.source)
    query = (
        select(*keys, func.count())
        .join(people, people.c.pair_id == ours.c.pair_id)
        .group_by(*keys)
        .order_by(*keys)
    )
    return [
        Kind(judge, said, int(a), int(b), int(tie), int(bad), source, int(pairs))
        for judge, said, a, b, tie, bad, source, pairs in session.execute(query)
    ]


class Longer(NamedTuple):
    """Of decisive votes between responses of different length: how many there are, and how
    many are for the longer; by the judge, and by people on the pairs it voted on."""

    n: int
    longer: int
    people_n: int
    people_longer: int


def longer(session: Session, project_id: str) -> dict[str, Longer]:
    """judge -> how often the longer response won"""
    own: Any = aliased(Vote)
    a, b = aliased(Response), aliased(Response)
    sized = and_(
        scanned(col(Vote.project_id)) == project_id,
        col(Vote.outcome) == "win",
        func.length(a.text) != func.length(b.text),
    )
    for_longer = (col(Vote.winner) == col(Pair.response_a)) == (func.length(a.text) > func.length(b.text))
    counted = func.sum(case((for_longer, 1), else_=0))

    def votes(judge: Any) -> Any:
        return (
            select(judge, func.count(), counted)
            .select_from(Vote)
            .join(Pair, col(Pair.id) == col(Vote.pair_id))
            .join(a, col(a.id) == col(Pair.response_a))
            .join(b, col(b.id) == col(Pair.response_b))
        )

    machine = (
        votes(col(Vote.annotator_id)).where(sized, by_machine(project_id)).group_by(col(Vote.annotator_id))
    )
    people = (
        votes(col(own.annotator_id))
        .join(own, (col(own.pair_id) == col(Vote.pair_id)) & by_machine(project_id, own.annotator_id))
        .where(sized, by_people(project_id))
        .group_by(col(own.annotator_id))
    )
    theirs = {judge: (int(n), int(x)) for judge, n, x in session.execute(people)}
    return {
        judge: Longer(int(n), int(x), *theirs.get(judge, (0, 0))) for judge, n, x in session.execute(machine)
    }
