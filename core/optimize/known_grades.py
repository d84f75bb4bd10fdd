"""What judges said of responses in earlier runs of a project, for a new run to use: a judge is asked
once about a response to an example, whichever prompt, template or host gave it.

Gathered when a run is frozen, into inputs/grades.parquet, as answers are (core/optimize/known.py).
The judge has to be the same (its model, its rubric), and so have the example's input and reference,
which are what a judge is shown.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from core.optimize import books
from core.optimize.books import entries, same_examples
from core.optimize.graded import Grades
from core.optimize.objectives import Outcome
from core.optimize.rewards.alike import same_judges
from core.optimize.rewards.kinds import has
from storage.tables import Project

_SHOWN = ("input", "reference")  # of an example


def known_grades(
    session: Session, project: Project, reward: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of example, response, grades (JSON: by the components of `reward`) and judged (JSON: tokens
    in and out and cost that they took)."""
    judges = same_judges(reward, reward)
    grades = Grades(frozenset(judges))
    left = books.BYTES
    for book in books.books(session, project.id, _judged) if judges else ():
        if left <= 0 or len(grades) >= books.ANSWERS:
            break
        asked = same_judges(book.reward, reward)
        mine = same_examples(book.folder, examples, _SHOWN) if asked else {}
        if mine:
            for kind, _, example, outcome in entries(book.path, left):
                if kind != "responses" and len(grades) < books.ANSWERS:
                    grades.add(((one, Outcome(**outcome)) for one in mine.get(example, ())), asked)
            left -= book.size
    return [
        {"example": example, "response": text, "grades": json.dumps(dict(of)), "judged": json.dumps(took)}
        for example, text, of, took in grades.all()
    ]


def _judged(config: Mapping[str, Any]) -> bool:
    return isinstance(config["reward"], Mapping) and has(config["reward"], "judge")
