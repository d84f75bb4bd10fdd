"""What earlier runs of a project were answered, for a new search to use: a (host, prompt, example,
parameters) that was answered once is free for ever after.

Gathered when a run is frozen, into inputs/known.parquet, and not looked up while it works: so a
run that goes on after a kill, or is repeated from its folder, knows just what it knew. Looked
through are the newest searches and transfers. What decides an answer has to be the same: the host
(not its name, price or patience), the template around the instruction, the example's fields and
messages, the sampling. Then

    the reward is the same, too      the answer is taken with its score
    the reward is another            the response is taken, and scored anew: a judge is paid, unless
                                     it graded that response by the same rubric
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.llm.protocol import HostSpec
from core.optimize.answers import answers_file
from core.optimize.graded import added, grades_in, taken_by_judges
from core.optimize.instruction import Instruction
from core.optimize.rewards.kinds import KEPT
from core.runs.folder import RunFolder
from core.runs.service import run_folder
from storage.ids import content_hash
from storage.tables import Project, Run

RUNS = 500  # the newest searches and transfers looked at
BYTES = 64 * 2**20  # of what they wrote down, read at most
ANSWERS = 100_000  # at most so many are taken along
_ANSWERED = ("fields", "messages")  # of an example: what the host is shown
_SCORED = (*_ANSWERED, "input", "reference")  # and what a reward may look at
_KINDS = ("answers", "responses", "scored", "free", "again")  # of lines with answers
_MARKS = [f'"{kind}"'.encode() for kind in _KINDS]
_SPEED = ("max_retries", "batch_size")  # params of a host that change no answer


@dataclass(frozen=True)
class Book:
    """A file of answers: those of one host, with one template around the instruction."""

    folder: RunFolder
    path: Path
    host: HostSpec
    frame: tuple[str, str]
    reward: dict[str, Any]


def known_answers(
    session: Session,
    project: Project,
    documents: Mapping[str, Any],
    start: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of text (its hash), example, score, output, tokens_in, tokens_out, error, detail (JSON)
    and scored: whether the score holds for a run with these documents, start and examples, or only
    the output does."""
    host, reward, frame = HostSpec(**documents["host"]), documents["reward"], frame_of(Instruction(**start))
    scored: dict[tuple[str, str], dict[str, Any]] = {}
    said: dict[tuple[str, str], dict[str, Any]] = {}
    left = BYTES
    for book in _books(session, project.id, frame):
        if left <= 0 or len(scored) + len(said) >= ANSWERS:
            break
        if book.frame != frame or host_key(book.host) != host_key(host):
            continue
        whole = _decides(book.reward, book.host) == _decides(reward, host)
        if not whole and not _same_responses(book.reward, reward):
            continue
        shown = _same_examples(book.folder, examples, _ANSWERED)
        alike = _same_examples(book.folder, examples, _SCORED)
        judges = _same_judges(book.reward, reward)
        for kind, text, example, outcome in _entries(book.path, left):
            if outcome["error"]:
                continue
            holds = whole and kind != "responses"
            found = scored if holds else said
            for mine in (alike if holds else shown).get(example, ()):
                if holds:
                    said.pop((text, mine), None)  # its response came before
                graded = {} if whole or mine not in alike.get(example, ()) else judges
                if (text, mine) in found:
                    _add_grades(found[text, mine], outcome, graded)
                elif (text, mine) not in scored and len(scored) + len(said) < ANSWERS:
                    found[text, mine] = _row(text, mine, outcome, holds, graded)
        left -= book.path.stat().st_size if book.path.exists() else 0
    rows = [*scored.values(), *(row for key, row in said.items() if key not in scored)]
    return [{**row, "detail": json.dumps(row["detail"])} for row in rows]


def host_key(spec: HostSpec) -> str:
    """What makes two hosts answer alike: not their name, price or patience."""
    params = {name: value for name, value in spec.params.items() if name not in _SPEED}
    return content_hash([spec.kind, spec.model, spec.base_url, params])[:16]


def frame_of(start: Instruction) -> tuple[str, str]:
    """The template around the instruction, with a mark where that stands."""
    return start.with_text("\0")


def _row(
    text: str, example: str, outcome: Mapping[str, Any], whole: bool, judges: Mapping[str, str]
) -> dict[str, Any]:
    """What was paid for it was paid then. Of a response that is scored anew it is kept that it was
    cut, and the grades of `judges` ({a judge's component then: its component now})."""
    known = outcome.get("detail", {})
    detail = {name: of for name, of in known.items() if name == "cut"}
    if whole:
        detail = {name: of for name, of in known.items() if name not in ("spent", "judged")}
        tokens_in, tokens_out, _ = taken_by_judges(known)
        if tokens_in:
            detail["judged"] = [tokens_in, tokens_out, 0.0]
    row = {
        "text": text,
        "example": example,
        "score": float(outcome["score"]) if whole else 0.0,
        **{name: outcome[name] for name in ("output", "tokens_in", "tokens_out", "error")},
        "detail": detail,
        "scored": whole,
    }
    _add_grades(row, outcome, judges)
    return row


def _add_grades(row: dict[str, Any], outcome: Mapping[str, Any], judges: Mapping[str, str]) -> None:
    """What these judges said of that very response in this run, if no newer one knows it."""
    known, grades = outcome.get("detail", {}), row["detail"].get("grades", {})
    new = {then: now for then, now in judges.items() if now not in grades}
    if not new or "parts" not in known or row["output"] != outcome["output"]:
        return
    row["detail"]["grades"] = {**grades, **grades_in(known, new)}
    before = row["detail"].get("judged", (0, 0, 0.0))
    row["detail"]["judged"] = list(added(before, taken_by_judges(known)))


# --- where answers lie ---------------------------------------------------------------------------


def _books(session: Session, project_id: str, frame: tuple[str, str]) -> Iterator[Book]:
    """Newest first. A search's start is in the database: another template's folder is not opened."""
    query = select(Run.id, Run.kind, Run.config).where(
        Run.project_id == project_id, col(Run.kind).in_(("optimize", "transfer"))
    )
    for run_id, kind, config in session.exec(query.order_by(col(Run.id).desc()).limit(RUNS)):
        try:
            if kind == "transfer":
                yield from _of_transfer(run_folder(run_id))
            elif frame_of(Instruction(**config["start"])) == frame:
                folder = run_folder(run_id)
                host = HostSpec(**_read(folder, "host"))
                yield Book(folder, folder.state / "answers.jsonl", host, frame, _read(folder, "reward"))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it was cleared away, or was frozen by another version


def _of_transfer(folder: RunFolder) -> Iterator[Book]:
    reward, hosts, texts = (_read(folder, name) for name in ("reward", "hosts", "texts"))
    for host in hosts:
        key = host.pop("key")
        for text in texts:
            path = folder.state / answers_file(key, text["key"])
            if path.exists():
                yield Book(
                    folder, path, HostSpec(**host), frame_of(Instruction(**text["instruction"])), reward
                )


def _read(folder: RunFolder, name: str) -> Any:
    return json.loads((folder.inputs / f"{name}.json").read_text(encoding="utf-8"))


def answers_in(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(hash of the text, example, outcome) of all that was scored."""
    for kind, text, example, outcome in _entries(path):
        if kind != "responses":
            yield text, example, outcome


def _entries(path: Path, most: int | None = None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """As core/optimize/answers.py writes them, from the first `most` bytes or so; half a line of a
    killed writer is no answer. Before each: what kind of line it stands in. A response that was not
    scored yet is an outcome without parts."""
    if not path.exists():
        return
    read = 0
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n") or (most is not None and read > most):
                return
            read += len(raw)
            if any(name in raw for name in _MARKS):
                line = json.loads(raw)
                for kind in _KINDS:
                    for text, example, values in line.get(kind, []):
                        yield kind, text, example, _unscored(values) if kind == "responses" else values


def _unscored(said: Mapping[str, Any]) -> dict[str, Any]:
    detail = {"cut": True} if said["finish_reason"] == "length" else {}
    kept = {name: said[name] for name in ("tokens_in", "tokens_out", "error")}
    return {"score": 0.0, "output": said["text"], **kept, "detail": detail}


# --- what has to be the same ---------------------------------------------------------------------


def _decides(reward: Mapping[str, Any], host: HostSpec) -> Any:
    """What of a reward decides an outcome. Weights and thresholds are applied to what was answered,
    and a model's name and the name, price and patience of a judge's host change nothing."""
    if reward["kind"] == "labels":
        return ["labels", reward["words"]]
    if reward["kind"] == "reward_model":
        return ["reward_model", reward.get("id") or reward["folder"], _sampling(reward)]
    parts = {
        part: [_item(item, reward["hosts"]) for item in items] for part, items in reward["reward"].items()
    }
    costs = any(item["kind"] == "cost" and item["of"] == "money" for item in reward["reward"]["components"])
    prices = [host.price_in, host.price_out] if costs else None
    return ["composed", parts, _sampling(reward), reward.get("words"), reward.get("reference"), prices]


def _item(item: Mapping[str, Any], hosts: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in item.items()
        if name not in ("weight", "threshold") and (name, value) != ("length", KEPT)
    }
    if item["kind"] == "judge":
        kept["host"] = host_key(HostSpec(**hosts[item["host"]]))
    return kept


def _same_judges(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """{component of `one`: component of `other`} of judges that are asked alike: the same model, by
    the same rubric."""

    def judges(reward: Mapping[str, Any]) -> dict[str, str]:
        if reward["kind"] != "composed":
            return {}
        items = [item for item in reward["reward"]["components"] if item["kind"] == "judge"]
        asked = [{**_item(item, reward["hosts"]), "name": ""} for item in items]
        return {content_hash(how): item["name"] for how, item in zip(asked, items, strict=True)}

    now = judges(other)
    return {name: now[how] for how, name in judges(one).items() if how in now}


def _sampling(reward: Mapping[str, Any]) -> dict[str, Any] | None:
    """Greedy answers have no seed, and nothing is drawn from."""
    sampling = reward.get("sampling")
    if sampling and sampling["temperature"] == 0:
        return {"max_new_tokens": sampling["max_new_tokens"], "temperature": 0}
    return dict(sampling) if sampling else None


def _same_responses(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both read what is generated, and generate it alike."""
    return _sampling(one) is not None and _sampling(one) == _sampling(other)


def _same_examples(
    folder: RunFolder, examples: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, list[str]]:
    """That run's examples -> this run's, where these columns are the same, word for word."""
    mine: dict[tuple[Any, ...], list[str]] = {}
    for row in examples:
        mine.setdefault(tuple(row.get(name) for name in names), []).append(row["id"])
    try:
        theirs = pq.read_table(folder.inputs / "examples.parquet").to_pylist()
    except (OSError, ValueError):
        return {}
    pairs = ((row["id"], mine.get(tuple(row.get(name) for name in names))) for row in theirs)
    return {example: found for example, found in pairs if found}
