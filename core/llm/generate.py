"""Generate runs, web side: prompts × examples on a host, then pairs of what they answered.

`core.llm.plan` reads the config; `core.llm.generate_work` does the asking. Responses come
into the database batch by batch, as the worker announces them, with ids that follow from
what was asked: taking them in twice adds nothing, and a cancelled run keeps what it has.
"""

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.llm.plan import Plan, make_plan
from core.projects import find_project
from core.prompts.soft import files_for
from core.prompts.versions import label
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from storage.bulk import chunks, insert_many
from storage.database import Database
from storage.ids import id_of
from storage.pairs import NewPair, add_pairs
from storage.tables import Project, Response, Run

SEED = 0  # when nobody names one: the same request is then the same answer
_TOKENS_PER_S = {"local": 60.0, "openai": 30.0}  # per request at once for openai; until a run says


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Freeze what is asked (requests.parquet), what is there already (reused.parquet), the
    host (host.json), and the vectors of soft prompts (soft/)."""
    plan = make_plan(session, project, config, seed)
    prompts = {prompt.id: label(prompt) for prompt in plan.prompts}
    tables: dict[str, list[dict[str, Any]]] = {}
    asked = [
        {
            "key": request.key,
            "response_id": id_of("response", request.key),
            "prompt_id": request.prompt_id,
            "prompt": prompts[request.prompt_id],
            "example_id": request.example_id,
            "messages": _json(request.messages),
        }
        for request in plan.to_ask
    ]
    reused = [
        {"response_id": request.response_id, "example_id": request.example_id}
        for request in plan.requests
        if request.response_id
    ]
    given = [{"response_id": response, "example_id": example} for response, example in plan.given]
    for name, rows in (("requests", asked), ("reused", reused), ("given", given)):
        if rows:
            tables[name] = rows
    first = ", ".join(list(prompts.values())[:3]) + (" …" if len(prompts) > 3 else "")
    return Prepared(
        config={**plan.config, "to_ask": len(asked), "reused": len(reused)},
        tables=tables,
        documents={"host": plan.spec.as_dict()},
        files=files_for(plan.prompts),
        name=f"Generate: {first} on {len(plan.examples):,} examples",
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- responses and pairs ---------------------------------------------------------------------


def on_artifact(session: Session, run: Run, path: Path, data: dict[str, Any]) -> None:
    """Take in a batch of responses; failed requests are in the file, too, and are left out."""
    if data.get("kind") != "responses":
        return
    params = run.config["params"]
    rows = [
        {
            "id": row["response_id"],
            "project_id": run.project_id,
            "example_id": row["example_id"],
            "prompt_id": row["prompt_id"],
            "host_id": run.config["host"],
            "run_id": run.id,
            "text": row["text"],
            "cache_key": row["key"],
            "seed": run.seed,
            "params": params,
            "tokens_in": row["tokens_in"],
            "tokens_out": row["tokens_out"],
            "latency_ms": row["latency_ms"],
            "cost": row["cost"],
            "finish_reason": row["finish_reason"],
        }
        for row in pq.read_table(path).to_pylist()
        if not row["error"]
    ]
    insert_many(session, Response, rows)


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Make the pairs, of new and of reused responses alike; the result says how many. After
    a cancel, those whose two responses are there."""
    project = find_project(session, run.project_id)
    wanted = pairs_of(session, run, folder)
    added, there = add_pairs(session, project, wanted)
    result["pairs"], result["pairs_there"] = len(added), there


def pairs_of(session: Session, run: Run, folder: RunFolder) -> list[NewPair]:
    """The pairs that the run's config asks for. Answers that read the same are not paired:
    nobody could prefer one."""
    config = run.config
    if config["pairs"] == "none":
        return []
    answers: dict[str, list[Response]] = defaultdict(list)
    for response in _responses(session, folder):
        answers[response.example_id].append(response)
    wanted = []
    for example_id in sorted(answers):
        found = [
            (x, y)
            for x, y in combinations(sorted(answers[example_id], key=lambda one: one.id), 2)
            if x.prompt_id != y.prompt_id
            and x.text.strip() != y.text.strip()
            and _compared(config, x.prompt_id, y.prompt_id)
        ]
        random.Random(f"{run.seed}/{example_id}").shuffle(found)
        wanted += [
            NewPair(
                example_id=example_id,
                response_x=x.id,
                response_y=y.id,
                source=config.get("source", "generate"),
                priority=config["priority"],
                run_id=run.id,
                votes=config["votes"],
            )
            for x, y in found[: config["pairs_per_example"]]
        ]
    return wanted


def _responses(session: Session, folder: RunFolder) -> list[Response]:
    ids: list[str] = []
    for name in ("requests", "reused", "given"):
        path = folder.inputs / f"{name}.parquet"
        if path.exists():
            ids += pq.read_table(path, columns=["response_id"])["response_id"].to_pylist()
    found: list[Response] = []
    for part in chunks(ids):
        found += session.exec(select(Response).where(col(Response.id).in_(part)))
    return found


def _compared(config: Mapping[str, Any], x: str, y: str) -> bool:
    if config["pairs"] == "champion":
        return config["champion"] in (x, y)
    if isinstance(config["pairs"], list):
        return [x, y] in config["pairs"] or [y, x] in config["pairs"]
    return True


# --- before it starts ------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """`calls` are made, `reused` answers are there already; `pairs` at most; `seconds` is
    rough, and `measured` says whether an earlier run on this host stands behind it."""

    prompts: int
    examples: int
    calls: int
    reused: int
    pairs: int
    seconds: float
    measured: bool
    cost_at_most: float


def estimate(
    db: Database, who: Principal, project_id: str, config: dict[str, Any], seed: int = SEED
) -> Estimate:
    """What a generate run with this config would do. Raises Invalid as starting it would."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        plan = make_plan(session, project, config, seed)
        speed = _measured_speed(session, plan)
    calls = len(plan.to_ask)
    tokens = calls * plan.sampling.max_new_tokens
    guess = _TOKENS_PER_S[plan.spec.kind] * (plan.spec.concurrency if plan.spec.kind == "openai" else 1)
    words = sum(len(m["content"]) for request in plan.to_ask for m in request.messages)
    cost = (words / 3 * plan.spec.price_in + tokens * plan.spec.price_out) / 1e6
    return Estimate(
        prompts=len(plan.prompts),
        examples=len(plan.examples),
        calls=calls,
        reused=len(plan.requests) - calls,
        pairs=_pairs_at_most(plan),
        seconds=tokens / (speed or guess) + (4 if plan.spec.kind == "local" and calls else 0),
        measured=speed is not None,
        cost_at_most=cost,
    )


def _measured_speed(session: Session, plan: Plan) -> float | None:
    """New tokens a second of the newest run on this host, as if all answers were as long
    as allowed."""
    query = select(Run).where(Run.kind == "generate", col(Run.status).in_(("succeeded", "cancelled")))
    for run in session.exec(query.order_by(col(Run.id).desc()).limit(50)):
        done = run.result or {}
        if run.config.get("host") == plan.config["host"] and done.get("responses", 0) >= 8:
            limit = run.config["params"]["max_new_tokens"]
            return float(done["responses"] * limit / max(done["seconds"], 0.1))
    return None


def _pairs_at_most(plan: Plan) -> int:
    prompts = [prompt.id for prompt in plan.prompts]
    if plan.config["pairs"] == "none":
        return 0
    if plan.given:
        each = len(prompts)
        return min(each, plan.config["pairs_per_example"] or each) * len(plan.given)
    each = sum(_compared(plan.config, x, y) for x, y in combinations(prompts, 2))
    return min(each, plan.config["pairs_per_example"] or each) * len(plan.examples)
