"""What earlier searches of a project paid for, for a new one to use: a (host, prompt,
example, parameters) that was answered once is free for ever after.

Gathered when a run is frozen, into inputs/known.parquet, and not looked up while it works:
so a run that goes on after a kill, or is repeated from its folder, knows just what it knew.
Only answers that would be the same are taken: the same host with the same parameters, the
same reward, the same template around the instruction, the same example word for word.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.optimize.instruction import Instruction
from core.optimize.rewards.kinds import KEPT
from core.runs.folder import RunFolder
from core.runs.service import run_folder
from storage.tables import Project, Run

RUNS = 20  # the newest searches looked at
ANSWERS = 200_000  # at most so many are taken along
_EXAMPLE = ("input", "fields", "messages", "reference")


def known_answers(
    session: Session,
    project: Project,
    documents: Mapping[str, Any],
    start: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of text (its hash), example, score, output, tokens_in, tokens_out, error and detail
    (JSON): answers that hold for a run with these documents, start and examples."""
    wanted = {row["id"]: [row[name] for name in _EXAMPLE] for row in examples}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    query = select(Run).where(Run.project_id == project.id, Run.kind == "optimize")
    for run in session.exec(query.order_by(col(Run.id).desc()).limit(RUNS)):
        folder = run_folder(run.id)
        if len(found) >= ANSWERS or not _alike(folder, run.config, documents, start):
            continue
        same = _same_examples(folder, wanted)
        for text, example, outcome in answers_in(folder.state / "answers.jsonl"):
            if example in same and not outcome["error"] and len(found) < ANSWERS:
                row = {"text": text, "example": example, **outcome}
                row.pop("cost")  # it was paid then
                detail = {name: of for name, of in row.get("detail", {}).items() if name != "spent"}
                row["detail"] = json.dumps(detail)
                found.setdefault((text, example), row)
    return list(found.values())


def _alike(
    folder: RunFolder, config: Mapping[str, Any], documents: Mapping[str, Any], start: Mapping[str, Any]
) -> bool:
    try:
        host = json.loads((folder.inputs / "host.json").read_text(encoding="utf-8"))
        reward = json.loads((folder.inputs / "reward.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # it was cleared away
    frame = Instruction(**config["start"]).with_text("")
    return bool(
        host == documents["host"]
        and _parameters(reward) == _parameters(documents["reward"])
        and frame == Instruction(**start).with_text("")
        and config["start"]["place"] == start["place"]
    )


def _parameters(reward: Mapping[str, Any]) -> Any:
    """A reward without what cannot change an answer: greedy answers have no seed, and weights
    and thresholds are applied to what was answered."""
    found = dict(reward)
    sampling = reward.get("sampling")
    if sampling and sampling["temperature"] == 0:
        found["sampling"] = {**sampling, "seed": 0}
    if reward["kind"] == "composed":
        found["reward"] = {
            part: [
                {
                    k: v
                    for k, v in item.items()
                    if k not in ("weight", "threshold") and (k, v) != ("length", KEPT)
                }
                for item in items
            ]
            for part, items in reward["reward"].items()
        }
    return found


def _same_examples(folder: RunFolder, wanted: Mapping[str, list[Any]]) -> set[str]:
    try:
        rows = pq.read_table(folder.inputs / "examples.parquet").to_pylist()
    except (OSError, ValueError):
        return set()
    return {row["id"] for row in rows if wanted.get(row["id"]) == [row.get(name) for name in _EXAMPLE]}


def answers_in(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """As core/optimize/answers.py writes them; half a line of a killed writer is no answer."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for raw in file:
            if not raw.endswith("\n"):
                return
            line = json.loads(raw)
            yield from (tuple(answer) for answer in line.get("answers", line.get("free", [])))
