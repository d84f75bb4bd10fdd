"""The web side of the tests' own kind of run. It writes what it is told into prompts, so
that a test can see what a transaction kept."""

import json

from sqlmodel import select

from core.errors import Invalid
from core.runs.kinds import Prepared
from storage.tables import Prompt


def prepare(session, project, config, seed):
    if config.get("steps", 1) < 1:
        raise Invalid("steps: at least 1.")
    config.setdefault("steps", 3)
    rows = [{"i": i, "text": "ä" * i} for i in range(4)] + [{"i": 4, "late": True}]
    return Prepared(config, tables={"rows": rows, "none": []}, documents={"note": {"seed": seed}})


def on_artifact(session, run, path, data):
    if data["kind"] == "bad":
        raise RuntimeError("this artifact is not readable")
    name = json.loads(path.read_text())["name"]
    known = session.exec(select(Prompt).where(Prompt.project_id == run.project_id, Prompt.name == name))
    if known.first() is None:
        session.add(Prompt(project_id=run.project_id, name=name, user="{{input}}", run_id=run.id))


def finish(session, run, folder, result):
    version = len(session.exec(select(Prompt.id).where(Prompt.name == "finished")).all()) + 1
    session.add(Prompt(project_id=run.project_id, name="finished", version=version, run_id=run.id))
    session.flush()
    if run.config.get("finish_fails"):
        raise RuntimeError("the result makes no sense")
