"""What judges said of responses in earlier runs of a project, for a new run to use: a judge is asked
once about a response to an example, whichever prompt, template or host gave it.

Gathered when a run is frozen, into inputs/grades.parquet, as answers are (core/optimize/known.py).
The judge has to be the same (its model, its rubric), and so have the example's input and reference,
which are what a judge is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlmodel import Session

from core.optimize import books
from core.optimize.books import grades_in, same_examples
from core.optimize.graded import Grades, graded_with
from core.optimize.objectives import Graded
from core.optimize.rewards.alike import same_judges
from core.optimize.rewards.kinds import has
from storage.tables import Project

_SHOWN = ("input", "reference")  # of an example


def known_grades(
    session: Session, project: Project, reward: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of example, response, judge (the component of `reward`), grade (None: it could not be read),
    tokens_in, tokens_out, cost, error (empty)."""
    judges = same_judges(reward, reward)
    grades = Grades()
    left = books.BYTES
    for book in books.books(session, project.id, _judged) if judges else ():
        if left <= 0 or len(grades) >= books.ANSWERS:
            break
        try:
            _add(grades, book, reward, examples, left)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of another version, or damaged
        left -= book.size
    return [
        {"example": example, "response": response, "judge": judge, **asdict(grade)}
        for (example, response), found in grades.items()
        for judge, grade in found.items()
    ]


def _add(
    grades: Grades,
    book: books.Book,
    reward: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
    most: int,
) -> None:
    """What stands in a book, to `most` bytes or so."""
    asked = same_judges(book.reward, reward)
    mine = same_examples(book.folder, examples, _SHOWN) if asked else {}
    for example, response, values, judge in grades_in(book.path, most) if mine else ():
        if judge:
            found = {asked[judge]: Graded(**values)} if judge in asked and not values["error"] else {}
        else:
            found = graded_with(values, asked)
        for one in mine.get(example, ()) if found and len(grades) < books.ANSWERS else ():
            grades.keep(one, response, found)


def _judged(config: Mapping[str, Any]) -> bool:
    return isinstance(config["reward"], Mapping) and has(config["reward"], "judge")
