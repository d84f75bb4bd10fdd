"""Found prompts on other hosts, as a kind of run: the web side. That they transfer is measured,
not repeated. Never imports torch.

config: run (an ended search), hosts (names or ids); and, with defaults: candidates (numbers; the
chosen one), prompts (ids or names of written versions to put beside them; none), split (test).

Examples and reward are those that the search was frozen with. On **test** only the start, the chosen
candidate and written prompts are read: it is sealed, so that nothing is chosen by it, and a
candidate that lost on dev has no business there. On **dev** any candidate may be read; but the chosen
one was chosen on dev, on the search's own host, and is flattered there.

Each (prompt, host, example) is asked once: what the search or an earlier such run was answered is
frozen with the run (inputs/known.parquet, grades.parquet), and free.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Conflict, Invalid
from core.llm.protocol import HostSpec
from core.llm.registry import host_spec
from core.llm.soft_names import names_in
from core.optimize.answers import answers_file
from core.optimize.books import answers_in, gave_up, host_key
from core.optimize.instruction import Instruction
from core.optimize.known_grades import known_grades
from core.optimize.method import ACCESS_WORDS, lacking
from core.prompts.templates import slots
from core.prompts.versions import label, prompts_of
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.runs.service import find_run, run_folder
from storage.database import Database
from storage.ids import content_hash
from storage.tables import Candidate, Project, Prompt, Run

KIND = "transfer"
SPLITS = ("test", "dev")
ENDED = ("succeeded", "cancelled", "failed")
MOST = 20  # prompts, and hosts
_FIELDS = {"run", "hosts", "candidates", "prompts", "split", "seed"}
_FROZEN = {"n", "names"}


@dataclass(frozen=True)
class Text:
    """A prompt that is scored. `key` names its template: the same words, the same key."""

    key: str
    name: str
    candidate: int | None
    prompt_id: str | None
    instruction: Instruction
    text: str


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Raises Invalid naming the field that is wrong, Conflict where the search is not at its end."""
    unknown = sorted(set(config) - _FIELDS - _FROZEN)
    if unknown:
        raise Invalid(
            f"{unknown[0]}: not a setting of a transfer.", f"Settings: {', '.join(sorted(_FIELDS))}."
        )
    search = _search(session, project, config.get("run"))
    folder = run_folder(search.id)
    split = config.get("split") or "test"
    if split not in SPLITS:
        raise Invalid(f"split: there is no “{split}” to score on.", f"One of: {', '.join(SPLITS)}.")
    try:
        rows = [
            row
            for row in pq.read_table(folder.inputs / "examples.parquet").to_pylist()
            if row["split"] == split
        ]
        reward = json.loads((folder.inputs / "reward.json").read_text(encoding="utf-8"))
        source = json.loads((folder.inputs / "host.json").read_text(encoding="utf-8"))
    except OSError as problem:
        raise Conflict("The search's folder is gone, and its examples with it.", "Search again.") from problem
    texts = _texts(session, project, search, split, config, rows)
    specs = _hosts(session, config.get("hosts"), reward)
    known = {
        "known": list(_known(session, project, search, folder, source, texts, specs)),
        "grades": known_grades(session, project, reward, rows),
    }
    names = list(dict.fromkeys(spec.name for spec in specs))
    return Prepared(
        config={
            "run": search.id,
            "hosts": names,
            "candidates": [text.candidate for text in texts if text.candidate],
            "prompts": [text.prompt_id for text in texts if text.candidate is None and text.prompt_id],
            "split": split,
            "n": len(rows),
            "names": [text.name for text in texts],
        },
        tables={"examples": rows} | {name: found for name, found in known.items() if found},
        documents={
            "reward": reward,
            "hosts": [{**spec.as_dict(), "key": host_key(spec)} for spec in specs],
            "texts": [asdict(text) for text in texts],
        },
        name=f"{len(texts)} prompts on {len(specs)} {'host' if len(specs) == 1 else 'hosts'}: {search.name}"[
            :200
        ],
    )


# --- what is asked for ---------------------------------------------------------------------------


def _search(session: Session, project: Project, asked: Any) -> Run:
    if not isinstance(asked, str):
        raise Invalid("run: the id of a search.")
    run = find_run(session, asked)
    if run.kind != "optimize" or run.project_id != project.id:
        raise Invalid("run: not a search of this project.")
    if run.status not in ENDED:
        raise Conflict("This search is not at its end.", "Wait for it, or cancel it.")
    return run


def _texts(
    session: Session,
    project: Project,
    search: Run,
    split: str,
    config: Mapping[str, Any],
    rows: list[dict[str, Any]],
) -> list[Text]:
    """The start first, then candidates, then written prompts; none twice."""
    start = Instruction(**search.config["start"])
    found = {c.number: c for c in session.exec(select(Candidate).where(Candidate.run_id == search.id))}
    chosen = int(((search.result or {}).get("best") or {}).get("number") or 0)
    numbers = config.get("candidates")
    if numbers is None:
        numbers = [chosen] if chosen else []
    if not isinstance(numbers, list) or any(type(number) is not int for number in numbers):
        raise Invalid("candidates: a list of candidate numbers, such as [3, 7].")
    made = [_text(start, start.text, f"The start ({start.title})", 0, start.prompt_id)]
    for number in numbers:
        if number not in found:
            raise Invalid(f"candidates: this search has no candidate {number}.")
        if split == "test" and number not in (0, chosen):
            raise Invalid(
                f"candidates: candidate {number} was not the chosen one, and the test split is sealed for it.",
                "Score it on dev, or score the chosen one on test.",
            )
        candidate = found[number]
        if names_in(candidate.text):
            raise Invalid(
                f"candidates: candidate {number} is a soft prompt, vectors that only the model they were trained "
                "for can read.",
                "Score a candidate that is text.",
            )
        made.append(_text(start, candidate.text, f"Candidate {number}", number, candidate.prompt_id))
    made += [_written(prompt, rows) for prompt in _prompts(session, project, config.get("prompts"))]
    kept: dict[str, Text] = {}
    for text in made:
        kept.setdefault(text.key, text)
    if len(kept) < 2:
        raise Invalid(
            "candidates: there is nothing to put beside the start.",
            "Name a candidate by its number, or a written prompt.",
        )
    if len(kept) > MOST:
        raise Invalid(f"candidates: at most {MOST} prompts at a time.")
    return list(kept.values())


def _text(frame: Instruction, text: str, name: str, candidate: int | None, prompt_id: str | None) -> Text:
    key = content_hash([*frame.with_text(text)])[:16]
    return Text(key, name, candidate, prompt_id, frame, text)


def _written(prompt: Prompt, rows: list[dict[str, Any]]) -> Text:
    """Its whole system text stands for the instruction: only scored, it needs none to edit."""
    if names_in(prompt.system, prompt.user):
        raise Invalid(f"prompts: {label(prompt)} is a soft prompt, which only one model can read.")
    for slot in slots(prompt.system, prompt.user):
        if any(slot not in json.loads(row["fields"]) for row in rows):
            raise Invalid(
                f"prompts: the slot {{{{{slot}}}}} of {label(prompt)} has no field in every example."
            )
    frame = Instruction(prompt.system, prompt.user, "system", prompt.id, label(prompt))
    return _text(frame, prompt.system, label(prompt), None, prompt.id)


def _prompts(session: Session, project: Project, asked: Any) -> list[Prompt]:
    if asked is None:
        return []
    if not isinstance(asked, list) or not all(isinstance(item, str) for item in asked):
        raise Invalid("prompts: a list of ids or names of prompts.")
    there = prompts_of(session, project.id)
    found = []
    for item in asked:
        prompt = next((p for p in there if item in (p.id, p.name, label(p))), None)
        if prompt is None or not prompt.user.strip():
            raise Invalid(f"prompts: there is no prompt “{item}” with a template in this project.")
        found.append(prompt)
    return found


def _hosts(session: Session, asked: Any, reward: Mapping[str, Any]) -> list[HostSpec]:
    if isinstance(asked, str):
        asked = [asked]
    if not isinstance(asked, list) or not asked or len(asked) > MOST:
        raise Invalid(f"hosts: a list of 1 to {MOST} hosts, by name or id.")
    needs = {"label_logprobs" if reward.get("words") else "text": "The search's reward"}
    specs: dict[str, HostSpec] = {}
    for name in asked:
        spec = host_spec(session, name)
        missing = lacking(spec, needs)
        if missing:
            raise Invalid(
                f"hosts: “{spec.name}” gives no {ACCESS_WORDS['label_logprobs']}, which the search's reward needs.",
                "Choose hosts in process.",
            )
        specs.setdefault(host_key(spec), spec)
    return list(specs.values())


# --- what is known already -----------------------------------------------------------------------


def _known(
    session: Session,
    project: Project,
    search: Run,
    folder: RunFolder,
    source: Mapping[str, Any],
    texts: list[Text],
    specs: list[HostSpec],
) -> Iterator[dict[str, Any]]:
    """Rows of file, text (its hash), example, outcome (JSON)."""
    wanted = {answers_file(host_key(spec), text.key): text for spec in specs for text in texts}
    searched = host_key(HostSpec(**source))
    frame = Instruction(**search.config["start"]).with_text("")
    own = {
        content_hash(text.text): answers_file(searched, text.key)
        for text in texts
        if text.instruction.with_text("") == frame
    }
    for hashed, example, outcome in answers_in(folder.state / "answers.jsonl"):
        if own.get(hashed) in wanted and not gave_up(outcome):
            yield _row(own[hashed], hashed, example, outcome)
    for run in _transfers(session, project.id, search.id):
        for name, text in wanted.items():
            for hashed, example, outcome in answers_in(run_folder(run.id).state / name):
                if hashed == content_hash(text.text) and not gave_up(outcome):
                    yield _row(name, hashed, example, outcome)


def _row(file: str, text: str, example: str, outcome: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "file": file,
        "text": text,
        "example": example,
        "outcome": json.dumps(outcome, ensure_ascii=False),
    }


def _transfers(session: Session, project_id: str, search_id: str) -> list[Run]:
    """Newest first."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == KIND)
    found = session.exec(query.order_by(col(Run.id).desc()).limit(200))
    return [run for run in found if run.config.get("run") == search_id]


# --- what came of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A prompt on a host. `gain`: less the start's on the same host and examples, paired; None
    for the start. `own`: the host that the search worked on."""

    split: str
    host: str
    own: bool
    key: str
    prompt: str
    candidate: int | None
    prompt_id: str | None
    scores: dict[str, Any]
    gain: dict[str, Any] | None


@dataclass(frozen=True)
class Transfers:
    """Of one search: its transfer runs, newest first, and what they found, each (split, host,
    prompt) once."""

    runs: list[Run]
    cells: list[Cell]


def transfers_of(db: Database, who: Principal, run_id: str) -> Transfers:
    require(who, "run.view")
    with db.read() as session:
        search = find_run(session, run_id)
        runs = _transfers(session, search.project_id, search.id)
    cells: dict[tuple[str, str, str], Cell] = {}
    for run in runs:
        result = run.result or {}
        for cell in result.get("cells", []):
            own = cell["host"] == search.config.get("host")
            made = Cell(**{**cell, "own": own})
            cells.setdefault((made.split, made.host, made.key), made)
    ordered = sorted(cells.values(), key=lambda c: (SPLITS.index(c.split), not c.own, c.host))
    return Transfers(runs, ordered)
