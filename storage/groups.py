"""Who may have which slots: the rules of a project, in SQL.

A slot has an audience (`Slot.audience`): None is everybody, `group:<id>` a group of
annotators, ADJUDICATOR those who decide disputed pairs. An annotator may claim slots without
an audience and those of their own (`Annotator.audiences`). Rules say which pairs are for one
group only: the first that matches wins. They are kept in the project's document of the kind
`assignment` (`core.annotation.groups` checks them), so that whoever makes slots finds them
here in the same unit of work.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, null, or_, union, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from storage.bulk import chunks
from storage.project_documents import document_body
from storage.scan import scanned
from storage.tables import Annotator, Example, Pair, Project, Response, Skip, Slot, Vote

KIND = "assignment"
ADJUDICATOR = "adjudicator"
_GROUP = "group:"
_WAITING = ("open", "leased")


@dataclass(frozen=True)
class Condition:
    """`by`: field (of the example, `name`), source (of the pair), prompt (one of the two,
    by id) or text (the input contains it). It holds when one of `values` does, whatever the
    case of letters."""

    by: str
    values: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class Rule:
    """Pairs for which all conditions hold are for one group."""

    group: str
    conditions: tuple[Condition, ...]


def audience_of(group_id: str) -> str:
    return _GROUP + group_id


def group_of(audience: str) -> str | None:
    """The group's id; None for an audience that is no group."""
    return audience.removeprefix(_GROUP) if audience.startswith(_GROUP) else None


def rules_of(body: dict[str, Any]) -> list[Rule]:
    """The rules within a document."""
    return [
        Rule(
            rule["group"],
            tuple(
                Condition(item["by"], tuple(item["values"]), item.get("name", ""))
                for item in rule["conditions"]
            ),
        )
        for rule in body.get("rules", [])
    ]


# --- rules ----------------------------------------------------------------------------------


def audiences_for(session: Session, project_id: str, pair_ids: Collection[str]) -> dict[str, str]:
    """pair id -> audience, of the pairs that a rule gives to a group: for slots that are
    about to be made. On PostgreSQL the project is held until the end of the transaction, so
    that rules that change meanwhile find these slots."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            sa_select(col(Project.id)).where(col(Project.id) == project_id).with_for_update(read=True)
        )
    rules = rules_of(document_body(session, project_id, KIND))
    if not rules:
        return {}
    found: dict[str, str] = {}
    for part in chunks(pair_ids):
        query = (
            sa_select(col(Pair.id), _audience(rules).label("audience"))
            .join(Example, col(Example.id) == col(Pair.example_id))
            .where(col(Pair.id).in_(part))
        )
        found |= {pair_id: audience for pair_id, audience in session.execute(query) if audience}
    return found


def apply_rules(session: Session, project_id: str) -> int:
    """Give every slot of the project the audience that its rules say now; answers how many
    changed. Who holds a slot keeps it; slots of adjudicators stay theirs."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa_select(col(Project.id)).where(col(Project.id) == project_id).with_for_update())
    rules = rules_of(document_body(session, project_id, KIND))
    not_adjudicators = col(Slot.audience).is_distinct_from(ADJUDICATOR)
    here = scanned(col(Slot.project_id)) == project_id
    statement: Any
    if rules:
        said = (
            sa_select(col(Pair.id).label("id"), _audience(rules).label("audience"))
            .join(Example, col(Example.id) == col(Pair.example_id))
            .where(scanned(col(Pair.project_id)) == project_id)
            .subquery()
        )
        changed = col(Slot.audience).is_distinct_from(said.c.audience)
        statement = (
            update(Slot)
            .where(col(Slot.pair_id) == said.c.id, here, not_adjudicators, changed)
            .values(audience=said.c.audience)
        )
    else:
        statement = (
            update(Slot).where(here, not_adjudicators, col(Slot.audience).is_not(None)).values(audience=None)
        )
    done: Any = session.execute(statement.execution_options(synchronize_session=False))
    return int(done.rowcount)


def count_rules(session: Session, project_id: str, rules: Sequence[Rule]) -> list[tuple[int, int]]:
    """For each rule: pairs that match it, and those that no rule before it takes."""
    if not rules:
        return []
    columns: list[Any] = []
    taken: list[ColumnElement[bool]] = []
    for rule in rules:
        matches = _matches(rule)
        first = and_(matches, *(~item for item in taken)) if taken else matches
        columns += [_count(matches), _count(first)]
        taken.append(matches)
    query = (
        sa_select(*columns)
        .select_from(Pair)
        .join(Example, col(Example.id) == col(Pair.example_id))
        .where(scanned(col(Pair.project_id)) == project_id)
    )
    row = session.execute(query).one()
    return [(int(row[i]), int(row[i + 1])) for i in range(0, len(row), 2)]


def _audience(rules: Sequence[Rule]) -> Any:
    return case(*((_matches(rule), literal(audience_of(rule.group))) for rule in rules), else_=null())


def _matches(rule: Rule) -> ColumnElement[bool]:
    """A condition on a pair joined with its example; never null."""
    return and_(*(func.coalesce(_holds(item), False) for item in rule.conditions))


def _holds(condition: Condition) -> ColumnElement[bool]:
    values = [value.strip().lower() for value in condition.values]
    if condition.by == "field":
        return func.lower(func.trim(col(Example.fields)[condition.name].as_string())).in_(values)
    if condition.by == "source":
        return func.lower(col(Pair.source)).in_(values)
    if condition.by == "prompt":
        theirs = sa_select(col(Response.id)).where(col(Response.prompt_id).in_(condition.values))
        return or_(col(Pair.response_a).in_(theirs), col(Pair.response_b).in_(theirs))
    inside = func.lower(col(Example.input))
    return or_(*(inside.contains(value, autoescape=True) for value in values))


# --- what a rule can ask for ----------------------------------------------------------------


def field_values(session: Session, project_id: str, most: int = 200) -> dict[str, list[str]]:
    """The fields of the project's examples with their most frequent values, of a sample of
    them: what a rule may name. Fields with more than `most` values (ids, texts) have none."""
    sample = session.exec(select(Example.fields).where(Example.project_id == project_id).limit(5_000))
    seen: dict[str, dict[str, list[str]]] = {}  # field -> what is compared -> spellings
    for fields in sample:
        for name, value in (fields or {}).items():
            if isinstance(value, str | int | float | bool):
                text = str(value).lower() if isinstance(value, bool) else str(value).strip()
                seen.setdefault(name, {}).setdefault(text.lower(), []).append(text)
    return {
        name: [
            min(spelled)
            for _, spelled in sorted(values.items(), key=lambda item: (-len(item[1]), item[0]))
            if len(values) <= most
        ]
        for name, values in sorted(seen.items())
    }


def sources(session: Session, project_id: str) -> list[str]:
    query = sa_select(col(Pair.source)).where(scanned(col(Pair.project_id)) == project_id).distinct()
    return sorted(session.scalars(query))


# --- how it stands --------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Of one audience: `pairs` with room in it, `waiting` those that want a vote still,
    `votes` cast in it, `wanted` votes still."""

    pairs: int = 0
    waiting: int = 0
    votes: int = 0
    wanted: int = 0


def standing(session: Session, project_id: str) -> dict[str | None, Standing]:
    waits = col(Slot.status).in_(_WAITING)
    query = (
        sa_select(
            col(Slot.audience),
            func.count(func.distinct(col(Slot.pair_id))),
            func.count(func.distinct(case((waits, col(Slot.pair_id)), else_=null()))),
            _count(col(Slot.status) == "voted"),
            _count(waits),
        )
        .where(scanned(col(Slot.project_id)) == project_id, col(Slot.status) != "closed")
        .group_by(col(Slot.audience))
    )
    return {audience: Standing(*(int(x) for x in row)) for audience, *row in session.execute(query)}


def beyond_reach(session: Session, project_id: str, audience: str, members: Sequence[str]) -> int:
    """Pairs that want more votes in this audience than it has members (annotator ids) who
    have neither voted on them nor skipped them."""
    free = (
        sa_select(col(Slot.pair_id).label("pair_id"), func.count().label("n"))
        .where(
            scanned(col(Slot.project_id)) == project_id,
            col(Slot.audience) == audience,
            col(Slot.status).in_(_WAITING),
        )
        .group_by(col(Slot.pair_id))
        .subquery()
    )
    by_members: list[Any] = [
        sa_select(col(table.pair_id).label("pair_id"), col(table.annotator_id).label("annotator_id")).where(
            col(table.annotator_id).in_(members)
        )
        for table in (Vote, Skip)
    ]
    either = union(*by_members).subquery()
    judged = sa_select(either.c.pair_id, func.count().label("n")).group_by(either.c.pair_id).subquery()
    query = (
        sa_select(func.count())
        .select_from(free)
        .outerjoin(judged, judged.c.pair_id == free.c.pair_id)
        .where(free.c.n > len(members) - func.coalesce(judged.c.n, 0))
    )
    return int(session.execute(query).scalar_one())


def waiting_for_others(
    session: Session, project_id: str, annotator_id: str, audiences: Sequence[str]
) -> list[str]:
    """Ids of the groups that pairs wait for which this annotator has not judged, without
    the annotator's own groups."""
    judged = [
        sa_select(col(table.pair_id)).where(col(table.annotator_id) == annotator_id) for table in (Vote, Skip)
    ]
    query = (
        sa_select(col(Slot.audience))
        .where(
            scanned(col(Slot.project_id)) == project_id,
            col(Slot.audience).like(f"{_GROUP}%"),
            col(Slot.audience).not_in(audiences),
            col(Slot.status).in_(_WAITING),
            *(col(Slot.pair_id).not_in(pairs) for pairs in judged),
        )
        .distinct()
    )
    return sorted(str(audience).removeprefix(_GROUP) for audience in session.scalars(query))


def give_audiences(session: Session, project_id: str, members: dict[str, list[str]]) -> int:
    """Let exactly these annotators have these audiences (annotator id -> audiences), and
    nobody else any; answers how many changed."""
    changed = 0
    for annotator in session.exec(select(Annotator).where(Annotator.project_id == project_id)):
        theirs = sorted(members.get(annotator.id, [])) or None
        if annotator.audiences != theirs:
            annotator.audiences = theirs
            session.add(annotator)
            changed += 1
    return changed


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
