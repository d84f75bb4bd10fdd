"""What people and programs do with preference data sets: look, make, compare, put away."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.aggregation import method_of
from core.annotation.groups import assignment_in
from core.errors import Conflict, Invalid, NotFound
from core.kept import Kept
from core.projects import find_project
from core.reward.snapshots import compare as sides
from core.reward.snapshots import frozen
from core.reward.snapshots.build import DataSet, build
from core.reward.snapshots.card import card
from core.reward.snapshots.checks import failed
from core.reward.snapshots.filters import SOURCES, Filters, filters_of
from core.reward.snapshots.gather import Material, gather
from core.settings import get_settings
from storage import snapshots as stored
from storage.database import Database
from storage.evidence import votes_state
from storage.ids import new_id, now
from storage.tables import Project, RewardModel, Snapshot, User

MAX_NAME = 120
DOWNLOADS = {"zip": None, "pairs": "pairs.parquet", "votes": "votes.parquet"}
_material: Kept[Material] = Kept(most=2)
_previews: Kept[DataSet] = Kept(most=8)


def defaults(project: Project) -> Filters:
    """What a project's data set is without a word from anybody: the votes of people, added up
    in the project's way."""
    return filters_for(project, {})


def filters_for(project: Project, asked: Any) -> Filters:
    """What was asked for, over the project's defaults. Raises Invalid naming the field."""
    given = asked.as_json() if isinstance(asked, Filters) else asked
    if not isinstance(given, dict):
        return filters_of(given)
    return filters_of({"method": method_of(project), **given})


def preview(db: Database, who: Principal, project_id: str, filters: Any) -> DataSet:
    """The data set that `make` would freeze now; nothing is stored. Read it only: it is shared."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        wanted = filters_for(project, filters)
        material, state = kept_material(db, session, project)
    key = (db.url, project_id, wanted.model_dump_json())
    return _previews.get(key, state, lambda: build(material, wanted))


def kept_material(db: Database, session: Session, project: Project) -> tuple[Material, Any]:
    """For looks: on a project with very many votes, up to a thousandth of them old."""
    people = [(item.id, item.name, item.audiences) for item in stored.voters(session, project.id)]
    groups = assignment_in(session, project.id).groups
    others = (str(people), str(groups), tuple(project.criteria), stored.checks_state(session, project.id))
    state = (*votes_state(session, project.id), *others)
    key = (db.url, project.id)
    return _material.get(key, state, lambda: gather(session, project.id, project.criteria)), state


def make(db: Database, who: Principal, project_id: str, name: str, filters: Any = None) -> Snapshot:
    """Freeze a data set under a name. Raises Invalid naming the field, Conflict when the name
    is taken. A failed leak check does not keep it from being made: it says so, and is not
    trained on."""
    require(who, "snapshot.make")
    wanted_name = checked_name(name)
    with db.read() as session:
        project = find_project(session, project_id)
        if stored.name_taken(session, project_id, wanted_name):
            raise Conflict(f"name: there is a data set “{wanted_name}” already.", "Choose another name.")
        wanted = filters_for(project, filters or {})
        data = build(gather(session, project_id, project.criteria), wanted)
    if not data.pairs:
        raise Invalid(
            "filters: they leave no pair to learn from.", "Take away a filter, or label some pairs."
        )
    snapshot = frozen_row(project, data, wanted_name, new_id(), who)
    write_folder(snapshot, project, data)

    def work(session: Session) -> Snapshot:
        find_project(session, project_id)
        if stored.name_taken(session, project_id, wanted_name):
            raise Conflict(f"name: there is a data set “{wanted_name}” already.", "Choose another name.")
        session.add(snapshot)
        recorded(session, who, snapshot)
        return snapshot

    try:
        return db.write(work)
    except BaseException:
        frozen.remove(folder_of(snapshot))
        raise


def checked_name(name: Any) -> str:
    found = " ".join(str(name or "").split())
    if not 1 <= len(found) <= MAX_NAME:
        raise Invalid(f"name: a data set's name has 1 to {MAX_NAME} characters.")
    return found


def frozen_row(
    project: Project, data: DataSet, name: str, id: str, who: Principal | None, automatic: bool = False
) -> Snapshot:
    return Snapshot(
        id=id,
        project_id=project.id,
        name=name,
        folder=f"snapshots/{id}",
        filters=data.filters.as_json(),
        counts=data.counts,
        checks=data.checks,
        content_hash=data.content_hash,
        automatic=automatic,
        created_by=who.user_id if who else None,
    )


def write_folder(snapshot: Snapshot, project: Project, data: DataSet) -> None:
    document = {
        "id": snapshot.id,
        "name": snapshot.name,
        "project": project.name,
        "created_at": snapshot.created_at.isoformat(timespec="seconds"),
        "filters": snapshot.filters,
        "content_hash": snapshot.content_hash,
        "counts": data.counts,
        "checks": data.checks,
    }
    words = card(snapshot.name, project.name, data.filters, data.counts, data.checks, snapshot.content_hash)
    frozen.write(folder_of(snapshot), data.pairs, data.votes, document, words)


def recorded(session: Session, who: Principal | None, snapshot: Snapshot) -> None:
    audit.record(
        session, who, "snapshot.make", "snapshot", snapshot.id, snapshot.project_id,
        name=snapshot.name, pairs=snapshot.counts["pairs"], votes=snapshot.counts["cast"],
        content_hash=snapshot.content_hash, failed=[check["check"] for check in failed(snapshot.checks)],
    )  # fmt: skip


def folder_of(snapshot: Snapshot) -> Path:
    return get_settings().data_dir / snapshot.folder


@dataclass(frozen=True)
class Options:
    """What filters can ask for, of votes that count. annotators: name -> votes, with
    `simulated` and `machines` naming those of them; groups: names; sources: those that occur;
    first, last: when votes were cast. `skilled`, `checked`: somebody's skill is known, somebody
    answered gold checks."""

    annotators: dict[str, int]
    simulated: frozenset[str]
    machines: frozenset[str]
    groups: list[str]
    prompts: list[str]
    sources: list[str]
    criteria: list[str]
    first: datetime | None
    last: datetime | None
    skilled: bool
    checked: bool


def options(db: Database, who: Principal, project_id: str) -> Options:
    require(who, "run.view")
    with db.read() as session:
        material, _ = kept_material(db, session, find_project(session, project_id))
    cast = material.cast
    votes = np.bincount(cast.voter, minlength=len(cast.voters)).tolist()
    named = sorted(zip(cast.voters, votes, strict=True), key=lambda item: item[0].name)
    times = (
        [datetime.fromtimestamp(at, UTC) for at in (cast.at.min(), cast.at.max())]
        if len(cast)
        else [None, None]
    )
    return Options(
        {voter.name: n for voter, n in named},
        frozenset(voter.name for voter in cast.voters if voter.simulated),
        frozenset(voter.name for voter in cast.voters if voter.machine),
        [group.name for group in material.assignment.groups],
        sorted({*cast.prompt_a, *cast.prompt_b}),
        [source for source in SOURCES if source in set(cast.source.tolist())],
        list(material.criteria),
        times[0],
        times[1],
        bool(material.skill[1].any()),
        bool(material.gold),
    )


def models_by_snapshot(db: Database, who: Principal, project_id: str) -> dict[str, list[RewardModel]]:
    """id of a snapshot -> the models that were trained on it, oldest first."""
    require(who, "run.view")
    with db.read() as session:
        return stored.models_on(session, find_project(session, project_id).id)


def makers(db: Database, who: Principal, snapshots: Sequence[Snapshot]) -> dict[str, str]:
    """The names of those who made them, by user id."""
    require(who, "run.view")
    ids = {item.created_by for item in snapshots if item.created_by}
    with db.read() as session:
        return {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(ids)))}


# --- looking ----------------------------------------------------------------------------------


def list_snapshots(
    db: Database, who: Principal, project_id: str, *, archived: bool = False
) -> list[Snapshot]:
    """Newest first."""
    require(who, "run.view")
    with db.read() as session:
        find_project(session, project_id)
        return stored.snapshots_of(session, project_id, archived=archived)


def find_snapshot(session: Session, snapshot_id: str) -> Snapshot:
    """The snapshot, or NotFound: for use inside a unit of work."""
    snapshot = session.get(Snapshot, snapshot_id)
    if snapshot is None:
        raise NotFound(f"There is no preference data set {snapshot_id}.")
    return snapshot


def get_snapshot(db: Database, who: Principal, snapshot_id: str) -> Snapshot:
    """Also one that was put away: models may rest on it."""
    require(who, "run.view")
    with db.read() as session:
        snapshot = find_snapshot(session, snapshot_id)
        find_project(session, snapshot.project_id)
        return snapshot


def card_of(db: Database, who: Principal, snapshot_id: str) -> str:
    """The card as it was frozen. Raises NotFound when the files are gone."""
    return frozen.read_card(folder_of(get_snapshot(db, who, snapshot_id)))


def file_name(snapshot: Snapshot, what: str) -> str:
    """Letters of ASCII, digits and dashes, whatever the data set is called."""
    name = re.sub(r"[^a-z0-9]+", "-", snapshot.name.lower()).strip("-")[:40].strip("-") or "snapshot"
    return f"{name}.zip" if DOWNLOADS[what] is None else f"{name}-{DOWNLOADS[what]}"


def download(db: Database, who: Principal, snapshot_id: str, what: str = "zip") -> tuple[str, bytes]:
    """(file name, bytes) of the folder as a zip, of pairs.parquet or of votes.parquet."""
    require(who, "data.export")
    if what not in DOWNLOADS:
        raise Invalid(f"as: there is no “{what}”.", f"One of: {', '.join(DOWNLOADS)}.")
    snapshot = get_snapshot(db, who, snapshot_id)
    folder, inner = folder_of(snapshot), DOWNLOADS[what]
    return file_name(snapshot, what), frozen.as_zip(folder) if inner is None else frozen.file_of(
        folder, inner
    )


def exported(db: Database, who: Principal, snapshot_id: str, what: str) -> None:
    """Note in the audit log that the data went out."""
    require(who, "data.export")
    snapshot = get_snapshot(db, who, snapshot_id)
    db.write(
        lambda session: audit.record(
            session, who, "snapshot.download", "snapshot", snapshot.id, snapshot.project_id,
            name=snapshot.name, what=what,
        )
    )  # fmt: skip


def compare(db: Database, who: Principal, before_id: str, after_id: str) -> dict[str, Any]:
    """`core.reward.snapshots.compare.compare` of two snapshots of one project."""
    before, after = (get_snapshot(db, who, each) for each in (before_id, after_id))
    if before.project_id != after.project_id:
        raise Invalid("with: the two data sets belong to different projects.")
    found = sides.compare(*(
        (filters_of(item.filters), item.counts, frozen.read_pairs(folder_of(item)), frozen.read_votes(folder_of(item)))
        for item in (before, after)
    ))  # fmt: skip
    return {"same_content": before.content_hash == after.content_hash, **found}


# --- putting away -----------------------------------------------------------------------------


def archive(db: Database, who: Principal, snapshot_id: str) -> Snapshot:
    """It is no longer listed nor offered for training; its files stay, for the models that
    rest on it."""
    require(who, "snapshot.make")

    def work(session: Session) -> Snapshot:
        snapshot = find_snapshot(session, snapshot_id)
        find_project(session, snapshot.project_id)
        if snapshot.archived_at is None:
            snapshot.archived_at = now()
            session.add(snapshot)
            audit.record(
                session,
                who,
                "snapshot.archive",
                "snapshot",
                snapshot.id,
                snapshot.project_id,
                name=snapshot.name,
            )
        return snapshot

    return db.write(work)
