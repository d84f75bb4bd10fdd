"""What earlier runs were answered (core/optimize/known.py, known_grades.py), as a worker reads it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from core.llm.protocol import HostSpec
from core.optimize.graded import Grades
from core.optimize.objectives import Graded, Heard, Objective, Outcome
from core.optimize.rewards.composed import Composed

Key = tuple[str, str]  # hash of the text, example


@dataclass(frozen=True)
class Known:
    """`outcomes` hold as they are. `responses` are what the host said; this run's reward has not
    seen them."""

    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    responses: dict[Key, Heard] = field(default_factory=dict)


def read_grades(path: Path) -> Grades:
    grades = Grades()
    if path.exists():
        for row in pq.read_table(path).to_pylist():
            example, response, judge = (row.pop(name) for name in ("example", "response", "judge"))
            grades.keep(example, response, {judge: Graded(**row)})
    return grades


def read_known(path: Path, objective: Objective, host: HostSpec, grades: Grades) -> Known:
    """A composed reward is added up anew: its weights may be others. A response costs what it would
    cost today, should the reward look at that; `grades` of it are known."""
    known = Known()
    if not path.exists():
        return known
    for row in pq.read_table(path).to_pylist():
        key, detail = (row.pop("text"), row.pop("example")), json.loads(row.pop("detail", None) or "{}")
        if not row.pop("scored", True):
            said = Heard(
                row["output"],
                row["tokens_in"],
                row["tokens_out"],
                cost=(row["tokens_in"] * host.price_in + row["tokens_out"] * host.price_out) / 1e6,
                finish_reason="length" if detail.get("cut") else "stop",
            )
            known.responses[key] = grades.on(key[1], said)
            continue
        answered = Outcome(**row, detail=detail)
        known.outcomes[key] = objective.reweighed(answered) if isinstance(objective, Composed) else answered
    return known
