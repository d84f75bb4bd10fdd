"""The llmfao judgements put into a database in bulk, apart from the importer, so that
figures are checked against the data and not against our own reading of it."""

import csv
import json
from datetime import timedelta

import pandas as pd

from storage.database import Database
from storage.ids import id_of, new_id, now
from storage.tables import Project
from tests.conftest import SHARED_DATA

FOLDER = SHARED_DATA / "llmfao"


def judgements() -> list[dict[str, str]]:
    with (FOLDER / "crowd-comparisons.csv").open() as file:
        return list(csv.DictReader(file))


def load(db: Database, project_name: str = "llmfao") -> Project:
    project = Project(name=project_name)
    db.write(lambda session: session.add(project))
    rows = judgements()
    with (FOLDER / "pairs-crowd.jsonl").open() as file:
        texts = {item["id"]: item for item in map(json.loads, file)}
    moment = now()

    def key(*parts: object) -> str:
        return id_of(project.id, *map(str, parts))

    examples, prompts, responses, pairs, votes = {}, {}, {}, {}, []
    for row in rows:
        source = texts[int(row["id"])]
        example = key("example", row["prompt"])
        examples[example] = source["text"]
        sides = []
        # `left` and `right` name the models; x and y are numbers, x standing left.
        for side, name in (("x", row["left"]), ("y", row["right"])):
            prompts[key("prompt", name)] = name
            sides.append(key("response", example, name))
            responses[sides[-1]] = (example, key("prompt", name), source[f"result_{side}"])
        pair = key("pair", *sorted(sides))
        pairs[pair] = (example, *sorted(sides))
        winner = {"left": sides[0], "right": sides[1], "tie": None}[row["winner"]]
        votes.append(
            (new_id(), pair, key("annotator", row["worker"]), "win" if winner else "tie", winner, sides[0])
        )
    common = {"project_id": project.id, "created_at": moment - timedelta(days=1)}
    tables = {
        "example": [{"id": i, "content_hash": i, "input": t, "fields": "{}", "split": "train"} for i, t in examples.items()],
        "prompt": [
            {"id": i, "name": n, "version": 1, "system": "", "user": "", "operation": "imported"}
            for i, n in prompts.items()
        ],
        "response": [
            {"id": i, "example_id": e, "prompt_id": p, "text": t, "cache_key": i, "params": "{}"}
            for i, (e, p, t) in responses.items()
        ],
        "pair": [
            {"id": i, "example_id": e, "response_a": a, "response_b": b, "priority": 0.0, "source": "import"}
            for i, (e, a, b) in pairs.items()
        ],
        "annotator": [
            {"id": key("annotator", w), "name": f"worker {w}", "simulated": False}
            for w in sorted({row["worker"] for row in rows})
        ],
        "vote": [
            {"id": i, "pair_id": p, "annotator_id": a, "outcome": o, "winner": w, "left": left,
             "criteria": "{}", "reason": "", "source": "import", "simulated": False}
            for i, p, a, o, w, left in votes
        ],
    }  # fmt: skip
    with db.engine.begin() as connection:
        for name, content in tables.items():
            frame = pd.DataFrame([{**item, **common} for item in content])
            frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True)
            _insert(connection, name, frame)
    return project


def _insert(connection, table: str, frame: pd.DataFrame) -> None:
    if connection.dialect.name == "postgresql":
        frame.to_sql(table, connection, if_exists="append", index=False, method="multi", chunksize=2_000)
        return
    raw = connection.connection.driver_connection
    raw.register("_rows", frame)
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    raw.execute(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM _rows')
    raw.unregister("_rows")
