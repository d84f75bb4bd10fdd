"""What an import of comparisons will do: which of its examples, prompts, responses, pairs
and votes are there already, and which are new.

Ids follow from content, so the same row finds what it made before: an example is its
fields and earlier turns; a prompt its name; a response its text by a prompt for an
example; a pair its two responses; a vote its pair and annotator.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, func, select

from storage.adjudicated import ADJUDICATION
from storage.bulk import chunks, insert_many
from storage.ids import id_of
from storage.inputs import Input, split_of
from storage.pairs import NewPair, add_pairs, annotators_named, pair_id_of
from storage.rows import ComparisonRow, prompt_label, renamed
from storage.slots import adjust_slots, wanted
from storage.tables import Annotator, Example, Pair, Project, Prompt, Response, Vote


class Judgement(NamedTuple):
    """A vote, as far as another row by the same annotator can differ from it."""

    outcome: str
    winner: str | None
    strength: str | None
    left: str | None
    reason: str
    criteria: dict[str, Any]


class Wanted(NamedTuple):
    """A row with its ids: the example, and for each side the prompt and the responses
    that have this text (several, when a host answered the same twice; none, when new)."""

    hash: str
    example_id: str
    prompts: tuple[str, str]
    found: tuple[list[str], list[str]]


class Plan:
    def __init__(self, session: Session, project: Project, rows: list[ComparisonRow]) -> None:
        self.session, self.project = session, project
        self.examples: dict[str, Example] = {}  # what is new, by id
        self.prompts: dict[str, Prompt] = {}
        self.responses: dict[str, dict[str, Any]] = {}
        self.pairs: dict[str, NewPair] = {}
        self.votes: list[tuple[str, dict[str, Any]]] = []  # the annotator's name, the vote
        self.judges: dict[str, bool] = {}  # new annotators: name, simulated
        self.added: Counter[str] = Counter()  # new votes by pair
        self.wants: dict[int, Wanted] = {}  # by the row's place in memory: the rows outlive this
        self.pair_ids: dict[tuple[str, str], str] = {}
        self._find_names()
        self._find_texts({row.input.hash for row in rows})
        self._find_pairs(rows)

    # --- what is there ---

    def _find_names(self) -> None:
        project_id = self.project.id
        prompts = self.session.exec(
            select(Prompt.name, Prompt.version, Prompt.id).where(Prompt.project_id == project_id)
        ).all()
        self.prompt_ids = {prompt_label(name, version): id_ for name, version, id_ in prompts}
        self.prompt_ids |= {name: id_ for name, version, id_ in prompts if version == 1}
        self.ids_of_names = dict(self.prompt_ids)  # also of prompts to be made
        annotators = self.session.exec(
            select(Annotator.id, Annotator.name, Annotator.simulated, Annotator.machine).where(
                Annotator.project_id == project_id
            )
        ).all()
        self.names = {id_: name for id_, name, *_ in annotators}
        self.known_judges = {name: simulated for _, name, simulated, _ in annotators}
        self.machines = {name for _, name, _, machine in annotators if machine}  # and new ones

    def _find_texts(self, hashes: set[str]) -> None:
        self.example_ids: dict[str, str] = {}
        for part in chunks(hashes):
            query = select(Example.content_hash, Example.id).where(
                Example.project_id == self.project.id, col(Example.content_hash).in_(part)
            )
            self.example_ids.update(dict(self.session.exec(query).all()))
        self.ids_of_hashes = dict(self.example_ids)  # also of examples to be made
        self.texts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for part in chunks(self.example_ids.values()):
            # Digests instead of texts: a batch may meet all the responses of its examples.
            answers = self.session.exec(
                select(Response.example_id, Response.prompt_id, func.md5(Response.text), Response.id)
                .where(col(Response.example_id).in_(part))
                .order_by(col(Response.id))
            )
            for example_id, prompt_id, digest, id_ in answers:
                self.texts[example_id, prompt_id, digest].append(id_)

    def _find_pairs(self, rows: list[ComparisonRow]) -> None:
        possible = {self._pair_id(x, y) for row in rows for x, y in self._options(self._wanted(row))}
        self.there: set[str] = set()
        for part in chunks(possible):
            self.there |= set(self.session.exec(select(Pair.id).where(col(Pair.id).in_(part))))
        self.before: Counter[str] = Counter()  # votes of the pairs that are there
        self.given: dict[tuple[str, str], Judgement] = {}  # by pair and annotator's name
        columns: list[Any] = [Vote.pair_id, Vote.annotator_id, Vote.source]
        columns += [getattr(Vote, name) for name in Judgement._fields]
        for part in chunks(self.there):
            # Columns, not instances: this may be every vote of a project.
            votes = self.session.exec(sa.select(*columns).where(col(Vote.pair_id).in_(part)))  # type: ignore[call-overload]
            for pair_id, annotator_id, source, *judgement in votes:
                # A machine's vote leaves room for the people's that a pair wants, and so does an
                # adjudicator's.
                fills = self.names[annotator_id] not in self.machines and source != ADJUDICATION
                self.before[pair_id] += fills
                self.given[pair_id, self.names[annotator_id]] = Judgement(*judgement)

    def _wanted(self, row: ComparisonRow) -> Wanted:
        if id(row) not in self.wants:
            self.wants[id(row)] = self._look_up(row)
        return self.wants[id(row)]

    def _look_up(self, row: ComparisonRow) -> Wanted:
        hash_ = row.input.hash
        if hash_ not in self.ids_of_hashes:
            self.ids_of_hashes[hash_] = id_of("example", self.project.id, hash_)
        example_id = self.ids_of_hashes[hash_]
        first, second = self._prompt_id(row.prompt_a), self._prompt_id(row.prompt_b)
        found = (
            self.texts[example_id, first, _digest(row.response_a)],
            self.texts[example_id, second, _digest(row.response_b)],
        )
        return Wanted(hash_, example_id, (first, second), found)

    def _prompt_id(self, name: str) -> str:
        if name not in self.ids_of_names:
            self.ids_of_names[name] = id_of("prompt", self.project.id, "imported", name)
        return self.ids_of_names[name]

    def _pair_id(self, first: str, second: str) -> str:
        if (first, second) not in self.pair_ids:
            self.pair_ids[first, second] = pair_id_of(first, second)
        return self.pair_ids[first, second]

    def _options(self, want: Wanted) -> list[tuple[str, str]]:
        return [(x, y) for x in want.found[0] for y in want.found[1] if x != y]

    # --- what is new ---

    def take(self, row: ComparisonRow) -> str | None:
        """Plan one row: None when it adds something, "" when it is all there, else the
        reason why it is not taken."""
        if row.annotator is not None:
            simulated = self.known_judges.get(row.annotator, self.judges.get(row.annotator))
            if simulated is not None and simulated != row.simulated:
                here, says = ("simulated", "a person") if simulated else ("a person", "simulated")
                return f"annotator: “{row.annotator}” is {here} here, and {says} in the row"
            if simulated is not None and (row.annotator in self.machines) != row.machine:
                here, says = ("a machine judge", "is not") if not row.machine else ("no machine judge", "is")
                return f"annotator: “{row.annotator}” is {here} here, and {says} one in the row"
        want = self._wanted(row)
        options = self._options(want)
        sides = next((both for both in options if self._pair_id(*both) in self.there), None)
        first = sides[0] if sides else self._response(row, want, 0)
        second = sides[1] if sides else self._response(row, want, 1)
        pair_id = self._pair_id(first, second)
        is_new = pair_id not in self.there and pair_id not in self.pairs
        if is_new:
            external_id = row.external_id if row.choice is None else None
            self.pairs[pair_id] = NewPair(
                want.example_id, first, second, source="import", external_id=external_id
            )
        if row.annotator is None:
            return None if is_new else ""
        return self._vote(row, row.annotator, pair_id, {"a": first, "b": second})

    def sides(self, row: ComparisonRow) -> tuple[str, str, str]:
        """Of a row that was taken: its pair, and the responses that are its a and b."""
        options = self._options(self._wanted(row))
        first, second = next(
            (both for both in options if self._pair_id(*both) in self.there),
            next(both for both in options if self._pair_id(*both) in self.there | self.pairs.keys()),
        )
        return self._pair_id(first, second), first, second

    def _vote(self, row: ComparisonRow, name: str, pair_id: str, sides: dict[str, str]) -> str | None:
        winner = sides.get(row.choice or "")
        judgement = Judgement(
            "win" if winner else str(row.choice),
            winner,
            row.strength,
            sides.get(row.left or ""),
            row.reason,
            renamed(row.criteria, sides),
        )
        before = self.given.get((pair_id, name))
        if before is not None:
            return _difference(name, before, judgement)
        self.given[pair_id, name] = judgement
        self.added[pair_id] += not row.machine and not row.adjudication
        if name not in self.known_judges:
            self.judges[name] = row.simulated
            if row.machine:
                self.machines.add(name)
        values = {
            **judgement._asdict(),
            "project_id": self.project.id,
            "pair_id": pair_id,
            "duration_ms": row.duration_ms,
            "source": _source(row),
            "simulated": row.simulated,
            "external_id": row.external_id,
        }
        if row.created_at is not None:
            values["created_at"] = row.created_at
        self.votes.append((name, values))
        return None

    def _response(self, row: ComparisonRow, want: Wanted, side: int) -> str:
        """The response of one side, planned with its prompt and example when not there."""
        if want.found[side]:
            return want.found[side][0]
        text = (row.response_a, row.response_b)[side]
        id_ = id_of("response", want.example_id, want.prompts[side], text)
        want.found[side].append(id_)  # the next row with this text finds it
        if want.hash not in self.example_ids and want.example_id not in self.examples:
            self.examples[want.example_id] = new_example(self.project.id, row.input)
        prompt_id = want.prompts[side]
        name = (row.prompt_a, row.prompt_b)[side]
        if name not in self.prompt_ids and prompt_id not in self.prompts:
            self.prompts[prompt_id] = Prompt(
                id=prompt_id, project_id=self.project.id, name=name, operation="imported"
            )
        self.responses[id_] = {
            "id": id_,
            "project_id": self.project.id,
            "example_id": want.example_id,
            "prompt_id": prompt_id,
            "text": text,
            "cache_key": f"import:{id_}",
        }
        return id_

    def write(self) -> None:
        """Add all that is new, in the session's transaction."""
        project = self.project
        insert_many(self.session, Example, list(self.examples.values()))
        insert_many(self.session, Prompt, list(self.prompts.values()))
        insert_many(self.session, Response, list(self.responses.values()))
        asked = project.votes_per_pair
        pairs = [
            replace(pair, votes=wanted(asked, self.added[pair_id])) for pair_id, pair in self.pairs.items()
        ]
        add_pairs(self.session, project, pairs)
        voters = {name for name, _ in self.votes}
        simulated = {name for name in voters if self.known_judges.get(name, self.judges.get(name))}
        machines = voters & self.machines
        annotators = annotators_named(self.session, project.id, voters - simulated - machines)
        annotators |= annotators_named(self.session, project.id, simulated, simulated=True)
        annotators |= annotators_named(self.session, project.id, machines, machine=True)
        ids = {name: annotator.id for name, annotator in annotators.items()}
        rows = [
            {"id": id_of("vote", vote["pair_id"], ids[name]), "annotator_id": ids[name], **vote}
            for name, vote in self.votes
        ]
        insert_many(self.session, Vote, rows)
        adjust_slots(
            self.session,
            {
                pair_id: wanted(asked, self.before[pair_id] + number) - wanted(asked, self.before[pair_id])
                for pair_id, number in self.added.items()
                if pair_id in self.there
            },
        )


def _source(row: ComparisonRow) -> str:
    if row.simulated:
        return "simulated"
    if row.machine:
        return "machine"
    return ADJUDICATION if row.adjudication else "import"


def new_example(
    project_id: str,
    value: Input,
    split: str | None = None,
    reference: str | None = None,
    external_id: str | None = None,
) -> Example:
    """An example, not added yet, with the id, hash and split that follow from its content."""
    return Example(
        id=id_of("example", project_id, value.hash),
        project_id=project_id,
        content_hash=value.hash,
        input=value.text,
        fields=value.fields,
        messages=value.messages,
        reference=reference,
        split=split or split_of(value.hash),
        external_id=external_id,
    )


def _digest(text: str) -> str:
    """What the databases' md5() says."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _difference(name: str, before: Judgement, now: Judgement) -> str:
    """ "" when a row says of a vote what is known; else why it is not taken. What the row
    leaves out is no difference."""
    if (before.outcome, before.winner) != (now.outcome, now.winner):
        return f"choice: “{name}” has already judged this pair, and chose otherwise"
    others = [
        field
        for field in ("strength", "left", "reason", "criteria")
        if getattr(now, field) and getattr(now, field) != getattr(before, field)
    ]
    if others:
        return f"{', '.join(others)}: “{name}” has already judged this pair, and said otherwise"
    return ""
