"""Where a project's earlier searches and transfers wrote down what they were answered
(core/optimize/answers.py), and what tells whether a new run may use it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.llm.protocol import HostSpec
from core.optimize.answers import answers_file
from core.optimize.instruction import Instruction
from core.runs.folder import RunFolder
from core.runs.service import run_folder
from storage.ids import content_hash
from storage.tables import Run

RUNS = 500  # the newest searches and transfers looked at
BYTES = 64 * 2**20  # of what they wrote down, read at most
ANSWERS = 100_000  # at most so many are taken along
UNSCORED = ("responses", "taken")  # kinds of lines with responses
_SCORED = ("answers", "scored", "free", "again")  # and with outcomes
_SPEED = ("max_retries", "batch_size")  # params of a host that change no answer


@dataclass(frozen=True)
class Book:
    """A file of answers: those of one host, with one template around the instruction."""

    folder: RunFolder
    path: Path
    host: HostSpec
    frame: tuple[str, str]
    reward: dict[str, Any]

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


def books(session: Session, project_id: str, worth: Callable[[Mapping[str, Any]], bool]) -> Iterator[Book]:
    """Newest first. `worth(config)`: whether a search's folder has to be opened; what it was
    configured with is in the database."""
    query = select(Run.id, Run.kind, Run.config).where(
        Run.project_id == project_id, col(Run.kind).in_(("optimize", "transfer"))
    )
    for run_id, kind, config in session.exec(query.order_by(col(Run.id).desc()).limit(RUNS)):
        try:
            if kind == "transfer":
                yield from _of_transfer(run_folder(run_id))
            elif worth(config):
                folder = run_folder(run_id)
                host, frame = HostSpec(**_read(folder, "host")), frame_of(Instruction(**config["start"]))
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


# --- what stands in one --------------------------------------------------------------------------


def answers_in(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(hash of the text, example, outcome) of all that was scored."""
    for kind, text, example, outcome in entries(path):
        if kind not in UNSCORED:
            yield text, example, outcome


def entries(path: Path, most: int | None = None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """As `answers_in`, from the first `most` bytes or so, each after the kind of line it stands in. A
    response that was not scored yet is an outcome without parts, in one of the UNSCORED."""
    for kind, line in _lines(path, (*UNSCORED, *_SCORED), most):
        for text, example, values in line[kind]:
            yield kind, text, example, _unscored(values) if kind in UNSCORED else values


def grades_in(path: Path, most: int | None = None) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """(example, response, what it was graded, the judge's component), and after an outcome of an older
    file, whose grades have no lines of their own, its detail in their place, and no name."""
    said: dict[tuple[str, str], str] = {}
    for kind, line in _lines(path, (*UNSCORED, "graded", *_SCORED), most):
        for text, example, values in line[kind]:
            if kind in UNSCORED:
                said[text, example] = values["text"]
            elif kind == "graded":
                yield example, said[text, example], values, line["judge"]
            elif values.get("detail", {}).get("spent") and not values["error"]:
                yield example, values["output"], values["detail"], ""


def _lines(path: Path, kinds: Sequence[str], most: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of these kinds; half a line of a killed writer is none."""
    if not path.exists():
        return
    marks = [f'"{kind}"'.encode() for kind in kinds]
    read = 0
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n") or (most is not None and read > most):
                return
            read += len(raw)
            if any(mark in raw for mark in marks):
                line = json.loads(raw)
                yield from ((kind, line) for kind in kinds if kind in line)


def gave_up(outcome: Mapping[str, Any]) -> bool:
    """Whether a host, or a judge's, gave up on it: that is no answer to keep."""
    return bool(outcome["error"] or outcome.get("detail", {}).get("failed"))


def _unscored(said: Mapping[str, Any]) -> dict[str, Any]:
    detail = {"cut": True} if said["finish_reason"] == "length" else {}
    kept = {name: said[name] for name in ("tokens_in", "tokens_out", "error")}
    return {"score": 0.0, "output": said["text"], **kept, "detail": detail}


# --- what has to be the same ---------------------------------------------------------------------


def host_key(spec: HostSpec) -> str:
    """What makes two hosts answer alike: not their name, price or patience."""
    params = {name: value for name, value in spec.params.items() if name not in _SPEED}
    return content_hash([spec.kind, spec.model, spec.base_url, params])[:16]


def frame_of(start: Instruction) -> tuple[str, str]:
    """The template around the instruction, with a mark where that stands."""
    return start.with_text("\0")


def same_examples(
    folder: RunFolder, examples: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, list[str]]:
    """That run's examples -> these, where the columns of these names are the same, word for word."""
    mine: dict[tuple[Any, ...], list[str]] = {}
    for row in examples:
        mine.setdefault(tuple(row.get(name) for name in names), []).append(row["id"])
    try:
        theirs = pq.read_table(folder.inputs / "examples.parquet").to_pylist()
    except (OSError, ValueError):
        return {}
    pairs = ((row["id"], mine.get(tuple(row.get(name) for name in names))) for row in theirs)
    return {example: found for example, found in pairs if found}
