"""Data out of a project: rows, files, and what is left out of them and why."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlmodel import Session

from core import audit, encoding
from core.access import Principal, require
from core.dataset_card import card
from core.errors import Invalid
from core.projects import find_project
from storage import exporting
from storage.database import Database
from storage.exporting import Account, Order
from storage.formats import FORMATS
from storage.tables import Project

SPLITS = ("train", "dev", "test")


def check_order(order: Order) -> None:
    """Raises Invalid for a format, split or policy that there is not."""
    if order.format not in FORMATS:
        raise Invalid(f"format: “{order.format}” is none.", f"One of {', '.join(FORMATS)}.")
    if order.split not in (None, *SPLITS):
        raise Invalid("split: train, dev or test.")
    described = order.described
    for name, said, known in (("ties", order.ties, described.ties), ("both_bad", order.both_bad, described.both_bad)):  # fmt: skip
        if said is not None and said not in known:
            of = f"One of {', '.join(known)}." if known else "This format keeps every vote."
            raise Invalid(f"{name}: “{said}” is none for the format {order.format}.", of)
    if order.chosen and described.family != "sft":
        raise Invalid("chosen: only the formats for SFT take chosen responses.")


def export(
    db: Database,
    who: Principal,
    project_id: str,
    format: str,
    include_simulated: bool = False,
    split: str | None = None,
    **policy: Any,
) -> list[dict[str, Any]]:
    """All rows of an export; see `export_stream` for large ones. `policy`: ties, both_bad and
    chosen (storage.exporting.Order)."""
    return list(export_stream(db, who, project_id, format, include_simulated, split, **policy))


def export_stream(
    db: Database,
    who: Principal,
    project_id: str,
    format: str,
    include_simulated: bool = False,
    split: str | None = None,
    **policy: Any,
) -> Iterator[dict[str, Any]]:
    """The rows of an export, one at a time; what is wrong with the request is raised at
    once, not at the first row. `format` is one of storage.formats.FORMATS."""
    order = Order(format, include_simulated, split, **policy)
    _begin(db, who, project_id, order)
    return _rows(db, project_id, order)


def export_file(
    db: Database, who: Principal, project_id: str, order: Order, as_: str = "json"
) -> Iterator[bytes]:
    """An export as a file, piece by piece: json, jsonl, csv, parquet, or hf (a zip with a
    Parquet file for each split and a dataset card). What is wrong is raised at once."""
    require(who, "data.export")
    check_order(order)
    if as_ not in order.described.encodings:
        known = ", ".join(order.described.encodings)
        raise Invalid(f"as: {order.format} does not come as {as_}.", f"One of {known}.")
    project = _begin(db, who, project_id, order, as_)
    schema = order.described.schema(order.include_simulated)
    if as_ == "hf":
        return _folder(db, project, order)
    rows = _rows(db, project_id, order)
    if as_ == "csv":
        return encoding.comma_separated(rows, order.described, schema)
    if as_ == "parquet":
        return encoding.parquet(rows, order.described, schema)
    return encoding.json_lines(rows) if as_ == "jsonl" else encoding.json_list(rows)


def file_name(name: str, order: Order, as_: str) -> str:
    """Letters of ASCII, digits and dashes, whatever the project is called."""
    stamp = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    split = f"-{order.split}" if order.split else ""
    return f"{stamp[:40].strip('-') or 'project'}-{order.format}{split}." + ("zip" if as_ == "hf" else as_)


@dataclass(frozen=True)
class Preview:
    """The first rows of an export, how many there are, and what is left out."""

    rows: list[dict[str, Any]]
    account: Account

    @property
    def total(self) -> int:
        return self.account.rows


def export_preview(
    db: Database,
    who: Principal,
    project_id: str,
    order: Order | str,
    include_simulated: bool = False,
    split: str | None = None,
    limit: int = 5,
) -> Preview:
    """An order, or the name of a format. Nothing is recorded: this is a look, not an export."""
    require(who, "data.export")
    if isinstance(order, str):
        order = Order(order, include_simulated, split)
    check_order(order)
    with db.read() as session:
        find_project(session, project_id)
        counted = exporting.account(session, project_id, order)
        rows = exporting.export_rows(session, project_id, order)
        return Preview([row for _, row in zip(range(limit), rows, strict=False)], counted)


def _begin(db: Database, who: Principal, project_id: str, order: Order, as_: str | None = None) -> Project:
    """Check and record."""
    require(who, "data.export")
    check_order(order)
    more = {"as_": as_} if as_ else {}

    def note(session: Session) -> Project:
        project = find_project(session, project_id)
        audit.record(
            session, who, "data.export", "project", project_id, project_id,
            format=order.format, include_simulated=order.include_simulated, split=order.split,
            ties=order.policy.ties, both_bad=order.policy.both_bad, chosen=order.chosen, **more,
        )  # fmt: skip
        session.flush()
        session.refresh(project)
        session.expunge(project)
        return project

    return db.write(note)


def _rows(db: Database, project_id: str, order: Order) -> Iterator[dict[str, Any]]:
    with db.read() as session:
        yield from exporting.export_rows(session, project_id, order)


def _folder(db: Database, project: Project, order: Order) -> Iterator[bytes]:
    schema = order.described.schema(order.include_simulated)
    wanted = (order.split,) if order.split else SPLITS
    with db.read() as session:

        def of(split: str) -> Iterator[dict[str, Any]]:
            part = replace(order, split=split)
            return exporting.export_rows(session, project.id, part)

        def written(counts: dict[str, int]) -> str:
            return card(project, order, schema, exporting.account(session, project.id, order), counts)

        splits: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
            split: partial(of, split) for split in wanted
        }
        yield from encoding.folder(splits, order.described, schema, written)


def as_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """JSON Lines."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def as_list(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One JSON list, a row a line."""
    for piece in encoding.json_list(rows):
        yield piece.decode()
