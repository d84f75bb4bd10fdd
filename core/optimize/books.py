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
        if kind != "responses":
            yield text, example, outcome


def entries(path: Path, most: int | None = None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """As `answers_in`, from the first `most` bytes or so, each after the kind of line it stands in;
    half a line of a killed writer is no answer. A response that was not scored yet is an outcome
    without parts, in a line of `responses`."""
    if not path.exists():
        return
    read = 0
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n") or (most is not None and read > most):
                return
            read += len(raw)
            if any(mark in raw for mark in _MARKS):
                line = json.loads(raw)
                for kind in _KINDS:
                    for text, example, values in line.get(kind, []):
                        yield kind, text, example, _unscored(values) if kind == "responses" else values


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
