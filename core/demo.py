"""The demo project, made on the first start: what is in it is under `demo/`.

Answers were generated beforehand by the embedded model. Votes are simulated, and are
marked as simulated in the database, so that every page and figure can say so. Some pairs
wait for people. `core.projects.purge_project` removes all of it in one action.
"""

import json
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from core import audit
from core.settings import ROOT
from demo.inputs import QUESTIONS
from demo.prompts import CRITERIA, GUIDELINES, PROMPTS
from storage.bulk import insert_many
from storage.database import Database
from storage.ids import id_of, now
from storage.importing import check_comparisons, new_example, store_comparisons
from storage.inputs import as_input
from storage.tables import AuditEntry, Project, Prompt, Response

NAME = "Kitchen help (demo)"
DATA = ROOT / "demo" / "data.json"
DAYS = 14  # over which the simulated votes are spread


def seed_once(db: Database) -> str | None:
    """Make the demo project, unless it was ever made here: whoever deletes it has it
    deleted for good. Answers its id, or None."""

    def work(session: Session) -> str | None:
        if session.exec(select(AuditEntry.id).where(AuditEntry.action == "demo.seed")).first():
            return None
        return seed(session, read())

    return db.write(work)


def read(path: Path = DATA) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def seed(session: Session, data: dict[str, Any]) -> str:
    """Add the project with everything in it to the session; answers its id."""
    project = Project(name=NAME, guidelines=GUIDELINES, criteria=CRITERIA, votes_per_pair=1, demo=True)
    prompts = {
        values["name"]: Prompt(project_id=project.id, **values, created_at=now() - timedelta(days=DAYS))
        for values in PROMPTS
    }
    project.champion_prompt_id = prompts["plain"].id
    session.add(project)
    session.add_all(prompts.values())
    session.flush()

    examples = [new_example(project.id, as_input(question)) for question in QUESTIONS]
    insert_many(session, type(examples[0]), examples)
    answers = [
        Response(
            project_id=project.id,
            example_id=example.id,
            prompt_id=prompts[name].id,
            cache_key=id_of("demo", project.id, example.id, name),
            seed=data["sampling"]["seed"],
            params=data["sampling"],
            **answer,
        )
        for name, row in data["responses"].items()
        for example, answer in zip(examples, row, strict=True)
    ]
    insert_many(session, Response, answers)
    report = store_comparisons(session, project, check_comparisons(comparisons(data)))
    if report.skipped:
        raise ValueError(f"demo/data.json, row {report.skipped[0].row}: {report.skipped[0].reason}")
    audit.record(session, None, "demo.seed", "project", project.id, project.id, name=project.name)
    return project.id


def comparisons(data: dict[str, Any], until: datetime | None = None) -> list[dict[str, Any]]:
    """Canonical comparison rows: the simulated votes, then the pairs that wait."""
    until = until or now()
    voted = {(vote["question"], vote["x"], vote["y"]) for vote in data["votes"]}
    names = {"x": "a", "y": "b", "tie": "tie", "both_bad": "both_bad"}
    start, step = until - timedelta(days=DAYS), timedelta(days=DAYS) / max(1, len(data["votes"]))
    rows = [
        {
            **_sides(data, vote["question"], vote["x"], vote["y"]),
            "annotator": vote["annotator"],
            "choice": names[vote["outcome"]],
            "left": names[vote["left"]],
            "duration_ms": vote["duration_ms"],
            "created_at": start + step * place,
            "simulated": True,
        }
        for place, vote in enumerate(data["votes"])
    ]
    for question in range(len(QUESTIONS)):
        for x, y in combinations(data["responses"], 2):
            sides = _sides(data, question, x, y)
            if (question, x, y) not in voted and sides["response_a"] != sides["response_b"]:
                rows.append(sides)
    return rows


def _sides(data: dict[str, Any], question: int, x: str, y: str) -> dict[str, Any]:
    return {
        "input": QUESTIONS[question],
        "prompt_a": x,
        "prompt_b": y,
        "response_a": data["responses"][x][question]["text"],
        "response_b": data["responses"][y][question]["text"],
    }
