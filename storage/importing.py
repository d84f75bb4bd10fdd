"""Putting examples and comparisons into a project: nothing twice, and a reason for every
row that is not taken.

In two steps. `check_*` reads the rows and needs no database, so that it runs outside the
write lock. `store_*` runs inside one unit of work; with `dry_run` it reads alike and
writes nothing, which is what the preview of the import page shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import update
from sqlmodel import Session, col, select

from storage.bulk import chunks, insert_many
from storage.inputs import RowProblem
from storage.plan import Plan, new_example
from storage.rows import ComparisonRow, ExampleRow, comparison_row, example_row
from storage.tables import Example, Project

T = TypeVar("T")


class Skipped(NamedTuple):
    row: int  # index into the rows given, from 0
    reason: str


@dataclass
class ImportReport:
    """What became of every row: imported + duplicates + skipped = rows. The further counts
    say what was new in the database; `completed` are examples that had no reference and
    got the file's."""

    imported: int = 0
    duplicates: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    examples: int = 0
    completed: int = 0
    prompts: int = 0
    responses: int = 0
    pairs: int = 0
    votes: int = 0
    annotators: int = 0

    @property
    def counts(self) -> dict[str, int]:
        names = ("examples", "completed", "prompts", "responses", "pairs", "votes", "annotators")
        return {name: getattr(self, name) for name in names}


@dataclass
class Checked(Generic[T]):
    """Rows that are in order, each with its index, and those that are not."""

    rows: list[tuple[int, T]]
    skipped: list[Skipped]


def check_comparisons(values: Sequence[Any]) -> Checked[ComparisonRow]:
    return _check(values, comparison_row)


def check_examples(values: Sequence[Any]) -> Checked[ExampleRow]:
    return _check(values, example_row)


def _check(values: Sequence[Any], read: Callable[[Any], T]) -> Checked[T]:
    checked: Checked[T] = Checked([], [])
    for index, value in enumerate(values):
        try:
            checked.rows.append((index, read(value)))
        except RowProblem as problem:
            checked.skipped.append(Skipped(index, str(problem)))
    return checked


def store_comparisons(
    session: Session, project: Project, checked: Checked[ComparisonRow], dry_run: bool = False
) -> ImportReport:
    """Add the pairs and votes that are not there yet, with all that they need, and open
    or close the pairs' slots to fit."""
    plan = Plan(session, project, [row for _, row in checked.rows])
    report = ImportReport(skipped=list(checked.skipped))
    for index, row in checked.rows:
        reason = plan.take(row)
        if reason is None:
            report.imported += 1
        elif reason == "":
            report.duplicates += 1
        else:
            report.skipped.append(Skipped(index, reason))
    report.skipped.sort()
    report.examples, report.prompts = len(plan.examples), len(plan.prompts)
    report.responses, report.pairs = len(plan.responses), len(plan.pairs)
    report.votes, report.annotators = len(plan.votes), len(plan.judges)
    if not dry_run:
        plan.write()
    return report


def store_examples(
    session: Session, project: Project, checked: Checked[ExampleRow], dry_run: bool = False
) -> ImportReport:
    """Add the examples that are not there yet. One that is there without a reference gets
    the row's; one that is there with another reference or split is skipped."""
    report = ImportReport(skipped=list(checked.skipped))
    known = _known_examples(session, project, [row.input.hash for _, row in checked.rows])
    new: dict[str, Example] = {}
    references: dict[str, str] = {}
    for index, row in checked.rows:
        hash_ = row.input.hash
        if hash_ not in known:
            example = new_example(project.id, row.input, row.split, row.reference, row.external_id)
            new[example.id] = example
            known[hash_] = (example.id, example.reference, example.split)
            report.imported += 1
            continue
        id_, reference, split = known[hash_]
        if row.split not in (None, split):
            report.skipped.append(Skipped(index, f"split: this input is in {split} already, and stays there"))
        elif row.reference is None or row.reference == reference:
            report.duplicates += 1
        elif reference is not None:
            said = f"reference: this input is there already with another one ({reference[:40]!r})"
            report.skipped.append(Skipped(index, said))
        else:
            known[hash_] = (id_, row.reference, split)
            report.imported += 1
            report.completed += 1
            if id_ in new:
                new[id_].reference = row.reference
            else:
                references[id_] = row.reference
    report.examples = len(new)
    report.skipped.sort()
    if not dry_run:
        insert_many(session, Example, list(new.values()))
        for id_, reference in references.items():
            session.exec(update(Example).where(col(Example.id) == id_).values(reference=reference))
    return report


def _known_examples(
    session: Session, project: Project, hashes: list[str]
) -> dict[str, tuple[str, str | None, str]]:
    """Of these inputs, those that are there: hash -> id, reference, split."""
    known = {}
    for part in chunks(dict.fromkeys(hashes)):
        query = select(Example.content_hash, Example.id, Example.reference, Example.split).where(
            Example.project_id == project.id, col(Example.content_hash).in_(part)
        )
        known.update({hash_: (id_, reference, split) for hash_, id_, reference, split in session.exec(query)})
    return known
