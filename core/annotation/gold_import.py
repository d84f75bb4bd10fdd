"""Gold pairs from a file or a program: rows of comparisons with their answers and reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlmodel import Session, select

from core import audit
from core.access import Principal, require
from core.annotation.gold import SOURCE, Use, checked_use, checked_words, keep_sides, mark_pair
from core.errors import Invalid
from core.mapping import guess_mapping
from core.projects import find_project
from storage import importing
from storage.database import Database
from storage.inputs import RowProblem
from storage.plan import Plan
from storage.rows import CHOICES, ComparisonRow, comparison_row
from storage.tables import Gold, Pair

MOST_PREVIEW = 5
_CHOICE = ("choice", "golden", "gold", "expected", "answer", "winner", "label")
_EXPLANATION = ("explanation", "reason", "rationale", "why", "comment")
_PAIR = ("input", "response_a", "response_b", "prompt_a", "prompt_b")
_MEANS = {"left": "a", "x": "a", "1": "a", "right": "b", "y": "b", "2": "b", "both bad": "both_bad"}


@dataclass
class Imported:
    """What became of the rows: gold pairs made, those that were there already, and the rows
    that were not taken, by their place from 0, with the reason."""

    imported: int = 0
    duplicates: int = 0
    closed: int = 0
    skipped: list[importing.Skipped] = field(default_factory=list)
    preview: list[dict[str, str]] = field(default_factory=list)  # the first, as they are read


def import_gold(
    db: Database,
    who: Principal,
    project_id: str,
    rows: Sequence[Any],
    use: str = "check",
    *,
    dry_run: bool = False,
) -> Imported:
    """Add gold pairs: canonical comparison rows (`storage.rows`; other names of the pair's
    columns are guessed), each with `choice` (a, b, tie or both_bad; left and right are read as a
    and b) and, optionally, `explanation` and `use`. All that can be taken, in one transaction. With `dry_run` nothing is written."""
    require(who, "annotator.manage")
    checked_use(use)
    report = Imported()
    read: list[tuple[int, ComparisonRow, str, str, Use]] = []
    for index, value in enumerate(_renamed(rows)):
        try:
            read.append((index, *gold_row(value, use)))
        except (RowProblem, Invalid) as problem:
            report.skipped.append(importing.Skipped(index, str(problem)))

    def work(session: Session) -> Imported:
        project = find_project(session, project_id)
        done = Imported(skipped=list(report.skipped))
        plan = Plan(session, project, [row for _, row, *_ in read])
        taken = []
        turned: set[str] = set()  # whose row's a is the pair's response_b
        for index, row, choice, explanation, row_use in read:
            reason = plan.take(row)
            if reason:
                done.skipped.append(importing.Skipped(index, reason))
                continue
            pair_id, first, second = plan.sides(row)
            if pair_id in plan.pairs:
                plan.pairs[pair_id] = replace(plan.pairs[pair_id], source=SOURCE)
            if first > second:
                turned.add(pair_id)
            taken.append((pair_id, {"a": first, "b": second}.get(choice), choice, explanation, row_use))
        done.skipped.sort()
        if dry_run:
            done.preview = [
                {
                    "use": row_use,
                    "expected": choice,
                    "input": row.input.text,
                    "response_a": row.response_a,
                    "response_b": row.response_b,
                    "explanation": explanation,
                }
                for _, row, choice, explanation, row_use in read[:MOST_PREVIEW]
            ]
            done.imported = len({item[0] for item in taken})
            return done
        plan.write()
        keep_sides(session, who, project.id, turned, {item[0] for item in taken})
        for pair_id, winner, choice, explanation, row_use in taken:
            pair = session.get(Pair, pair_id)
            assert pair is not None, "it was planned, and written"
            before = session.exec(select(Gold).where(Gold.pair_id == pair_id)).first()
            expected = ("win" if winner else choice, winner)
            same = (row_use, *expected, explanation)
            if (
                before
                and before.retired_at is None
                and (before.use, before.outcome, before.winner, before.explanation) == same
            ):
                done.duplicates += 1
                continue
            made = mark_pair(session, who, project, pair, row_use, expected, explanation)
            done.imported += 1
            done.closed += made.closed
        audit.record(
            session, who, "gold.import", "project", project.id, project.id,
            imported=done.imported, duplicates=done.duplicates, skipped=len(done.skipped),
        )  # fmt: skip
        return done

    if dry_run:
        with db.read() as session:
            return work(session)
    return db.write(work)


def _renamed(rows: Sequence[Any]) -> list[Any]:
    """Rows whose pair has the canonical names, as far as other names tell what they are
    (`core.mapping`); the rest of a row stays. A column of numbers is an id, not a text."""
    columns = list(
        dict.fromkeys(
            name
            for row in rows
            if isinstance(row, dict)
            for name, value in row.items()
            if isinstance(name, str) and isinstance(value, str | dict | list)
        )
    )
    found = guess_mapping("comparisons", columns)
    wanted = {name: found[name] for name in _PAIR if found[name] and name not in columns}
    taken = {column for chosen in wanted.values() for column in chosen}

    def one(row: dict[str, Any]) -> dict[str, Any]:
        new = {name: row.get(chosen[0]) for name, chosen in wanted.items()}
        return {**{name: value for name, value in row.items() if name not in taken}, **new}

    return [one(row) if isinstance(row, dict) else row for row in rows] if wanted else list(rows)


def gold_row(value: Any, use: str) -> tuple[ComparisonRow, str, str, Use]:
    """(the pair, choice, explanation, use) of a row. Raises RowProblem or Invalid."""
    if not isinstance(value, dict):
        raise RowProblem("the row is not an object")
    given = {str(name).strip().lower(): item for name, item in value.items()}
    chosen = next((given[name] for name in _CHOICE if given.get(name) not in (None, "")), None)
    if chosen is None:
        raise RowProblem("choice: it is missing")
    word = str(chosen).strip().lower()
    choice = _MEANS.get(word, word.replace(" ", "_"))
    if choice not in CHOICES:
        raise RowProblem(f"choice: “{str(chosen)[:40]}” is none of {', '.join(CHOICES)}")
    explanation = next((given[name] for name in _EXPLANATION if given.get(name)), "")
    pair = {
        name: item
        for name, item in value.items()
        if str(name).strip().lower() not in (*_CHOICE, *_EXPLANATION, "annotator", "use")
    }
    pair.setdefault("prompt_a", "Gold A")
    pair.setdefault("prompt_b", "Gold B")
    return (
        comparison_row(pair),
        choice,
        checked_words(str(explanation)),
        checked_use(str(given.get("use") or use)),
    )
