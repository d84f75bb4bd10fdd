"""Judge runs, web side: which pairs a language model is asked about, and its answers as votes.

config: host (or host_id), prompt (a template; default: `DEFAULT_TEMPLATE`), pairs (voted,
unvoted, all; default: voted, or all while no person has voted), limit (default 100), max_new_tokens (for hosts that answer in
text), seed.

The votes are those of an annotator of its own, whose votes count nowhere until a lead takes
them in (`core.annotation.annotators.take_back`); they fill no slot, so that every pair still
gets the people's votes it wants.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.judge.prompt import BOTH_BAD, DEFAULT_TEMPLATE, check_template, letters
from core.errors import Invalid
from core.llm.registry import find_host, model_name, spec_of
from core.projects import find_project
from core.reward.text import input_text
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from storage.bulk import insert_many
from storage.database import Database
from storage.ids import content_hash, id_of
from storage.judges import judge_id, make_judge, pairs_to_judge, people_voted, responses_of, shown
from storage.tables import Host, Project, Run, Vote

PAIRS = ("voted", "unvoted", "all")
DEFAULT_LIMIT = 100
MOST_PAIRS = 100_000
DEFAULT_NEW_TOKENS = 64
SOURCE = "machine"
CHANGED = "Inconsistent: another answer when the two responses changed places."
_FIELDS = {"host", "host_id", "prompt", "pairs", "limit", "max_new_tokens", "seed"}
# Written into the config by `prepare`; not an error when a stored config is sent again.
_FROZEN = {"host_name", "model", "judge_id", "judge_name", "both_bad", "n_pairs", "left"}
_SECONDS = {"local": 1.5, "openai": 1.0}  # for a question, until a run on the host says


@dataclass(frozen=True)
class _Asked:
    """A config, read."""

    host: Host
    template: str
    pairs: str
    limit: int
    max_new_tokens: int
    judge_id: str
    judge_name: str


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Freeze the pairs with their texts, the prompt and the host. Raises Invalid naming the
    field that is wrong, or saying that there is nothing to judge."""
    asked = _read(session, project.id, config)
    there = pairs_to_judge(session, project.id, asked.pairs, asked.judge_id)
    if not there:
        raise Invalid(_none_left(asked.pairs), "Choose other pairs, another host or another prompt.")
    chosen = there
    if len(there) > asked.limit:
        chosen = sorted(random.Random(f"judge/{seed}").sample(there, asked.limit))
    rows = [
        {
            "pair_id": pair.pair_id,
            "input": input_text(pair.input, pair.earlier),
            "text_a": pair.text_a,
            "text_b": pair.text_b,
        }
        for pair in shown(session, chosen)
    ]
    return Prepared(
        config={
            "host": asked.host.id,
            "host_name": asked.host.name,
            "model": model_name(asked.host),
            "prompt": None if asked.template == DEFAULT_TEMPLATE else asked.template,
            "pairs": asked.pairs,
            "limit": asked.limit,
            "max_new_tokens": asked.max_new_tokens,
            "judge_id": asked.judge_id,
            "judge_name": asked.judge_name,
            "both_bad": BOTH_BAD in letters(asked.template),
            "n_pairs": len(rows),
            "left": len(there) - len(rows),
        },
        tables={"pairs": rows},
        documents={
            "host": spec_of(asked.host).as_dict(),
            "judge": {
                "template": asked.template,
                "guidelines": project.guidelines,
                "criteria": ", ".join(project.criteria),
            },
        },
        name=f"Judge: {asked.judge_name} on {len(rows):,} pairs",
    )


def _read(session: Session, project_id: str, config: dict[str, Any]) -> _Asked:
    for name in config:
        if name not in _FIELDS | _FROZEN:
            raise Invalid(f"{name}: a judge run has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}.")
    wanted = config.get("host_id") or config.get("host")
    if wanted is not None and not isinstance(wanted, str):
        raise Invalid("host: the id or the name of a host.")
    host = find_host(session, wanted)
    template = check_template(config.get("prompt"))
    pairs = config.get("pairs") or default_pairs(session, project_id)
    if pairs not in PAIRS:
        raise Invalid(f"pairs: there is no “{pairs}”.", f"One of: {', '.join(PAIRS)}.")
    model, hash_ = model_name(host), content_hash(template)
    own_words = "" if template == DEFAULT_TEMPLATE else f" · prompt {hash_[:6]}"
    return _Asked(
        host, template, pairs,
        _whole(config, "limit", DEFAULT_LIMIT, 1, MOST_PAIRS),
        _whole(config, "max_new_tokens", DEFAULT_NEW_TOKENS, 1, 8_192),
        judge_id(project_id, host.id, host.model, hash_),
        f"{host.name} · {model}{own_words}"[:200],
    )  # fmt: skip


def default_pairs(session: Session, project_id: str) -> str:
    """Pairs that people have voted on, where there are any: they tell how good the judge is."""
    return "voted" if people_voted(session, project_id) else "all"


def usual_pairs(db: Database, who: Principal, project_id: str) -> str:
    """What a run judges that names no pairs."""
    require(who, "run.view")
    with db.read() as session:
        return default_pairs(session, find_project(session, project_id).id)


def _none_left(pairs: str) -> str:
    which = {"voted": "that people have voted on", "unvoted": "without a vote", "all": "of this project"}
    return f"pairs: this judge has judged every pair {which[pairs]}, or there is none."


def _whole(config: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name}: a whole number from {low:,} to {high:,}.")
    return value


# --- votes ----------------------------------------------------------------------------------


def on_artifact(session: Session, run: Run, path: Path, data: dict[str, Any]) -> None:
    """Take in judgements as votes of the judge's annotator. Ids follow from judge and pair:
    again is the same as once."""
    if data.get("kind") != "judgements":
        return
    judge = make_judge(session, run.project_id, run.config["judge_id"], run.config["judge_name"])
    rows = pq.read_table(path).to_pylist()
    sides = responses_of(session, [row["pair_id"] for row in rows])
    votes = []
    for row in rows:
        two = sides.get(row["pair_id"])
        if two is None:  # the pair was deleted meanwhile
            continue
        two_sides = {"a": two[0], "b": two[1]}
        votes.append(
            {
                "id": id_of("vote", judge.id, row["pair_id"]),
                "project_id": run.project_id,
                "pair_id": row["pair_id"],
                "annotator_id": judge.id,
                "outcome": "win" if row["verdict"] in two_sides else row["verdict"],
                "winner": two_sides.get(row["verdict"]),
                "reason": "" if row["consistent"] else CHANGED,
                "source": SOURCE,
            }
        )
    insert_many(session, Vote, votes)


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """The votes came in batch by batch; what is left is to say whose they are."""
    result["judge_id"], result["judge"] = run.config["judge_id"], run.config["judge_name"]
    if result.get("judged"):
        audit.record(
            session, None, "judge.votes", "annotator", run.config["judge_id"], run.project_id,
            name=run.config["judge_name"], run=run.id, votes=result["judged"],
        )  # fmt: skip


# --- before it starts ------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """`pairs` are judged with two `calls` each; `left` pairs more could be. `seconds` is
    rough; `measured` says whether an earlier run on the host stands behind it. `cost` is for
    the tokens in, by their characters, and short answers."""

    judge: str
    pairs: int
    left: int
    calls: int
    seconds: float
    measured: bool
    cost: float


def estimate(db: Database, who: Principal, project_id: str, config: dict[str, Any]) -> Estimate:
    """What a judge run with this config would do. Raises Invalid as starting it would, but
    for an empty choice of pairs."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        asked = _read(session, project.id, config)
        there = pairs_to_judge(session, project.id, asked.pairs, asked.judge_id)
        some = shown(session, there[:200])
        before = _measured(session, project.id, asked.host.id)
    pairs = min(len(there), asked.limit)
    spec = spec_of(asked.host)
    once = sum(len(p.input) + len(p.text_a) + len(p.text_b) for p in some) / max(1, len(some))
    tokens = (once + len(asked.template) + len(project.guidelines)) / 4
    at_once = spec.concurrency if spec.kind == "openai" else 1
    each = before if before is not None else _SECONDS[spec.kind] / at_once
    return Estimate(
        judge=asked.judge_name,
        pairs=pairs,
        left=len(there) - pairs,
        calls=2 * pairs,
        seconds=2 * pairs * each + (4 if spec.kind == "local" and pairs else 0),
        measured=before is not None,
        cost=2 * pairs * (tokens * spec.price_in + 4 * spec.price_out) / 1e6,
    )


def _measured(session: Session, project_id: str, host_id: str) -> float | None:
    """Seconds a question took in the newest run of this project on this host."""
    query = select(Run).where(Run.kind == "judge", Run.project_id == project_id)
    for run in session.exec(query.order_by(col(Run.id).desc()).limit(20)):
        done = run.result or {}
        if run.config.get("host") == host_id and done.get("calls", 0) >= 8:
            return float(done["seconds"] / done["calls"])
    return None
